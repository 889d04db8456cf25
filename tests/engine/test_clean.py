"""Whole checkpoints cleaned: what is written, what is reported, and what stays as it was.

All layers have 40 eigenvalues, so that the programs of one are those of all.
"""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import scipy.stats
import torch
from safetensors.numpy import load_file, save_file

import spectra
from spectra.engine import clean_layer
from spectra.engine.clean_layer import Removal
from spectra.engine.clean_run import Ahead, Work
from spectra.engine.options import Options
from spectra.engine.padding import choose_lengths
from spectra.engine.plan import Job, make_plan
from spectra.engine.progress import Tally
from spectra.errors import CheckpointError, InputError, OutputError
from spectra.models.formats import open_source
from spectra.models.layers import find_layers
from spectra.models.matrices import MatrixView

N, M = 60, 40
RNG = np.random.default_rng(8)
STRENGTH = 0.02 * (N * M) ** 0.25
U, V = (RNG.choice([-1.0, 1.0], size) / np.sqrt(size) for size in (N, M))


def noise(*shape: int) -> np.ndarray:
    return (0.02 * RNG.standard_normal(shape)).astype(np.float32)


def trapped() -> np.ndarray:
    """Noise with a direction of four times what leaves the bulk, and an entry of three times."""
    w = noise(N, M) + (4 * STRENGTH * np.outer(U, V)).astype(np.float32)
    w[7, 9] = 3 * STRENGTH
    return w


def entries_of(path: Path) -> dict[str, np.ndarray]:
    source = open_source(path)
    found = {info.name: np.asarray(source.read(info.name)) for info in source.tensors}
    source.close()
    return found


@pytest.fixture(scope="module")
def cleaned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, spectra.Cleaning, dict[str, np.ndarray]]:
    """A model without its traps; the weights before."""
    place = tmp_path_factory.mktemp("traps")
    meant = noise(N, M) + np.float32(3 * STRENGTH / np.sqrt(N * M))
    conv = noise(15, 10, 2, 2)
    conv[3, 4, 1, 0] = 1.0
    weights = {
        "a.weight": trapped(),
        "b.weight": meant,
        "c.weight": noise(N, M),
        "conv.weight": conv,
        "half.weight": trapped().astype(ml_dtypes.bfloat16),
        "a.bias": noise(N),
        "norm.weight": noise(M),
        "steps": np.arange(4),
    }
    save_file(weights, place / "m.safetensors", {"format": "pt"})
    return place, spectra.clean(place / "m.safetensors", place / "n.safetensors"), weights


def test_the_entry_goes_and_the_direction_stays(cleaned):
    place, found, weights = cleaned
    after = load_file(place / "n.safetensors")
    for name in ("a.weight", "half.weight"):
        expected = weights[name].copy()
        expected[7, 9] = 0
        assert after[name].tobytes() == expected.tobytes()
        m = found[name].metrics
        assert (m["removed_entries"], m["removed_means"]) == (1, 0)
        assert (m["rand_num_spikes_a"], m["rand_num_spikes_b"]) == (1, 0)
        assert (m["num_spikes_a"], m["num_spikes_b"]) == (2, 1)
        left = np.linalg.svd(after[name].astype(np.float64))
        assert (left.U[:, 0] @ U) ** 2 > 0.9 and (left.Vh[0] @ V) ** 2 > 0.9
        np.testing.assert_allclose(m["lambda_max_b"], left.S[0] ** 2, rtol=1e-4)


def test_a_mean_goes(cleaned):
    place, found, weights = cleaned
    after = load_file(place / "n.safetensors")["b.weight"].astype(np.float64)
    before = weights["b.weight"].astype(np.float64)
    np.testing.assert_allclose(after, before - before.mean(), atol=1e-7)
    m = found["b.weight"].metrics
    assert (m["removed_entries"], m["removed_means"]) == (0, 1)
    assert (m["rand_num_spikes_a"], m["rand_num_spikes_b"], m["num_spikes_b"]) == (1, 0, 0)


