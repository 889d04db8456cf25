"""Temperature balancing against the published rule in NumPy."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from spectra.errors import InputError
from spectra.training import temperature_balance
from spectra.training.temperature import balanced_layers, linear_map, scaled_updates


def weights(seed: int, power: float) -> jax.Array:
    """A matrix whose singular values fall off with a power of their rank."""
    q = [np.linalg.qr(np.random.default_rng([seed, side]).normal(size=(20, 20)))[0] for side in (0, 1)]
    return jnp.asarray(q[0] * np.arange(1, 21) ** -power @ q[1].T, jnp.float32)


def network(powers: tuple[float, ...] = (1.0, 0.2, 0.5, 1.5, 1.0)) -> dict[str, Any]:
    named = zip((1, 2, 3, 9, 10), powers, strict=True)
    return {f"layers_{i}": {"kernel": weights(i, power), "bias": jnp.ones(20)} for i, power in named}


def published_alpha(kernel: Any) -> float:
    """PL_Alpha_Hill as the authors' code has it: the median eigenvalue starts the tail."""
    evals = np.sort(np.square(np.linalg.svd(np.asarray(kernel, np.float64), compute_uv=False)))
    start = evals.size // 2
    logs = np.log(evals[start:])
    return 1 + logs.size / (logs.sum() - logs.size * logs[0])


UPDATE = jax.jit(temperature_balance(every=3).update)
LINEAR_MAP = jax.jit(linear_map)
ONES = jax.tree.map(jnp.ones_like, network())


def test_scales_are_the_published_ones_and_the_ends_keep_the_global_rate():
    params = network()
    state = temperature_balance(every=3).init(params)
    updates, state = UPDATE(ONES, state, params)
    names = balanced_layers(params).names
    assert names == ("layers_2.kernel", "layers_3.kernel", "layers_9.kernel")  # layers_10 is the last, not layers_9
    alpha = np.array([published_alpha(params[name.split(".")[0]]["kernel"]) for name in names])
    expected = np.interp(alpha, [alpha.min(), alpha.max()], [0.5, 1.5])
    np.testing.assert_allclose(state.alpha, alpha, rtol=1e-4)
    np.testing.assert_allclose(state.scale, expected, rtol=1e-4)
    assert len(set(np.round(expected, 3))) == 3
    for name, scale in zip(names, expected, strict=True):
        layer = updates[name.split(".")[0]]
        np.testing.assert_allclose(layer["kernel"], scale, rtol=1e-4)
        np.testing.assert_allclose(layer["bias"], scale, rtol=1e-4)  # goes with its weight
    for name in ("layers_1", "layers_10"):
        assert all(np.all(leaf == 1) for leaf in updates[name].values())


def test_alpha_is_measured_every_so_many_steps():
    first, second = network(), network((1.0, 1.5, 0.5, 0.2, 1.0))
    state, scales = temperature_balance(every=3).init(first), []
    for step in range(4):
        _, state = UPDATE(ONES, state, first if step == 0 else second)
        scales.append(np.asarray(state.scale))
    np.testing.assert_array_equal(scales[1], scales[0])
    np.testing.assert_array_equal(scales[2], scales[0])
    assert (scales[0][0], scales[0][2]) == (1.5, 0.5)
    assert (scales[3][0], scales[3][2]) == (0.5, 1.5)


def test_a_layer_without_an_exponent_keeps_the_global_rate():
    params = network()
    params["layers_3"]["kernel"] = params["layers_3"]["kernel"] * jnp.nan
    _, state = UPDATE(ONES, temperature_balance(every=3).init(params), params)
    assert state.scale.tolist() == [1.5, 1.0, 0.5]


