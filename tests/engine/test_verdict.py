"""The verdict's rules, each at its boundary."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectra.engine.columns import warnings
from spectra.engine.verdict import (
    NO_FIT,
    NOT_TESTED,
    PLAUSIBLE,
    REJECTED,
    TOO_FEW,
    Alternative,
    rejects_power_law,
    verdict,
)

BETTER = Alternative(R=-3.0, p=0.01, gain=-10.0)
WORSE = Alternative(R=3.0, p=0.01, gain=-30.0)
UNCLEAR = Alternative(R=-0.5, p=0.6, gain=-19.0)
ABSENT = Alternative(None, None, None)


@pytest.mark.parametrize(
    ("n_tail", "p", "alternatives", "expected"),
    [
        (None, None, {}, NO_FIT),
        (0, None, {}, NO_FIT),
        (1, 0.9, {}, NO_FIT),
        (49, 0.9, {"lognormal": UNCLEAR}, TOO_FEW),
        (50, 0.9, {"lognormal": UNCLEAR}, PLAUSIBLE),
        (50, None, {"lognormal": UNCLEAR}, NOT_TESTED),
        (50, 0.1, {"lognormal": WORSE}, REJECTED),
        (50, 0.1000001, {"lognormal": WORSE}, PLAUSIBLE),
        (10, 0.05, {}, REJECTED),  # few points, and yet enough to reject
        (500, 0.9, {"lognormal": BETTER}, "better: lognormal"),
        (500, 0.01, {"lognormal": BETTER}, "better: lognormal"),
        (500, 0.01, {"lognormal": UNCLEAR, "exponential": ABSENT}, REJECTED),
        (20, None, {"truncated_power_law": BETTER}, "better: truncated power law"),
        (500, 0.9, {"lognormal": BETTER._replace(p=0.1)}, "better: lognormal"),
        (500, 0.9, {"lognormal": BETTER._replace(p=0.11)}, PLAUSIBLE),
        (500, None, {"lognormal": BETTER, "exponential": BETTER._replace(gain=-9.0)}, "better: exponential"),
    ],
)
def test_rules(n_tail, p, alternatives, expected):
    assert verdict(n_tail, p, alternatives) == expected


VALUES = st.none() | st.floats(0, 1)
OTHERS = st.builds(Alternative, st.none() | st.floats(-20, 20), VALUES, st.none() | st.floats(-1e3, 0))


@given(st.none() | st.integers(0, 200), VALUES, st.dictionaries(st.sampled_from(["lognormal", "exponential"]), OTHERS))
def test_no_label_rests_on_a_rejected_fit(n_tail, p, alternatives):
    found = verdict(n_tail, p, alternatives)
    for alpha in (1.5, 4.0, 8.0):
        columns = {"alpha": alpha if found != NO_FIT else None, "num_pl_spikes": n_tail, "verdict": found}
        told = warnings(columns)
        if rejects_power_law(found) or found == NO_FIT:
            assert not {"over-trained", "under-trained"} & set(told)
            assert told
        else:
            assert ("over-trained" in told) == (alpha < 2) and ("under-trained" in told) == (alpha > 6)


@given(st.integers(50, 10**6), st.floats(0.1001, 1), st.dictionaries(st.sampled_from(["lognormal"]), OTHERS))
def test_a_rejection_is_never_called_plausible(n_tail, p, alternatives):
    """More evidence against the power law never makes it plausible."""
    if verdict(n_tail, p, alternatives) != PLAUSIBLE:
        assert verdict(n_tail, 0.01, alternatives) != PLAUSIBLE
    assert verdict(n_tail, 0.1, alternatives) != PLAUSIBLE