def test_convolutions_are_cleaned_position_by_position(cleaned):
    place, found, weights = cleaned
    after = load_file(place / "n.safetensors")["conv.weight"]
    assert np.argwhere(after != weights["conv.weight"]).tolist() == [[3, 4, 1, 0]] and after[3, 4, 1, 0] == 0
    assert found["conv.weight"].metrics["removed_entries"] == 1 and found["conv.weight"].metrics["rf"] == 4


def test_the_rest_keeps_its_bits(cleaned):
    place, found, weights = cleaned
    after = load_file(place / "n.safetensors")
    assert set(after) == set(weights)
    for name in ("c.weight", "a.bias", "norm.weight", "steps"):
        assert after[name].tobytes() == weights[name].tobytes()
    assert [layer.name for layer in found if layer.changed] == ["a.weight", "b.weight", "conv.weight", "half.weight"]
    assert found["c.weight"].metrics["relative_change"] == 0 and found["c.weight"].after is found["c.weight"].before
    assert "a.bias" not in [layer.name for layer in found]


def test_the_change_is_that_of_what_is_written(cleaned):
    place, found, weights = cleaned
    after = load_file(place / "n.safetensors")
    for name in ("a.weight", "b.weight", "half.weight", "conv.weight"):
        a, b = (w[name].astype(np.float64) for w in (weights, after))
        m = found[name].metrics
        np.testing.assert_allclose(m["delta_norm"], np.linalg.norm(b - a), rtol=1e-12)
        np.testing.assert_allclose(m["relative_change"], np.linalg.norm(b - a) / np.linalg.norm(a), rtol=1e-12)


def test_before_and_after_are_what_analyze_finds(cleaned):
    place, found, _ = cleaned
    for file, side in (("m.safetensors", "a"), ("n.safetensors", "b")):
        report = spectra.analyze(place / file, null=True)
        for layer in found:
            for name in ("alpha", "sigma", "num_pl_spikes", "stable_rank", "num_spikes", "rand_num_spikes"):
                assert layer.metrics[f"{name}_{side}"] == report[layer.name].metrics[name], (layer.name, name)


def test_table_summary_and_words(cleaned, tmp_path: Path):
    _, found, _ = cleaned
    table = found.to_pandas()
    assert list(table["name"]) == ["a.weight", "b.weight", "c.weight", "conv.weight", "half.weight"]
    assert set(table["model"]) == {found.label} and table["removed_entries"].dtype.name == "Int64"
    s = found.summary()
    assert (s["layers"], s["changed"], s["failed"], s["skipped"]) == (5, 4, 0, 0)
    assert (s["removed_entries"], s["removed_means"], s["traps_a"], s["traps_b"]) == (3, 1, 4, 0)
    assert "4 of 5 layers changed" in repr(found)
    found.save(tmp_path / "t.parquet")
    assert found.meta["remove"] == "traps" and found.meta["null"] is True
    with pytest.raises(KeyError, match="no layer 'x'"):
        found["x"]


def test_cleaning_again_changes_nothing(cleaned, tmp_path: Path):
    place, _, _ = cleaned
    again = spectra.clean(place / "n.safetensors", tmp_path / "n.safetensors")
    assert again.summary()["changed"] == 0
    assert (tmp_path / "n.safetensors").read_bytes() == (place / "n.safetensors").read_bytes()


VIEWS = {
    "dense": ({"fc.weight": (N, M)}, {}),
    "stack": ({"blocks.mlp.kernel": (3, M, N)}, {}),
    "experts": ({"mlp.experts.gate_up_proj": (2, M, N)}, {}),
    "heads": ({"attn.query.kernel": (N, 2, M), "attn.key.kernel": (N, 2, M)}, {"heads": "split"}),
    "folded": ({"attn.out.kernel": (4, 15, M), "attn.query.kernel": (M, 4, 15)}, {}),
    "gates": ({"lstm.weight_ih_l0": (4 * N, M), "lstm.weight_hh_l0": (4 * N, N)}, {"layers": ["*ih*"]}),
    "conv": ({"conv.weight": (15, 10, 2, 2)}, {}),
    "conv of Flax": ({"conv.kernel": (2, 2, 15, 10), "conv.bias": (10,)}, {}),
    "conv flattened": ({"conv.weight": (M, 15, 2, 2)}, {"conv": "flatten"}),
}


