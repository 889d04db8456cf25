"""What the numbers of a layer and of a model say, in words: reasons for warnings, verdicts, a summary."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np

from spectra.engine.verdict import NO_FIT, NOT_TESTED, PLAUSIBLE, REJECTED, SIGNIFICANT, TOO_FEW
from spectra.report.curves import has_spectrum, number
from spectra.report.result import LayerResult, Report

FAILED, BETTER = "failed", "better: "
INFORMATION, CAREFUL, LOOK, NO_RESULT = 0, 1, 2, 3
"""How severe a note is: worth knowing; be careful; look at it; there is no result."""

GAUSSIAN_NEAR_ZERO = 0.0797
"""Share of a normal distribution within a tenth of its standard deviation of the mean."""


class Note(NamedTuple):
    """A reason to be careful: how severe, the words of a label, and what it means."""

    severity: int
    label: str
    text: str


NOTES = {
    FAILED: Note(
        NO_RESULT,
        "failed",
        "The analysis of this layer failed; its numbers are missing or incomplete. The others are fine.",
    ),
    "over-trained": Note(
        LOOK,
        "over-trained",
        "Over-trained (α < 2): the tail is heavier than in well-trained layers. The layer may have memorized its "
        "data, or a few very large eigenvalues (a trap, a scale left by the initialization) pull the fit.",
    ),
    "under-trained": Note(
        LOOK,
        "under-trained",
        "Under-trained (α > 6): the spectrum is close to that of a random matrix, with hardly any heavy tail. The "
        "layer has learned little, or is larger than its task needs.",
    ),
    REJECTED: Note(
        LOOK,
        REJECTED,
        "Not a power law: the goodness-of-fit test rejects the fit. α describes the tail's slope, not its shape.",
    ),
    "better:": Note(
        LOOK,
        "better fit",
        "Better described by another family: the likelihood ratio prefers it to the power law on the same tail. α is "
        "the slope of a curve that bends, and says nothing of how well the layer is trained.",
    ),
    "no spikes": Note(
        LOOK,
        "no spikes",
        "No spikes: no eigenvalue stands out of what noise of the same shape and variance has. The matrix cannot be "
        "told from a random one by its spectrum.",
    ),
    "traps": Note(
        CAREFUL,
        "traps",
        "Correlation traps: eigenvalues stand out of the noise even with the entries in random places. Single huge "
        "entries, or a mean that is not zero, make them; the largest eigenvalues may say no more than that.",
    ),
    TOO_FEW: Note(
        CAREFUL,
        TOO_FEW,
        "Too few: fewer than 50 eigenvalues lie in the tail, so α is uncertain and somewhat biased. Mind its σ.",
    ),
    NO_FIT: Note(CAREFUL, NO_FIT, "No fit: there are too few distinct eigenvalues above 1e-5 for a power law."),
    "other": Note(CAREFUL, "warning", "See the warning above."),
    "unresolved": Note(
        INFORMATION,
        "unresolved",
        "Unresolved eigenvalues: some lie below what the precision of the computation can tell from zero. Repeat with "
        "--precision float64 if the small eigenvalues matter; the tail is not affected.",
    ),
}


def notes_of(layer: LayerResult) -> list[str]:
    """Keys of `NOTES` that apply, in its order; none for a layer that was skipped, whose warning only says why."""
    if layer.status == "skipped":
        return []
    text = layer.warning.lower()
    found = {key for key in NOTES if key in text and key not in ("traps", "no spikes", "other", FAILED)}
    if layer.status == FAILED:
        found.add(FAILED)
    if number(layer, "num_spikes") == 0:
        found.add("no spikes")
    if (number(layer, "rand_num_spikes") or 0) > 0:
        found.add("traps")
    if layer.warning and not found:
        found.add("other")
    if (number(layer, "num_unresolved") or 0) > 0:
        found.add("unresolved")
    return [key for key in NOTES if key in found]


def severity_of(layer: LayerResult) -> int:
    """The severest of the layer's notes."""
    return max((NOTES[key].severity for key in notes_of(layer)), default=INFORMATION)


