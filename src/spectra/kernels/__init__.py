"""Pure JAX kernels: functions of arrays with static shapes that work under `jit` and `vmap`.

`histogram` and `moments` describe weight entries, `sparsity` how many of them are small, `spectrum` gives singular
values with an account of their accuracy, `power_law` fits the tail. `tails` has the other families, `compare` holds
them against each other, `bootstrap` tells how far a fit can be trusted. They know of no file, layer or model.
"""

from spectra.kernels.bootstrap import FitIntervals, GoodnessOfFit, fit_intervals, goodness_of_fit
from spectra.kernels.compare import Comparison, compare_tails
from spectra.kernels.histogram import (
    Histogram,
    edges_between,
    histogram,
    merge_histograms,
    moments_and_histogram,
)
from spectra.kernels.moments import Moments, merge_moments, moments
from spectra.kernels.power_law import PowerLawFit, fit_power_law
from spectra.kernels.sparsity import Sparsity, gini, quantiles, small_counts, sparsity
from spectra.kernels.spectrum import Spectrum, eigenvalues, singular_values, spectrum
from spectra.kernels.status import FitStatus
from spectra.kernels.tails import FAMILIES, PARAMETERS, Family, TailFit, fit_tail, log_density, tail_ccdf
from spectra.kernels.two_sided import Laplace, StudentT, fit_laplace, fit_student_t

__all__ = [
    "FAMILIES",
    "PARAMETERS",
    "Comparison",
    "Family",
    "FitIntervals",
    "FitStatus",
    "GoodnessOfFit",
    "Histogram",
    "Laplace",
    "Moments",
    "PowerLawFit",
    "Sparsity",
    "Spectrum",
    "StudentT",
    "TailFit",
    "compare_tails",
    "edges_between",
    "eigenvalues",
    "fit_intervals",
    "fit_laplace",
    "fit_power_law",
    "fit_student_t",
    "fit_tail",
    "gini",
    "goodness_of_fit",
    "histogram",
    "log_density",
    "merge_histograms",
    "merge_moments",
    "moments",
    "moments_and_histogram",
    "quantiles",
    "singular_values",
    "small_counts",
    "sparsity",
    "spectrum",
    "tail_ccdf",
]
