"""Bring the results of a published study into the documentation.

    .venv/bin/spectra study --out /scratch/study          # hours; resumes
    .venv/bin/python scripts/publish_study.py /scratch/study

Copies claims.json, the tables and the figures into docs/study/, and makes docs/claims.md and the table of README anew.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from spectra.study.page import caveat, render_page, verdict_table

DOCS = Path(__file__).resolve().parents[1] / "docs"
README = DOCS.parent / "README.md"
START, END = "<!-- verdicts:start -->\n", "\n<!-- verdicts:end -->"


def main(run: Path) -> None:
    """Copy and render."""
    document = json.loads((run / "claims.json").read_text(encoding="utf-8"))
    if why := caveat(document):
        sys.exit(f"{run}: {why}")
    study = DOCS / "study"
    for name in ("claims.json", "networks.parquet", "layers.parquet", "curves.parquet"):
        shutil.copyfile(run / name, study / name)
    shutil.rmtree(study / "figures", ignore_errors=True)
    shutil.copytree(run / "figures", study / "figures")
    figures = sorted(path.relative_to(DOCS).as_posix() for path in (study / "figures").glob("*.png"))
    (DOCS / "claims.md").write_text(render_page(document, figures, "study/protocol.md"), encoding="utf-8")
    before, rest = README.read_text(encoding="utf-8").split(START)
    after = rest.split(END)[1]
    README.write_text(f"{before}{START}{verdict_table(document, 'docs/claims.md')}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
