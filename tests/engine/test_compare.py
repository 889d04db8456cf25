"""Two checkpoints against NumPy and SciPy in float64, layer kind by layer kind, and what goes wrong with them."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save_file
from scipy import stats
from spectral_matrices import STRUCTURED, orthonormal

import spectra
from spectra.engine.compare import compare
from spectra.engine.compare_vectors import host_vectors
from spectra.errors import InputError
from spectra.report.comparison import LayerComparison

RNG = np.random.default_rng(11)


def heavy(*shape: int) -> np.ndarray:
    return RNG.standard_t(3, shape).astype(np.float32)


def near(w: np.ndarray, by: float = 0.2) -> np.ndarray:
    return (w + by * RNG.standard_normal(w.shape)).astype(w.dtype)


def one(a: np.ndarray, b: np.ndarray, name: str = "fc.kernel", **options) -> LayerComparison:
    [layer] = compare({name: a}, {name: b}, **options)
    return layer


def expected(before: list[np.ndarray], after: list[np.ndarray], k: int) -> dict[str, float]:
    """The columns that take both tensors, by their definitions."""
    a, b = ([np.asarray(w, np.float64) for w in matrices] for matrices in (before, after))
    a, b = ([w if w.shape[0] >= w.shape[1] else w.T for w in matrices] for matrices in (a, b))
    delta = [y - x for x, y in zip(a, b, strict=True)]
    sizes = [np.linalg.svd(w, compute_uv=False) ** 2 for w in delta]
    lambdas = np.concatenate(sizes)
    norm = np.sqrt(sum(np.sum(w**2) for w in delta))
    evals = [np.concatenate([np.linalg.svd(w, compute_uv=False) ** 2 for w in matrices]) for matrices in (a, b)]
    found = {
        "delta_norm": norm,
        "relative_change": norm / np.sqrt(sum(np.sum(w**2) for w in a)),
        "delta_lambda_max": lambdas.max(),
        "delta_sv_max": np.sqrt(lambdas.max()),
        "delta_stable_rank": lambdas.sum() / lambdas.max(),
        "w1_distance": stats.wasserstein_distance(*evals) / evals[0].mean(),
        "top": k,
    }
    shared: dict[str, list[float]] = {"overlap_u": [], "overlap_v": [], "cos_u": [], "cos_v": []}
    for x, y in zip(a, b, strict=True):
        (u, _, v), (s, _, t) = np.linalg.svd(x, full_matrices=False), np.linalg.svd(y, full_matrices=False)
        for side, one_side, other in (("u", u[:, :k], s[:, :k]), ("v", v[:k].T, t[:k].T)):
            shared[f"overlap_{side}"].append(np.sum((one_side.T @ other) ** 2) / k)
            shared[f"cos_{side}"].append(np.mean(np.sum(one_side * other, axis=0) ** 2))
    n, m = a[0].shape
    found |= {name: np.mean(shared[name]) for name in ("overlap_u", "overlap_v")}
    found |= {name: np.sqrt(np.mean(shared[name])) for name in ("cos_u", "cos_v")}
    found |= {"chance_u": k / n, "chance_v": k / m, "chance_cos_u": n**-0.5, "chance_cos_v": m**-0.5}
    return found


def assert_columns(layer: LayerComparison, want: dict[str, float], rtol: float = 1e-3) -> None:
    assert layer.status == "success"
    for name, value in want.items():
        np.testing.assert_allclose(layer.metrics[name], value, rtol=rtol, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("shape", [(70, 30), (30, 70)])
def test_dense(shape):
    a = heavy(*shape)
    b = near(a)
    layer = one(a, b)
    assert_columns(layer, expected([a], [b], 10))
    assert (layer.metrics["N"], layer.metrics["M"], layer.kind) == (70, 30, "dense")
    np.testing.assert_allclose(layer.delta_eigenvalues[-1], layer.metrics["delta_lambda_max"])


@pytest.mark.parametrize(("leaf", "axes"), [("weight", (3, 2, 0, 1)), ("kernel", (0, 1, 2, 3))])
def test_convolutions_are_pooled_over_positions(leaf, axes):
    a = heavy(2, 1, 20, 14)  # positions, in, out
    b = near(a)
    matrices = [[w[0, 0], w[1, 0]] for w in (a, b)]
    layer = one(a.transpose(axes), b.transpose(axes), f"conv.{leaf}")
    assert layer.kind == "conv2d" and layer.metrics["rf"] == 2
    assert_columns(layer, expected(*matrices, 7))  # at most half of M = 14
    flat = one(a.transpose(axes), b.transpose(axes), f"conv.{leaf}", conv="flatten")
    assert_columns(flat, expected([a.reshape(-1, 14)], [b.reshape(-1, 14)], 7))


def test_stacked_layers_and_heads_are_cut_as_analyze_cuts_them():
    stack = heavy(3, 40, 20)
    heads = heavy(32, 4, 8)
    a = {"layers": {"Dense_0": {"kernel": stack, "bias": heavy(3, 20)}}, "attn": {"query": {"kernel": heads}}}
    b = {
        "layers": {"Dense_0": {"kernel": near(stack), "bias": heavy(3, 20)}},
        "attn": {"query": {"kernel": near(heads)}},
    }
    found = compare(a, b)
    assert [layer.name for layer in found] == [layer.name for layer in spectra.analyze(a)]
    for i in range(3):
        [layer] = found[f"layers.Dense_0.kernel[{i}]"]
        assert_columns(layer, expected([stack[i]], [b["layers"]["Dense_0"]["kernel"][i]], 10))
    [layer] = found["attn.query.kernel"]
    folded = [w["attn"]["query"]["kernel"].reshape(32, 32) for w in (a, b)]
    assert_columns(layer, expected([folded[0]], [folded[1]], 10))


def test_what_analyze_measures_is_the_same_here():
    a, b = heavy(60, 30), heavy(60, 30)
    layer = one(a, b)
    before, after = (spectra.analyze({"fc.kernel": w})["fc"].metrics for w in (a, b))
    for name in ("alpha", "sigma", "stable_rank", "near_zero_std", "kurtosis"):
        assert (layer.metrics[f"{name}_a"], layer.metrics[f"{name}_b"]) == (before[name], after[name])
    m = layer.metrics
    assert m["alpha_shift"] == after["alpha"] - before["alpha"]
    np.testing.assert_allclose(m["alpha_shift_sigma"], np.sqrt(before["sigma"] ** 2 + after["sigma"] ** 2))
    np.testing.assert_allclose(m["alpha_z"], m["alpha_shift"] / m["alpha_shift_sigma"])
    assert m["kurtosis_shift"] == after["kurtosis"] - before["kurtosis"]


def test_the_change_has_the_alpha_that_analyze_gives_it():
    a, delta = RNG.standard_normal((2, 120, 32))
    want = spectra.analyze({"fc.kernel": delta})["fc"].metrics
    # In any unit: a threshold of 1e-5 on the eigenvalues must not cut a small change off.
    for scale in (1.0, 2.0**-20):
        layer = one(a, a + scale * delta, precision="float64")
        np.testing.assert_allclose(layer.metrics["delta_alpha"], want["alpha"], rtol=1e-4)
        np.testing.assert_allclose(layer.metrics["delta_sv_max"], scale * want["sv_max"], rtol=1e-5)


def test_vectors_have_a_size_of_change_and_no_spectrum():
    a, b = heavy(50), heavy(50)
    [layer] = compare({"fc.kernel": heavy(20, 20), "fc.bias": a}, {"fc.kernel": heavy(20, 20), "fc.bias": b})["fc.bias"]
    assert layer.status == "success" and layer.delta_eigenvalues is None
    np.testing.assert_allclose(layer.metrics["delta_norm"], np.linalg.norm(b - a), rtol=1e-6)
    assert layer.metrics.get("overlap_u") is None and layer.metrics["alpha_shift"] is None


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_precision(precision):
    a = RNG.standard_normal((60, 30))
    b = a * (1 + 1e-9)  # the difference is taken in the tensors' own type
    layer = one(a, b, precision=precision)
    np.testing.assert_allclose(layer.metrics["relative_change"], 1e-9, rtol=1e-5)
    if precision == "float64":
        b = near(a)
        assert_columns(one(a, b, precision=precision), expected([a], [b], 10), rtol=1e-8)


def test_element_types_may_differ():
    a = heavy(40, 30)
    b = a.astype(ml_dtypes.bfloat16)
    layer = one(a, b)
    assert layer.dtype == "float32→bfloat16"
    assert_columns(layer, expected([a], [b.astype(np.float32)], 10))
    assert 1e-4 < layer.metrics["relative_change"] < 2**-8


def test_independent_layers_overlap_at_chance():
    a, b = ({f"layers.{i}.kernel": heavy(48, 32) for i in range(30)} for _ in "ab")
    found = compare(a, b, top=4)
    for side, d in (("u", 48), ("v", 32)):
        spread = np.sqrt(2) * (1 - 4 / d) / np.sqrt((d - 1) * (d + 2))
        values = [layer.metrics[f"overlap_{side}"] for layer in found]
        assert abs(np.mean(values) - 4 / d) < 4 * spread / np.sqrt(len(values))


# degenerate changes


def test_equal_checkpoints():
    w = heavy(40, 30)
    layer = one(w, w.copy())
    m = layer.metrics
    assert m["delta_norm"] == m["relative_change"] == m["delta_lambda_max"] == m["w1_distance"] == 0
    assert m["delta_stable_rank"] is None and m["delta_alpha"] is None
    np.testing.assert_allclose([m[name] for name in ("overlap_u", "overlap_v", "cos_u", "cos_v")], 1, atol=1e-6)
    assert m["alpha_shift"] == 0 and layer.warning.startswith("unchanged")


def test_a_change_of_low_rank():
    a = heavy(60, 30)
    update = (orthonormal(RNG, 60, 2) * [3.0, 1.0]) @ orthonormal(RNG, 30, 2).T
    m = one(a, (a + update).astype(np.float32)).metrics
    np.testing.assert_allclose(m["delta_stable_rank"], 10 / 9, rtol=1e-4)
    np.testing.assert_allclose(m["delta_sv_max"], 3, rtol=1e-4)


def test_matrices_of_low_rank_compare_the_directions_they_have():
    u, v = orthonormal(RNG, 60, 3), orthonormal(RNG, 30, 3)
    a, b = (((u * values) @ v.T).astype(np.float32) for values in ([3, 2, 1], [4, 2.5, 1]))
    m = one(a, b).metrics
    assert m["top"] == 3
    np.testing.assert_allclose((m["overlap_u"], m["overlap_v"], m["chance_u"]), (1, 1, 3 / 60), atol=1e-5)


def test_from_zero():
    m = one(np.zeros((40, 30), np.float32), heavy(40, 30)).metrics
    assert m["relative_change"] is None and m["w1_distance"] is None
    assert m["overlap_u"] is None and m["top"] is None and m["delta_norm"] > 0


@pytest.mark.parametrize("shape", [(1, 24), (24, 1), (4, 24), (1, 1)])
def test_few_eigenvalues_are_enough_for_the_change(shape):
    a, b = heavy(*shape), heavy(*shape)
    rest = {"other.kernel": heavy(20, 20)}
    [layer] = compare({"fc.kernel": a, **rest}, {"fc.kernel": b, **rest})["fc.kernel"]
    want = expected([a], [b], max(min(shape) // 2, 1))
    del want["w1_distance"]  # no spectrum of the layers themselves
    assert_columns(layer, want)
    assert "fewer than min_evals" in layer.warning and layer.metrics["alpha_shift"] is None


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e30])
def test_tiny_and_huge_changes(scale):
    a = heavy(40, 30)
    delta = (heavy(40, 30) * scale).astype(np.float32)
    start = a if scale > 1 else np.zeros_like(a)
    m = one(start, (start + delta).astype(np.float32)).metrics if scale != 1e-42 else None
    if m is None:  # a change of subnormal weights, between weights that are not
        ones = np.full((40, 30), 2e-38, np.float32)
        m = one(ones, ones + delta).metrics
        delta = (ones + delta) - ones
    np.testing.assert_allclose(m["delta_norm"], np.linalg.norm(delta.astype(np.float64)), rtol=1e-5)
    np.testing.assert_allclose(m["delta_sv_max"], np.linalg.norm(delta.astype(np.float64), 2), rtol=1e-4)


def test_top_zero_leaves_the_overlaps_out():
    m = one(heavy(40, 30), heavy(40, 30), top=0).metrics
    assert m["delta_norm"] > 0 and "overlap_u" not in m


@pytest.mark.parametrize("name", STRUCTURED)
def test_vectors_of_the_host(name: str):
    """LAPACK's part of the spectrum: orthonormal singular vectors, as far as they are resolved."""
    w, k = STRUCTURED[name].astype(np.float32), 6
    found = host_vectors(w, k)
    left, right, resolved = np.float64(found.left), np.float64(found.right), int(found.resolved)
    x = w.astype(np.float64)
    true = np.linalg.svd(x, compute_uv=False)
    for q in (left, right):
        np.testing.assert_allclose(q.T @ q, np.eye(k), atol=1e-5)
    kept = np.abs(np.diag(left.T @ x @ right))[:resolved]
    np.testing.assert_allclose(kept, true[:resolved], rtol=0.05, atol=2e-3 * true[0])
    assert resolved >= min(k, np.sum(true > 0.01 * true[0])) if true[0] > 0 else resolved == 0


