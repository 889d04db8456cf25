"""Families of tails by SciPy in float64, and samples of them: what the kernels are held against."""

import functools
import itertools
import warnings
from collections.abc import Callable

import numpy as np
import powerlaw
from scipy import integrate, optimize, special, stats

PUBLISHED_XMIN = {"blackouts": 230e3, "cities": 52.46e3, "fires": 6324, "flares": 323, "surnames": 111.92e3}
"""xmin of continuous data sets in Clauset, Shalizi & Newman (2009), table 6.1, and `terrorism` at its own."""


@functools.cache
def dataset(name: str) -> tuple[np.ndarray, float]:
    """A reference data set of powerlaw from its published xmin upwards, and that xmin."""
    xmin = {**PUBLISHED_XMIN, "terrorism": 12.0}[name]
    x = powerlaw.load_test_dataset(name)
    tail = x[x >= xmin]
    tail.setflags(write=False)  # one array for all
    return tail, xmin


def log_density(family: str, x: np.ndarray, params: np.ndarray, xmin: float) -> np.ndarray:
    """ln p(x | x ≥ xmin), by textbook formulas and SciPy's special functions; parameters as spectra has them.

    SciPy's distributions give the same and take ten times as long for a short sample.
    """
    match family, *params:
        case "power_law", alpha:
            return np.log((alpha - 1) / xmin) - alpha * np.log(x / xmin)
        case "truncated_power_law", alpha, rate:
            return (
                -alpha * np.log(x / xmin) - rate * (x - xmin) - log_cutoff_integral(alpha, rate * xmin) - np.log(xmin)
            )
        case "lognormal", mu, sigma:
            z = (np.log(x) - mu) / sigma
            beyond = special.log_ndtr((mu - np.log(xmin)) / sigma)
            return -(z**2) / 2 - np.log(2 * np.pi) / 2 - np.log(x * sigma) - beyond
        case "exponential", rate:
            return np.log(rate) - rate * (x - xmin)
        case "laplace", scale:
            return -(x - xmin) / scale - np.log(scale)
        case "stretched_exponential", log_rate, beta:
            c = np.exp(beta * (log_rate + np.log(xmin)))
            u = np.log(x / xmin)
            return np.log(c * beta / xmin) + (beta - 1) * u - c * np.expm1(beta * u)
        case "student_t", df, scale:
            front = np.log(special.poch(df / 2, 0.5)) - np.log(df * np.pi) / 2 - np.log(scale)
            beyond = np.log(special.stdtr(df, -xmin / scale))
            return front - (df + 1) / 2 * np.log1p((x / scale) ** 2 / df) - beyond
    raise ValueError(family)


def log_cutoff_integral(alpha: float, b: float) -> float:
    """ln ∫₁^∞ y^(−alpha) e^(−b(y − 1)) dy by adaptive quadrature in ln y."""
    if b == 0:
        return -np.log(alpha - 1)
    edges = np.concatenate([[0], np.sort([max(0, -np.log(b)), np.log1p(1 / b), np.log1p(50 / b)])])
    parts = [
        integrate.quad(lambda u: np.exp((1 - alpha) * u - b * np.expm1(u)), low, high, epsabs=0, epsrel=1e-12)[0]
        for low, high in itertools.pairwise(edges)
        if high > low
    ]
    return float(np.log(sum(parts)))


def likelihood(family: str, x: np.ndarray, params: np.ndarray, xmin: float) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(np.sum(log_density(family, x, params, xmin)))


STARTS: dict[str, Callable[[np.ndarray, float], list[list[float]]]] = {
    # In coordinates in which nothing is bounded; see `_outward`.
    "power_law": lambda x, xmin: [[0]],
    "truncated_power_law": lambda x, xmin: [[1.5, np.log(0.1 / x.mean())], [2.5, np.log(0.01 / x.max())]],
    "lognormal": lambda x, xmin: [[np.log(x).mean(), 0], [np.log(xmin), 0.5]],
    "exponential": lambda x, xmin: [[-np.log(x.mean() - xmin)]],
    "laplace": lambda x, xmin: [[np.log(x.mean() - xmin)]],
    "stretched_exponential": lambda x, xmin: [[-np.log(x.mean()), 0], [-np.log(x.mean()), -1]],
    "student_t": lambda x, xmin: [[1, np.log(xmin)], [4, np.log(x.std())], [0, np.log(xmin) - 1]],
}


def _outward(family: str, q: np.ndarray) -> np.ndarray:
    match family:
        case "power_law":
            return 1 + np.exp(q)
        case "truncated_power_law":
            return np.array([abs(q[0]), np.exp(q[1])])
        case "lognormal" | "stretched_exponential":
            return np.array([q[0], np.exp(q[1])])
        case _:
            return np.exp(np.minimum(q, 40))


def best(family: str, x: np.ndarray, xmin: float) -> float:
    """The highest likelihood that Nelder and Mead's simplex finds from several starts."""

    def cost(q: np.ndarray) -> float:
        value = -likelihood(family, x, _outward(family, q), xmin)
        return value if np.isfinite(value) else 1e100

    options = {"xatol": 1e-7, "fatol": 1e-9, "maxiter": 2000}
    found = (optimize.minimize(cost, q, method="Nelder-Mead", options=options) for q in STARTS[family](x, xmin))
    return -min(result.fun for result in found)


def sample(family: str, params: tuple[float, ...], xmin: float, n: int, rng: np.random.Generator) -> np.ndarray:
    """A sample from above xmin, by the inverse of the ccdf or by rejection."""
    above = 1 - rng.random(n)
    match family, *params:
        case "power_law", alpha:
            return xmin * above ** (-1 / (alpha - 1))
        case "truncated_power_law", alpha, rate:
            kept = np.zeros(0)
            while kept.size < n:
                x = xmin - np.log(1 - rng.random(n)) / rate
                kept = np.append(kept, x[rng.random(n) < (x / xmin) ** -alpha])
            return kept[:n]
        case "lognormal", mu, sigma:
            least = stats.norm.logsf((np.log(xmin) - mu) / sigma)
            return np.exp(mu - sigma * special.ndtri_exp(least + np.log(above)))
        case "exponential", rate:
            return xmin - np.log(above) / rate
        case "laplace", scale:
            return xmin - np.log(above) * scale
        case "stretched_exponential", log_rate, beta:
            rate = np.exp(log_rate)
            return ((rate * xmin) ** beta - np.log(above)) ** (1 / beta) / rate
        case "student_t", df, scale:
            return scale * stats.t.isf(above * stats.t.sf(xmin / scale, df), df)
    raise ValueError(family)
