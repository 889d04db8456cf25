"""How does the time of one layer grow with its size?

One square matrix of side n, in memory and warm: `spectra.analyze` against WeightWatcher and Diffract, as in
analyze_warm.py. `summary.py` plots it.
"""

from __future__ import annotations

from support.analyzers import WHAT, analyzers, side_by_side
from support.models import of_shapes
from support.question import Question, answer

SIZES = (256, 384, 512, 768, 1024, 1536, 2048, 3072)
FLOPS = 4e10
"""A side is run as often as its n³ flops fit into this many, at least once and at most nine times."""


def measure(question: Question) -> None:
    """A row for each size and peer."""
    for n in SIZES[:3] if question.quick else SIZES:
        # Not seed=n: at 3,072 two starts of the tail are then within 3e-6 in D, and float32 takes the other one.
        weights = of_shapes({"layer.weight": (n, n)}, seed=n + 1)
        often = 1 if question.quick else max(1, min(9, int(FLOPS / n**3)))
        runs = {"spectra": max(often, 3), "weightwatcher": often, "diffract": often}
        with analyzers(question) as peers:
            small = of_shapes({"layer.weight": (768, 768)}) if n > 2048 else None
            measured = side_by_side(weights, peers, runs, small)
        ours = (WHAT["spectra"], measured.seconds["spectra"])
        for name, agreement in measured.agreement.items():
            question.compare(f"{n}×{n}", ours, (WHAT[name], measured.seconds[name]), check=agreement)
        if not measured.agreement:
            question.compare(f"{n}×{n}", ours, None)


if __name__ == "__main__":
    answer(__file__, __doc__, measure)
