"""What does importing cost?

Whole Python processes. `import spectra` alone loads next to nothing, since its names load on first use; so
`import spectra; spectra.analyze`, which loads the analyzer, is compared with `import jax` as well. The empty process is
there to show how much of each is Python itself.
"""

from __future__ import annotations

import sys

from support.peers import python_of
from support.process import run_process
from support.question import Question, answer
from support.timing import alternate

RUNS = 15
TARGET = 1 / 1.15
"""At most 1.15 times `import jax`; here as the other's time over ours."""

STATEMENTS = {
    "nothing": "pass",
    "jax": "import jax",
    "spectra": "import spectra",
    "kernel": "import spectra; spectra.fit_power_law",
    "analyzer": "import spectra; spectra.analyze",
}


def measure(question: Question) -> None:
    """A row for each statement of ours."""
    commands = {name: [sys.executable, "-c", statement] for name, statement in STATEMENTS.items()}
    if question.has("weightwatcher"):
        commands["weightwatcher"] = [python_of("weightwatcher"), "-c", "import weightwatcher"]
    sides = {name: lambda command=command: run_process(command).seconds for name, command in commands.items()}
    runs = 3 if question.quick else RUNS
    measured = alternate(sides, dict.fromkeys(sides, runs))
    jax = ("import jax", measured["jax"])
    for name in ("spectra", "kernel", "analyzer"):
        question.compare(STATEMENTS[name], (STATEMENTS[name], measured[name]), jax, TARGET)
    if "weightwatcher" in measured:
        peer = ("import weightwatcher", measured["weightwatcher"])
        question.compare("against WeightWatcher", (STATEMENTS["analyzer"], measured["analyzer"]), peer)
    question.compare("Python itself", ("an empty process", measured["nothing"]), None)


if __name__ == "__main__":
    answer(__file__, __doc__, measure)
