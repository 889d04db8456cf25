"""The part of a comparison that takes two tensors at a time."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import jax
import numpy as np

from spectra.engine.backends import Backend
from spectra.engine.budget import Budget
from spectra.engine.compare_layer import change_columns, cut, directions
from spectra.engine.compare_match import Match, Pair
from spectra.engine.compare_vectors import Column, Directions, overlap_columns
from spectra.engine.options import Options
from spectra.engine.plan import Plan, Step
from spectra.engine.progress import Tally
from spectra.engine.run import ALWAYS
from spectra.errors import InputError
from spectra.models.source import Array, TensorSource
from spectra.report.result import LayerResult

THREADED = 1024
"""Matrices whose smaller side is below this lose more to BLAS's threads waiting for each other than they gain."""

Piece: TypeAlias = tuple[Pair, Match]
"""A layer in two checkpoints."""


@dataclass
class Checkpoint:
    """One of the checkpoints that are compared, and what the analysis found in it, by layer."""

    label: str
    source: TensorSource
    plan: Plan
    backend: Backend
    results: dict[str, LayerResult] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, tensor: str) -> Array | InputError:
        """One tensor, or why it cannot be read; one thread at a time, for formats seek in a file that they share."""
        with self._lock:
            try:
                return self.source.read(tensor)
            except InputError as error:
                return error


class Change(NamedTuple):
    """What the tensors of a layer in two checkpoints tell together."""

    columns: dict[str, Column]
    eigenvalues: np.ndarray | None
    """Of ΔWᵀΔW."""
    problem: str = ""


Changes: TypeAlias = dict[tuple[int, str], Change]
"""By the later checkpoint's place and the layer's name."""


def measured(pair: Pair, match: Match, checkpoints: Sequence[Checkpoint]) -> bool:
    """Whether a layer was measured in both checkpoints, so that it can be compared."""
    if match.why or match.before is None or match.after is None:
        return False
    results = [checkpoints[place].results[match.layer.name] for place in (pair.earlier, pair.later)]
    actions = [step.action in ("analyze", "entries") for step in (match.before, match.after)]
    return all(actions) and all(result.status != "failed" for result in results)


def find_changes(
    pairs: Sequence[Pair], checkpoints: Sequence[Checkpoint], options: Options, top: int, tally: Tally
) -> Changes:
    """Compare the tensors of every measured layer.

    Goes through the run tensor by tensor, so that each is read once however many checkpoints there are. A pair of
    large tensors has memory and all cores to itself; pairs of small ones are compared several at a time, a core each.
    """
    by_tensor: dict[str, list[Piece]] = defaultdict(list)
    for pair in pairs:
        for match in pair.matches:
            if measured(pair, match, checkpoints):
                by_tensor[match.layer.tensor].append((pair, match))
            elif not match.why and match.after is not None:
                tally.finished([match.after])
    walks = [_Walk(tensor, pieces, checkpoints, options, top) for tensor, pieces in by_tensor.items()]
    walks.sort(key=lambda walk: -walk.nbytes)
    total = max([ALWAYS, *(walk.nbytes for walk in walks)])
    large = [walk for walk in walks if 2 * walk.nbytes > total and walk.smaller_side >= THREADED]
    small = [walk for walk in walks if walk not in large]
    backend = checkpoints[0].backend
    found: Changes = {}
    for batch, workers in ((large, 1), (small, backend.workers)):
        with backend.using(workers):
            for walk, changes in _in_parallel(batch, workers, Budget(total), tally):
                found |= changes
                tally.finished(walk.steps)
    return found


def _in_parallel(walks: Sequence[_Walk], workers: int, budget: Budget, tally: Tally) -> Iterator[tuple[_Walk, Changes]]:
    """What each walk finds, as they are done with; several go on at a time while their bytes fit."""

    def work(walk: _Walk) -> Changes:
        if not budget.take(walk.nbytes):
            return {}
        try:
            return walk.changes()
        finally:
            budget.give(walk.nbytes)

    pool = ThreadPoolExecutor(workers)
    left = {pool.submit(work, walk): walk for walk in walks}
    try:
        while left:
            tally.begun(next(iter(left.values())).steps[0])
            for future in wait(left, return_when=FIRST_COMPLETED).done:
                yield left.pop(future), future.result()
    finally:
        budget.close()
        pool.shutdown(wait=False, cancel_futures=True)


class _Walk:
    """One tensor through the run: it is held for the two checkpoints that are compared, and read again for no other.

    Attributes
    ----------
    nbytes
        Estimated memory: two tensors in their own types, their difference, and two Gram matrices.
    steps
        The layers that are compared, as the later checkpoints have them.
    smaller_side
        Of the matrices; 0 where there are none.
    """

    def __init__(
        self, tensor: str, pieces: Sequence[Piece], checkpoints: Sequence[Checkpoint], options: Options, top: int
    ) -> None:
        self.checkpoints, self._options, self._top = checkpoints, options, top
        self._tensor, self._pieces = tensor, pieces
        self._held: dict[int, Array | InputError] = {}
        self._directions: dict[tuple[int, str], Directions | None] = {}
        self.steps = [match.after for _, match in pieces if match.after]
        tensors = [
            checkpoints[place].plan.tensors[tensor] for pair, _ in pieces for place in (pair.earlier, pair.later)
        ]
        self.smaller_side = max(step.layer.view.M if step.layer.view else 0 for step in self.steps)
        self.nbytes = 2 * max(tensors) + 2 * max(step.nbytes for step in self.steps)

    def changes(self) -> Changes:
        """Every pair of checkpoints, in the order of the run."""
        found: Changes = {}
        # Threads have settings of their own.
        with jax.enable_x64(True) if self._options.precision == "float64" else nullcontext():
            for pair, match in self._pieces:
                self._move_to(pair)
                found[pair.later, match.layer.name] = self._change(pair, match)
        self._held, self._directions = {}, {}
        return found

    def _change(self, pair: Pair, match: Match) -> Change:
        assert match.before is not None and match.after is not None
        backend = self.checkpoints[pair.later].backend
        try:
            weights = self._cut(pair.earlier, match.before), self._cut(pair.later, match.after)
            columns, eigenvalues = change_columns(match.after, *weights, self._options, backend)
            one = self._directions_of(pair.earlier, match.before)
            other = self._directions_of(pair.later, match.after)
        except InputError as error:
            return Change({}, None, str(error))
        return Change(columns | (overlap_columns(one, other) if one and other else {}), eigenvalues)

    def _move_to(self, pair: Pair) -> None:
        """Let go of what this pair does not need."""
        needed = (pair.earlier, pair.later)
        self._held = {place: tensor for place, tensor in self._held.items() if place in needed}
        self._directions = {key: found for key, found in self._directions.items() if key[0] in needed}

    def _cut(self, place: int, step: Step) -> np.ndarray:
        """The layer's matrices in one checkpoint.

        Raises
        ------
        InputError
            If the tensor cannot be read.
        """
        if place not in self._held:
            self._held[place] = self.checkpoints[place].read(self._tensor)
        tensor = self._held[place]
        if isinstance(tensor, InputError):
            raise tensor
        return cut(step, tensor)

    def _directions_of(self, place: int, step: Step) -> Directions | None:
        """The layer's leading directions in one checkpoint, found once."""
        key = place, step.layer.name
        if key not in self._directions:
            backend = self.checkpoints[place].backend
            self._directions[key] = directions(step, self._cut(place, step), self._top, self._options, backend)
        return self._directions[key]