def verdict_of(layer: LayerResult) -> str:
    """The verdict on the tail; for a layer without one why: ``failed``, ``skipped`` or ``no spectrum``."""
    if layer.status == FAILED:
        return FAILED
    said = layer.metrics.get("verdict")
    if isinstance(said, str) and said:
        return said
    if layer.status == "skipped":
        return "skipped"
    if number(layer, "alpha") is not None:
        return NOT_TESTED
    return NO_FIT if has_spectrum(layer) else "no spectrum"


def layer_words(layer: LayerResult) -> list[str]:
    """What was found of a layer, a sentence or two for fit, test, noise and weights each."""
    sentences = [_fit_words(layer), _test_words(layer), _noise_words(layer), _weight_words(layer)]
    return [sentence for sentence in sentences if sentence]


def _fit_words(layer: LayerResult) -> str:
    alpha, tail, evals = (number(layer, key) for key in ("alpha", "num_pl_spikes", "num_evals"))
    if alpha is None or tail is None or evals is None:
        return ""
    sigma, low, high = (number(layer, key) for key in ("sigma", "alpha_low", "alpha_high"))
    error = f" ± {sigma:.2f}" if sigma is not None else ""
    interval = f", 95 % interval {low:.2f} to {high:.2f}" if low is not None and high is not None else ""
    return f"α = {alpha:.2f}{error}{interval}, from the {tail:,.0f} largest of {evals:,.0f} eigenvalues."


def _test_words(layer: LayerResult) -> str:
    verdict, p = verdict_of(layer), number(layer, "gof_p")
    test = "" if p is None else f" (p = {p:.2g})"
    if verdict.startswith(BETTER):
        family = verdict.removeprefix(BETTER)
        key = family.replace(" ", "_")
        ratio, significance = number(layer, f"R_{key}"), number(layer, f"p_{key}")
        told = "" if ratio is None or significance is None else f" (R = {ratio:.2f}, p = {significance:.2g})"
        agrees = (
            ""
            if p is None
            else f" The power law by itself is {'rejected' if p <= SIGNIFICANT else 'not rejected'}{test}."
        )
        return f"The tail follows the family {family} significantly better than a power law{told}.{agrees}"
    return {
        PLAUSIBLE: f"A power law is plausible: the test does not reject it{test}, and no other family is better.",
        REJECTED: f"The test rejects the power law{test}; no other family is significantly better.",
        TOO_FEW: f"The tail is too short to tell a power law from its rivals{test}.",
        NOT_TESTED: "Whether it is a power law was not tested; --gof 1000 does.",
    }.get(verdict, "")


def _noise_words(layer: LayerResult) -> str:
    spikes, edge, distance = (number(layer, key) for key in ("num_spikes", "bulk_edge", "w1_rand_distance"))
    if spikes is None or edge is None:
        return ""
    stand = (
        "No eigenvalue stands" if spikes == 0 else f"{spikes:,.0f} eigenvalue{'s stand' if spikes != 1 else ' stands'}"
    )
    words = f"{stand} beyond the edge of the noise at λ = {edge:.3g}"
    shuffled = number(layer, "max_rand_eval")
    words += f"; with its entries shuffled the layer reaches {shuffled:.3g}" if shuffled is not None else ""
    words += f", and its spectrum is {distance:.2g} mean eigenvalues away" if distance is not None else ""
    bulk = number(layer, "bulk_ks")
    loose = bulk is not None and bulk > 0.05
    return words + (f". The rest is no Marchenko–Pastur bulk (distance {bulk:.2g})." if loose else ".")


def _weight_words(layer: LayerResult) -> str:
    kurtosis, near = number(layer, "kurtosis"), number(layer, "near_zero_std")
    if kurtosis is None or near is None:
        return ""
    shape = "heavier-tailed than" if kurtosis > 0.5 else "lighter-tailed than" if kurtosis < -0.5 else "close to"
    words = f"The weights are {shape} a Gaussian (excess kurtosis {kurtosis:.3g}), {near:.1%} of them near zero"
    words += f" ({GAUSSIAN_NEAR_ZERO:.1%} for a Gaussian)"
    zeros, df = number(layer, "zero_fraction"), number(layer, "student_t_df")
    words += f", {zeros:.1%} exactly zero" if zeros else ""
    return words + (f"; Student's t fitted to them has {df:.3g} degrees of freedom." if df else ".")