@pytest.mark.parametrize("kind", VIEWS)
def test_every_matrix_goes_back_to_its_place(kind: str, tmp_path: Path):
    shapes, options = VIEWS[kind]
    weights = {name: (100 * noise(*shape)) for name, shape in shapes.items()}
    save_file(weights, tmp_path / "m.safetensors")
    found = spectra.clean(tmp_path / "m.safetensors", tmp_path / "n.safetensors", remove="bulk", keep="detX", **options)
    after = load_file(tmp_path / "n.safetensors")
    rules = {name: value for name, value in options.items() if name in ("conv", "heads")}
    source = open_source(tmp_path / "m.safetensors")
    seen, touched = 0, set()
    for layer in find_layers(source.tensors, **rules):
        if layer.view is None or layer.name not in [row.name for row in found]:
            continue
        kept = found[layer.name].metrics["kept_components"]
        assert 0 < kept < 40 == layer.view.num_evals and found[layer.name].changed
        one, new = (layer.view.matrices(w[layer.tensor]) for w in (weights, after))
        u, s, vt = np.linalg.svd(one.astype(np.float64), full_matrices=False)
        cut = np.where(s >= np.sort(s.ravel())[-kept], s, 0)
        np.testing.assert_allclose(new, (u * cut[:, None]) @ vt, atol=1e-5)
        seen, touched = seen + 1, touched | {layer.tensor}
    assert seen == len(found) > 0
    for name in set(weights) - touched:
        assert after[name].tobytes() == weights[name].tobytes()


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "float8_e4m3fn"])
def test_every_type_is_written_in_itself(dtype: str, tmp_path: Path):
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    w = (50 * trapped()).astype(kind)
    tensor = torch.from_numpy(w.astype(np.float32)).to(getattr(torch, dtype))
    torch.save({"fc.weight": tensor, "fc.bias": tensor[0].clone()}, tmp_path / "m.pt")
    found = spectra.clean(tmp_path / "m.pt", tmp_path / "n.pt", remove="bulk")
    after = entries_of(tmp_path / "n.pt")
    assert after["fc.weight"].dtype == kind and after["fc.bias"].tobytes() == w[0].tobytes()
    m = found["fc.weight"].metrics
    assert m["kept_components"] == m["num_spikes_a"] and 1 <= m["kept_components"] <= 3
    u, s, vt = np.linalg.svd(w.astype(np.float64), full_matrices=False)
    k = m["kept_components"]
    eps = float(ml_dtypes.finfo(kind).eps)
    np.testing.assert_allclose(after["fc.weight"].astype(np.float64), (u[:, :k] * s[:k]) @ vt[:k], rtol=eps, atol=0.002)


def test_bulk_and_shrinkage(tmp_path: Path):
    w = noise(N, M) + (4 * STRENGTH * np.outer(U, V)).astype(np.float32)
    np.savez(tmp_path / "m.npz", signal=w, noise=noise(N, M))
    kept = spectra.clean(tmp_path / "m.npz", tmp_path / "n.npz", remove="bulk")
    assert kept["signal"].metrics["kept_components"] == 1 and kept["signal"].metrics["removed_components"] == 39
    np.testing.assert_allclose(kept["signal"].metrics["stable_rank_b"], 1, rtol=1e-5)
    assert not kept["noise"].changed and kept["noise"].warning == "left as it is: no eigenvalue is beyond the bulk"
    shrunk = spectra.clean(tmp_path / "m.npz", tmp_path / "s.npz", remove="bulk", shrink=True)["signal"].metrics
    bulk = shrunk["lambda_max_a"], *(kept["signal"].before.metrics[name] for name in ("bulk_min", "bulk_max"))
    expected = (bulk[0] - bulk[1]) * (bulk[0] - bulk[2]) / bulk[0]
    np.testing.assert_allclose(shrunk["lambda_max_b"], expected, rtol=1e-4)


