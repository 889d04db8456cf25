"""Pure JAX kernels: functions of arrays with static shapes that work under `jit` and `vmap`.

`histogram` and `moments` describe weight entries, `sparsity` how many of them are small, `spectrum` gives singular
values with an account of their accuracy, `power_law` fits the tail. They know of no file, layer or model.
"""

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

__all__ = [
    "Histogram",
    "Moments",
    "PowerLawFit",
    "Sparsity",
    "Spectrum",
    "edges_between",
    "eigenvalues",
    "fit_power_law",
    "gini",
    "histogram",
    "merge_histograms",
    "merge_moments",
    "moments",
    "moments_and_histogram",
    "quantiles",
    "singular_values",
    "small_counts",
    "sparsity",
    "spectrum",
]
