"""Spectra held against noise in the analyzer: bulk, spikes, and shuffled entries."""

from __future__ import annotations

import numpy as np
import pytest

import spectra

RNG = np.random.default_rng(6)  # one seed in twenty has a spike in its noise, as the level says
N, M = 300, 200
COLUMNS = ("sigma_mp", "bulk_min", "bulk_max", "bulk_edge", "num_spikes", "bulk_ks", "mp_softrank")
PERMUTED = ("max_rand_eval", "ww_softrank", "ww_maxdist", "rand_num_spikes", "w1_rand_distance")
NOISE = 0.02 * RNG.standard_normal((N, M))
STRENGTH = 2.0 * 0.02 * (N * M) ** 0.25
"""Of the planted signal, twice what is needed to leave the bulk."""


def planted() -> np.ndarray:
    u, v = (RNG.choice([-1.0, 1.0], size) / np.sqrt(size) for size in (N, M))
    return NOISE + STRENGTH * np.outer(u, v)


@pytest.fixture(scope="module")
def report() -> spectra.Report:
    trap = NOISE.copy()
    trap[7, 9] = 4.0  # one huge entry: an eigenvalue that shuffling cannot remove
    conv = 0.02 * RNG.standard_normal((3, 2, 80, 40))
    model = {"noise.kernel": NOISE, "signal.kernel": planted(), "trap.kernel": trap, "conv.kernel": conv}
    return spectra.analyze(model, null=True)


def test_noise_is_noise(report: spectra.Report):
    m = report["noise"].metrics
    np.testing.assert_allclose(m["sigma_mp"], 0.02, rtol=0.01)
    np.testing.assert_allclose(m["bulk_max"], m["sigma_mp"] ** 2 * (np.sqrt(N) + np.sqrt(M)) ** 2, rtol=1e-5)
    np.testing.assert_allclose(m["bulk_min"], m["sigma_mp"] ** 2 * (np.sqrt(N) - np.sqrt(M)) ** 2, rtol=1e-4)
    assert m["num_spikes"] == 0 and m["rand_num_spikes"] == 0
    assert m["bulk_max"] < m["bulk_edge"] < 1.1 * m["bulk_max"]
    assert m["bulk_ks"] < 0.05 and m["w1_rand_distance"] < 0.05
    assert 0.9 < m["ww_softrank"] < 1.1 and 0.9 < m["mp_softrank"] < 1.1


def test_a_planted_direction_is_found_where_theory_has_it(report: spectra.Report):
    m = report["signal"].metrics
    power, variance = STRENGTH**2, 0.02**2
    theory = (power + N * variance) * (power + M * variance) / power
    assert m["num_spikes"] == 1 and m["rand_num_spikes"] == 0
    np.testing.assert_allclose(m["lambda_max"], theory, rtol=0.1)
    np.testing.assert_allclose(m["sigma_mp"], 0.02, rtol=0.02)
    np.testing.assert_allclose(m["ww_maxdist"], m["lambda_max"] - m["max_rand_eval"], rtol=1e-4)
    np.testing.assert_allclose(m["ww_softrank"], m["max_rand_eval"] / m["lambda_max"], rtol=1e-5)


def test_one_huge_entry_is_a_trap(report: spectra.Report):
    m = report["trap"].metrics
    assert m["rand_num_spikes"] == 1
    np.testing.assert_allclose(m["max_rand_eval"], 16, rtol=0.1)


def test_convolutions_are_shuffled_position_by_position(report: spectra.Report):
    m = report["conv"].metrics
    assert m["rf"] == 6 and m["num_spikes"] == 0 and m["w1_rand_distance"] < 0.05
    np.testing.assert_allclose(m["sigma_mp"], 0.02, rtol=0.02)


def test_permutations_depend_on_seed_and_name_alone(report: spectra.Report):
    alone = spectra.analyze({"noise.kernel": NOISE}, null=True)["noise"]
    other = spectra.analyze({"noise.kernel": NOISE}, null=True, seed=1)["noise"]
    for name in COLUMNS:
        np.testing.assert_allclose(alone.metrics[name], report["noise"].metrics[name], rtol=1e-5)
    assert alone.metrics["max_rand_eval"] == report["noise"].metrics["max_rand_eval"]
    assert other.metrics["max_rand_eval"] != alone.metrics["max_rand_eval"]
    np.testing.assert_allclose(other.metrics["max_rand_eval"], alone.metrics["max_rand_eval"], rtol=0.05)


def test_units_do_not_matter(report: spectra.Report):
    scaled = spectra.analyze({"noise.kernel": 1e12 * NOISE}, null=True)["noise"].metrics
    for name in ("num_spikes", "bulk_ks", "mp_softrank", "ww_softrank", "w1_rand_distance"):
        np.testing.assert_allclose(scaled[name], report["noise"].metrics[name], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(scaled["sigma_mp"], 1e12 * report["noise"].metrics["sigma_mp"], rtol=1e-5)


def test_matrices_without_a_bulk():
    found = spectra.analyze({"ones.kernel": np.ones((N, M)), "zero.kernel": np.zeros((N, M))}, null=True)
    ones, zero = found["ones"].metrics, found["zero"].metrics
    assert [ones[name] for name in COLUMNS] == [None] * len(COLUMNS)
    assert ones["w1_rand_distance"] < 1e-4 and ones["ww_softrank"] == pytest.approx(1, rel=1e-4)
    assert [zero[name] for name in (*COLUMNS, *PERMUTED)] == [None] * 12
    assert found["ones"].status == found["zero"].status == "success"


def test_a_bulk_that_is_a_line():
    """Q so large that the Marchenko–Pastur law is a quarter of its place wide: spikes and σ as anywhere else."""
    n = 60_000
    noise = 0.1 * np.random.default_rng(1).standard_normal((n, M), dtype=np.float32)
    u, v = (RNG.choice([-1.0, 1.0], size) / np.sqrt(size) for size in (n, M))
    signal = noise + (2 * 0.1 * (n * M) ** 0.25 * np.outer(u, v)).astype(np.float32)
    report = spectra.analyze({"noise.kernel": noise, "signal.kernel": signal}, null=True)
    for name, spikes in (("noise", 0), ("signal", 1)):
        m = report[name].metrics
        assert m["num_spikes"] == spikes and m["rand_num_spikes"] == 0, name
        assert m["sigma_mp"] == pytest.approx(0.1, rel=2e-3)
        assert m["bulk_min"] < m["bulk_max"] < 1.27 * m["bulk_min"]
