"""What may be said of a fitted tail: one verdict by fixed rules.

The rules, in this order (Clauset, Shalizi & Newman 2009, §§3.4, 4 and 5; `docs/tails.md` explains how to read them):

1. *rejected* – the goodness-of-fit test was made and gave p ≤ 0.1. The verdict is the alternative that is
   significantly better than the power law if there is one, else ``not a power law``.
2. *surpassed* – an alternative is significantly better (R < 0 with p ≤ 0.1): the verdict is that family, and if there
   are several, the one of the highest likelihood.
3. *too few* – the tail has fewer than 50 points: neither test has the power to tell.
4. *plausible* – the test was made and nothing above holds; without the test the verdict is ``not tested``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

ENOUGH = 50
"""Tails below this size say little (Clauset, Shalizi & Newman §3.4 advise n ≳ 50)."""

SIGNIFICANT = 0.1
"""p-values up to this one count, of the goodness of fit and of the likelihood ratio (Clauset et al. §§4.1, 5.1)."""

NO_FIT, REJECTED, TOO_FEW = "no fit", "not a power law", "too few"
PLAUSIBLE, NOT_TESTED = "power law plausible", "not tested"


class Alternative(NamedTuple):
    """Another family on the same tail, compared with the power law.

    Attributes
    ----------
    R
        Normalised log-likelihood ratio; negative where the alternative is better. None where it could not be fitted.
    p
        Significance of that sign.
    gain
        Its log-likelihood less that of the power law, natural logarithms: ranks the alternatives among themselves.
    """

    R: float | None
    p: float | None
    gain: float | None


def verdict(n_tail: int | None, p: float | None, alternatives: Mapping[str, Alternative]) -> str:
    """The verdict on one tail.

    Parameters
    ----------
    n_tail
        Points of the tail; None or less than two: there is no fit.
    p
        Of the goodness-of-fit test, None if it was not made.
    alternatives
        The other families by name.

    Returns
    -------
    str
        One of the constants of this module, or ``better: FAMILY`` with the family's name in words.
    """
    if n_tail is None or n_tail < 2:
        return NO_FIT
    better = best_alternative(alternatives)
    if better is not None:
        return "better: " + better.replace("_", " ")
    if p is not None and p <= SIGNIFICANT:
        return REJECTED
    if n_tail < ENOUGH:
        return TOO_FEW
    return NOT_TESTED if p is None else PLAUSIBLE


def best_alternative(alternatives: Mapping[str, Alternative]) -> str | None:
    """Of the families that are significantly better than the power law, the one of the highest likelihood."""
    better = {
        name: other.gain
        for name, other in alternatives.items()
        if other.R is not None and other.p is not None and other.gain is not None
        if other.R < 0 and other.p <= SIGNIFICANT
    }
    return max(better, key=lambda name: better[name]) if better else None


def rejects_power_law(found: str) -> bool:
    """Whether a verdict says that alpha is not the exponent of anything."""
    return found == REJECTED or found.startswith("better: ")
