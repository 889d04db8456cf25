"""The analyzer against NumPy in float64, layer kind by layer kind."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax import nnx
from scipy import stats

import spectra
from spectra.engine.entries import describe_entries
from spectra.errors import InputError

RNG = np.random.default_rng(7)


def heavy(*shape: int) -> np.ndarray:
    return RNG.standard_t(3, shape).astype(np.float32)


def brute_fit(values: np.ndarray) -> tuple[float, float, float, int]:
    """alpha, xmin, D, tail by the definition."""
    x = np.sort(values[values > 1e-5].astype(np.float64))
    best = (np.inf, 0.0, 0.0, 0)
    for i in range(x.size - 1):
        tail = x[i:] / x[i]
        alpha = 1 + tail.size / np.log(tail).sum()
        distance = np.abs(1 - tail ** (1 - alpha) - np.arange(tail.size) / tail.size).max()
        best = min(best, (distance, alpha, x[i], tail.size))
    return best[1], best[2], best[0], best[3]


def expected(matrices: list[np.ndarray]) -> dict[str, float]:
    """Columns of the pooled spectrum of these matrices, in float64."""
    values = np.concatenate([np.linalg.svd(m.astype(np.float64), compute_uv=False) for m in matrices])
    evals = np.sort(values**2)
    alpha, xmin, distance, tail = brute_fit(evals)
    share = evals / evals.sum()
    q = values / values.sum()
    return {
        "num_evals": evals.size,
        "alpha": alpha,
        "xmin": xmin,
        "D": distance,
        "num_pl_spikes": tail,
        "lambda_max": evals[-1],
        "log_norm": np.log10(evals.sum()),
        "stable_rank": evals.sum() / evals[-1],
        "log_alpha_norm": np.log10(np.sum(evals**alpha)),
        "alpha_weighted": alpha * np.log10(evals[-1]),
        "sigma": (alpha - 1) / np.sqrt(tail),
        "entropy": -np.sum(share * np.log(share)) / np.log(evals.size),
        "effective_rank": np.exp(-np.sum(q * np.log(q))),
        "sv_min": values.min(),
        "matrix_rank": evals.size,
    }


def assert_columns(layer: spectra.LayerResult, matrices: list[np.ndarray], rtol: float = 2e-4) -> None:
    for name, value in expected(matrices).items():
        np.testing.assert_allclose(layer.metrics[name], value, rtol=rtol, err_msg=name)


@pytest.mark.parametrize("shape", [(70, 30), (30, 70), (513, 24)])
def test_dense(shape):
    w = heavy(*shape)
    report = spectra.analyze({"fc.kernel": w})
    layer = report["fc.kernel"]
    assert (layer.kind, layer.status) == ("dense", "success")
    assert (layer.metrics["N"], layer.metrics["M"]) == (max(shape), min(shape))
    assert_columns(layer, [w])
    np.testing.assert_allclose(layer.eigenvalues[-1], layer.metrics["lambda_max"])


@pytest.mark.parametrize(("leaf", "axes"), [("weight", (2, 3, 0, 1)), ("kernel", (0, 1, 2, 3))])
def test_convolution_in_both_orders(leaf, axes):
    hwio = heavy(3, 2, 20, 14)  # positions, in, out
    order = {"kernel": hwio, "weight": hwio.transpose(3, 2, 0, 1)}[leaf]
    pooled = spectra.analyze({f"conv.{leaf}": order})["conv"]
    assert pooled.kind == "conv2d"
    assert pooled.metrics["rf"] == 6
    assert_columns(pooled, [hwio[i, j] for i in range(3) for j in range(2)])
    flat = spectra.analyze({f"conv.{leaf}": order}, conv="flatten")["conv"]
    assert flat.metrics["rf"] == 1
    assert_columns(flat, [hwio.reshape(-1, 14)])


def test_stacked_layers_are_one_row_each():
    w, b = heavy(3, 40, 20), heavy(3, 20)
    report = spectra.analyze({"layers": {"Dense_0": {"kernel": w, "bias": b}}})
    for i in range(3):
        assert_columns(report[f"layers.Dense_0.kernel[{i}]"], [w[i]])


def test_biases_have_moments_and_no_spectrum():
    b = heavy(50)
    layer = spectra.analyze({"fc.kernel": heavy(20, 20), "fc.bias": b})["fc.bias"]
    assert layer.status == "success" and layer.eigenvalues is None and layer.metrics.get("alpha") is None
    np.testing.assert_allclose(layer.metrics["std"], b.std(dtype=np.float64), rtol=1e-6)


@pytest.mark.parametrize("n", [1, 5, 1 << 14, (1 << 18) + 3])
def test_entries_against_numpy(n):
    w = heavy(n)
    w[: n // 3] = 0
    entries = describe_entries(w)
    x, c = w.astype(np.float64), entries.columns
    assert c["count"] == n
    np.testing.assert_allclose(c["mean"], x.mean(), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(c["std"], x.std(), rtol=1e-5)
    assert (c["min"], c["max"]) == (x.min(), x.max())
    assert c["zero_fraction"] == np.mean(x == 0)
    np.testing.assert_allclose([c[f"q{q:02d}"] for q in (1, 5, 25, 50, 75, 95, 99)],
                               np.quantile(x, [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]), rtol=1e-6)  # fmt: skip
    np.testing.assert_array_equal(entries.linear.counts, np.histogram(w, entries.linear.edges)[0])
    assert entries.linear.counts.sum() == n
    assert entries.log.counts.sum() + entries.log.underflow == n
    assert entries.log.underflow == np.sum(w == 0)
    if n > 1:
        np.testing.assert_allclose(c["kurtosis"], stats.kurtosis(x), rtol=1e-4)
        np.testing.assert_allclose(c["skewness"], stats.skew(x), rtol=1e-4)
        np.testing.assert_allclose(c["near_zero_std"], np.mean(np.abs(x) < 0.1 * x.std()), atol=2 / n)
        np.testing.assert_allclose(c["near_zero_max"], np.mean(np.abs(x) < 0.01 * np.abs(x).max()), atol=2 / n)
        pairs = np.abs(np.subtract.outer(np.abs(x[:2000]), np.abs(x[:2000]))).mean()
        if n <= 2000:
            np.testing.assert_allclose(c["gini"], pairs / 2 / np.abs(x).mean(), rtol=1e-5)


def test_gaussian_yardstick():
    c = describe_entries(RNG.standard_normal(2_000_000).astype(np.float32)).columns
    assert abs(c["near_zero_std"] - 0.0797) < 0.001
    assert abs(c["kurtosis"]) < 0.02


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float8_e4m3fn"])
def test_narrow_types_are_widened_exactly(dtype):
    w = heavy(60, 40).astype(getattr(ml_dtypes, dtype, dtype))
    narrow, wide = spectra.analyze({"w": w})["w"], spectra.analyze({"w": w.astype(np.float32)})["w"]
    assert narrow.metrics == wide.metrics
    assert narrow.dtype == dtype


def test_float64_on_request_leaves_the_global_setting():
    w = RNG.standard_normal((60, 40))
    layer = spectra.analyze({"w": w}, precision="float64")["w"]
    assert_columns(layer, [w], rtol=1e-9)
    assert jnp.ones(1).dtype == jnp.float32


def test_methods_agree_and_are_named():
    w = heavy(80, 40)
    for method in ("gram", "svd"):
        layer = spectra.analyze({"w": w}, method=method)["w"]
        assert layer.metrics["method"] == method
        assert_columns(layer, [w])


def test_a_rank_deficient_layer():
    w = heavy(200, 10).astype(np.float64) @ heavy(10, 60).astype(np.float64)
    single, double = (spectra.analyze({"w": w.astype(t)}, precision=t)["w"] for t in ("float32", "float64"))
    for layer in (single, double):
        assert layer.metrics["method"] == "svd"
        assert layer.metrics["num_unresolved"] == 50
        assert layer.metrics["sv_min"] is None
        np.testing.assert_allclose(layer.metrics["alpha"], brute_fit(np.linalg.svd(w.astype(float))[1][:10] ** 2)[0],
                                   rtol=1e-3)  # fmt: skip
    assert single.metrics["matrix_rank"] is None  # float32 cannot tell a rank to eps of float64


def test_rank_in_float64():
    w = RNG.standard_normal((200, 10)) @ RNG.standard_normal((10, 60))
    layer = spectra.analyze({"w": w}, precision="float64")["w"]
    assert (layer.metrics["matrix_rank"], layer.metrics["rank_loss"]) == (10, 50)


@pytest.mark.parametrize(
    "w", [np.zeros((20, 20)), np.ones((20, 20)), np.eye(20), 1e-30 * np.eye(20), 1e30 * np.eye(20)]
)
def test_degenerate_matrices_do_not_break(w):
    layer = spectra.analyze({"w": w.astype(np.float32), "ok": heavy(20, 20)})["w"]
    assert layer.status == "success"
    assert all(v is None or isinstance(v, str) or np.isfinite(v) for v in layer.metrics.values())
    assert "no fit" in layer.warning or layer.metrics["alpha"] > 1


def test_bad_layers_leave_the_others_alone():
    bad = heavy(20, 20)
    bad[0, 0] = np.nan
    report = spectra.analyze({"a": heavy(20, 20), "bad": bad, "i": np.ones((20, 20), np.int8), "tiny": heavy(4, 20)})
    assert [report[name].status for name in ("a", "bad", "tiny")] == ["success", "failed", "skipped"]
    assert "NaN in 1 of 400" in report["bad"].warning
    assert "4 eigenvalues" in report["tiny"].warning
    assert report["tiny"].metrics["count"] == 80


def test_too_large_for_float32_is_said():
    w = RNG.standard_normal((20, 20)) * 1e300
    assert "precision float64" in spectra.analyze({"w": w})["w"].warning
    assert spectra.analyze({"w": w * 1e-200}, precision="float64")["w"].status == "success"


def test_nnx_module_linen_tree_and_mapping_agree():
    model = nnx.Linear(40, 30, rngs=nnx.Rngs(0))
    kernel = np.asarray(model.kernel[...])
    reports = [
        spectra.analyze(m) for m in (model, nnx.state(model), {"params": {"kernel": kernel}}, {"kernel": kernel})
    ]
    alphas = [next(layer for layer in report if layer.eigenvalues is not None).metrics["alpha"] for report in reports]
    assert len(set(alphas)) == 1


def test_progress_is_weighted_by_cost_and_ends_at_the_total():
    seen: list[spectra.Progress] = []
    weights = {"small": heavy(20, 20), "large": heavy(900, 700)}
    costs = dict(zip(*(spectra.describe(weights)[name] for name in ("name", "gflops")), strict=True))
    spectra.analyze(weights, progress=seen.append, backend="lapack")
    assert [p.name for p in seen] == ["large", "small", ""]  # costliest first
    assert seen[0].done == 0 and seen[-1].done == seen[-1].total
    # The large one outweighs all else: it takes all cores, and the small one begins when it is done.
    np.testing.assert_allclose([seen[1].done / 1e9, seen[1].total / 1e9], [costs["large"], sum(costs.values())])
    assert [p.layer for p in seen] == [0, 1, 2]


def test_describe_matches_what_is_done():
    weights = {"a.kernel": heavy(40, 20), "a.bias": heavy(20), "tiny.kernel": heavy(4, 20), "steps": np.arange(5)}
    plan = spectra.describe(weights).set_index("name")
    assert dict(plan["action"]) == {
        "a.kernel": "analyze",
        "a.bias": "entries",
        "tiny.kernel": "entries",
        "steps": "skip",
    }
    assert plan.loc["a.kernel", "gflops"] > plan.loc["a.bias", "gflops"] > 0
    assert list(spectra.analyze(weights).to_pandas()["name"]) == list(plan.index)


UNKNOWN = {
    "fold": {"conv": "fold"},
    "half": {"precision": "half"},
    "qr": {"method": "qr"},
    "min_evals": {"min_evals": 0},
    "keras": {"layout": "keras"},
    "both": {"gates": "both"},
    "sequence": {"layers": "one*"},
    "zzz": {"layers": ["zzz*"]},
}


@pytest.mark.parametrize(("word", "option"), UNKNOWN.items(), ids=UNKNOWN)
def test_unknown_options_are_input_errors(word, option):
    with pytest.raises(spectra.InputError, match=word):
        spectra.analyze({"w": heavy(20, 20)}, **option)


def test_kernels_do_not_see_the_rest():
    """`import spectra` loads no format, table or figure library."""
    import subprocess
    import sys

    code = "import spectra, sys; print({'pandas', 'matplotlib', 'orbax', 'torch', 'flax'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_jax_arrays_are_taken(monkeypatch):
    w = heavy(40, 20)
    assert spectra.analyze({"w": jax.device_put(w)})["w"].metrics == spectra.analyze({"w": w})["w"].metrics


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("method", ["gram", "svd"])
def test_equal_eigenvalues_are_no_power_law(precision, method):
    """Orthogonal initialisation: all that distinguishes the eigenvalues is rounding."""
    w = np.linalg.qr(RNG.standard_normal((60, 60)))[0]
    layer = spectra.analyze({"w": 3 * w}, precision=precision, method=method)["w"]
    assert layer.metrics["alpha"] is None
    assert "no fit" in layer.warning


def test_det_x_by_its_definition():
    w = heavy(90, 60)
    layer = spectra.analyze({"w": w}, precision="float64")["w"]
    descending = np.linalg.svd(w.astype(np.float64), compute_uv=False) ** 2
    product, count = 1.0, 0
    while product >= 1:
        product *= descending[count] / descending.mean()
        count += 1
    assert layer.metrics["detX_num"] == count
    np.testing.assert_allclose(layer.metrics["detX_val"], descending[count - 1])


def test_unresolved_values_leave_no_wrong_effective_rank():
    w = RNG.standard_normal((100, 80)) + 1000
    layer = spectra.analyze({"w": w}, method="gram")["w"]
    assert layer.metrics["num_unresolved"] == 79
    assert layer.metrics["effective_rank"] is None


def test_subnormal_weights_are_refused():
    layer = spectra.analyze({"w": np.full((20, 20), 1e-42, np.float32), "ok": heavy(20, 20)})["w"]
    assert layer.status == "failed" and "subnormal" in layer.warning


def test_huge_weights_keep_their_hoyer_sparsity():
    w = heavy(40, 40)
    small, large = (spectra.analyze({"w": w * np.float32(unit)})["w"].metrics["hoyer"] for unit in (1, 2.0**120))
    np.testing.assert_allclose(large, small, rtol=1e-5)


@pytest.mark.parametrize("unit", [1e-200, 1e153, 1e200])
def test_weights_whose_squares_no_precision_holds_fail_alone(unit: float, tmp_path: Path):
    params = {"odd": RNG.standard_normal((40, 30)) * unit, "ok": heavy(40, 30)}
    report = spectra.analyze(params, precision="float64", null=True)
    assert report["odd"].status == "failed" and "beyond double precision" in report["odd"].warning
    assert report["ok"].status == "success"
    report.save(tmp_path / "t.json")


def test_intervals_of_xmin_survive_large_weights():
    w = heavy(40, 40)
    small, large = (spectra.analyze({"w": w * unit}, gof=40)["w"].metrics for unit in (1, np.float32(2.0**100)))
    for name in ("xmin", "xmin_low", "xmin_high"):
        assert large[name] == pytest.approx(small[name] * 2.0**200, rel=1e-4)


def test_a_size_of_images_without_conv_fft_is_refused():
    with pytest.raises(InputError, match="fft_size=32 is for conv='fft'"):
        spectra.analyze({"w": heavy(40, 30)}, fft_size=32)
