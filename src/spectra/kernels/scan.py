"""The start of a power-law tail: every value of a sorted sample tried as xmin, without all n²/2 distances.

The definition is in `power_law.py`. The deviation of model from data at the value j of the tail that starts at i,

    deviation(i, j) = 1 − (xⱼ/xᵢ)^(1−alphaᵢ) − (j − i)/nᵢ,

takes O(1) once alpha and logarithms are known for every i, and the distance of i is the largest magnitude over j.
So whatever subset of values is looked at gives a lower bound. The search is a method of cutting planes:

1. take the candidate of the lowest bound (at first all are 0) and compute its whole distance, O(n);
2. at the value where its model misses the data most, compute the deviations of all other candidates, O(n): their bounds
   rise, for tails that overlap miss the data in the same places. Do the same for each of them at the value as far
   through its *own* tail: tails of like shape miss the data in like places;
3. stop when no bound is below the smallest distance found.

The result is that of the full search. On random samples 5 to 15 rounds do, whatever n.

On regular samples (a geometric sequence, quantiles of a law) thousands of distances may be equal but for rounding, and
to tell which is smallest would take them all. So after `PATIENCE` rounds a candidate is tied, and not looked at, if its
bound is less than `TIED` units of eps below the smallest distance found, which is less than what a distance is off by;
and that margin doubles every `PATIENCE` rounds. So the search always ends, after 700 rounds in float32 and 1,700 in
float64 at the very latest, and the winner is a minimiser to within the last margin: of all the samples that were made
up to be hard, the worst took 82 rounds for five million values (1.4e-6 in float32), and 124 for a million in float64
(7e-15).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from spectra.kernels.dtypes import eps, power_of_two

SUMMED_AT_ONCE = 64
"""Length of the blocks of sums."""

ROUNDING = 1
"""Units of eps by which two computations of one deviation may differ.

