"""Models for the report's page: one with all that can be shown, odd ones, and a large one."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from spectra.report.result import LayerResult, Report, WeightHistogram

NASTY = "</script><img src=x onerror=alert(1)>&lt;"
EDGES = np.linspace(-4, 4, 121)
COUNTS = np.histogram(np.random.default_rng(0).standard_normal(20_000), EDGES)[0]


def layer_of(name: str, seed: int = 0, size: int = 300, **changes) -> LayerResult:
    """A matrix with all that `--null`, `--gof` and `--tails` would add."""
    values = np.sort(np.random.default_rng(seed).pareto(1.7, size) + 0.01)
    tail = values[-80:]
    alpha = 1 + 80 / np.log(tail / tail[0]).sum()
    metrics = {
        "M": size,
        "N": 2 * size,
        "Q": 2.0,
        "rf": 1,
        "num_evals": size,
        "alpha": alpha + seed / 7,
        "xmin": tail[0],
    }
    metrics |= {"D": 0.05, "sigma": 0.2, "num_pl_spikes": 80, "verdict": "power law plausible", "gof_p": 0.4}
    metrics |= {"R_exponential": 2.5, "p_exponential": 0.01, "sigma_mp": 0.02, "bulk_edge": 0.9, "num_spikes": 40}
    metrics |= {
        "max_rand_eval": 1.1,
        "rand_num_spikes": 0,
        "bulk_ks": 0.03,
        "w1_rand_distance": 0.2,
        "stable_rank": 3.0 + seed,
    }
    metrics |= {"count": 20_000, "mean": 0.0, "std": 1.0, "kurtosis": 0.1 * seed, "near_zero_std": 0.08, "gini": 0.41}
    metrics |= {
        "right_alpha": 5.25,
        "right_sigma": 0.1,
        "right_xmin": 2.0,
        "right_n_tail": 90,
        "right_verdict": "too few",
    }
    fields = {"kind": "dense", "role": "up", "depth": seed, "shape": (2 * size, size), "dtype": "float32"}
    fields |= {"status": "success", "warning": "", "metrics": metrics, "eigenvalues": values}
    fields |= {"histogram": WeightHistogram(EDGES, COUNTS, 0, 0)}
    fields |= {"log_histogram": WeightHistogram(np.geomspace(1e-6, 4, 51), np.arange(50), 0, 0)}
    return LayerResult(name=name, **(fields | {key: value for key, value in changes.items() if key != "told"}))


def told(layer: LayerResult, warning: str, **metrics) -> LayerResult:
    return replace(layer, warning=warning, metrics=layer.metrics | metrics)


def bare(name: str, **changes) -> LayerResult:
    return layer_of(name, metrics={}, eigenvalues=None, histogram=None, log_histogram=None, **changes)


def network() -> Report:
    layers = [
        layer_of(f"h.{i}.mlp.{role}", 2 * i + n, role=role, depth=i)
        for i in range(4)
        for n, role in enumerate(("up", "down"))
    ]
    layers[1] = told(layers[1], "too few", verdict="too few", num_pl_spikes=20)
    layers[2] = told(layers[2], "better: exponential; too few", verdict="better: exponential", R_exponential=-2.5)
    layers[3] = told(layers[3], "under-trained", verdict="not tested", alpha=9.5, num_spikes=0)
    alpha, xmin = layers[0].metrics["alpha"], 1.0
    layers[0].families.update(power_law=(alpha,), exponential=(0.8 * xmin,))
    layers += [bare("h.0.mlp.bias", kind="bias", depth=0), bare("h.1.mlp.bias", kind="bias", depth=1)]
    layers.append(bare("head.kernel", status="failed", warning="head.kernel: holds NaN at [3, 4]", depth=None, role=""))
    return Report("net", tuple(layers), {"seconds": 1.5})


def oddities() -> list[Report]:
    nasty = layer_of(NASTY, kind=NASTY, role=NASTY, warning=NASTY, dtype=NASTY)
    nasty.metrics[NASTY] = NASTY
    odd = [nasty, layer_of("x" * 1_000_000, warning="y " * 500_000), layer_of("zeros", eigenvalues=np.zeros(4))]
    odd += [layer_of("one", eigenvalues=np.array([3.0])), layer_of("equal", eigenvalues=np.full(5, 2.0))]
    odd.append(layer_of("nan", metrics=dict.fromkeys(nasty.metrics, math.nan)))
    odd.append(layer_of("weird", metrics={"alpha": -3.0, "xmin": 0.0, "bulk_edge": -1.0, "sigma_mp": math.inf}))
    failed = [bare(f"bad.{i}", status="failed", warning="holds NaN") for i in range(2)]
    return [Report(NASTY, tuple(odd), {NASTY: NASTY}), Report("no layers", ()), Report("all failed", tuple(failed))]


def large() -> Report:
    """500 layers of 4,096 eigenvalues with 110 columns each, as a model of 70 billion weights has them."""
    metrics = {f"some_metric_number_{k}": 1 / (3 + k) for k in range(80)}
    samples = [layer_of("", i, 4096) for i in range(7)]
    layers = [
        replace(samples[i % 7], name=f"model.layers.{i // 7}.mlp.{i % 7}.kernel", depth=i // 7, role=f"role{i % 7}")
        for i in range(500)
    ]
    layers = [
        replace(layer, metrics=layer.metrics | {k: v + i for k, v in metrics.items()}) for i, layer in enumerate(layers)
    ]
    for layer in layers[:7]:
        layer.families.update(exponential=(0.5,))
    return Report("large", tuple(layers))
