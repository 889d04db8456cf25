"""From findings to verdicts: what each claim says, and what the cells say of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from spectra.study.findings import Finding
from spectra.study.stats import Effect, holm, side, verdict


class Claim(NamedTuple):
    """A claim as it circulates, and what the paper behind it is about."""

    id: str
    statement: str
    source: str
    subject: str
    reported: str
    attribution: str
    """What the citation got wrong, or right."""
    judged_by: str
    """Which cells the verdict counts, in words."""
    beware: str = ""
    """What may be taken for an answer, and is none."""


CLAIMS = (
    Claim(
        "C0",
        "Converged deep networks end with sparse, heavy-tailed weights, especially in deeper layers.",
        "the asker's intuition; no paper",
        "–",
        "–",
        "Nobody is cited for it.",
        "share of weights within 0.1 std of zero, and excess kurtosis: their rise with depth within trained networks, "
        "and their change by training",
    ),
    Claim(
        "C1",
        "At convergence most weights cluster near zero and a few stay large, more so in deeper layers; this helps "
        "against vanishing and exploding gradients.",
        "Glorot & Bengio, AISTATS 2010",
        "Initialisation and the flow of signals: variance of activations and of back-propagated gradients by layer.",
        "With the standard initialisation U[±1/√n] gradients shrink from layer to layer, with the normalised one "
        "U[±√6/√(n_in+n_out)] they keep their size; nets of 1 to 5 hidden layers of 1000 units.",
        "The paper is about how weights start, not how they end; as far as its content is known to us, it reports no "
        "sparsity or tails of trained weights by depth. We could not check its text here.",
        "near-zero share and excess kurtosis in networks of tanh, sigmoid and softsign with both initialisations: "
        "rise with depth, and change by training",
        "The weights start uniform, as in the paper, with an excess kurtosis of −1.2 and 5.8 % of them within 0.1 std "
        "of zero. Whatever is added to them makes both larger, and heavier tails than before are not heavy ones: a "
        "Gaussian has 0 and 7.97 %. The levels at the end are among the cells that are not counted.",
    ),
    Claim(
        "C2",
        "Rectifiers drive weights to zero, and this sparsity grows with depth.",
        "Glorot, Bordes & Bengio, AISTATS 2011",
        "Sparsity of activations, not of weights.",
        "50 to 80 % and more exact zeros among hidden activations, 83 % on MNIST, in nets of 3 hidden layers of 1000 "
        "units; accuracy holds to about 85 %.",
        "Weights are taken for activations: the zeros of the paper are outputs of units. It is also dated 2011 under "
        "another first author than its own.",
        "near-zero share of weights: relu minus tanh, seed by seed, and its rise with depth in relu networks",
    ),
    Claim(
        "C3",
        "Converged networks contain a sparse winning ticket; the structure emerges in training and is stronger in "
        "deeper layers.",
        "Frankle & Carbin, ICLR 2019",
        "Iterative magnitude pruning with rewinding to the initial weights.",
        "LeNet-300-100 on MNIST: tickets of 21 % of the weights learn faster and end better than the whole, down to "
        "3.6 % they match it; the same mask with fresh weights does not.",
        "The first half is the paper's. That the structure is stronger in deeper layers is not among its results as "
        "known to us: it prunes every layer of LeNet at one rate, the output at half of it.",
        "accuracy of winning tickets minus that of the same mask with fresh weights and of a random mask, at each "
        "density tried; and whether pruning over all layers at once keeps fewer weights in deeper ones",
        "The cells are rounds of one pruning, each within the one before, and not different networks. Images are those "
        "of Fashion-MNIST, 5,000 of them, not MNIST.",
    ),
    Claim(
        "C4",
        "Deeper layers are much sparser, and hold the largest weights.",
        "cited as Han et al. 2015, “On the Distribution of Weights in Deep Neural Networks”",
        "No paper of that title by those authors is known to us. Nearest: Han, Pool, Tran & Dally, Learning both "
        "Weights and Connections, NeurIPS 2015: pruning below a multiple of a layer's standard deviation, retraining.",
        "LeNet-300-100 shrinks 12 times; 8 %, 9 % and 26 % of the weights of its three layers are kept.",
        "The title seems not to exist. In the nearest paper the last layer is the densest, the opposite of the claim.",
        "share of weights beyond one std of their layer (falls if deeper layers are sparser), and the share of a "
        "network's largest 1 % of weights that a layer holds (rises if deeper ones hold them), over the whole ladder",
        "In residual networks the second kernel of each branch starts smaller than the first, so that the largest "
        "weights have a trend before training: hold those cells against the column at initialisation.",
    ),
    Claim(
        "C5",
        "Weight normalisation makes weights heavy-tailed with many near zero, the more so in deeper layers.",
        "Salimans & Kingma, NeurIPS 2016",
        "A reparameterisation w = g·v/‖v‖ that speeds up training, with data-dependent initialisation.",
        "Faster convergence; nothing about tails or zeros of weights is known to us to be reported.",
        "The paper is about speed of training. We could not check its text here.",
        "near-zero share and excess kurtosis of the effective weight: weight-normalised minus plain networks, seed by "
        "seed, and their rise with depth",
        "The gains are set from the first images, each unit its own, so that the effective weights start as a mixture "
        "of scales: heavier-tailed than plain ones before a single step. What training did is the difference to the "
        "column at initialisation. Batch-normalised networks do not share the initial weights of the plain ones.",
    ),
)


def judge(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """One record a claim: verdict and every cell, with Holm's correction over the primary cells of the claim.

    Cells that the verdict does not count are corrected among themselves, measure by measure of a question.
    """
    return [_judged(claim, [f for f in findings if f.claim == claim.id], findings) for claim in CLAIMS]


def _judged(claim: Claim, own: Sequence[Finding], findings: Sequence[Finding]) -> dict[str, Any]:
    cells = _cells([finding for finding in own if finding.primary])
    families: dict[tuple[str, str], list[Finding]] = {}
    for finding in own:
        if not finding.primary:
            families.setdefault((finding.question, finding.measure), []).append(finding)
    beside = [cell for family in families.values() for cell in _cells(family)]
    paper = _cells([finding for finding in findings if finding.claim == f"{claim.id} paper"])
    return {
        **claim._asdict(),
        "verdict": verdict([cell["side"] for cell in cells]),
        "parts": _parts(cells),
        "n": len(cells),
        "claimed_side": sum(cell["side"] == 1 for cell in cells),
        "other_side": sum(cell["side"] == -1 for cell in cells),
        "cells": cells,
        "beside": beside,
        "paper": paper,
    }


def _parts(cells: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same rule for each question and measure by itself."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for cell in cells:
        found.setdefault((cell["question"], cell["measure"]), []).append(cell)
    return [
        {
            "question": question,
            "measure": measure,
            "verdict": verdict([cell["side"] for cell in part]),
            "n": len(part),
            "claimed_side": sum(cell["side"] == 1 for cell in part),
            "other_side": sum(cell["side"] == -1 for cell in part),
            **_range_of_effects(part),
        }
        for (question, measure), part in found.items()
    ]


def _range_of_effects(cells: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """The middle of the effects and both ends: what a verdict by sides does not tell."""
    effects = np.array([cell["effect"]["mean"] for cell in cells])
    ends = {"median_effect": np.median(effects), "least_effect": effects.min(), "most_effect": effects.max()}
    return {name: _rounded(float(value)) for name, value in ends.items()}


def _cells(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    adjusted = holm([finding.effect.p for finding in findings])
    return [
        {
            "question": finding.question,
            "measure": finding.measure,
            "claimed": finding.claimed,
            "cell": dict(finding.cell),
            "effect": _shown(finding.effect),
            "p_holm": _rounded(p),
            "side": side(finding.effect, p, finding.claimed),
            **({"initial": _shown(finding.before)} if finding.before else {}),
            **({"learning": _shown(finding.learning)} if finding.learning else {}),
        }
        for finding, p in zip(findings, adjusted, strict=True)
    ]


def controls(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """The experiments whose answer is known: cells, and how many of them show a trend, up or down."""
    found = []
    for name in ("positive control", "random labels", "untrained"):
        cells = _cells([finding for finding in findings if finding.claim == name])
        if cells:
            raw = [cell["effect"]["p"] for cell in cells if cell["effect"]["p"] is not None]
            found.append(
                {
                    "name": name,
                    "n": len(cells),
                    "claimed_side": sum(cell["side"] == 1 for cell in cells),
                    "other_side": sum(cell["side"] == -1 for cell in cells),
                    "uncorrected": sum(p <= 0.05 for p in raw),
                    "cells": cells,
                }
            )
    return found


def _shown(effect: Effect) -> dict[str, Any]:
    return {key: _rounded(value) for key, value in effect._asdict().items()}


def _rounded(value: float) -> float | None:
    if isinstance(value, int):
        return value
    return float(f"{value:.5g}") if np.isfinite(value) else None
