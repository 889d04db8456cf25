"""Pure JAX kernels: functions of arrays with static shapes that work under `jit` and `vmap`.

`histogram` and `moments` describe weight entries, `sparsity` how many of them are small, `spectrum` gives singular
values with an account of their accuracy, `power_law` fits the tail. `tails` has the other families, `compare` holds
them against each other, `bootstrap` tells how far a fit can be trusted. `random_matrix` and `permutation` tell signal
from noise, `farms` and `hill` are other estimators of alpha, `fingers` fits without a few outliers. They know of no
file, layer or model.
"""

from spectra.kernels.bootstrap import FitIntervals, GoodnessOfFit, fit_intervals, goodness_of_fit
from spectra.kernels.compare import Comparison, compare_tails
from spectra.kernels.farms import Farms, farms_alpha, farms_eigenvalues, farms_windows
from spectra.kernels.fingers import FingerFit, fit_without_fingers
from spectra.kernels.hill import hill_alpha
from spectra.kernels.histogram import (
    Histogram,
    edges_between,
    histogram,
    merge_histograms,
    moments_and_histogram,
)
from spectra.kernels.marchenko_pastur import mp_cdf, mp_density, mp_edges, mp_quantile
from spectra.kernels.moments import Moments, merge_moments, moments
from spectra.kernels.permutation import (
    NullComparison,
    compare_with_null,
    permutation_null,
    permute_entries,
    permuted_eigenvalues,
)
from spectra.kernels.power_law import PowerLawFit, fit_power_law
from spectra.kernels.random_matrix import BulkFit, fit_bulk, spike_eigenvalue, spike_threshold, tracy_widom_edge
from spectra.kernels.sparsity import Sparsity, gini, quantiles, small_counts, sparsity
from spectra.kernels.spectrum import Spectrum, eigenvalues, singular_values, spectrum
from spectra.kernels.status import FitStatus
from spectra.kernels.tails import FAMILIES, PARAMETERS, Family, TailFit, fit_tail, log_density, tail_ccdf
from spectra.kernels.tracy_widom import tracy_widom_cdf, tracy_widom_isf, tracy_widom_quantile, tracy_widom_sf
from spectra.kernels.two_sided import Laplace, StudentT, fit_laplace, fit_student_t
from spectra.kernels.vectors import localisation, random_localisation, top_singular_vectors

__all__ = [
    "FAMILIES",
    "PARAMETERS",
    "BulkFit",
    "Comparison",
    "Family",
    "Farms",
    "FingerFit",
    "FitIntervals",
    "FitStatus",
    "GoodnessOfFit",
    "Histogram",
    "Laplace",
    "Moments",
    "NullComparison",
    "PowerLawFit",
    "Sparsity",
    "Spectrum",
    "StudentT",
    "TailFit",
    "compare_tails",
    "compare_with_null",
    "edges_between",
    "eigenvalues",
    "farms_alpha",
    "farms_eigenvalues",
    "farms_windows",
    "fit_bulk",
    "fit_intervals",
    "fit_laplace",
    "fit_power_law",
    "fit_student_t",
    "fit_tail",
    "fit_without_fingers",
    "gini",
    "goodness_of_fit",
    "hill_alpha",
    "histogram",
    "localisation",
    "log_density",
    "merge_histograms",
    "merge_moments",
    "moments",
    "moments_and_histogram",
    "mp_cdf",
    "mp_density",
    "mp_edges",
    "mp_quantile",
    "permutation_null",
    "permute_entries",
    "permuted_eigenvalues",
    "quantiles",
    "random_localisation",
    "singular_values",
    "small_counts",
    "sparsity",
    "spectrum",
    "spike_eigenvalue",
    "spike_threshold",
    "tail_ccdf",
    "top_singular_vectors",
    "tracy_widom_cdf",
    "tracy_widom_edge",
    "tracy_widom_isf",
    "tracy_widom_quantile",
    "tracy_widom_sf",
]