def test_both_backends_agree():
    a = {"x.kernel": heavy(60, 30), "y.kernel": heavy(28, 50)}  # one padded shape
    b = {name: near(w) for name, w in a.items()}
    lapack, jax = (compare(a, b, backend=name) for name in ("lapack", "jax"))
    for layer, other in zip(lapack, jax, strict=True):
        assert layer.metrics.keys() == other.metrics.keys()
        for name, value in layer.metrics.items():
            np.testing.assert_allclose(other.metrics[name], value, rtol=2e-3, atol=1e-4, err_msg=name)


# which layers are the same


def test_layers_that_do_not_match_are_rows_that_say_so():
    common = {"fc.kernel": heavy(30, 20)}
    a = {**common, "old.kernel": heavy(20, 20), "head.kernel": heavy(30, 20), "emb.embedding": heavy(40, 20)}
    b = {**common, "new.kernel": heavy(20, 20), "head.kernel": heavy(30, 25), "emb.embedding": heavy(40, 20)}
    found = compare(a, b, labels=["A", "B"])
    states = {layer.name: (layer.status, layer.warning) for layer in found if layer.status == "unmatched"}
    assert states == {
        "old.kernel": ("unmatched", "missing in B"),
        "new.kernel": ("unmatched", "missing in A"),
        "head.kernel": ("unmatched", "other shape, 30×20 and 30×25"),
    }
    assert {layer.name for layer in found.unmatched} == set(states)
    assert [layer.name for layer in found][-1] == "new.kernel"
    assert found["fc.kernel"][0].status == "success"
    assert {layer.name for layer in found.reports[0]} == {"fc.kernel", "emb.embedding"}  # no work on the others


