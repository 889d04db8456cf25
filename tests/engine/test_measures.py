"""More measures of a layer: Hill, FARMS, fits without fingers, localisation of singular vectors."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import jax
import numpy as np
import pytest
from scipy import integrate, optimize

import spectra
from spectra.engine.backends import LapackBackend
from spectra.engine.farms import farms_columns
from spectra.engine.hill import hill
from spectra.engine.localised import MEASURES, NAMES, random_spread, spread
from spectra.errors import InputError
from spectra.kernels import localisation, random_localisation

RNG = np.random.default_rng(0)
SIDE = 64
"""All samples have as many values, so that they share the programs of their fits."""
HEAVY = RNG.standard_t(3, (150, SIDE))
EVERYTHING = {"fix_fingers": True, "farms": True, "vectors": 3}


def tail_exponent(ascending: np.ndarray) -> float:
    """Hill's alpha of the larger half."""
    tail = ascending[ascending.size // 2 :]
    return 1 + tail.size / np.sum(np.log(tail / tail[0]))


def marchenko_pastur_hill(ratio: float) -> float:
    """Hill's alpha of the upper half of the limiting law of pure noise with Q = ratio.

    By quadrature in the angle θ with x = 1 + s² + 2s·cos θ, s = 1/√Q, in which the density is 2 sin²θ/(π·x).
    """
    s = ratio**-0.5

    def value(angle: float) -> float:
        return 1 + s**2 + 2 * s * np.cos(angle)

    def upper(angle: float, weight: Callable[[float], float]) -> float:
        return integrate.quad(lambda t: weight(t) * 2 / np.pi * np.sin(t) ** 2 / value(t), 0, angle)[0]

    median = optimize.brentq(lambda angle: upper(angle, lambda t: 1) - 0.5, 0.1, 3.1)
    return 1 + 0.5 / upper(median, lambda t: np.log(value(t) / value(median)))


def test_alpha_of_noise_depends_on_the_shape_and_that_of_windows_does_not():
    host, ratios = LapackBackend({}), (1, 1.3, 2, 3.5, 8, 25)
    plain, windows = [], []
    for q in ratios:
        w = RNG.standard_normal((round(200 * q), 200)).astype(np.float32)
        w = w.T.copy() if q == 8 else w
        evals = np.sort(np.square(host.spectra(w[None], "gram")[0]).ravel())
        plain.append(hill(evals, 0.0))
        windows.append(farms_columns(w[None], host)["farms_alpha"])
    np.testing.assert_allclose(plain, [marchenko_pastur_hill(q) for q in ratios], rtol=0.05)
    assert max(plain) > 3 * min(plain)
    square = marchenko_pastur_hill(1.0)
    assert square == pytest.approx(2.1217, abs=1e-4)
    np.testing.assert_allclose(windows, square, rtol=0.03)
    # What is left is the error of an estimate and no trend.
    bias, rest = (np.polyfit(np.log(ratios), values, 1)[0] for values in (plain, windows))
    assert bias > 1 and abs(rest) < 0.02
    assert windows[0] == plain[0]  # the whole matrix is its only window


def test_hill_and_farms_by_definition():
    m = spectra.analyze({"a.kernel": HEAVY}, **EVERYTHING)["a"].metrics
    evals = np.linalg.svd(HEAVY, compute_uv=False)[::-1] ** 2
    assert m["hill_alpha"] == pytest.approx(tail_exponent(evals), rel=1e-4)
    windows = np.concatenate([np.linalg.svd(HEAVY[r : r + SIDE], compute_uv=False) ** 2 for r in (0, 43, 86)])
    assert m["farms_alpha"] == pytest.approx(tail_exponent(np.sort(windows)), rel=1e-4)


def test_localisation_is_that_of_the_singular_vectors():
    m = spectra.analyze({"a.kernel": HEAVY}, vectors=3)["a"].metrics
    u, _, vt = np.linalg.svd(HEAVY)
    assert m["num_vectors"] == 3
    for side, vectors in (("u", u.T[:3]), ("v", vt[:3])):
        share = vectors**2
        participation = 1 / (share.shape[1] * (share**2).sum(axis=1))
        entropy = -(share * np.log(share)).sum(axis=1) / np.log(share.shape[1])
        wanted = (participation.mean(), participation.min(), None, entropy.mean(), None)
        for name, value in zip(MEASURES, wanted, strict=True):
            if value is not None:
                assert m[f"{name}_{side}"] == pytest.approx(value, rel=1e-4), name


def test_localisation_on_the_host_is_the_kernel():
    vectors = RNG.standard_normal((4, 50))
    vectors[1, 3:] = 0
    vectors[2] = np.eye(50)[7]
    participation, entropy = spread(vectors)
    kernel = jax.jit(localisation)(vectors.astype(np.float32))
    np.testing.assert_allclose(participation, kernel.participation, rtol=1e-5)
    np.testing.assert_allclose(entropy, kernel.entropy, rtol=1e-5, atol=1e-6)
    assert participation[2] == pytest.approx(1 / 50) and entropy[2] == 0
    sizes = np.array([1, 2, 50])
    wanted = np.transpose(jax.jit(random_localisation)(sizes))
    np.testing.assert_allclose([random_spread(int(size)) for size in sizes], wanted, rtol=1e-5)
    assert spread(np.ones((1, 1)))[1] == 1


def test_a_localised_direction_is_seen_against_chance():
    """Noise has what a random vector has; one huge entry is a direction of a single coordinate on either side."""
    w = RNG.standard_normal((120, SIDE))
    w[7, 9] = 100.0
    noise, spike = (
        spectra.analyze({"a.kernel": matrix}, vectors=1)["a"].metrics for matrix in (RNG.permuted(w * (abs(w) < 50)), w)
    )
    for side, size in (("u", 120), ("v", SIDE)):
        assert noise[f"participation_{side}"] == pytest.approx(noise[f"random_participation_{side}"], rel=0.25)
        assert noise[f"vector_entropy_{side}"] == pytest.approx(noise[f"random_vector_entropy_{side}"], rel=0.05)
        assert spike[f"min_participation_{side}"] == pytest.approx(1 / size, rel=0.1)


def test_fingers_are_left_out_of_the_fit():
    sigma = np.sqrt((1 - (np.arange(SIDE - 6) + 0.5) / (SIDE - 6)) ** (-1 / 2))  # alpha = 3
    spoilt = np.append(sigma, np.sqrt(900 + np.arange(6)))
    rotation = np.linalg.qr(RNG.standard_normal((90, SIDE)))[0]
    model = {"a.kernel": rotation * spoilt, "b.kernel": rotation[:, :-6] * sigma}
    plain, fixed = (spectra.analyze(model, fix_fingers=fix) for fix in (False, True))
    m, raw = fixed["a"].metrics, plain["a"].metrics
    assert m["num_fingers"] == 6 and m["raw_alpha"] == pytest.approx(raw["alpha"], rel=1e-5)
    assert abs(m["alpha"] - 3) < m["sigma"] < abs(raw["alpha"] - 3)
    assert m["xmax"] == pytest.approx(sigma[-1] ** 2, rel=1e-4) and m["lambda_max"] == pytest.approx(905, rel=1e-4)
    assert m["num_pl_spikes"] <= SIDE - 6 and m["D"] < raw["D"]
    assert m["hill_alpha"] == raw["hill_alpha"]  # of all eigenvalues, as the norms are
    same = fixed["b"].metrics
    assert same["num_fingers"] == 0 and same["raw_alpha"] == same["alpha"]
    assert same["alpha"] == pytest.approx(plain["b"].metrics["alpha"], rel=1e-5)
    assert same["xmax"] == same["lambda_max"]


def test_what_does_not_exist_is_empty_and_what_was_not_asked_for_is_absent():
    orthogonal = np.linalg.qr(RNG.standard_normal((SIDE, SIDE)))[0]
    weights = {"zero.kernel": np.zeros((80, SIDE)), "equal.kernel": orthogonal, "few.kernel": np.ones((3, 4))}
    columns = {"hill_alpha", "farms_alpha", "num_fingers", "raw_alpha", *NAMES}
    asked, plain = (spectra.analyze(weights, **options) for options in (EVERYTHING, {}))
    assert all(asked["zero"].metrics[name] is None for name in columns)
    for name in ("alpha", "hill_alpha", "farms_alpha", "num_fingers", "raw_alpha"):
        assert asked["equal"].metrics[name] is None, name
    assert not columns & set(asked["few"].metrics)
    assert columns & set(plain["equal"].metrics) == {"hill_alpha"}


def test_positions_of_a_convolution_are_pooled():
    kernel = RNG.standard_normal((2, 2, 24, 16))
    m = spectra.analyze({"conv.kernel": kernel}, **EVERYTHING)["conv"].metrics
    parts = [kernel[i, j] for i, j in itertools.product(range(2), repeat=2)]
    evals = np.sort(np.concatenate([np.linalg.svd(part, compute_uv=False) ** 2 for part in parts]))
    assert m["hill_alpha"] == pytest.approx(tail_exponent(evals), rel=1e-4)
    windows = np.concatenate([np.linalg.svd(p[r : r + 16], compute_uv=False) ** 2 for p in parts for r in (0, 8)])
    assert m["farms_alpha"] == pytest.approx(tail_exponent(np.sort(windows)), rel=1e-4)
    vectors = np.concatenate([np.linalg.svd(part)[2][:3] for part in parts])
    assert m["participation_v"] == pytest.approx(spread(vectors)[0].mean(), rel=1e-3)


def test_operators_that_are_never_formed_have_no_windows_and_no_vectors():
    kernel = RNG.standard_normal((2, 2, 16, 16))
    report = spectra.analyze({"conv.kernel": kernel}, conv="fft", fft_size=2, **EVERYTHING)
    assert report["conv"].metrics["hill_alpha"] > 1
    assert not {"farms_alpha", *NAMES} & set(report["conv"].metrics)


def test_both_backends_agree():
    weights = {"a.kernel": HEAVY[:96]}
    host, device = (spectra.analyze(weights, backend=name, farms=True)["a"].metrics for name in ("lapack", "jax"))
    for name in ("hill_alpha", "farms_alpha"):
        assert host[name] == pytest.approx(device[name], rel=1e-4), name


def test_float64_stays_float64():
    m = spectra.analyze({"a.kernel": HEAVY}, precision="float64", farms=True, vectors=2)["a"].metrics
    evals = np.linalg.svd(HEAVY, compute_uv=False)[::-1] ** 2
    assert m["hill_alpha"] == pytest.approx(tail_exponent(evals), rel=1e-12)
    assert not jax.config.jax_enable_x64


@pytest.mark.parametrize("wrong", [{"vectors": -1}, {"vectors": True}, {"farms": 1}, {"fix_fingers": "yes"}])
def test_bad_options_are_refused(wrong: dict):
    with pytest.raises(InputError, match=next(iter(wrong))):
        spectra.analyze({"a.kernel": HEAVY}, **wrong)
