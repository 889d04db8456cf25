"""What is tracked equals what `spectra.analyze` says of the same parameters."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import spectra
from spectra.training import METRICS, Measurement, Selection, measure, select
from spectra.training.entries import CHUNK, cut_in_chunks, moments_of_layers

RNG = np.random.default_rng(0)


def heavy(*shape: int) -> np.ndarray:
    return RNG.standard_t(3, shape).astype(np.float32)


@pytest.fixture(scope="module")
def params() -> dict[str, Any]:
    """Shapes that share a program and such that do not; everything that has no number, or none that can be trusted."""
    tall = heavy(40, 24)
    gaussian = RNG.normal(size=(24, 40)).astype(np.float32)
    return {
        "conv": {"kernel": heavy(2, 1, 20, 24), "bias": heavy(24)},
        "eye": {"kernel": np.eye(24, 40, dtype=np.float32)},
        "half": {"kernel": jnp.asarray(gaussian, jnp.bfloat16)},
        "infinite": {"kernel": np.where(tall == tall.max(), np.inf, tall)},
        "large": {"kernel": 1e15 * gaussian},
        "lost": {"kernel": (heavy(24, 4) @ heavy(4, 40)).astype(np.float32)},
        "nan": {"kernel": np.where(tall == tall.min(), np.nan, tall)},
        "sparse": {"kernel": np.where(np.abs(tall) > 1, tall, 0)},
        "stack": {"blocks": {"layers": {"kernel": heavy(2, 24, 40), "bias": heavy(2, 40)}}},
        "tall": {"kernel": tall},
        "wide": {"kernel": gaussian},
        "zero": {"kernel": np.zeros((40, 24), np.float32)},
    }


@pytest.fixture(scope="module")
def selection(params: dict[str, Any]) -> Selection:
    return select(params, ["*kernel*", "conv.bias"], METRICS, layout="flax")


@pytest.fixture(scope="module")
def found(params: dict[str, Any], selection: Selection) -> Measurement:
    return jax.device_get(jax.jit(measure, static_argnames="selection")(params, selection=selection))


@pytest.fixture(scope="module")
def report(params: dict[str, Any]) -> spectra.Report:
    return spectra.analyze(params, layout="flax", layers=["*kernel*", "conv.bias"])


def test_layers_have_the_names_and_the_order_of_the_analyzer(selection: Selection, report: spectra.Report):
    assert selection.names == tuple(layer.name for layer in report)
    assert [(layer.kind, layer.depth) for layer in selection.layers] == [(each.kind, each.depth) for each in report]


@pytest.mark.parametrize("metric", METRICS)
def test_values_are_those_of_analyze(metric: str, selection: Selection, found: Measurement, report: spectra.Report):
    column = selection.metrics.index(metric)
    for row, name in enumerate(selection.names):
        value, expected = float(found.values[row, column]), report[name].metrics.get(metric)
        if report[name].metrics.get("method") == "svd":  # where gram cannot tell, nothing is said rather than noise
            if metric == "num_unresolved":
                assert value == 20
                continue
            if math.isnan(value):
                continue
        if expected is None:
            assert math.isnan(value), (name, value)
        else:
            assert value == pytest.approx(expected, rel=2e-5, abs=1e-6), name


def test_a_fit_that_gram_leaves_open_has_no_number(selection: Selection, found: Measurement, report: spectra.Report):
    values = dict(zip(selection.metrics, found.values[selection.names.index("lost.kernel")], strict=True))
    assert report["lost.kernel"].metrics["method"] == "svd"
    assert all(math.isnan(values[name]) for name in ("alpha", "xmin", "num_pl_spikes", "effective_rank"))
    assert values["stable_rank"] == pytest.approx(report["lost.kernel"].metrics["stable_rank"], rel=1e-5)


def test_svd_resolves_what_gram_leaves_open(params: dict[str, Any], report: spectra.Report):
    lost = {"lost": params["lost"]}
    selection = select(lost, metrics=["effective_rank", "num_unresolved"], method="svd")
    found = jax.jit(measure, static_argnames="selection")(lost, selection=selection)
    expected = [report["lost.kernel"].metrics[name] for name in selection.metrics]
    np.testing.assert_allclose(found.values[0], expected, rtol=1e-5)


def test_broken_layers_are_told_and_harm_no_other(selection: Selection, found: Measurement, report: spectra.Report):
    broken = {"infinite.kernel", "nan.kernel"}
    assert {name for name, finite in zip(selection.names, found.finite, strict=True) if not finite} == broken
    for name in broken:
        assert report[name].status == "failed"
        assert np.isnan(found.values[selection.names.index(name)]).all()


def test_hill_alpha_is_that_of_a_decomposition_in_float64(
    params: dict[str, Any], selection: Selection, found: Measurement
):
    column = selection.metrics.index("hill_alpha")
    for name in ("tall", "wide", "sparse", "large", "conv"):
        kernel = np.asarray(params[name]["kernel"], np.float64)
        matrices = kernel.reshape(-1, *kernel.shape[-2:])
        evals = np.sort(np.square(np.linalg.svd(matrices, compute_uv=False)), axis=None)
        tail = evals[evals.size // 2 :]
        expected = 1 + tail.size / np.sum(np.log(tail / tail[0]))
        assert found.values[selection.names.index(f"{name}.kernel"), column] == pytest.approx(expected, rel=1e-5)


def test_biases_have_entries_only(selection: Selection, found: Measurement):
    values = dict(zip(selection.metrics, found.values[selection.names.index("conv.bias")], strict=True))
    assert math.isnan(values["alpha"]) and math.isnan(values["stable_rank"])
    assert values["std"] > 0 and values["gini"] > 0


def test_moments_in_chunks_keep_their_digits():
    """A mean of a thousand standard deviations, in layers of one, two and a part of a chunk."""
    layers = [1000 + RNG.normal(size=size).astype(np.float32) for size in (CHUNK, 2 * CHUNK + 1, 5)]
    found = jax.jit(lambda arrays: moments_of_layers(cut_in_chunks(arrays)))(layers)
    for row, layer in enumerate(layers):
        exact = layer.astype(np.float64)
        d = exact - exact.mean()
        assert found.count[row] == layer.size
        assert found.mean[row] == pytest.approx(exact.mean(), rel=1e-7)
        assert found.std[row] == pytest.approx(exact.std(), rel=1e-5)
        assert found.kurtosis[row] == pytest.approx(np.mean(d**4) / np.mean(d**2) ** 2 - 3, abs=1e-4)


def test_double_precision_is_kept():
    with jax.enable_x64(True):
        params = {"a": {"kernel": jnp.ones((24, 16), jnp.float64)}}
        kept = jax.eval_shape(lambda p: measure(p, select(p, metrics=["alpha", "std"])), params)
    assert kept.values.dtype == jnp.float64