def test_the_same_shape_cut_another_way_is_no_match():
    """A convolution in PyTorch's order in one checkpoint, in Flax's in the other."""
    w, fc = heavy(5, 5, 16, 12), heavy(20, 20)
    state = nnx.State({"conv": {"weight": nnx.Param(w)}, "fc": {"weight": nnx.Param(fc)}})
    found = compare({"conv": {"weight": w}, "fc": {"weight": fc}}, state)
    [conv], [same] = found["conv.weight"], found["fc.weight"]
    assert (conv.status, same.status) == ("unmatched", "success")
    assert conv.warning == "other axes, 192 of 5×5 (conv2d) and 25 of 16×12 (conv2d)"


def test_the_neighbours_may_differ():
    """`o` beside `q` and `k` is an attention's; alone it is dense: the same matrix all the same."""
    w = {name: heavy(20, 20) for name in ("q.weight", "k.weight", "v.weight", "o.weight")}
    whole, part = ({f"block.{name}": w[name] for name in names} for names in (w, ["o.weight"]))
    kinds = [spectra.analyze(model)["block.o.weight"].kind for model in (whole, part)]
    assert kinds[0] != kinds[1]
    assert compare(whole, part)["block.o.weight"][0].status == "success"


def test_nothing_in_common():
    with pytest.raises(InputError, match=r"A and B have no layer in common.*'x.kernel'.*'y.kernel'.*same model"):
        compare({"x.kernel": heavy(20, 20)}, {"y.kernel": heavy(20, 20)}, labels=["A", "B"])
    with pytest.raises(InputError, match=r"x.kernel: other shape, 20×20 and 20×30"):
        compare({"x.kernel": heavy(20, 20)}, {"x.kernel": heavy(20, 30)})
    # a bias of the same length is no layer in common
    with pytest.raises(InputError, match="no layer in common"):
        compare({"x.kernel": heavy(20, 20), "b.bias": heavy(9)}, {"y.kernel": heavy(20, 20), "b.bias": heavy(9)})