@pytest.mark.parametrize(
    ("alpha", "low", "high", "expected"),
    [
        ([2.0, 4.0, 3.0], 0.5, 1.5, [0.5, 1.5, 1.0]),
        ([2.0, 4.0, 3.0], 1.5, 0.5, [1.5, 0.5, 1.0]),  # the other way round, as a control
        ([3.0, 3.0, 3.0], 0.5, 1.5, [1.0, 1.0, 1.0]),
        ([np.nan, 2.0, 4.0], 0.6, 1.4, [1.0, 0.6, 1.4]),
        ([np.nan, 2.0, np.nan], 0.5, 1.5, [1.0, 1.0, 1.0]),
        ([np.nan] * 3, 0.5, 1.5, [1.0, 1.0, 1.0]),
    ],
)
def test_the_linear_map(alpha: list[float], low: float, high: float, expected: list[float]):
    np.testing.assert_allclose(LINEAR_MAP(jnp.array(alpha), low, high), expected, rtol=1e-6)


def test_slices_of_stacked_weights_are_scaled_apart():
    params = {"blocks": {"layers": {"kernel": jnp.ones((3, 20, 24)), "bias": jnp.ones((3, 24))}}}
    selection = balanced_layers(params, ends=True)
    assert selection.names == tuple(f"blocks.layers.kernel[{i}]" for i in range(3))
    found = scaled_updates(params, selection, jnp.array([0.5, 1.5, 0.75]))["blocks"]["layers"]
    np.testing.assert_array_equal(found["kernel"], np.ones((3, 20, 24)) * np.array([0.5, 1.5, 0.75])[:, None, None])
    np.testing.assert_array_equal(found["bias"], 1)


class Net(nnx.Module):
    def __init__(self) -> None:
        self.layers = nnx.List([nnx.Linear(20, 20, rngs=nnx.Rngs(i)) for i in range(4)])


def test_an_nnx_optimizer_takes_it_behind_another():
    """What it hands over has names of its own: an nnx.State of plain arrays."""
    model = Net()
    transform = optax.chain(optax.sgd(0.1, momentum=0.9), temperature_balance(every=100))
    optimizer = nnx.Optimizer(model, transform, wrt=nnx.Param)
    state = nnx.state(model, nnx.Param)
    nnx.eval_shape(lambda m, o: o.update(m, nnx.state(m, nnx.Param)), model, optimizer)
    found = scaled_updates(state, balanced_layers(model), jnp.array([0.5, 1.5]))
    for layer, factor in enumerate((1.0, 0.5, 1.5, 1.0)):
        for leaf in ("kernel", "bias"):
            before, after = (each["layers"][layer][leaf][...] for each in (state, found))
            np.testing.assert_allclose(after, factor * before)


def test_behind_momentum_it_scales_the_rate_of_each_layer():
    """Two steps of momentum 0.9 on ones: −0.1, then −0.19, each times the factor of the layer."""
    params, sgd = network(), optax.sgd(0.1, momentum=0.9)
    momentum, balance = sgd.init(params), temperature_balance(every=3).init(params)
    for expected in (-0.1, -0.19):
        moved, momentum = sgd.update(ONES, momentum)
        moved, balance = UPDATE(moved, balance, params)
        np.testing.assert_allclose(moved["layers_1"]["kernel"], expected, rtol=1e-6)
        np.testing.assert_allclose(moved["layers_9"]["kernel"], expected * balance.scale[2], rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"every": 0}, "every=0"),
        ({"every": 5, "low": 0.0}, "low=0.0 must be a positive number"),
        ({"every": 5, "high": float("nan")}, "high=nan must be a positive number"),
        ({"every": 5, "layers": ["nothing"]}, "no layer matches"),
        ({"every": 5, "layers": ["layers_2.kernel"]}, "'layers_2.kernel' alone cannot be balanced"),
    ],
)
def test_what_is_wrong_is_said(arguments: dict, said: str):
    with pytest.raises(InputError, match=said):
        temperature_balance(**arguments).init(network())


def test_too_few_layers_and_missing_parameters():
    few = {name: network()[name] for name in ("layers_1", "layers_2", "layers_3")}
    with pytest.raises(InputError, match="1 of 3 layers lie between the first and the last"):
        temperature_balance(every=5).init(few)
    transform = temperature_balance(every=5)
    with pytest.raises(InputError, match="needs the parameters"):
        transform.update(ONES, transform.init(network()))