None was seen to differ. Deviations are differences of numbers in [0, 1], without products that could be fused with
a sum, so that an exponential that is off by one unit in the last place changes one by eps at most.
"""

PATIENCE = 32
"""Rounds after which ties are no longer looked into, and after which what counts as one doubles."""

TIED = 4
"""Units of eps within which distances are equal then."""


class BestStart(NamedTuple):
    """The tail of smallest distance."""

    index: Int[Array, ""]
    """Place of xmin in the sorted sample; 0 where there is no candidate."""
    alpha: Float[Array, ""]
    """Exponent; NaN where there is no candidate."""
    ks: Float[Array, ""]
    """Distance; +inf where there is no candidate."""
    rounds: Int[Array, ""]
    """How many tails were computed as a whole."""


class Tails(NamedTuple):
    """What the deviations of all tails are made of."""

    slope: Float[Array, " n"]
    """alpha − 1 of the tail that starts at each value."""
    depth: Float[Array, " n"]
    """ln(x_max/x) in multiples of a unit, so that sums and differences of it are exact."""
    rest: Float[Array, " n"]
    """What lacks: were depth one number, an outlier would take the digits from the values close to each other."""
    share: Float[Array, " n"]
    """1/n of the tail, the step of its empirical distribution."""
    count: Int[Array, ""]
    """Number of values."""
    first: Bool[Array, " n"]
    """Whether the value is the first of its equals, where the distance is taken."""
    candidate: Bool[Array, " n"]
    """Whether it may be xmin: the first of its equals, and not the largest value."""


class _Search(NamedTuple):
    bound: Float[Array, " n"]
    """No distance is smaller than this; +inf for those computed, and where there is no candidate."""
    ks: Float[Array, ""]
    """Smallest distance so far."""
    start: Int[Array, ""]
    """Where its tail starts."""
    rounds: Int[Array, ""]


def best_start(ordered: Float[Array, " n"], count: Int[Array, ""]) -> BestStart:
    """The candidate with the smallest distance in a sorted sample, of those that were computed the lowest on ties.

    Parameters
    ----------
    ordered
        Positive normal numbers in ascending order. Those from `count` on are not looked at.
    count
        How many there are.

    Notes
    -----
    Carries no gradient. Under `vmap` the search goes on until the slowest sample is done.
    """
    return best_tail(all_tails(lax.stop_gradient(ordered), count))


def best_tail(tails: Tails) -> BestStart:
    """The tail with the smallest distance; of those that were computed the one that starts lowest on ties."""
    n, dtype = tails.depth.shape[0], tails.depth.dtype
    infinity = jnp.asarray(jnp.inf, dtype)
    if n == 0:
        return BestStart(jnp.int32(0), jnp.asarray(jnp.nan, dtype), infinity, jnp.int32(0))
    place = jnp.arange(n, dtype=jnp.int32)

    def unfinished(search: _Search) -> Bool[Array, ""]:
        least = jnp.min(search.bound)
        late = (search.rounds - PATIENCE).astype(dtype) / PATIENCE
        margin = jnp.where(late < 0, -ROUNDING, TIED * jnp.exp2(late)) * eps(tails.depth)
        return (least < jnp.inf) & (least <= search.ks - margin)

    def look(search: _Search) -> _Search:
        chosen = jnp.min(jnp.where(search.bound <= jnp.min(search.bound), place, n - 1))
        ks, witness = _furthest(tails, chosen)
        bound = jnp.maximum(search.bound, _least_distance(tails, witness))
        bound = jnp.maximum(bound, _least_distance(tails, _of_like_rank(tails, chosen, witness)))
        better = (ks < search.ks) | ((ks == search.ks) & (chosen < search.start))
        return _Search(
            bound=jnp.where(place == chosen, jnp.inf, bound),
            ks=jnp.where(better, ks, search.ks),
            start=jnp.where(better, chosen, search.start),
            rounds=search.rounds + 1,
        )

    nothing = _Search(jnp.where(tails.candidate, 0, infinity), infinity, jnp.int32(0), jnp.int32(0))
    found = lax.while_loop(unfinished, look, nothing)
    alpha = jnp.where(found.ks < jnp.inf, 1 + tails.slope[found.start], jnp.nan)
    return BestStart(found.start, alpha, found.ks, found.rounds)


def _of_like_rank(tails: Tails, start: Int[Array, ""], witness: Int[Array, ""]) -> Int[Array, " n"]:
    """For each tail the value that lies as far through it as `witness` does through the tail from `start`."""
    place = jnp.arange(tails.depth.shape[0], dtype=jnp.int32)
    way = (witness - start).astype(tails.share.dtype) * tails.share[start]
    ahead = (way * (tails.count - place).astype(way.dtype)).astype(jnp.int32)
    return place + jnp.clip(ahead, 0, jnp.maximum(tails.count - 1 - place, 0))


def _least_distance(tails: Tails, at: Int[Array, "*j"]) -> Float[Array, " n"]:
    """A bound of each tail's distance from one value: its own, or the same for all.

    Of a value that is not the first of its equals the rank is too large and the deviation too low, and so it only
    counts where it is positive.
    """
    place = jnp.arange(tails.depth.shape[0], dtype=jnp.int32)
    depth, rest, first = (a.at[at].get(mode="promise_in_bounds") for a in (tails.depth, tails.rest, tails.first))
    model = _model(tails.slope, (tails.depth - depth) + (tails.rest - rest))
    deviation = model - (at - place).astype(model.dtype) * tails.share
    return jnp.where(place <= at, jnp.where(first, jnp.abs(deviation), deviation), 0)


def all_tails(x: Float[Array, " n"], count: Int[Array, ""]) -> Tails:
    """The tails of a sample in ascending order, of which `count` values are there."""
    inside = jnp.arange(x.shape[0], dtype=jnp.int32) < count
    rising = inside[1:]
    step = jnp.where(rising, log_ratio(jnp.where(rising, x[1:], 1), jnp.where(rising, x[:-1], 1)), 0)
    return tails_from_steps(jnp.append(step, jnp.zeros(min(x.shape[0], 1), x.dtype)), first_of_run(x) & inside, count)


def tails_from_steps(step: Float[Array, " n"], first: Bool[Array, " n"], count: Int[Array, ""]) -> Tails:
    """The tails of a sample that is given by its steps of ln x, in sums that lose nothing.

    step[k] leads from value k to value k + 1, and is 0 from count − 1 on. Then depth = ln(x_max/xᵢ), and the tail's
    log-sum Σ_{j≥i} ln(xⱼ/xᵢ) = Σ_{k≥i} (count − 1 − k)·step_k. All terms are positive and taken from the largest value
    down. `first` tells where a value is the first of its equals, and is False from `count` on.
    """
    size = jnp.maximum(count - jnp.arange(step.shape[0], dtype=jnp.int32), 1).astype(step.dtype)
    unit = 2 * eps(step) * power_of_two(total(step))  # rounded steps may add up to twice the total
    whole = jnp.round(step / unit) * unit
    depth, rest, log_sum = jax.vmap(sums_from_the_top)(jnp.stack([whole, step - whole, step * (size - 1)]))
    candidate = first & (log_sum > 0)
    return Tails(size / jnp.where(candidate, log_sum, 1), depth, rest, 1 / size, count, first, candidate)


def _model(slope: Float[Array, "*slopes"], rise: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Share of a tail below a value, ln x of which is that much above the tail's start."""
    # Clipped where 1 − e^−x is 1, or is not used: numbers that leave the range of floats cost time.
    return 1 - jnp.exp(jnp.clip(-slope * rise, -60, 0))