# bad tensors


@pytest.mark.parametrize("where", [0, 1])
def test_one_bad_tensor_leaves_the_other_rows_intact(where):
    models = [{"x.kernel": heavy(30, 20), "y.kernel": heavy(30, 20)} for _ in "ab"]
    good = compare(*models)
    models[where]["x.kernel"][3, 4] = np.nan
    found = compare(*models, labels=["A", "B"])
    [bad], [fine] = found["x.kernel"], found["y.kernel"]
    assert bad.status == "failed" and bad.warning.startswith("AB"[where] + ": NaN in 1 of 600")
    assert bad.metrics.get("delta_norm") is None
    assert fine.metrics == good["y.kernel"][0].metrics


def test_a_difference_beyond_float32():
    a = np.full((30, 20), 3e38, np.float32)
    layer = one(a, -a)
    assert layer.status == "failed" and "precision float64" in layer.warning


def test_quantized_and_buffer_tensors_are_rows():
    w = {"x.weight": heavy(30, 20), "q.weight": np.ones((30, 20), np.int8), "ids": np.arange(7)}
    found = compare(w, w)
    states = {layer.name: layer.status for layer in found}
    assert states == {"x.weight": "success", "q.weight": "failed", "ids": "skipped"}


def test_a_tensor_that_cannot_be_read_fails_alone(tmp_path: Path, monkeypatch):
    paths = []
    for name in "ab":
        paths.append(tmp_path / f"{name}.safetensors")
        save_file({"x.weight": heavy(30, 20), "y.weight": heavy(30, 20)}, paths[-1])
    from spectra.models.formats.base import ListedSource

    read, calls = ListedSource.read, []

    def lost(source, name):  # the file is lost after the analysis
        calls.append(name)
        if calls.count("x.weight") > 2 and name == "x.weight":
            raise spectra.CheckpointError(f"{source.label}: tensor 'x.weight': is gone; copy it again")
        return read(source, name)

    monkeypatch.setattr(ListedSource, "read", lost)
    found = compare(*paths)
    assert [(layer.name, layer.status) for layer in found] == [("x.weight", "failed"), ("y.weight", "success")]
    assert "is gone" in found.layers[0].warning


