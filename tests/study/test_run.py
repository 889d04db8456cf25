"""The study as a whole, tiny: journal, resumption, failures, claims and their page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from killed_worker import killed_at_seed_0

from spectra.cli import run as program
from spectra.errors import InputError
from spectra.study import workers
from spectra.study.claims import CLAIMS
from spectra.study.experiments import NAMES, experiment
from spectra.study.experiments.depth import ladders
from spectra.study.findings import SPARSE_AND_HEAVY, Measure, Tables, contrast
from spectra.study.known import Known, _trends, known_answers
from spectra.study.page import caveat, missed, render_page, verdict_table
from spectra.study.protocol import PUBLISHED, QUICK, Protocol
from spectra.study.publish import publish
from spectra.study.run import networks, run_study

PAGE = Path(__file__).parents[2] / "docs" / "claims.md"
README = Path(__file__).parents[2] / "README.md"
CLAIMS_JSON = Path(__file__).parents[2] / "docs" / "study" / "claims.json"

TINY = replace(
    QUICK,
    seeds=2,
    ladders={"mlp": (4,)},
    widths={"mlp": 32},
    epochs={"mlp": 15},
    learning_rates={"mlp": 3e-3},
    counts={"mlp": 0},
    gof=0,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict]]:
    out = tmp_path_factory.mktemp("study") / "run"
    return out, run_study(["depth"], TINY, out, jobs=0)


def test_networks_learn_and_are_measured_from_beginning_to_end(run: tuple[Path, list[dict]]):
    _, records = run
    assert len(records) == 4
    for record in records:
        assert record["status"] == "learned"
        steps = [row["step"] for row in record["layers"] if row["layer"] == "layers.1"]
        assert steps == [0, 10, 30, 100, 165]
        start = next(row for row in record["layers"] if row["layer"] == "layers.1")
        assert start["near_zero_std"] == pytest.approx(0.0797, abs=0.03)
        assert {"activation_std", "gradient_std", "largest_share", "beyond_std"} <= set(start)


def test_the_same_call_reads_what_is_done_and_the_same_seed_gives_the_same_numbers(
    run: tuple[Path, list[dict]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    out, records = run
    monkeypatch.setattr(workers, "record_of", lambda spec, directory: pytest.fail("trained again"))
    assert run_study(["depth"], TINY, out, jobs=0) == records
    monkeypatch.undo()
    name = records[0]["name"]
    (out / "networks" / f"{name}.json").write_text("{")  # as a crash of the disk may leave it
    other = records[1]["name"]
    (out / "networks" / f"{other}.json").write_text("null")
    (again,) = [record for record in run_study(["depth"], TINY, out, jobs=0) if record["name"] == name]
    assert (again["layers"], again["status"]) == (records[0]["layers"], records[0]["status"])


def test_the_program_publishes_what_is_there_and_says_what_it_is_not(
    run: tuple[Path, list[dict]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    out, _ = run
    monkeypatch.setattr("spectra.study.run.choose_protocol", lambda quick, seeds: TINY)
    monkeypatch.setattr("spectra.study.publish.known_answers", lambda: [])  # which take long
    monkeypatch.setattr("spectra.cache.use_compilation_cache", lambda: None)
    assert program(["study", "depth", "--quick", "--out", str(out), "--jobs", "0"]) == 0
    told = capsys.readouterr().out
    assert "C0" in told and "not the published verdicts" in told
    assert (out / "claims.md").exists()


def test_a_directory_of_another_study_is_refused(run: tuple[Path, list[dict]]):
    out, _ = run
    with pytest.raises(InputError, match="another configuration"):
        run_study(["depth"], replace(TINY, seeds=3), out, jobs=0)


def test_a_network_that_fails_is_reported_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    specs = networks(["depth"], TINY)

    def broken(spec, directory):
        if spec.seed == 0:
            raise MemoryError("no room")
        return workers.failed(spec, "stand-in") | {"status": "learned", "result": {"converged": True}}

    monkeypatch.setattr("spectra.study.network.run_network", broken)
    seen = []
    records = run_study(["depth"], TINY, tmp_path, jobs=0, progress=seen.append)
    failed = [record for record in records if record["status"] == "failed"]
    assert [record["name"] for record in failed] == [spec.name for spec in specs if spec.seed == 0]
    assert failed[0]["reason"] == "MemoryError: no room"
    assert (seen[-1].networks, seen[-1].done) == (4, seen[-1].total)
    tried = []
    monkeypatch.setattr("spectra.study.network.run_network", lambda spec, d: tried.append(spec) or broken(spec, d))
    run_study(["depth"], TINY, tmp_path, jobs=0)
    assert {spec.seed for spec in tried} == {0}


def test_a_killed_process_costs_its_own_network_only(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(workers, "_work", killed_at_seed_0)
    specs = networks(["depth"], TINY)[:2]
    records = list(workers.run_all(specs, None, jobs=1))
    by_name = {record["name"]: record for record in records}
    assert {spec.seed for spec in specs} == {0, 1} and len(by_name) == 2
    for spec in specs:
        record = by_name[spec.name]
        assert record["status"] == ("failed" if spec.seed == 0 else "learned")
        assert spec.seed or "memory runs out" in record["reason"]


@pytest.fixture(scope="module")
def known() -> list[Known]:
    return known_answers(runs=10, seed=1)


@pytest.fixture(scope="module")
def document(run: tuple[Path, list[dict]], known: list[Known]) -> dict:
    out, records = run
    patch = pytest.MonkeyPatch()
    patch.setattr("spectra.study.publish.known_answers", lambda: known)
    found = publish(records, TINY, ["depth"], out)
    patch.undo()
    return found


def test_what_is_published(run: tuple[Path, list[dict]], document: dict):
    out, records = run
    assert json.loads((out / "claims.json").read_text()) == document
    assert [claim["id"] for claim in document["claims"]] == [claim.id for claim in CLAIMS]
    whole = document["claims"][0]
    # Two activations of one depth: trend and training effect of two measures each.
    assert whole["n"] == 8
    assert {cell["effect"]["n"] for cell in whole["cells"]} == {2}
    assert [claim["verdict"] for claim in document["claims"] if claim["id"] in ("C1", "C2")] == ["not tested"] * 2
    layers = pd.read_parquet(out / "layers.parquet")
    assert len(layers) == sum(len(record["layers"]) for record in records)
    assert set(pd.read_parquet(out / "networks.parquet")["status"]) == {"learned"}
    assert all(known["holds"] for known in document["known_answers"])


def test_effects_are_those_of_the_table_by_hand(run: tuple[Path, list[dict]], document: dict):
    out, _ = run
    layers = pd.read_parquet(out / "layers.parquet")
    hidden = layers[(layers.role == "hidden") & layers.network.str.contains("relu")]
    after = hidden[hidden.moment == "end"].groupby("network")["kurtosis"].mean()
    before = hidden[hidden.moment == "initial"].groupby("network")["kurtosis"].mean()
    rho = (
        hidden[hidden.moment == "end"]
        .groupby("network")
        .apply(lambda rows: rows["kurtosis"].corr(rows["index"], method="spearman"), include_groups=False)
    )
    cells = {
        (cell["question"], cell["measure"], cell["cell"]["activation"]): cell["effect"]["mean"]
        for cell in document["claims"][0]["cells"]
    }
    assert cells["training effect", "kurtosis", "relu"] == pytest.approx((after - before).mean(), rel=1e-3)
    assert cells["depth trend", "kurtosis", "relu"] == pytest.approx(rho.mean(), rel=1e-3)


def test_the_page_says_what_the_document_says(run: tuple[Path, list[dict]], document: dict):
    out, _ = run
    text = (out / "claims.md").read_text(encoding="utf-8")
    assert "not the published verdicts" in text
    for claim in document["claims"]:
        assert f"**{claim['verdict'].capitalize()}**" in text
    assert (out / "figures" / "C0-cells.png").stat().st_size > 10_000
    assert (out / "figures" / "C0-layers.png").exists()


def test_the_published_page_is_generated_from_the_published_claims():
    document = json.loads(CLAIMS_JSON.read_text(encoding="utf-8"))
    assert document["protocol"]["name"] == "published"
    figures = sorted(path.relative_to(PAGE.parent).as_posix() for path in PAGE.parent.glob("study/figures/*.png"))
    assert render_page(document, figures, "study/protocol.md") == PAGE.read_text(encoding="utf-8")
    assert verdict_table(document, "docs/claims.md") in README.read_text(encoding="utf-8")


def test_what_keeps_verdicts_from_being_published(document: dict):
    whole = document | {"protocol": document["protocol"] | {"name": "published", "seeds": 5}}
    whole |= {"experiments": list(NAMES), "networks": {"learned": 4}}
    assert caveat(whole) == ""
    assert "quick" in caveat(document)
    assert "Only 2 networks" in caveat(whole | {"protocol": whole["protocol"] | {"seeds": 2}})
    assert "Without controls" in caveat(whole | {"experiments": list(NAMES[:-1])})
    assert "1 networks failed" in caveat(whole | {"networks": {"failed": 1}})
    control = {"name": "positive control", "claimed_side": 0}
    assert missed(document) == []
    assert missed(document | {"controls": [control]}) == ["positive control"]
    assert missed(document | {"controls": [control | {"claimed_side": 1}]}) == []


def test_a_contrast_knows_what_it_was_at_initialisation(run: tuple[Path, list[dict]]):
    _, records = run
    relu, tanh = next(ladder[0] for ladder in ladders(TINY)), ladders(TINY)[1][0]
    found = contrast("C2", relu, tanh, Measure("kurtosis", 1), Tables(records))
    assert found is not None and found.before is not None and found.learning is not None
    assert found.effect.mean == pytest.approx(found.before.mean + found.learning.mean)
    assert found.before.mean == pytest.approx(0, abs=1e-6)  # the same weights, but for their scale
    assert found.cell["minus"] == "tanh"


@pytest.mark.parametrize("protocol", [PUBLISHED, QUICK], ids=lambda p: p.name)
def test_every_network_of_the_protocols_can_be_built(protocol: Protocol):
    specs = networks(NAMES, protocol)
    assert {spec.seed for spec in specs} == set(range(protocol.seeds))
    assert all(spec.config.schedule == "cosine" for spec in specs)
    assert all(experiment(name).specs(protocol) for name in NAMES)
    assert experiment("depth").findings(protocol, Tables([])) == []


def test_an_unknown_experiment_and_a_depth_of_zero_are_refused():
    with pytest.raises(InputError, match="depth, initialisation"):
        networks(["width"], QUICK)
    with pytest.raises(InputError, match="depth is 0"):
        QUICK.spec("mlp", 0, 0)


def test_known_answers_hold_and_would_not_for_other_numbers(known: list[Known]):
    for answer in known:
        assert answer.holds, answer
        assert not answer._replace(measured=answer.high + 1e-6).holds
    assert [m.name for m in SPARSE_AND_HEAVY if m.primary] == ["near_zero_std", "kurtosis"]
    assert np.isfinite([answer.measured for answer in _trends(np.random.default_rng(0), runs=1, seed=0)]).all()
