"""The page that a person reads in five minutes, generated from claims.json."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from spectra.errors import OutputError
from spectra.study.experiments import NAMES, experiment
from spectra.study.findings import Tables
from spectra.study.panels import GAUSSIAN, Panel
from spectra.study.pictures import draw_cells, draw_panels, label
from spectra.study.protocol import PUBLISHED, Protocol

WORDS = {
    "supported": "holds",
    "contradicted": "is contradicted",
    "mixed": "holds in some networks and is contradicted in others",
    "inconclusive": "is not settled",
    "not tested": "was not tested",
}
"""Verdicts in the sentences of the first screen."""

EFFECTS = {
    ("training effect", "kurtosis"): "excess kurtosis changes by {}, where a Laplace distribution has 3",
    ("training effect", "near_zero_std"): "the share within 0.1 std changes by {}, where a Gaussian has 0.0797",
    ("depth trend", "kurtosis"): "rank correlations with depth of {}",
    ("depth trend", "near_zero_std"): "rank correlations with depth of {}",
}
"""How large it is, from the least of a cell's means to the most."""

ROUNDING = 1e-12
"""What a mean of exact opposites may miss 0 by."""


def write_page(document: dict[str, Any], protocol: Protocol, records: Sequence[dict[str, Any]], page: Path) -> None:
    """Write the page, and its figures into ``figures`` beside it.

    Raises
    ------
    OutputError
        That names the file which cannot be written.
    """
    try:
        figures = page.parent / "figures"
        figures.mkdir(parents=True, exist_ok=True)
        drawn = _draw(document, protocol, figures, Tables(records))
        text = render_page(document, [path.relative_to(page.parent).as_posix() for path in drawn])
        page.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{error.filename or page}: {error.strerror or error}") from error


def render_page(document: dict[str, Any], figures: Sequence[str], protocol_page: str = "") -> str:
    """The page as Markdown, from what claims.json holds and the paths of its figures alone.

    Parameters
    ----------
    protocol_page
        Where the protocol lies, seen from the page; without it the page names it only.
    """
    from jinja2 import Environment

    source = resources.files("spectra.study").joinpath("page.md.j2").read_text(encoding="utf-8")
    environment = Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    environment.filters |= {"number": _number, "interval": _interval, "cell": label}
    claims = [claim | {"figures": _of(claim["id"], figures)} for claim in document["claims"]]
    return environment.from_string(source).render(
        document | {"claims": claims},
        answer=answer(document),
        table=verdict_table(document),
        caveat=caveat(document),
        missed=missed(document),
        protocol_page=protocol_page,
    )


def caveat(document: dict[str, Any]) -> str:
    """Why the verdicts are not those to publish, if there is a reason."""
    protocol, missing = document["protocol"], [name for name in NAMES if name not in document["experiments"]]
    if protocol["name"] != PUBLISHED.name:
        return "A quick run on small networks: these are not the published verdicts."
    if protocol["seeds"] < PUBLISHED.seeds:
        return f"Only {protocol['seeds']} networks a cell: these are not the published verdicts."
    if missing:
        return f"Without {', '.join(missing)}: these are not the published verdicts."
    if failed := document["networks"].get("failed"):
        return f"{failed} networks failed: these are not the published verdicts."
    return ""


def missed(document: dict[str, Any]) -> list[str]:
    """Known answers that were not found; with any of them no verdict can be trusted."""
    found = [known["name"] for known in document["known_answers"] if not known["holds"]]
    controls = [control for control in document["controls"] if control["name"] == "positive control"]
    return found + [control["name"] for control in controls if control["claimed_side"] == 0]


def verdict_table(document: dict[str, Any], page: str = "") -> str:
    """The verdicts as a Markdown table, each with a link into the page."""
    lines = ["| | claim as it circulates | verdict | cells for | against | all |", "|---|---|---|---:|---:|---:|"]
    for claim in document["claims"]:
        link = f"[{claim['id']}]({page}#{claim['id'].lower()})"
        counts = f"{claim['claimed_side']} | {claim['other_side']} | {claim['n']}"
        mark = " †" if _needs_a_word(claim) else ""
        lines.append(f"| {link} | {claim['statement']} | **{claim['verdict']}**{mark} | {counts} |")
    notes = [f"† {claim['id']}: {claim['beware']}" for claim in document["claims"] if _needs_a_word(claim)]
    return "\n\n".join(["\n".join(lines), *notes])


