"""Cells of a claim: networks that differ in their seed alone, and what they say of a measure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from spectra.study.measures import Row
from spectra.study.spec import Spec
from spectra.study.stats import Effect, depth_trend, mean_effect, network_rho

Question = Literal["depth trend", "training effect", "contrast", "more depth", "level"]

SEED = 0
"""Of bootstraps and permutations over networks."""

LOGARITHMIC = {"student_t_df", "activation_std", "gradient_std"}
"""Measures over orders of magnitude, compared by their logarithms."""


class Measure(NamedTuple):
    """What is looked at, and which way the claim says that it goes."""

    name: str
    claimed: int
    primary: bool = False
    """Whether the verdict counts it; the others are shown beside it."""


SPARSE_AND_HEAVY = (
    Measure("near_zero_std", 1, primary=True),
    Measure("kurtosis", 1, primary=True),
    Measure("near_zero_max", 1),
    Measure("hoyer", 1),
    Measure("gini", 1),
    Measure("student_t_df", -1),
    Measure("tail_alpha", -1),
    Measure("alpha", -1),
    Measure("stable_rank", -1),
    Measure("effective_rank", -1),
    Measure("w1_rand_distance", 1),
)
"""Sparser is more weights near zero; heavy-tailed is a larger kurtosis, fewer degrees of freedom, a smaller alpha."""


@dataclass(frozen=True)
class Finding:
    """What the networks of one cell say.

    Attributes
    ----------
    claim
        Its id, ``C0 paper`` for what the cited paper itself reports, or the name of a control.
    question, measure, claimed
        What is asked of what, and the sign that the claim expects.
    cell
        Labels of the cell: family, depth, ….
    effect, before
        Mean over networks; the same at initialisation, where that makes sense.
    primary
        Whether the verdict counts it.
    """

    claim: str
    question: Question
    measure: str
    claimed: int
    primary: bool
    cell: Mapping[str, Any]
    effect: Effect
    before: Effect | None = None
    learning: Effect | None = None
    """Effect minus that before, network by network."""
    values: tuple[float, ...] = field(default=())


class Cell(NamedTuple):
    """Networks that differ in their seed alone."""

    labels: dict[str, Any]
    specs: tuple[Spec, ...]


class Tables:
    """Records of the networks, found by the network."""

    def __init__(self, records: Iterable[Mapping[str, Any]]) -> None:
        self.records = {record["name"]: record for record in records}

    def learned(self, spec: Spec) -> bool:
        """Whether the network is there and counts."""
        return spec.name in self.records and self.records[spec.name]["status"] == "learned"

    def rows(self, spec: Spec, moment: str = "end", part: str = "w") -> list[Row]:
        """Rows of its layers at one moment."""
        layers = self.records[spec.name]["layers"] if spec.name in self.records else []
        return [row for row in layers if row["moment"] == moment and row["part"] == part]

    def curve(self, spec: Spec, what: str) -> list[Row]:
        """What an experiment measured besides."""
        curves = self.records[spec.name]["curves"] if spec.name in self.records else []
        return [row for row in curves if row["what"] == what]

    def result(self, spec: Spec) -> Row:
        """Accuracies and losses."""
        found: Row = self.records[spec.name]["result"]
        return found


def value(row: Row, measure: str) -> float:
    """A measure as a number that can be compared; NaN where there is none."""
    found = row.get(measure)
    if found is None or (measure in LOGARITHMIC and found <= 0):
        return float("nan")
    return math.log10(found) if measure in LOGARITHMIC else float(found)


def groups(rows: Sequence[Row], measure: str, ends: bool = False) -> list[list[float]]:
    """The measure by layer, from first to last, for each group of comparable layers.

    Weights compare within a role, without first and last layer; signals compare over all hidden layers. With `ends`
    first and last count too, though they have other shapes, if all layers between them have one role.
    """
    if measure.startswith(("activation_", "gradient_")):
        return [[value(row, measure) for row in rows if measure in row]]
    roles = {row["role"]: None for row in rows if row["role"] not in ("input", "output")}
    if ends:
        return [[value(row, measure) for row in rows]] if len(roles) == 1 else []
    return [[value(row, measure) for row in rows if row["role"] == role] for role in roles]


def level(rows: Sequence[Row], measure: str) -> float:
    """Mean of the measure over the comparable layers of a network."""
    found = [x for group in groups(rows, measure) for x in group if np.isfinite(x)]
    return float(np.mean(found)) if found else float("nan")


def trend(
    claim: str, cell: Cell, measure: Measure, tables: Tables, part: str = "w", ends: bool = False
) -> Finding | None:
    """Whether the measure changes with depth within the networks of a cell; None where no network can tell."""
    specs = [spec for spec in cell.specs if tables.learned(spec)]
    after = [groups(tables.rows(spec, part=part), measure.name, ends) for spec in specs]
    effect = depth_trend(after, SEED)
    if effect.n == 0:
        return None
    start = [groups(tables.rows(spec, "initial", part), measure.name, ends) for spec in specs]
    before = depth_trend(start, SEED)
    pairs = [(network_rho(a), network_rho(b)) for a, b in zip(after, start, strict=True)]
    learning = mean_effect([a - b for a, b in pairs], SEED)
    values = tuple(a for a, _ in pairs if np.isfinite(a))
    labels = cell.labels | ({"layers": "all"} if ends else {})
    return Finding(claim, "depth trend", *measure, labels, effect, before, learning, values)


def training_effect(claim: str, cell: Cell, measure: Measure, tables: Tables) -> Finding | None:
    """What training did to the measure: end minus initialisation of each layer, averaged over a network's layers."""

    def change(spec: Spec) -> float:
        return level(tables.rows(spec), measure.name) - level(tables.rows(spec, "initial"), measure.name)

    return _of_networks(claim, "training effect", cell, measure, tables, change)


