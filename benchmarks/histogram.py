"""How long does it take to count and describe twenty million weights?

Ours does more than the peers: histogram and all moments in one call of the kernels, and in the analyzer quantiles,
sparsity and a second histogram on top. boost-histogram fills its histogram with one thread a core, `np.histogram` knows
one thread. Edges are multiples of a power of two, exact in every type, so that all sides must count the same.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from support.peers import Peer
from support.question import Question, answer, check
from support.timing import alternate, timed

import spectra
from spectra.engine.entries import describe_entries

BINS, LOW, HIGH = 256, -1.0, 1.0
RUNS = 9
TARGET = 1.0
"""At least as fast with all moments as boost-histogram without any."""


class Ours(NamedTuple):
    """One way to do it: what it is called in the result, the call to time, and the check of what the call returned."""

    what: str
    call: Callable[[], Any]
    same: Callable[[Any, np.ndarray, list[int]], str]


def measure(question: Question) -> None:
    """A row for each of our ways and each peer."""
    n = 2_000_000 if question.quick else 20_000_000
    x = (0.1 * np.random.default_rng(0).standard_t(4, n)).astype(np.float32)
    exact = counted(x)
    peer = question.peer("kernels")
    if peer:
        with peer, tempfile.TemporaryDirectory() as folder:
            np.save(Path(folder) / "x.npy", x)
            peer.ask("load", path=Path(folder) / "x.npy")
            compare(question, x, exact, peer)
    else:
        compare(question, x, exact, None)


def compare(question: Question, x: np.ndarray, exact: list[int], peer: Peer | None) -> None:
    """Measure all sides in turn and check every answer against an exact count."""
    threads = os.cpu_count()
    ways = {way.what: way for way in ours(x)}
    answers: dict[str, Any] = {}

    def mine(way: Ours) -> Callable[[], float]:
        def run() -> float:
            seconds, answers[way.what] = timed(way.call)
            return seconds

        return run

    def theirs(routine: str, **more: int) -> Callable[[], float]:
        def run() -> float:
            answers[routine] = peer.ask(routine, bins=BINS, low=LOW, high=HIGH, **more)
            return answers[routine]["seconds"]

        return run

    sides = {what: mine(way) for what, way in ways.items()}
    if peer:
        sides |= {"boost": theirs("boost", threads=threads), "numpy": theirs("numpy")}
    measured = alternate(sides, dict.fromkeys(sides, 2 if question.quick else RUNS))
    if peer:
        check(answers["boost"]["counts"] == exact, "boost-histogram counted something else")
        check(answers["numpy"]["counts"] == exact[1:-1], "np.histogram counted something else")
    names = {"boost": f"boost-histogram alone, {threads} threads", "numpy": "np.histogram alone"}
    work = f"{x.size / 1e6:.0f} million float32"
    for what, way in ways.items():
        same = way.same(answers[what], x, exact)
        for routine, name in names.items() if peer else ():
            target = TARGET if routine == "boost" else None
            question.compare(work, (what, measured[what]), (name, measured[routine]), target, same)
        if not peer:
            question.compare(work, (what, measured[what]), None, check=same)


def ours(x: np.ndarray) -> list[Ours]:
    """Our ways; a new kernel is one more entry."""
    on_device, edges = jnp.asarray(x), jnp.linspace(LOW, HIGH, BINS + 1)
    kernels = jax.jit(lambda w, edges: (spectra.histogram(w, edges), spectra.moments(w)))
    both = jax.jit(lambda w: spectra.moments_and_histogram(w, bins=BINS))
    return [
        Ours("moments_and_histogram, automatic bins", lambda: both(on_device), same_automatic),
        Ours("histogram on given edges and moments in one jit", lambda: kernels(on_device, edges), same_kernels),
        Ours(
            "describe_entries: two histograms, moments, quantiles, sparsity",
            lambda: describe_entries(x),
            same_entries,
        ),
    ]


def counted(x: np.ndarray) -> list[int]:
    """The exact counts, those below and above the edges first and last: by sorting, in float32, which edges fit."""
    ascending, edges = np.sort(x), np.linspace(LOW, HIGH, BINS + 1).astype(np.float32)
    check(not np.isin(edges[-1], ascending), "an entry on the last edge, which conventions count differently")
    places = np.searchsorted(ascending, edges, side="left")
    return np.diff(np.concatenate([[0], places, [x.size]])).tolist()


def same_kernels(answered: Any, x: np.ndarray, exact: list[int]) -> str:
    """Equal counts, moments to float32's accuracy."""
    h, m = answered
    check([int(h.underflow), *h.counts.tolist(), int(h.overflow)] == exact, "the kernel counted something else")
    return "equal counts; " + same_moments({name: float(getattr(m, name)) for name in MOMENTS}, x)


def same_automatic(answered: Any, x: np.ndarray, exact: list[int]) -> str:
    """Equal counts on the edges that the kernel chose, and its moments."""
    m, h = answered
    expected, _ = np.histogram(x, np.asarray(h.edges))
    check(h.counts.tolist() == expected.tolist(), "the kernel counted something else")
    return "equal counts; " + same_moments({name: float(getattr(m, name)) for name in MOMENTS}, x)


def same_entries(answered: Any, x: np.ndarray, exact: list[int]) -> str:
    """Equal counts on the edges that the analyzer chose, and its moments."""
    h = answered.linear
    expected, _ = np.histogram(x, np.asarray(h.edges))
    check(np.array_equal(expected, h.counts), "the analyzer counted something else than np.histogram")
    return "counts equal to np.histogram's on the analyzer's edges; " + same_moments(answered.columns, x)


MOMENTS = {"mean": 1e-6, "std": 1e-6, "skewness": 1e-3, "kurtosis": 1e-3}


def same_moments(found: Any, x: np.ndarray) -> str:
    """Moments against NumPy in float64; the mean in units of the standard deviation."""
    wide = x.astype(np.float64)
    mean, std = wide.mean(), wide.std()
    z = (wide - mean) / std
    exact = {"mean": mean, "std": std, "skewness": (z**3).mean(), "kurtosis": (z**4).mean() - 3}
    for name, tolerance in MOMENTS.items():
        scale = std if name == "mean" else max(1.0, abs(exact[name])) if name != "std" else std
        off = abs(found[name] - exact[name]) / scale
        check(off <= tolerance, f"{name} is {found[name]}, not {exact[name]}")
    return "moments equal to NumPy's in float64 within 1e-6 (mean, std) and 1e-3 (skewness, kurtosis)"


if __name__ == "__main__":
    answer(__file__, __doc__, measure)
