"""The scalar columns of a layer's spectrum, under WeightWatcher's names where it has them."""

from __future__ import annotations

import numpy as np

from spectra.engine.esd import ESD, eigenvalue_error
from spectra.engine.hill import hill
from spectra.engine.verdict import ENOUGH, rejects_power_law
from spectra.models.matrices import MatrixView

OVER_TRAINED = 2.0
UNDER_TRAINED = 6.0
WEAK = 1e-6
"""Eigenvalues below this count as weak_rank_loss."""

Column = float | int | str | None


def spectral_columns(esd: ESD, view: MatrixView) -> dict[str, Column]:
    """All columns of the spectrum and its fit; None where a quantity does not exist or is not resolved."""
    evals = esd.eigenvalues
    norm, largest = float(evals.sum()), float(evals[-1])
    unresolved = int(esd.num_unresolved.sum())
    rank = _rank(esd, view.N)
    fit = _fit_columns(esd, largest)
    return {
        **fit,
        **_finger_columns(esd),
        "hill_alpha": hill(evals, eigenvalue_error(largest, float(esd.floor.max()), esd.route)),
        "lambda_max": largest,
        "sv_max": float(esd.singular_values.max()),
        "sv_min": None if unresolved else float(esd.singular_values.min()),
        "norm": norm,
        "log_norm": _log10(norm),
        "spectral_norm": largest,
        "log_spectral_norm": _log10(largest),
        "stable_rank": norm / largest if largest > 0 else None,
        "effective_rank": _effective_rank(esd),
        "entropy": _entropy(evals, rank, unresolved),
        **_det_x(evals),
        "matrix_rank": rank,
        "rank_loss": None if rank is None else evals.size - rank,
        "weak_rank_loss": _weak(esd, evals, unresolved),
        "num_unresolved": unresolved,
    }


def warnings(columns: dict[str, Column]) -> list[str]:
    """What a reader must know before trusting alpha; a rejected fit says nothing of how well the layer is trained."""
    alpha, tail = columns.get("alpha"), columns.get("num_pl_spikes")
    if alpha is None or tail is None:
        return ["no fit: no two distinct eigenvalues above 1e-5"]
    found = []
    verdict = str(columns.get("verdict") or "")
    if rejects_power_law(verdict):
        found.append(verdict)
    elif float(alpha) < OVER_TRAINED:
        found.append("over-trained")
    elif float(alpha) > UNDER_TRAINED:
        found.append("under-trained")
    if int(tail) < ENOUGH:
        found.append("too few")
    return found


def _fit_columns(esd: ESD, largest: float) -> dict[str, Column]:
    fit = esd.fit
    if fit.n_tail < 2:
        names = ("alpha", "xmin", "xmax", "D", "sigma", "num_pl_spikes", "alpha_weighted", "log_alpha_norm")
        return dict.fromkeys(names)
    alpha, left_out = float(fit.alpha), esd.fingers.number if esd.fingers else 0
    evals = np.square(esd.singular_values)
    # log₁₀ Σ λ^alpha with the largest factored out: alphas of 50 would overflow otherwise.
    ratios = evals[evals > 0] / largest
    return {
        "alpha": alpha,
        "xmin": float(fit.xmin),
        "xmax": float(np.partition(evals, -left_out - 1, axis=None)[-left_out - 1]) if left_out else largest,
        "D": float(fit.ks),
        "sigma": float(fit.sigma),
        "num_pl_spikes": int(fit.n_tail),
        "alpha_weighted": alpha * np.log10(largest).item(),
        "log_alpha_norm": float(np.log10(np.sum(ratios**alpha)) + alpha * np.log10(largest)),
    }


def _finger_columns(esd: ESD) -> dict[str, Column]:
    """What was left out of the fit; nothing where it was not asked for."""
    if esd.fingers is None:
        return {}
    number, raw_alpha = esd.fingers
    known = not np.isnan(raw_alpha)
    return {"num_fingers": number if known else None, "raw_alpha": raw_alpha if known else None}


def _log10(value: float) -> float | None:
    return float(np.log10(value)) if value > 0 else None


def _rank(esd: ESD, n: int) -> int | None:
    """#{σ > σ_max·N·eps₆₄}, summed over the matrices; None if values above that tolerance were not resolved."""
    tolerance = esd.singular_values.max(axis=1) * n * np.finfo(np.float64).eps
    if np.any((esd.num_unresolved > 0) & (esd.floor > tolerance)):
        return None
    return int(np.sum(esd.singular_values > tolerance[:, None]))


def _weak(esd: ESD, evals: np.ndarray, unresolved: int) -> int | None:
    """#{λ < 1e-6}; None if an unresolved eigenvalue might lie on either side."""
    if unresolved and np.any((esd.num_unresolved > 0) & (np.square(esd.floor) > WEAK)):
        return None
    return int(np.sum(evals < WEAK))


def _entropy(evals: np.ndarray, rank: int | None, unresolved: int) -> float | None:
    """−Σ p ln p / ln(rank); None if the doubt about the rank could change it by 0.5 %."""
    if rank is None:
        lowest = evals.size - unresolved
        if lowest < 2 or np.log(evals.size) / np.log(lowest) > 1.005:
            return None
        rank = evals.size
    share = evals[evals > 0] / evals.sum() if evals[-1] > 0 else np.array([])
    return float(-np.sum(share * np.log(share)) / np.log(rank)) if rank > 1 else None


def _effective_rank(esd: ESD) -> float | None:
    """exp(−Σ q ln q), q = σ/Σσ (Roy & Vetterli 2007); None if unresolved values could change it by 0.5 %."""
    at_most = np.where(esd.singular_values > 0, esd.singular_values, esd.floor[:, None])
    low, high = (_exp_entropy(values[values > 0]) for values in (esd.singular_values, at_most))
    return None if low is None or high is None or abs(high / low - 1) > 0.005 else low


def _exp_entropy(positive: np.ndarray) -> float | None:
    if not positive.size:
        return None
    share = positive / positive.sum()
    return float(np.exp(-np.sum(share * np.log(share))))


def _det_x(evals: np.ndarray) -> dict[str, Column]:
    """Eigenvalues over their mean, multiplied from the largest down: where the product first falls below 1.

    detX_num counts the factors, that one included, and detX_val is that eigenvalue; None if the product never falls
    below 1 (all equal), or only at a value that was not resolved.
    """
    names = ("detX_num", "detX_val")
    if evals[-1] <= 0 or evals[0] == evals[-1]:
        return dict.fromkeys(names)
    descending = evals[::-1]
    with np.errstate(divide="ignore"):
        below = np.flatnonzero(np.cumsum(np.log(descending / evals.mean())) < 0)
    if not below.size or descending[below[0]] == 0:
        return dict.fromkeys(names)
    return {"detX_num": int(below[0]) + 1, "detX_val": float(descending[below[0]])}
