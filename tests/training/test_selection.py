"""Layers and metrics are settled before training, and what is wrong is said then."""

from __future__ import annotations

import io

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import linen, nnx
from flax.training.train_state import TrainState

import spectra
from spectra.errors import InputError
from spectra.training import DEFAULT_METRICS, METRICS, Schedule, measure, select, track
from spectra.training.schedule import LOGARITHMIC, as_schedule

PARAMS = {
    "b": {"kernel": jnp.ones((16, 24)), "bias": jnp.ones(24)},
    "a": {"kernel": jnp.ones((16, 24))},
    "ids": {"kernel": jnp.ones((16, 24), jnp.int32)},
}
ADAPTER = {"q.lora_A.weight": jnp.ones((2, 16)), "q.lora_B.weight": jnp.ones((16, 2))}


class Net(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.layers = nnx.List([nnx.Linear(16, 16, rngs=rngs) for _ in range(2)])
        self.norm = nnx.BatchNorm(16, rngs=rngs)


def test_names_are_those_of_analyze_whatever_holds_the_parameters():
    model = Net(nnx.Rngs(0))
    variables = linen.Dense(16).init(jax.random.key(0), jnp.ones((1, 16)))
    adam = TrainState.create(apply_fn=None, params=variables["params"], tx=optax.adam(1e-3))
    for held in (model, nnx.state(model, nnx.Param), variables, variables["params"], adam, PARAMS):
        analyzed = [layer.name for layer in spectra.analyze(held) if layer.metrics.get("stable_rank") is not None]
        assert list(select(held).names) == analyzed


def test_abstract_and_traced_parameters_will_do():
    abstract = jax.eval_shape(lambda: {"a": {"kernel": jnp.ones((16, 24))}})
    assert select(abstract).names == ("a.kernel",)
    traced = jax.eval_shape(lambda p: measure(p, select(p, metrics=["std"])), abstract)
    assert traced.values.shape == (1, 1)


def test_what_cannot_be_measured_is_left_out_and_said():
    left_out = dict(select(PARAMS).left_out)
    assert left_out["b.bias"] == "no spectrum"
    assert "int32" in left_out["ids.kernel"]
    assert select(PARAMS, ["b.*"], ["alpha"]).names == ("b.kernel",)
    assert select(PARAMS, ["b.*"], ["alpha", "std"]).names == ("b.kernel", "b.bias")


def test_factors_of_adapters_are_no_layers():
    selection = select({"q.weight": jnp.ones((16, 16)), **ADAPTER}, metrics=["std"])
    assert selection.names == ("q.weight",)
    assert dict(selection.left_out) == dict.fromkeys(ADAPTER, "factor of a low-rank adapter")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"metrics": ["alhpa"]}, "did you mean 'alpha'"),
        ({"metrics": ["zzz"]}, "choose from alpha, "),
        ({"metrics": "alpha"}, "sequence of names"),
        ({"metrics": []}, "sequence of names"),
        ({"metrics": ["std", "std"]}, "names one twice"),
        ({"layers": ["nothing.*"]}, "no layer matches 'nothing"),
        ({"layers": ["a.*", "nothing.*"]}, "no layer matches 'nothing"),
        ({"layers": "a.*"}, "sequence of glob patterns"),
        ({"layers": ["ids.*", "a.*"]}, "ids.kernel: cannot be tracked: .*int32"),
        ({"conv": "fft"}, "conv='fft' cannot be tracked"),
        ({"method": "auto"}, "method='auto' cannot be tracked"),
        ({"min_evals": 17}, "lower min_evals"),
        ({"schedule": 0}, "every=0 must be a whole number from 1"),
        ({"schedule": 2.5}, "whole number"),
        ({"schedule": "log"}, "whole number"),
        ({"schedule": [1, -1]}, "step=-1 must be a whole number from 0"),
        ({"schedule": []}, "no steps"),
        ({"capacity": 0}, "capacity=0"),
        ({"sinks": [3]}, "sink 3 is not understood"),
        ({"sinks": [dict]}, "is not understood"),
        ({"sinks": [io.StringIO()]}, "is not understood"),
        ({"sinks": "run.parquet"}, "must be a list"),
        ({"sinks": ["run.xlsx"]}, "unknown output format"),
        ({"sinks": ["/nowhere/run.parquet"]}, "there is no directory"),
    ],
)
def test_what_is_wrong_is_said_before_training(arguments: dict, said: str):
    with pytest.raises(InputError, match=said):
        track(PARAMS, **arguments)


@pytest.mark.parametrize(
    "params",
    [
        jnp.ones((16, 16)),
        {"a": {"kernel": "text"}},
        {"a": {"kernel": torch.ones(16, 16)}},
        {},
        {"a": {"bias": jnp.ones(16)}},
        {"a": {"kernel": jnp.ones((16, 16), jnp.int32)}},
        ADAPTER,
    ],
    ids=["array", "text", "torch", "empty", "bias", "integers", "adapters"],
)
def test_parameters_without_layers_are_refused(params: object):
    with pytest.raises(InputError, match="params: "):
        select(params)


def test_parameters_that_changed_are_refused():
    selection = select({"a": {"kernel": jnp.ones((16, 24))}}, metrics=["std"])
    with pytest.raises(InputError, match=r"'a.kernel' was selected but is not there"):
        measure({"b": {"kernel": jnp.ones((16, 24))}}, selection)
    with pytest.raises(InputError, match=r"'a.kernel' is \(24, 16\), but \(16, 24\) was selected"):
        measure({"a": {"kernel": jnp.ones((24, 16))}}, selection)


def test_every_default_metric_exists():
    assert set(DEFAULT_METRICS) < set(METRICS)
    assert len(set(METRICS)) == len(METRICS)


def test_the_default_schedule_is_logarithmic():
    steps = [step for step in range(1001) if LOGARITHMIC.due(step)]
    assert steps == [0, 1, 2, 3, 6, 10, 18, 32, 56, 100, 178, 316, 562, 1000]
    assert LOGARITHMIC.count(1000) == len(steps)
    assert Schedule.log(1).steps == (0, *(10**k for k in range(10)))


@pytest.mark.parametrize("given", [7, [3, 0, 12, 3], Schedule.log(2), np.arange(4)])
def test_a_schedule_says_the_same_inside_of_jit(given: object):
    schedule = as_schedule(given)
    expected = [step for step in range(40) if schedule.due(step)]
    traced = jax.vmap(schedule.due)(jnp.arange(40))
    assert np.flatnonzero(traced).tolist() == expected
    assert all(schedule.count(last) == sum(step <= last for step in expected) for last in range(40))
