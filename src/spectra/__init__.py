"""Look inside trained neural networks: weight histograms, singular-value spectra, power-law tails.

The kernels are pure JAX and import at once; the analyzer, with its file formats and tables, loads on first use.
"""

from typing import TYPE_CHECKING, Any

from spectra.errors import CheckpointError, InputError, OutputError, SpectraError
from spectra.kernels import (
    Histogram,
    Moments,
    PowerLawFit,
    Sparsity,
    Spectrum,
    eigenvalues,
    fit_power_law,
    gini,
    histogram,
    merge_histograms,
    merge_moments,
    moments,
    quantiles,
    singular_values,
    sparsity,
    spectrum,
)

if TYPE_CHECKING:
    from spectra.engine.analyze import analyze, describe
    from spectra.engine.run import Progress
    from spectra.report.result import LayerResult, Report

_LAZY = {
    "analyze": "spectra.engine.analyze",
    "describe": "spectra.engine.analyze",
    "Progress": "spectra.engine.run",
    "LayerResult": "spectra.report.result",
    "Report": "spectra.report.result",
}

__all__ = [
    "CheckpointError",
    "Histogram",
    "InputError",
    "LayerResult",
    "Moments",
    "OutputError",
    "PowerLawFit",
    "Progress",
    "Report",
    "Sparsity",
    "SpectraError",
    "Spectrum",
    "analyze",
    "describe",
    "eigenvalues",
    "fit_power_law",
    "gini",
    "histogram",
    "merge_histograms",
    "merge_moments",
    "moments",
    "quantiles",
    "singular_values",
    "sparsity",
    "spectrum",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module

        value = getattr(import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'spectra' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