def model_words(report: Report) -> list[str]:
    """The model at a glance, a paragraph in sentences."""
    if not report.layers:
        return ["This model has no layers to look at."]
    fitted = [layer for layer in report if number(layer, "alpha") is not None]
    return [words for words in (_counted(report, fitted), _fits(fitted), _noise(report), _weights(report)) if words]


def _counted(report: Report, fitted: list[LayerResult]) -> str:
    weights = sum(number(layer, "count") or 0 for layer in report)
    spectral = sum(has_spectrum(layer) for layer in report)
    words = f"{_many(len(report.layers), 'layer')} with {big(weights)} weights. {spectral or 'None'} of them "
    words += f"{'are matrices' if spectral > 1 else 'is a matrix'} with a spectrum"
    words += f", {len(fitted) or 'none'} with a power-law fit" if spectral else ""
    failed = sum(layer.status == FAILED for layer in report)
    return words + (f"; the analysis of {_many(failed, 'layer')} failed." if failed else ".")


def _fits(fitted: list[LayerResult]) -> str:
    if not fitted:
        return ""
    counted = Counter(verdict_of(layer) for layer in fitted)
    better = sum(n for verdict, n in counted.items() if verdict.startswith(BETTER))
    parts = [
        (counted[PLAUSIBLE], "is a plausible power law", "are plausible power laws"),
        (
            counted[REJECTED] + better,
            "is rejected or better described otherwise",
            "are rejected or better described otherwise",
        ),
        (counted[TOO_FEW], "is too short to tell", "are too short to tell"),
        (counted[NOT_TESTED], "was not tested", "were not tested"),
    ]
    told = ", ".join(f"{n:,} {one if n == 1 else many}" for n, one, many in parts if n)
    alphas = np.array([number(layer, "alpha") for layer in fitted], float)
    low, middle, high = np.quantile(alphas, (0.25, 0.5, 0.75))
    words = f"Of their tails {told}. " if told else ""
    words += f"The median α is {middle:.3g}, half of them between {low:.3g} and {high:.3g}"
    for key, side in (("under-trained", "above 6"), ("over-trained", "below 2")):
        found = sum(key in layer.warning for layer in fitted)
        words += f"; {found:,} {'lie' if found != 1 else 'lies'} {side} ({key})" if found else ""
    return words + "."


def _noise(report: Report) -> str:
    held = [layer for layer in report if number(layer, "num_spikes") is not None]
    if not held:
        return ""
    spikes = sum(number(layer, "num_spikes") or 0 for layer in held)
    evals = sum(number(layer, "num_evals") or 0 for layer in held)
    words = f"{spikes:,.0f} of {evals:,.0f} eigenvalues stand out of the noise"
    silent = sum(number(layer, "num_spikes") == 0 for layer in held)
    traps = sum((number(layer, "rand_num_spikes") or 0) > 0 for layer in held)
    words += f"; {_many(silent, 'layer')} cannot be told from noise" if silent else ""
    return words + (f"; {_many(traps, 'layer')} with correlation traps." if traps else ".")


def _weights(report: Report) -> str:
    def median(key: str) -> float | None:
        found = [value for layer in report if has_spectrum(layer) and (value := number(layer, key)) is not None]
        return float(np.median(found)) if found else None

    near, kurtosis = median("near_zero_std"), median("kurtosis")
    if near is None or kurtosis is None:
        return ""
    return (
        f"In the median matrix {near:.1%} of the weights are near zero ({GAUSSIAN_NEAR_ZERO:.1%} in a Gaussian one), "
        f"and their excess kurtosis is {kurtosis:.3g}."
    )


def _many(n: int, thing: str) -> str:
    return f"{n:,} {thing}{'' if n == 1 else 's'}"


def big(n: float, words: tuple[str, str, str] = ("million", "billion", "trillion")) -> str:
    """A large whole number in words: ``22.7 million``."""
    for size, word in zip((1e12, 1e9, 1e6), reversed(words), strict=True):
        if n >= size:
            return f"{n / size:.3g} {word}"
    return f"{n:,.0f}"
