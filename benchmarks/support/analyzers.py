"""Three analyzers on the same weights, in memory and warm; and whether they found the same."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from safetensors.numpy import save_file
from support.models import Weights
from support.peers import Peer
from support.question import Question, check
from support.timing import alternate, timed

import spectra

WHAT = {
    "spectra": "spectra.analyze",
    "weightwatcher": "WeightWatcher analyze",
    "diffract": "Diffract stable_rank, pl_ks, pl_alpha",
}

ALPHA_TOLERANCE = 1e-3

SMALLEST_SAMPLE = 20
"""Below this many eigenvalues WeightWatcher takes another estimator of alpha."""

SHORTEST_TAIL = 50
"""Diffract considers no shorter tail, so that its alpha is another number where the best one is shorter."""


class Measured(NamedTuple):
    """Seconds of each side, and for each peer the sentence that says how far the answers agree."""

    seconds: dict[str, list[float]]
    agreement: dict[str, str]
    tables: dict[str, Any]
    """The last table of each side, as it came."""


@contextmanager
def analyzers(question: Question) -> Iterator[dict[str, Peer]]:
    """A running process of each analyzer that is present."""
    with ExitStack() as stack:
        peers = {name: question.peer(name) for name in ("weightwatcher", "diffract")}
        yield {name: stack.enter_context(peer) for name, peer in peers.items() if peer}


def side_by_side(
    weights: Weights,
    peers: Mapping[str, Peer],
    runs: Mapping[str, int],
    small: Weights | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> Measured:
    """Measure in turn and check the tables.

    The warm-up is a full run of each side; where that takes a peer minutes, `small` is what it warms up with. `options`
    are those of each side where they are not its defaults.
    """
    options = options or {}
    tables: dict[str, Any] = {}

    def ours() -> float:
        seconds, tables["spectra"] = timed(lambda: spectra.analyze(weights, **options.get("spectra", {})))
        return seconds

    def theirs(name: str) -> Callable[[], float]:
        def run() -> float:
            answered = peers[name].ask("run", **options.get(name, {}))
            tables[name] = answered["layers"]
            return answered["seconds"]

        return run

    if small is not None:
        for name in peers:
            _load(peers, name, small)
            theirs(name)()
    for name in peers:
        _load(peers, name, weights)
    sides = {"spectra": ours, **{name: theirs(name) for name in peers}}
    measured = alternate(sides, runs, cold=() if small is None else peers)
    table = tables["spectra"].to_pandas()
    agreement = {}
    if "weightwatcher" in peers:
        layers = pd.DataFrame.from_dict(tables["weightwatcher"], orient="index")
        agreement["weightwatcher"] = same_as_weightwatcher(table, layers.rename_axis("longname").reset_index())
    if "diffract" in peers:
        agreement["diffract"] = same_as_diffract(table, pd.DataFrame(tables["diffract"]))
    return Measured(measured, agreement, {**tables, "spectra": table})


def _load(peers: Mapping[str, Peer], name: str, weights: Weights) -> None:
    """Hand the weights over, outside the measured time."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_file(weights, path)
        peers[name].ask("load", path=path, names=list(weights))


def same_as_weightwatcher(ours: pd.DataFrame, theirs: pd.DataFrame) -> str:
    """Alpha and the size of the tail in every layer that both fit the same way, or an error."""
    theirs = theirs[theirs["num_evals"] >= SMALLEST_SAMPLE].assign(name=theirs["longname"] + ".weight")
    both = _joined(ours[ours["num_evals"] >= SMALLEST_SAMPLE], theirs)
    apart = (both["alpha_peer"] - both["alpha"]).abs()
    check(apart.max() <= ALPHA_TOLERANCE, f"alpha of {_worst(both, apart)} is {apart.max():.2g} from WeightWatcher's")
    differ = both["num_pl_spikes_peer"] != both["num_pl_spikes"]
    check(not differ.any(), f"tails of other sizes than WeightWatcher's: {both['name'][differ].tolist()}")
    return f"alpha of all {len(both)} layers within {apart.max():.1e} of WeightWatcher's, same tails"


def same_as_diffract(ours: pd.DataFrame, theirs: pd.DataFrame) -> str:
    """Stable rank in every layer, alpha where Diffract considers the best tail; or an error."""
    both = _joined(ours, theirs)
    off = (both["stable_rank_peer"] / both["stable_rank"] - 1).abs()
    check(off.max() <= 1e-3, f"stable rank of {_worst(both, off)} is {off.max():.2g} off Diffract's")
    said = f"stable rank of all {len(both)} layers within {off.max():.1e} of Diffract's"
    long = both[both["num_pl_spikes"] >= SHORTEST_TAIL]
    if long.empty:
        return f"{said}; no alpha to compare (Diffract allows no tail under {SHORTEST_TAIL})"
    apart = (long["pl_alpha"] - long["alpha"]).abs()
    check(apart.max() <= ALPHA_TOLERANCE, f"alpha of {_worst(long, apart)} is {apart.max():.2g} from Diffract's")
    return (
        f"{said}; alpha of the {len(long)} with a tail of at least {SHORTEST_TAIL} within {apart.max():.1e} "
        "(Diffract allows no shorter tail, so that alpha differs by design in the others)"
    )


def _joined(ours: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    missing = set(ours["name"]) ^ set(theirs["name"])
    check(not missing and len(ours) > 0, f"only one side has the layers {sorted(missing)[:5]}")
    both = theirs.merge(ours, on="name", suffixes=("_peer", ""), validate="1:1")
    for column in ("stable_rank", "alpha"):
        check(not both[column].isna().any(), f"no {column} for {both['name'][both[column].isna()].tolist()}")
    return both


def _worst(table: pd.DataFrame, off: pd.Series) -> str:
    return table["name"][off.idxmax()]