def _furthest(tails: Tails, start: Int[Array, ""]) -> tuple[Float[Array, ""], Int[Array, ""]]:
    """Distance of one tail, and the value where it is taken.

    In two steps, because XLA's argmax is a scalar loop on the CPU: extremes of blocks, and then the place within one.
    """
    n = tails.depth.shape[0]
    size = 1 << ((n - 1).bit_length() + 1) // 2
    place = jnp.arange(n, dtype=jnp.int32)
    counts = tails.first & (place >= start)
    rise = (tails.depth[start] - tails.depth) + (tails.rest[start] - tails.rest)
    model = _model(tails.slope[start], rise)
    distance = jnp.where(counts, jnp.abs(model - (place - start).astype(model.dtype) * tails.share[start]), 0)
    blocks = jnp.pad(distance, (0, -n % size)).reshape(-1, size)
    largest = jnp.max(blocks, axis=1)
    block = jnp.argmax(largest)
    return largest[block], (block * size + jnp.argmax(blocks[block])).astype(jnp.int32)


@jax.custom_jvp
def log_ratio(x: Float[Array, ...], start: Float[Array, ...]) -> Float[Array, ...]:
    """ln(x/start) for x ≥ start > 0, to a few units in the last place even where x is close to start."""
    ratio = x / start
    # The subtraction is exact within a factor of two; lifted, lest the difference of small numbers be subnormal.
    lift = jnp.where(start < 1, 1 / jnp.finfo(x.dtype).eps ** 2, 1).astype(x.dtype)
    near = jnp.log1p((x * lift - start * lift) / (start * lift))
    far = jnp.where(jnp.isfinite(ratio), jnp.log(ratio), jnp.log(x) - jnp.log(start))
    return jnp.where(ratio < 2, near, far)


@log_ratio.defjvp
def _log_ratio_jvp(
    primals: tuple[Float[Array, ...], Float[Array, ...]], tangents: tuple[Float[Array, ...], Float[Array, ...]]
) -> tuple[Float[Array, ...], Float[Array, ...]]:
    """Derivatives 1/x and −1/start; those of the formulas above pass through start² and leave the range."""
    (x, start), (dx, dstart) = primals, tangents
    return log_ratio(x, start), dx / x - dstart / start


def first_of_run(x: Float[Array, " n"]) -> Bool[Array, " n"]:
    """For sorted values: whether each is the first of its equals.

    The empirical distribution at a value is the share strictly below it, which is the rank of the first of its equals;
    the others have nothing to add to a distance.
    """
    return jnp.ones(x.shape, bool).at[1:].set(x[1:] != x[:-1])


def sums_from_the_top(x: Float[Array, " n"]) -> Float[Array, " n"]:
    """Σ_{k≥i} x_k by products with triangles of ones, which compile in a tenth of the time of `lax.cumsum`."""
    n = x.shape[0]
    if n <= SUMMED_AT_ONCE:
        return jnp.matmul(jnp.triu(jnp.ones((n, n), x.dtype)), x, precision=lax.Precision.HIGHEST)
    blocks = jnp.pad(x, (0, -n % SUMMED_AT_ONCE)).reshape(-1, SUMMED_AT_ONCE)
    within = jnp.matmul(blocks, jnp.tril(jnp.ones((SUMMED_AT_ONCE,) * 2, x.dtype)), precision=lax.Precision.HIGHEST)
    behind = jnp.append(sums_from_the_top(within[:, 0])[1:], 0)
    return (within + behind[:, None]).reshape(-1)[:n]


def total(x: Float[Array, " n"]) -> Float[Array, ""]:
    """Σ x in blocks: XLA's own reduction on the CPU is one loop, which loses digits of millions of values."""
    while x.shape[0] > SUMMED_AT_ONCE:
        blocks = jnp.pad(x, (0, -x.shape[0] % SUMMED_AT_ONCE)).reshape(-1, SUMMED_AT_ONCE)
        x = jnp.matmul(blocks, jnp.ones(SUMMED_AT_ONCE, x.dtype), precision=lax.Precision.HIGHEST)
    return jnp.sum(x)