def _needs_a_word(claim: dict[str, Any]) -> bool:
    """Whether a verdict would be taken for more than it is."""
    return claim["verdict"] == "supported" and bool(claim["beware"])


def answer(document: dict[str, Any]) -> list[str]:
    """The first screen: four sentences."""
    by_id = {claim["id"]: claim for claim in document["claims"]}
    whole = by_id["C0"]
    parts = {(part["question"], part["measure"]): part for part in whole["parts"]}

    def told(question: str, measure: str) -> str:
        part = parts.get((question, measure))
        if part is None:
            return "was not tested"
        span = f"{_number(part['least_effect'])} to {_number(part['most_effect'])}"
        counts = f"{part['claimed_side']} of {part['n']} cells for it, {part['other_side']} against"
        return f"{WORDS[part['verdict']]} ({counts}; {EFFECTS[question, measure].format(span)})"

    others = "; ".join(_in_short(claim) for claim in document["claims"] if claim["id"] != "C0")
    return [
        "Do deeper layers of a converged network end up sparse and heavy-tailed? "
        f"As a whole the claim {WORDS[whole['verdict']]}: of {whole['n']} cells {whole['claimed_side']} lie on its "
        f"side and {whole['other_side']} on the other.",
        f"That training makes tails heavier {told('training effect', 'kurtosis')}, and that it moves weights "
        f"towards zero {told('training effect', 'near_zero_std')}.",
        f"That deeper layers have heavier tails {told('depth trend', 'kurtosis')}, and that they have more weights "
        f"near zero {told('depth trend', 'near_zero_std')}.",
        f"Of the claims with a paper behind them: {others}.",
    ]


def _in_short(claim: dict[str, Any]) -> str:
    """A verdict, with what it is made of where that differs, and how far from a Gaussian it leaves the weights."""
    parts, levels = claim["parts"], [cell for cell in claim["beside"] if cell["question"] == "level"]
    said = []
    if claim["verdict"] == "mixed":
        said = [f"{p['question']} of {p['measure']} {p['verdict']}" for p in parts if p["verdict"] != "inconclusive"]
        said.append("the rest inconclusive")
    if claim["verdict"] == "supported":
        by_measure = {name: [c["effect"]["mean"] for c in levels if c["measure"] == name] for name in GAUSSIAN}
        below = [name for name, found in by_measure.items() if found and max(found) <= GAUSSIAN[name]]
        said = [f"but {' and '.join(below)} end below those of a Gaussian in every cell"] if below else []
    return f"{claim['id']} {claim['verdict']}" + (f" ({', '.join(said)})" if said else "")


def _draw(document: dict[str, Any], protocol: Protocol, figures: Path, tables: Tables) -> list[Path]:
    """Figures of all claims: cells of the verdict, then curves."""
    panels: list[Panel] = []
    for name in document["experiments"]:
        panels += experiment(name).panels(protocol, tables)
    drawn = []
    for claim in document["claims"]:
        if claim["cells"]:
            drawn.append(figures / f"{claim['id']}-cells.png")
            draw_cells(claim["cells"], drawn[-1])
        if own := [panel for panel in panels if panel.claim == claim["id"]]:
            drawn.append(figures / f"{claim['id']}-layers.png")
            draw_panels(own, drawn[-1])
    return drawn


def _of(claim: str, figures: Sequence[str]) -> list[str]:
    return [path for path in figures if path.rsplit("/", 1)[-1].startswith(f"{claim}-")]


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{0 if abs(value) < ROUNDING else value:.3g}"


def _interval(effect: dict[str, Any]) -> str:
    if effect["low"] is None:
        return _number(effect["mean"])
    return f"{_number(effect['mean'])} [{_number(effect['low'])}, {_number(effect['high'])}]"