def level_of(claim: str, cell: Cell, measure: Measure, tables: Tables, moment: str = "end") -> Finding | None:
    """The measure itself, averaged over a network's layers."""
    return _of_networks(
        claim, "level", cell, measure, tables, lambda spec: level(tables.rows(spec, moment), measure.name)
    )


def _of_networks(
    claim: str, question: Question, cell: Cell, measure: Measure, tables: Tables, number: Callable[[Spec], float]
) -> Finding | None:
    values = [number(spec) for spec in cell.specs if tables.learned(spec)]
    known = tuple(x for x in values if np.isfinite(x))
    if not known:
        return None
    return Finding(claim, question, *measure, cell.labels, mean_effect(known, SEED), values=known)


def contrast(
    claim: str,
    cell: Cell,
    other: Cell,
    measure: Measure,
    tables: Tables,
    part: str = "w",
    moment: str = "end",
    number: Callable[[Sequence[Row], str], float] = level,
) -> Finding | None:
    """The measure of a cell minus that of another, seed by seed; at the end also what it was at initialisation."""
    pairs = [
        (a, b) for a in cell.specs for b in other.specs if a.seed == b.seed and tables.learned(a) and tables.learned(b)
    ]

    def differences(when: str) -> np.ndarray:
        return np.array(
            [
                number(tables.rows(a, when, part), measure.name) - number(tables.rows(b, when), measure.name)
                for a, b in pairs
            ]
        )

    after = differences(moment)
    known = np.isfinite(after)
    if not known.any():
        return None
    minus = " ".join(_in_words(k, x) for k, x in other.labels.items() if cell.labels.get(k) != x)
    effect = mean_effect(after[known], SEED)
    found = Finding(claim, "contrast", *measure, cell.labels | {"minus": minus}, effect, values=tuple(after[known]))
    if moment != "end":
        return found
    start = differences("initial")[known]
    return replace(found, before=mean_effect(start, SEED), learning=mean_effect(after[known] - start, SEED))


def _in_words(name: str, label: Any) -> str:
    """A label as it reads without its name: what it lacks is named."""
    return f"without {name}" if label in (0, "none") else str(label)


def more_depth(claim: str, cells: Sequence[Cell], measure: Measure, tables: Tables) -> Finding | None:
    """Whether deeper networks have more of it: over seeds the mean ρ between depth and a network's mean."""
    by_seed: dict[int, list[float]] = {}
    for cell in cells:
        for spec in cell.specs:
            if tables.learned(spec):
                by_seed.setdefault(spec.seed, []).append(level(tables.rows(spec), measure.name))
    ladders = [[values] for values in by_seed.values() if len(values) == len(cells)]
    effect = depth_trend(ladders, SEED)
    labels = {key: x for key, x in cells[0].labels.items() if key != "depth"} | {"depth": "ladder"}
    return Finding(claim, "more depth", *measure, labels, effect) if effect.n else None


def present(findings: Iterable[Finding | None]) -> list[Finding]:
    """Those that could be had."""
    return [finding for finding in findings if finding is not None]
