"""Roots of decreasing functions in an interval: Newton's method, kept inside a shrinking bracket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Number: TypeAlias = Float[Array, ""]

MOST_STEPS = 100
"""Bisection alone takes float64 from any of our brackets to its last digit in fewer."""


class Root(NamedTuple):
    """Where a function vanishes, and what else it found on the way."""

    at: Number
    extra: Any


class _Search(NamedTuple):
    low: Number
    high: Number
    at: Number
    moved: Number
    extra: Any
    steps: Array


def find_root(
    f: Callable[[Number], tuple[Number, Number, Any]], low: Number, high: Number, start: Number, tolerance: float
) -> Root:
    """Root of a decreasing function in [low, high].

    Where f has no root there, the end next to it: `low` if f(low) ≤ 0, `high` if f(high) ≥ 0. For the derivative of a
    concave likelihood that is the maximum on the interval.

    Parameters
    ----------
    f
        The value and the slope of the function at a number, and anything else: the last one of it is returned.
    low, high, start
        The bracket, and where to start in it.
    tolerance
        Steps below this share of the position (or of 1, near 0) end the search.

    Notes
    -----
    A Newton step that would leave the bracket or does not halve the last one is replaced by a bisection (Press et al.,
    Numerical Recipes, §9.4). The two ends are looked at in the same loop, so that f is compiled once.
    """

    def unfinished(s: _Search) -> Array:
        far = s.moved > tolerance * jnp.maximum(jnp.abs(s.at), 1)
        return far & (s.steps < MOST_STEPS)

    def step(s: _Search) -> _Search:
        value, slope, extra = f(s.at)
        ends_at_low, ends_at_high = (s.steps == 0) & (value <= 0), (s.steps == 1) & (value >= 0)
        low, high = jnp.where(value > 0, s.at, s.low), jnp.where(value < 0, s.at, s.high)
        newton = s.at - value / jnp.where(slope < 0, slope, -1)
        usable = (slope < 0) & (newton > low) & (newton < high) & (jnp.abs(newton - s.at) <= s.moved / 2)
        to = jnp.where(usable, newton, low + (high - low) / 2)
        to = jnp.select([s.steps == 0, s.steps == 1], [high, jnp.clip(start, low, high)], to)
        # NaN ends a search like an end of the bracket that is the answer.
        done = ends_at_low | ends_at_high | (value == 0) | jnp.isnan(value)
        to = jnp.where(done, s.at, to)
        moved = jnp.where(done, 0, jnp.where(s.steps < 2, 2 * (s.high - s.low), jnp.abs(to - s.at)))
        return _Search(low, high, to, moved, extra, s.steps + 1)

    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(f, low)[2])
    found = lax.while_loop(unfinished, step, _Search(low, high, low, high - low, nothing, jnp.zeros((), jnp.int32)))
    return Root(found.at, found.extra)


def series(coefficients: list[float], z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Σ cₖ zᵏ by Horner's rule, written out: `jnp.polyval` is a loop over the array for each term."""
    result = jnp.full_like(z, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        result = result * z + coefficient
    return result