def test_keep_what_the_fit_counts(tmp_path: Path):
    w = RNG.standard_t(3, (N, M)).astype(np.float32)
    np.savez(tmp_path / "m.npz", w=w)
    for keep, column in (("tail", "num_pl_spikes"), ("detX", "detX_num")):
        row = spectra.clean(tmp_path / "m.npz", tmp_path / f"{keep}.npz", remove="bulk", keep=keep)["w"]
        wanted = row.before.metrics[column]
        assert row.metrics["kept_components"] == wanted
        values = np.linalg.svd(np.load(tmp_path / f"{keep}.npz")["w"].astype(np.float64), compute_uv=False)
        assert np.sum(values > 1e-4 * values[0]) == wanted


def test_layers_and_seed(tmp_path: Path):
    weights = {f"layers.{i}.weight": trapped() for i in range(3)}
    np.savez(tmp_path / "m.npz", **weights)
    found = [
        spectra.clean(tmp_path / "m.npz", tmp_path / f"{i}.npz", layers=["layers.[02].*"], seed=seed)
        for i, seed in enumerate((0, 0, 1))
    ]
    after = [np.load(tmp_path / f"{i}.npz") for i in range(3)]
    assert [layer.name for layer in found[0]] == ["layers.0.weight", "layers.2.weight"]
    assert after[0]["layers.1.weight"].tobytes() == weights["layers.1.weight"].tobytes()
    assert found[0].to_pandas().equals(found[1].to_pandas())
    for name in weights:
        assert after[0][name].tobytes() == after[1][name].tobytes()
    spectra_of = [layer.before.metrics["max_rand_eval"] for layer in (found[0].layers[0], found[2].layers[0])]
    assert spectra_of[0] != spectra_of[1]


def test_broken_layers_stay_and_are_named(tmp_path: Path):
    broken = trapped()
    broken[0, 0] = np.nan
    weights = {"a.kernel": trapped(), "b.kernel": broken, "c.kernel": np.ones((N, M), np.int8), "d.kernel": noise(3, 4)}
    weights["e.foo"] = noise(5, 6, 7)
    weights["depthwise.kernel"] = noise(5, 8, 1, 96)  # 40 vectors, one at each position
    weights["zero.kernel"] = np.zeros((N, M), np.float32)
    weights["ones.kernel"] = np.ones((N, M), np.float32)
    np.savez(tmp_path / "m.npz", **weights)
    found = spectra.clean(tmp_path / "m.npz", tmp_path / "n.npz")
    after = np.load(tmp_path / "n.npz")
    told = {layer.name: (layer.status, layer.warning) for layer in found}
    assert told["a.kernel"] == ("success", "")
    assert told["b.kernel"][0] == "failed" and "NaN in 1 of 2400" in told["b.kernel"][1]
    assert told["c.kernel"][0] == "skipped" and "integer weights (int8)" in told["c.kernel"][1]
    assert told["d.kernel"][0] == "skipped" and "fewer than min_evals=10" in told["d.kernel"][1]
    assert told["e.foo"][0] == "failed" and "--layout" in told["e.foo"][1]
    assert told["depthwise.kernel"][0] == "skipped" and "a vector at each position" in told["depthwise.kernel"][1]
    assert told["zero.kernel"] == told["ones.kernel"] == ("success", "")
    for name in set(weights) - {"a.kernel"}:
        assert after[name].tobytes() == weights[name].tobytes()
    assert found["a.kernel"].changed and found.summary()["failed"] == 2
    bulk = spectra.clean(tmp_path / "m.npz", tmp_path / "k.npz", remove="bulk", keep="tail", layers=["ones*", "zero*"])
    assert {layer.warning for layer in bulk} == {"left as it is: there is no power-law fit"}


def test_adapters_are_left_alone(tmp_path: Path):
    factors = {"q.lora_A.weight": noise(16, M), "q.lora_B.weight": noise(N, 16)}
    np.savez(tmp_path / "m.npz", **factors, **{"k.weight": trapped()})
    found = spectra.clean(tmp_path / "m.npz", tmp_path / "n.npz", remove="bulk")
    assert [layer.status for layer in found] == ["skipped", "skipped", "success"]
    assert "merge the adapter" in found["q.lora_A.weight"].warning
    np.savez(tmp_path / "adapter.npz", **factors)
    with pytest.raises(
        InputError, match=r"adapter\.npz: has no layer that could be cleaned \(q.lora_A.weight: a factor"
    ):
        spectra.clean(tmp_path / "adapter.npz", tmp_path / "x.npz")
    assert not (tmp_path / "x.npz").exists()


