"""From measurements to one JSON file: what every question has in common."""

from __future__ import annotations

import argparse
import datetime
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.machine import accelerator, busy_cores, machine, revision, versions
from support.peers import HERE, Peer, PeerAbsentError, peer_versions
from support.timing import spread

RESULTS = HERE / "results"

QUIET = 0.2
"""Cores that may be busy with something else before a result says so."""


class CheckFailedError(AssertionError):
    """The two sides did not get the same answer, so their times must not be compared."""


class Question:
    """One benchmark while it runs: its options, the peers it found, the rows it gathers.

    Attributes
    ----------
    quick
        Fewer runs and smaller sizes, to see that everything works; the figures mean nothing.
    options
        What the question itself added to the command line.
    """

    def __init__(self, name: str, about: str, options: argparse.Namespace) -> None:
        self.name, self.about, self.options, self.quick = name, about, options, options.quick
        self._machine, self._busy = machine(), {"before": busy_cores()}
        if (self._busy["before"] or 0) > QUIET:
            print(f"{self._busy['before']} cores are busy with something else: the times mean little", file=sys.stderr)
        self._rows: list[dict[str, Any]] = []
        self._peers: dict[str, Any] = {}

    def peer(self, environment: str, worker: str | None = None) -> Peer | None:
        """A process of a peer, for a `with` block or an ExitStack; None, and a word in the result, if it is absent."""
        if not self.has(environment):
            return None
        return Peer(environment, worker or environment)

    def has(self, environment: str) -> bool:
        """Whether a peer can run here; what it is, or why not, goes into the result."""
        if environment not in self._peers:
            try:
                if not self.options.peers:
                    raise PeerAbsentError("left out by --no-peers")
                self._peers[environment] = peer_versions(environment)
            except PeerAbsentError as absent:
                self._peers[environment] = f"absent: {absent}"
        return not isinstance(self._peers[environment], str)

    def compare(
        self,
        work: str,
        ours: tuple[str, list[float]],
        peer: tuple[str, list[float]] | None,
        target: float | None = None,
        check: str = "",
        note: str = "",
    ) -> None:
        """Add a row: seconds of both sides, each with what was run, and the ratio peer over ours."""
        row: dict[str, Any] = {"work": work, "ours": {"what": ours[0], **spread(ours[1])}, "peer": None}
        if peer:
            row["peer"] = {"what": peer[0], **spread(peer[1])}
            row["ratio"] = row["peer"]["median"] / row["ours"]["median"]
            if target is not None:
                row |= {"target": target, "met": row["ratio"] >= target}
        self._add(row | {"check": check, "note": note})

    def figure(
        self, work: str, value: float, unit: str, limit: float | None = None, note: str = "", **details: Any
    ) -> None:
        """Add a row with one figure, which should not exceed `limit`."""
        row = {"work": work, "value": value, "unit": unit, "details": details, "note": note}
        if limit is not None:
            row |= {"limit": limit, "met": value <= limit}
        self._add(row)

    def _add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        print(row_text(row), flush=True)

    def save(self) -> Path:
        """Write everything to the results folder: one for CPUs, one for each kind of accelerator, one for trials."""
        place = self.options.results or _place(self.quick)
        place.mkdir(parents=True, exist_ok=True)
        result = {
            "name": self.name,
            "about": self.about,
            "command": f"benchmarks/run {' '.join([*_given(), self.name])}",
            "quick": self.quick,
            "date": datetime.date.today().isoformat(),
            "revision": revision(),
            "machine": self._machine,
            "busy_cores": {**self._busy, "after": busy_cores()},
            "versions": versions(),
            "peers": self._peers,
            "rows": self._rows,
        }
        path = place / f"{self.name}.json"
        path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
        return path


def _place(quick: bool) -> Path:
    if quick:
        return RESULTS / "quick"
    kind = accelerator()
    return RESULTS / re.sub(r"\W+", "_", kind).strip("_").lower() if kind else RESULTS


def _given() -> list[str]:
    return [argument if " " not in argument else repr(argument) for argument in sys.argv[1:]]


def row_text(row: dict[str, Any]) -> str:
    """One line for the terminal."""
    verdict = {True: ", met", False: ", NOT met", None: ""}[row.get("met")]
    if "value" in row:
        limit = f" (limit {row['limit']:.4g}{verdict})" if "limit" in row else ""
        return f"{row['work']}: {row['value']:.4g} {row['unit']}{limit}"
    ours, peer = row["ours"], row["peer"]
    text = f"{row['work']}: {ours['what']} {ours['median']:.4g} s"
    if peer:
        text += f", {peer['what']} {peer['median']:.4g} s, ratio {row['ratio']:.2f}"
        text += f" (target {row['target']:.3g}{verdict})" if "target" in row else ""
    return text


def check(holds: bool, message: str) -> None:
    """Stop the benchmark unless both sides agree."""
    if not holds:
        raise CheckFailedError(message)


def answer(
    path: str,
    about: str,
    measure: Callable[[Question], None],
    options: Callable[[argparse.ArgumentParser], None] | None = None,
) -> None:
    """Run a question's `measure` under the common command line and write its result."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few runs, small sizes, into results/quick")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="our side only")
    parser.add_argument("--results", type=Path, metavar="DIR", help="another folder for the result")
    if options:
        options(parser)
    question = Question(Path(path).stem, about.splitlines()[0], parser.parse_args())
    print(f"== {question.name}", flush=True)
    measure(question)
    print(f"-> {question.save()}", flush=True)