# a run


def run_of(steps: int) -> list[dict[str, np.ndarray]]:
    start = {"x.kernel": heavy(30, 20), "y.kernel": heavy(40, 24)}
    drift = {name: heavy(*w.shape) for name, w in start.items()}
    return [{name: w + np.float32(0.1 * t) * drift[name] for name, w in start.items()} for t in range(steps)]


@pytest.mark.parametrize("against", ["previous", "first"])
def test_every_step_of_a_run_is_the_comparison_of_two(against):
    models = run_of(4)
    found = compare(*models, against=against, labels=["s0", "s1", "s2", "s3"])
    assert [layer.model for layer in found] == ["s1", "s1", "s2", "s2", "s3", "s3"]
    for t in (1, 2, 3):
        earlier = 0 if against == "first" else t - 1
        alone = compare(models[earlier], models[t])
        for layer, other in zip([layer for layer in found if layer.model == f"s{t}"], alone, strict=True):
            assert (layer.against, layer.step) == (f"s{earlier}", t)
            assert layer.metrics == other.metrics


@pytest.mark.parametrize("against", ["previous", "first"])
def test_each_tensor_is_read_twice_and_two_are_held(tmp_path: Path, monkeypatch, against):
    """Once for the analysis, once for the pairs, however many checkpoints there are."""
    paths = []
    for t, model in enumerate(run_of(4)):
        paths.append(tmp_path / f"{t}.safetensors")
        save_file(model, paths[-1])
    from spectra.engine import compare_run
    from spectra.models.formats.base import ListedSource

    read, calls, held = ListedSource.read, [], []
    monkeypatch.setattr(ListedSource, "read", lambda source, name: calls.append(source.label) or read(source, name))
    change = compare_run._Walk._change

    def counted(walk, *arguments):
        result = change(walk, *arguments)
        held.append(len(walk._held))
        return result

    monkeypatch.setattr(compare_run._Walk, "_change", counted)
    compare(*paths, against=against)
    assert sorted(calls) == sorted([str(path) for path in paths] * 4)
    assert max(held) == 2