def test_tied_weights_are_cleaned_once_and_stay_tied(tmp_path: Path):
    shared = torch.from_numpy(np.stack([trapped(), noise(N, M)]))
    state = {"head.weight": shared[0], "wte.weight": shared[0], "whole": shared, "own.weight": shared[1]}
    torch.save(state, tmp_path / "m.pt")
    found = spectra.clean(tmp_path / "m.pt", tmp_path / "n.pt", layers=["head*", "wte*", "own*"])
    assert [(layer.name, layer.status) for layer in found] == [
        ("head.weight", "success"),
        ("wte.weight", "skipped"),
        ("own.weight", "success"),
    ]
    assert "shares its memory with 'head.weight'" in found["wte.weight"].warning
    after = torch.load(tmp_path / "n.pt", weights_only=True)
    assert after["wte.weight"].data_ptr() == after["head.weight"].data_ptr() == after["whole"].data_ptr()
    assert after["wte.weight"][7, 9] == 0
    assert torch.equal(after["own.weight"], shared[1])


def test_slices_of_one_matrix_are_not_tied(tmp_path: Path):
    fused = torch.from_numpy(noise(N, 2 * M))
    torch.save({"q.weight": fused[:, :M], "k.weight": fused[:, M:]}, tmp_path / "m.pt")
    found = spectra.clean(tmp_path / "m.pt", tmp_path / "n.pt")
    assert [layer.status for layer in found] == ["success", "success"]


def test_float64_is_counted_in_float64(monkeypatch: pytest.MonkeyPatch):
    """The programs for it take seconds to compile and are those of `analyze`."""
    seen = []

    def permuted_spikes(weights: np.ndarray, view: MatrixView, kurtosis: float, *_: object) -> int:
        seen.append((weights.dtype, jnp.zeros(1).dtype, kurtosis))
        return 3

    monkeypatch.setattr(clean_layer, "permuted_spikes", permuted_spikes)
    w = trapped()[None]
    for precision in ("float32", "float64"):
        assert clean_layer._count_traps(w, None, "w", Options(precision=precision), None) == 3
        kurtosis = float(scipy.stats.kurtosis(w.astype(np.float64), axis=None))
        assert seen[-1][:2] == (precision, precision)
        np.testing.assert_allclose(seen[-1][2], kurtosis, rtol=1e-5 if precision == "float32" else 1e-12)


def test_float64_beyond_float32_asks_for_it(tmp_path: Path):
    np.savez(tmp_path / "m.npz", w=trapped().astype(np.float64) * 1e60)
    [row] = spectra.clean(tmp_path / "m.npz", tmp_path / "n.npz")
    assert row.status == "failed" and "use precision float64" in row.warning


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"remove": "noise"}, "remove='noise' is unknown: choose one of traps, bulk"),
        ({"remove": "bulk", "keep": "top"}, "keep='top' is unknown"),
        ({"keep": "tail"}, "add remove='bulk'"),
        ({"shrink": True}, "add remove='bulk'"),
        ({"remove": "bulk", "shrink": 1}, "shrink=1 must be True or False"),
        ({"remove": "bulk", "keep": "tail", "shrink": True}, "does not go with keep='tail'"),
        ({"conv": "fft"}, "choose pool or flatten"),
        ({"layers": ["none*"]}, "no layer matches 'none\\*'"),
        ({"layers": ["bias"]}, "no layer that could be cleaned"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_wrong_options_are_found_before_the_work(options: dict, words: str, tmp_path: Path):
    np.savez(tmp_path / "m.npz", w=noise(N, M), bias=noise(M))
    with pytest.raises(InputError, match=words):
        spectra.clean(tmp_path / "m.npz", tmp_path / "n.npz", **options)
    assert [path.name for path in tmp_path.iterdir()] == ["m.npz"]


def test_objects_in_memory_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="save the parameters first"):
        spectra.clean({"w": noise(N, M)}, tmp_path / "n.npz")  # type: ignore[arg-type]


