"""What every column is called on a page and on an axis, its unit, and what it means in a sentence.

The columns are dimensionless unless a unit is given: λ has that of a squared weight, since X = WᵀW.
"""

from __future__ import annotations

from typing import NamedTuple

SHAPE, FIT, TEST, RIVALS = "Shape", "Power-law fit", "Test of the fit", "Other families"
SPECTRUM, NOISE, VECTORS = "Spectrum", "Against noise", "Singular vectors"
WEIGHTS, TAILS, OTHER = "Weights", "Tails of the weights", "Other"
GROUPS = (SHAPE, FIT, TEST, RIVALS, SPECTRUM, NOISE, VECTORS, WEIGHTS, TAILS, OTHER)
"""In the order of the page."""

SQUARED, PLAIN, COUNT = "weight²", "weight", "number"


class Term(NamedTuple):
    """One column.

    Attributes
    ----------
    label
        A word or a symbol, for the head of a table or a row of the heat map.
    title
        For an axis, without the unit.
    unit
        Empty where the column is dimensionless.
    group
        One of `GROUPS`.
    text
        What it means, one sentence.
    """

    label: str
    title: str
    unit: str
    group: str
    text: str

    @property
    def axis(self) -> str:
        """The label of an axis."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


_TERMS: dict[str, Term] = {
    "M": Term("M", "smaller dimension M", COUNT, SHAPE, "Smaller dimension of the weight matrix"),
    "N": Term("N", "larger dimension N", COUNT, SHAPE, "Larger dimension of the weight matrix"),
    "Q": Term("Q", "aspect ratio Q = N/M", "", SHAPE, "Aspect ratio N/M; α depends on it even for noise"),
    "rf": Term("rf", "kernel positions", COUNT, SHAPE, "Kernel positions of a convolution whose spectra are pooled"),
    "num_evals": Term("eigenvalues", "eigenvalues", COUNT, SHAPE, "Number of eigenvalues of the layer"),
    "method": Term("method", "method", "", SHAPE, "How the spectrum was computed: gram or svd"),
    "alpha": Term(
        "α", "power-law exponent α", "", FIT, "Exponent of the power law p(λ) ∝ λ^−α fitted to the largest eigenvalues"
    ),
    "sigma": Term(
        "σ", "standard error σ of α", "", FIT,
        "Standard error of α for a tail that is known to start at xmin",
    ),
    "xmin": Term("xmin", "start of the tail xmin", SQUARED, FIT, "Eigenvalue from which the tail begins"),
    "xmax": Term("xmax", "largest eigenvalue xmax", SQUARED, FIT, "Eigenvalue at which the tail ends: the largest"),
    "D": Term("D", "Kolmogorov–Smirnov distance D", "", FIT, "Distance between tail and fit; smaller is better"),
    "num_pl_spikes": Term("tail", "eigenvalues in the tail", COUNT, FIT, "Number of eigenvalues from xmin upwards"),
    "alpha_weighted": Term("α·log λ", "α·log₁₀ λmax", "", FIT, "α weighted by the scale of the layer, α·log₁₀ λmax"),
    "log_alpha_norm": Term("log α-norm", "log₁₀ Σ λ^α", "", FIT, "Base-10 logarithm of Σ λ^α"),
    "hill_alpha": Term("Hill α", "Hill estimate of α", "", FIT, "Hill's estimate of α with the upper half as the tail"),
    "farms_alpha": Term("FARMS α", "FARMS estimate of α", "", FIT, "Hill's estimate over square windows of the matrix"),
    "raw_alpha": Term("raw α", "α before correction", "", FIT, "α before the top eigenvalues were clipped"),
    "num_fingers": Term(
        "fingers", "clipped top eigenvalues", COUNT, FIT,
        "Top eigenvalues that were left out of the fit",
    ),
    "verdict": Term("verdict", "verdict", "", TEST, "What may be said of the tail; not tested without --gof"),
    "gof_p": Term(
        "gof p", "goodness-of-fit p-value", "", TEST,
        "Chance of as large a D were it a power law; ≤ 0.1 rejects",
    ),
    "alpha_low": Term(
        "α low", "lower end of α", "", TEST,
        "Lower end of the 95 % interval of α, search for xmin included",
    ),
    "alpha_high": Term("α high", "upper end of α", "", TEST, "Upper end of the 95 % interval of α"),
    "xmin_low": Term("xmin low", "lower end of xmin", SQUARED, TEST, "Lower end of the 95 % interval of xmin"),
    "xmin_high": Term("xmin high", "upper end of xmin", SQUARED, TEST, "Upper end of the 95 % interval of xmin"),
    "lambda_max": Term("λmax", "largest eigenvalue λmax", SQUARED, SPECTRUM, "Largest eigenvalue of WᵀW"),
    "sv_max": Term("σmax", "largest singular value", PLAIN, SPECTRUM, "Largest singular value of W"),
    "sv_min": Term("σmin", "smallest singular value", PLAIN, SPECTRUM, "Smallest singular value; empty if unresolved"),
    "norm": Term("norm", "Σλ", SQUARED, SPECTRUM, "Sum of the eigenvalues: the squared Frobenius norm of W"),
    "log_norm": Term("log norm", "log₁₀ Σλ", "", SPECTRUM, "Base-10 logarithm of the sum of the eigenvalues"),
    "spectral_norm": Term("λmax", "spectral norm λmax", SQUARED, SPECTRUM, "Largest eigenvalue, WeightWatcher's name"),
    "log_spectral_norm": Term("log λmax", "log₁₀ λmax", "", SPECTRUM, "Base-10 logarithm of the largest eigenvalue"),
    "stable_rank": Term(
        "stable rank", "stable rank Σλ / λmax", "", SPECTRUM, "Sum of the eigenvalues over the largest; 1 if it is all"
    ),
    "effective_rank": Term(
        "eff. rank", "effective rank", "", SPECTRUM, "Exponential of the entropy of the singular values over their sum"
    ),
    "entropy": Term("entropy", "entropy of the spectrum", "", SPECTRUM, "Entropy of λ/Σλ over its maximum, 0 to 1"),
    "detX_num": Term(
        "detX", "tail by detX", COUNT, SPECTRUM,
        "Size of the tail whose eigenvalues over the mean multiply to 1",
    ),
    "detX_val": Term("detX λ", "start of the tail by detX", SQUARED, SPECTRUM, "Eigenvalue at which that tail begins"),
    "matrix_rank": Term("rank", "rank", COUNT, SPECTRUM, "Number of singular values above rounding"),
    "rank_loss": Term("rank loss", "rank loss", COUNT, SPECTRUM, "Eigenvalues less the rank"),
    "weak_rank_loss": Term("weak rank loss", "eigenvalues below 1e-6", COUNT, SPECTRUM, "Eigenvalues below 1e-6"),
    "num_unresolved": Term(
        "unresolved", "unresolved eigenvalues", COUNT, SPECTRUM, "Eigenvalues that the precision cannot tell from zero"
    ),
    "sigma_mp": Term(
        "noise σ", "standard deviation σ of the noise", PLAIN, NOISE,
        "σ of the noise that makes the bulk",
    ),
    "bulk_min": Term("bulk min", "lower edge of the bulk", SQUARED, NOISE, "Lower edge of the Marchenko–Pastur bulk"),
    "bulk_max": Term("bulk max", "upper edge of the bulk", SQUARED, NOISE, "Upper edge of the Marchenko–Pastur bulk"),
    "bulk_edge": Term(
        "bulk edge", "edge of the noise", SQUARED, NOISE,
        "What noise alone exceeds with a probability of 5 % (Tracy–Widom)",
    ),
    "num_spikes": Term(
        "spikes", "eigenvalues beyond the bulk", COUNT, NOISE,
        "Eigenvalues beyond the edge of the noise",
    ),
    "bulk_ks": Term(
        "bulk D", "distance of the bulk to its law", "", NOISE,
        "Distance of the rest to the Marchenko–Pastur law",
    ),
    "mp_softrank": Term(
        "MP soft rank", "bulk max / λmax", "", NOISE,
        "bulk max over λmax: near 1 for noise, near 0 for a spike",
    ),
    "max_rand_eval": Term(
        "shuffled λmax", "largest eigenvalue, entries shuffled", SQUARED, NOISE,
        "Largest eigenvalue with the entries shuffled",
    ),
    "ww_softrank": Term(
        "soft rank", "λmax shuffled / λmax", "", NOISE,
        "Largest eigenvalue of the shuffled entries over that of the layer",
    ),
    "ww_maxdist": Term(
        "max dist", "λmax − λmax shuffled", SQUARED, NOISE,
        "Largest eigenvalue less that of the shuffled entries",
    ),
    "rand_num_spikes": Term(
        "traps", "correlation traps", COUNT, NOISE,
        "Spikes that stay when the entries are shuffled: single huge entries, or a mean",
    ),
    "w1_rand_distance": Term(
        "W₁ to noise", "W₁ distance to the shuffled entries", "", NOISE,
        "Distance of the spectrum to that of the shuffled entries",
    ),
    "count": Term("weights", "weights", COUNT, WEIGHTS, "Number of weights"),
    "mean": Term("mean", "mean weight", PLAIN, WEIGHTS, "Mean of the weights"),
    "std": Term("std", "standard deviation of the weights", PLAIN, WEIGHTS, "Standard deviation of the weights"),
    "skewness": Term(
        "skewness", "skewness of the weights", "", WEIGHTS,
        "Skewness of the weights; 0 for a symmetric distribution",
    ),
    "kurtosis": Term(
        "kurtosis", "excess kurtosis of the weights", "", WEIGHTS,
        "Excess kurtosis of the weights; 0 for a Gaussian",
    ),
    "min": Term("min", "smallest weight", PLAIN, WEIGHTS, "Smallest weight"),
    "max": Term("max", "largest weight", PLAIN, WEIGHTS, "Largest weight"),
    "zero_fraction": Term("zeros", "share of exact zeros", "", WEIGHTS, "Share of weights that are exactly zero"),
    "near_zero_std": Term(
        "near zero", "share of |w| < 0.1 std", "", WEIGHTS,
        "Share of weights within a tenth of a standard deviation of zero; 0.080 for a Gaussian",
    ),
    "near_zero_max": Term(
        "near zero/max", "share of |w| < 0.01 max", "", WEIGHTS, "Share of weights below a hundredth of the largest"
    ),
    "hoyer": Term(
        "Hoyer", "Hoyer sparsity", "0 dense … 1 sparse", WEIGHTS,
        "Hoyer's sparsity: 0 if all are equal, 1 if one is left",
    ),
    "gini": Term("Gini", "Gini index of |w|", "0 equal … 1 sparse", WEIGHTS, "Gini index of |w|; 0.41 for a Gaussian"),
    "student_t_df": Term(
        "t df", "degrees of freedom of Student's t", "", TAILS, "Of Student's t fitted to the weights: 3 to 10 is heavy"
    ),
}  # fmt: skip

_TAIL_WORDS = {"n_tail": "size of the tail", "alpha": "exponent α", "xmin": "start xmin", "D": "distance D"}
_TAIL_WORDS |= {"sigma": "standard error σ", "verdict": "verdict"}
_VECTORS = {
    "num_vectors": "number of leading singular vectors",
    "participation": "share of the coordinates that a leading singular vector spreads over, on average",
    "min_participation": "share of the coordinates that the most localised of them spreads over",
    "random_participation": "share of the coordinates that a random vector spreads over",
    "vector_entropy": "entropy of a leading singular vector over its maximum, on average",
    "random_vector_entropy": "entropy of a random vector over its maximum",
}
_LENGTHS = {"_u": "longer", "_v": "shorter"}
_SIDES = {"right": "positive weights", "left": "negative weights"}


def term(key: str) -> Term:
    """What a column is; one that the glossary does not know is called by its own name."""
    if key in _TERMS:
        return _TERMS[key]
    side, _, rest = key.partition("_")
    if side in _SIDES and rest:
        words = _TAIL_WORDS.get(rest) or _of_family(rest) or rest.replace("_", " ")
        symbol = {"alpha": "α", "sigma": "σ", "n_tail": "tail"}.get(rest, rest.replace("_", " "))
        return Term(f"{side} {symbol}", f"{side} tail: {words}", "", TAILS, f"Tail of the {_SIDES[side]}: {words}")
    if words := _of_family(key):
        return Term(key.replace("_", " "), words, "", RIVALS, words)
    if key in _VECTORS or key[:-2] in _VECTORS:
        words = _VECTORS[key] if key in _VECTORS else f"{_VECTORS[key[:-2]]}, {_LENGTHS.get(key[-2:], '')} side"
        return Term(key.replace("_", " "), words, "", VECTORS, words[0].upper() + words[1:])
    if len(key) == 3 and key[0] == "q" and key[1:].isdigit():
        return Term(
            key, f"{key[1:]} % quantile of the weights", PLAIN, WEIGHTS, f"{int(key[1:])} % of the weights lie below"
        )
    return Term(key.replace("_", " "), key.replace("_", " "), "", OTHER, key.replace("_", " "))


def _of_family(key: str) -> str:
    """Columns `R_FAMILY` and `p_FAMILY`; empty for any other."""
    kind, _, family = key.partition("_")
    name = family.replace("_", " ")
    return {"R": f"R of the power law against {name}", "p": f"p of that R, {name}"}.get(kind, "") if family else ""