def test_one_thread_at_a_time_reads_a_checkpoint(tmp_path: Path, monkeypatch):
    """Walks go on side by side, but formats may seek in a file that all reads share."""
    weights = {f"l{i}.kernel": heavy(30, 20) for i in range(24)}
    for name in "ab":
        save_file(weights, tmp_path / f"{name}.safetensors")
    from spectra.models.formats.base import ListedSource

    read, inside, most = ListedSource.read, defaultdict(int), []

    def slow(source, name):
        inside[source.label] += 1
        time.sleep(0.002)
        most.append(inside[source.label])
        try:
            return read(source, name)
        finally:
            inside[source.label] -= 1

    monkeypatch.setattr(ListedSource, "read", slow)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)), raising=False)  # four workers
    found = compare(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert max(most) == 1
    assert all(layer.warning.startswith("unchanged") for layer in found)


def test_a_layer_that_one_step_lacks():
    models = run_of(3)
    del models[1]["x.kernel"]
    found = compare(*models, labels=["s0", "s1", "s2"])
    assert [(layer.status, layer.warning) for layer in found["x.kernel"]] == [
        ("unmatched", "missing in s1"),
        ("unmatched", "missing in s1"),
    ]
    assert [layer.status for layer in found["y.kernel"]] == ["success", "success"]


# inputs


def test_modules_and_files(tmp_path: Path):
    a, b = (nnx.Linear(20, 16, rngs=nnx.Rngs(seed)) for seed in (0, 1))
    [layer] = compare(a, b)["kernel"]
    np.testing.assert_allclose(layer.metrics["delta_norm"], np.linalg.norm(b.kernel[...] - a.kernel[...]), rtol=1e-5)
    np.savez(tmp_path / "a.npz", kernel=np.asarray(a.kernel[...]), bias=np.asarray(a.bias[...]))
    [again] = compare(tmp_path / "a.npz", b)["kernel"]  # formats may differ
    assert again.metrics == layer.metrics


def test_the_same_name_twice_is_numbered(tmp_path: Path):
    w = {"x.kernel": heavy(30, 20)}
    assert compare(w, w).labels == ("params (1)", "params (2)")


def test_progress_ends_complete():
    told = []
    compare(*run_of(3), progress=told.append)
    assert told[-1].done == told[-1].total and told[-1].layer == told[-1].layers
    assert [p.done for p in told] == sorted(p.done for p in told)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"top": -1}, "top=-1"),
        ({"top": True}, "top=True"),
        ({"against": "last"}, "against='last'"),
        ({"steps": [0]}, "steps"),
        ({"steps": [1, 1]}, "increasing"),
        ({"steps": [0, float("nan")]}, "steps"),
        ({"labels": ["a"]}, "labels"),
        ({"labels": "ab"}, "labels"),
        ({"conv": "fold"}, "conv='fold'"),
        ({"layers": ["none*"]}, "none"),
    ],
)
def test_bad_options_are_found_before_the_work(monkeypatch, options, words):
    monkeypatch.setattr("spectra.engine.compare.run", lambda *_: pytest.fail("started to work"))
    w = {"x.kernel": heavy(30, 20)}
    with pytest.raises(InputError, match=words):
        compare(w, w, **options)


def test_the_second_checkpoint_is_bad(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("spectra.engine.compare.run", lambda *_: pytest.fail("started to work"))
    with pytest.raises(InputError, match=r"no\.npz"):
        compare({"x.kernel": heavy(30, 20)}, tmp_path / "no.npz")