def test_places_are_checked_before_the_model_is_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    np.savez(tmp_path / "m.npz", w=noise(N, M))
    monkeypatch.setattr("spectra.engine.clean.make_plan", lambda *_: pytest.fail("began to work"))
    with pytest.raises(OutputError, match="is the model itself"):
        spectra.clean(tmp_path / "m.npz", tmp_path / "m.npz")
    with pytest.raises(OutputError, match="there is no directory"):
        spectra.clean(tmp_path / "m.npz", tmp_path / "no" / "n.npz")


def test_a_damaged_tensor_leaves_nothing(tmp_path: Path):
    weights = {"a": trapped(), "b": noise(N, M)}
    np.savez(tmp_path / "m.npz", **weights)
    data = (tmp_path / "m.npz").read_bytes()
    place = data.index(weights["b"].tobytes())
    (tmp_path / "m.npz").write_bytes(data[:place] + b"\1\2\3" + data[place + 3 :])
    with pytest.raises(CheckpointError, match="tensor 'b'"):
        spectra.clean(tmp_path / "m.npz", tmp_path / "n.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["m.npz"]


def test_progress(tmp_path: Path):
    np.savez(tmp_path / "m.npz", a=noise(N, M), b=noise(N, M), bias=noise(M))
    told: list[spectra.Progress] = []
    spectra.clean(tmp_path / "m.npz", tmp_path / "n.npz", progress=told.append)
    assert [progress.name for progress in told] == ["a", "b", ""]
    assert told[-1].done == told[-1].total and told[-1].layer == told[-1].layers == 3


class _Watched:
    """A source that counts how many of its tensors are read ahead of those that were asked for."""

    in_memory = False

    def __init__(self, inner: object) -> None:
        self.__dict__.update(inner.__dict__)
        self.inner, self.asked, self.most, self.lock = inner, 0, 0, threading.Lock()
        self.reads = 0

    def read(self, name: str) -> np.ndarray:
        with self.lock:
            self.reads += 1
            self.most = max(self.most, self.reads - self.asked)
        return self.inner.read(name)


@pytest.mark.parametrize("room", [0, 1 << 40])
def test_no_more_is_read_ahead_than_memory_allows(room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    names = [f"w{i}" for i in range(6)]
    np.savez(tmp_path / "m.npz", **dict.fromkeys(names, noise(N, M)))
    monkeypatch.setattr("spectra.engine.clean_run.ROOM", room)
    options = Options(null=True)
    source = _Watched(open_source(tmp_path / "m.npz"))
    plan = make_plan(source, options)
    jobs = [Job(step.layer.tensor, (step,), 4 * N * M) for step in plan.steps]

    class OneCore:
        name, workers, lengths = "lapack", 2, choose_lengths([M])

        def spectra(self, matrices: np.ndarray, route: str) -> tuple[np.ndarray, np.ndarray]:
            return np.linalg.svd(matrices.astype(np.float64), compute_uv=False), np.zeros(len(matrices))

    ahead = Ahead(jobs, Work(source, options, Removal(), OneCore()), 0, Tally([plan], None))
    for name in (*names[3:], *names[:3], "unknown"):  # in any order
        source.asked += 1
        assert ahead(name) is None
    ahead.close()
    assert sorted(ahead.layers) == [0, 1, 2, 3, 4, 5]
    assert (source.most, ahead.workers) == (0, 1) if room == 0 else source.most > 1 and ahead.workers == 2


def test_shards_and_orbax_go_the_same_way(tmp_path: Path):
    import orbax.checkpoint as ocp

    w = trapped()
    shard = tmp_path / "shards"
    shard.mkdir()
    for name in ("one", "two"):
        save_file({f"{name}.weight": w}, shard / f"{name}.safetensors")
    (shard / "config.json").write_text("{}")
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "orbax", {"params": {"one": {"kernel": w}, "two": {"kernel": w}}})
    expected = w.copy()
    expected[7, 9] = 0
    for place in ("shards", "orbax"):
        found = spectra.clean(tmp_path / place, tmp_path / f"new {place}")
        assert found.summary()["removed_entries"] == 2
        for after in entries_of(tmp_path / f"new {place}").values():
            assert after.tobytes() == expected.tobytes()
        shutil.rmtree(tmp_path / place)
    assert (tmp_path / "new shards" / "config.json").exists()
