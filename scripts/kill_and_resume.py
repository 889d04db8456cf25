"""Kill `spectra analyze --run-dir` at random times, give the same command again, and compare the table in the end.

    .venv/bin/python scripts/kill_and_resume.py --out benchmarks/results/kill_and_resume.json

A checkpoint of 60 matrices, some of them broken, is analyzed once undisturbed. Then the same command runs with a
journal and is killed (SIGKILL) again and again until it ends by itself, in a new folder each time, until there were
`--kills` of them. After each kill and at the end it is checked that

- the journal holds what it held before, and whole records only, up to one torn at the end;
- no layer that was in the journal has been computed again: each has one record. Failed ones are tried again by design;
- the table has the bytes of the undisturbed run's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from spectra.engine.journal import stored

LAYERS = 60
SHAPES = ((256, 256), (384, 256), (512, 256), (384, 384), (512, 384))
BROKEN = 15
"""Every so many layers one holds NaN."""


def main() -> None:
    """Run the trial, say how it goes on stderr, write what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the times of the kills")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where the result goes as JSON; by default to stdout")
    chosen = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="kill_and_resume-"))
    found = Trial(place, random.Random(chosen.seed)).run(chosen.kills)
    shutil.rmtree(place)  # is left for inspection where a check has failed
    about = {
        "command": f"python scripts/kill_and_resume.py --kills {chosen.kills} --seed {chosen.seed}",
        **{name: version(name) for name in ("spectra-jax", "jax", "numpy")},
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
    }
    text = json.dumps(about | found, indent=1) + "\n"
    if chosen.out:
        chosen.out.write_text(text)
    else:
        print(text, end="")


def make_checkpoint(path: Path) -> None:
    """Heavy-tailed matrices like those of a trained network, every fifteenth broken."""
    rng = np.random.default_rng(1)
    tensors = {}
    for number in range(LAYERS):
        weights = rng.standard_t(3, SHAPES[number % len(SHAPES)]).astype(np.float32)
        if number % BROKEN == BROKEN - 1:
            weights[3, 5] = np.nan
        tensors[f"layers.{number}.mlp.weight"] = weights
    save_file(tensors, path)


def check(holds: bool, what: str, folder: Path) -> None:
    """End here, with the folder left as it is, if something does not hold."""
    if not holds:
        sys.exit(f"kill_and_resume: FAILED: {what}; see {folder}")


class Trial:
    """One checkpoint, its undisturbed table, and runs that are killed."""

    def __init__(self, place: Path, chance: random.Random) -> None:
        self.place, self.chance = place, chance
        self.model = place / "model.safetensors"
        self.environment = {**os.environ, "XDG_CACHE_HOME": str(place / "cache")}
        self.environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        self.at_kill: list[int] = []
        self.torn = 0

    def run(self, kills: int) -> dict[str, Any]:
        """Kill so many times and return what was found."""
        make_checkpoint(self.model)
        folder = self.place / "whole"
        table, _ = self.undisturbed(self.place / "whole.csv", folder)  # fills the compilation cache
        self.table, self.seconds = self.undisturbed(self.place / "plain.csv")
        check(table == self.table, "the table with a journal is another than without", self.place)
        self.bytes = sum(content.size for content in stored(folder).values())
        again, resumed = self.undisturbed(self.place / "again.csv", folder)
        check(again == self.table, "the table of a finished run, asked for again, is another", self.place)
        self.check_records(folder, [])
        runs = 0
        while len(self.at_kill) < kills:
            self.until_done(self.place / f"run{runs}", kills)
            shutil.rmtree(self.place / f"run{runs}")
            runs += 1
            self.say(f"{len(self.at_kill)} kills in {runs} runs, {self.torn} torn records, tables identical")
        inside = [records for records in self.at_kill if 0 < records < LAYERS]
        return {
            "kills": len(self.at_kill),
            "runs": runs,
            "kills_with_some_layers_finished": len(inside),
            "torn_records": self.torn,
            "finished_layers_computed_again": 0,  # anything else has ended the trial
            "tables_identical": True,
            "layers": LAYERS,
            "seconds_undisturbed": round(self.seconds, 2),
            "seconds_all_from_journal": round(resumed, 2),
            "finished_layers_at_kill": self.at_kill,
        }

    def say(self, line: str) -> None:
        """Progress."""
        print(line, file=sys.stderr, flush=True)

    def start(self, table: Path, folder: Path | None) -> subprocess.Popen[bytes]:
        """The command, always the same but for where its results go."""
        journal = ["--run-dir", str(folder)] if folder else []
        command = [sys.executable, "-m", "spectra", "analyze", str(self.model), "--out", str(table), *journal]
        with (self.place / "stderr").open("wb") as lines:
            return subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL, stderr=lines)

    def finish(self, status: int, table: Path) -> bytes:
        """The table of a run that has ended by itself: status 2, because some layers are broken."""
        lines = (self.place / "stderr").read_text(errors="replace")
        check(status == 2 and table.exists(), f"exit status {status}: {lines.strip()[-500:]}", self.place)
        return table.read_bytes()

    def undisturbed(self, table: Path, folder: Path | None = None) -> tuple[bytes, float]:
        """Table and seconds of a run from beginning to end."""
        begin = time.perf_counter()
        status = self.start(table, folder).wait()
        return self.finish(status, table), time.perf_counter() - begin

    def until_done(self, folder: Path, kills: int) -> None:
        """The same command again and again, killed each time, until it ends by itself or that was enough."""
        table = self.place / f"{folder.name}.csv"
        before: list[str] = []
        while True:
            process = self.start(table, folder)
            if len(self.at_kill) < kills:
                self.wait_for_the_moment(process, folder)
                process.kill()
            status = process.wait()
            before = self.check_records(folder, before)
            if status >= 0:
                break
            self.at_kill.append(len(before))
        check(self.finish(status, table) == self.table, "the table is another than the undisturbed run's", self.place)

    def wait_for_the_moment(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        """Any time at all, or, more often, some time after a certain number of bytes has come to the journal."""
        if self.chance.random() < 0.25:
            deadline = time.monotonic() + self.chance.uniform(0, self.seconds)
            limit = float("inf")
        else:
            deadline = time.monotonic() + 5 * self.seconds
            limit = journal_size(folder) + self.chance.uniform(0, 0.3) * self.bytes
        while process.poll() is None and time.monotonic() < deadline and journal_size(folder) <= limit:
            time.sleep(0.002)
        time.sleep(self.chance.uniform(0, 0.03))

    def check_records(self, folder: Path, before: list[str]) -> list[str]:
        """Names of the finished layers in the journal, after checking that each is there once, and none got lost."""
        if not (folder / "run.json").exists():
            return before  # killed before there was a journal
        names: list[str] = []
        for content in stored(folder).values():
            check(content.damaged == 0, "damage between whole records", self.place)
            self.torn += content.end < content.size
            names += [layer.name for _, layer in content.layers if layer.status != "failed"]
        twice = [name for name, times in Counter(names).items() if times > 1]
        check(not twice, f"computed again although they were in the journal: {twice}", self.place)
        check(set(before) <= set(names), "a layer is gone from the journal", self.place)
        return names


def journal_size(folder: Path) -> int:
    """Bytes in all files of records."""
    return sum(path.stat().st_size for path in folder.glob("layers-*.journal"))


if __name__ == "__main__":
    main()
