"""What is measured of a network, against NumPy and the analyzer."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

import spectra
from spectra.study.measures import beyond_std, largest_shares, measure_signals, measure_weights
from spectra.study.models import MLP, Place


@pytest.fixture(scope="module")
def model() -> MLP:
    return MLP(3, 24, "tanh", rngs=nnx.Rngs(0))


def test_rows_are_those_of_the_analyzer(model: MLP):
    rows = measure_weights(model.kernels(), model.places())
    report = spectra.analyze(model.kernels(), layout="flax")
    assert [row["layer"] for row in rows] == [f"layers.{i}" for i in range(4)]
    assert [row["role"] for row in rows] == ["input", "hidden", "hidden", "output"]
    for row in rows:
        metrics = report[f"{row['layer']}.kernel"].metrics
        assert all(row[name] == metrics[name] for name in ("kurtosis", "near_zero_std", "alpha", "stable_rank"))
        w = model.kernels()[f"{row['layer']}.kernel"].astype(np.float64)
        assert row["kurtosis"] == pytest.approx(stats.kurtosis(w, axis=None), abs=1e-4)


def test_student_t_and_tail_of_the_magnitudes():
    w = np.random.default_rng(1).standard_t(4, (60, 60)).astype(np.float32)
    (row,) = measure_weights({"a.kernel": w}, {"a": Place(0, "hidden")}, gof=40)
    assert row["student_t_df"] == pytest.approx(stats.t.fit(w.ravel().astype(float))[0], rel=0.05)
    fit = spectra.fit_power_law(np.abs(w).ravel())
    assert row["tail_alpha"] == pytest.approx(float(fit.alpha), rel=1e-4)
    assert row["tail_n"] == int(fit.n_tail)
    assert row["gof_p"] is not None


def test_a_layer_with_nan_has_no_numbers_and_harms_no_other():
    good = np.random.default_rng(2).standard_normal((30, 30)).astype(np.float32)
    bad = good.copy()
    bad[0, 0] = np.nan
    places = {"a": Place(0, "hidden"), "b": Place(1, "hidden")}
    first, second = measure_weights({"a.kernel": bad, "b.kernel": good}, places)
    assert first["kurtosis"] is first["beyond_std"] is first["largest_share"] is second["largest_share"] is None
    assert second["kurtosis"] is not None


def test_largest_weights_are_shared_out_within_a_role():
    small, large = np.full((10, 10), 0.1), np.full((10, 10), 0.1)
    large[0, :2] = 5.0
    kernels = {"a": small, "b": large, "c": np.full((2, 2), 100.0)}
    places = {"a": Place(0, "hidden"), "b": Place(1, "hidden"), "c": Place(2, "output")}
    assert largest_shares(kernels, places) == {"a": 0.0, "b": 1.0, "c": 1.0}
    alike = np.random.default_rng(0).standard_normal((4, 200, 200))
    shares = largest_shares(dict(enumerate(alike)), {i: Place(i, "hidden") for i in range(4)})  # type: ignore[arg-type]
    np.testing.assert_allclose(list(shares.values()), 0.25, atol=0.05)


def test_a_gaussian_layer_has_a_third_beyond_one_std():
    w = np.random.default_rng(3).standard_normal((400, 400))
    assert beyond_std(w) == pytest.approx(2 * stats.norm.sf(1), abs=0.005)


def test_signals_are_those_of_a_network_written_out(model: MLP):
    rng = np.random.default_rng(4)
    x, y = rng.random((50, 64)).astype(np.float32), rng.integers(0, 10, 50)
    found = measure_signals(model, x, y)
    assert list(found) == ["layers.0", "layers.1", "layers.2"]
    w = [np.asarray(layer.kernel[...], np.float64) for layer in model.layers]
    z = [x.astype(np.float64)]
    for kernel in w[:3]:
        z.append(np.tanh(z[-1] @ kernel))
    logits = z[-1] @ w[3]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    delta = (p - np.eye(10)[y]) @ w[3].T * (1 - z[3] ** 2)  # by the output of layer 2 before tanh
    for i in (2, 1, 0):
        assert found[f"layers.{i}"]["activation_std"] == pytest.approx(z[i + 1].std(), rel=1e-4)
        assert found[f"layers.{i}"]["gradient_std"] == pytest.approx(delta.std(), rel=1e-4)
        delta = delta @ w[i].T * (1 - z[i] ** 2)


def test_zeros_of_a_rectifier_are_counted():
    model = MLP(2, 30, "relu", rngs=nnx.Rngs(1))
    x = np.random.default_rng(5).random((40, 64)).astype(np.float32)
    hidden = np.maximum(x @ np.asarray(model.layers[0].kernel[...]), 0)
    found = measure_signals(model, x, np.zeros(40, int))
    assert found["layers.0"]["activation_zeros"] == pytest.approx(np.mean(hidden == 0), abs=1e-3)
    assert jnp.isfinite(found["layers.1"]["gradient_std"])
