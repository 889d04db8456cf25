"""Look inside trained neural networks: weight histograms, singular-value spectra, power-law tails.

Every name loads its part on first use, so that `import spectra` costs nothing and a kernel costs no more than JAX.
"""

from typing import TYPE_CHECKING, Any

from spectra.errors import CheckpointError, InputError, OutputError, SpectraError

if TYPE_CHECKING:
    from spectra.engine.analyze import analyze
    from spectra.engine.clean import clean
    from spectra.engine.compare import compare
    from spectra.engine.describe import describe
    from spectra.engine.progress import Progress
    from spectra.kernels import (
        FAMILIES,
        PARAMETERS,
        Comparison,
        FitIntervals,
        FitStatus,
        GoodnessOfFit,
        Histogram,
        Laplace,
        Moments,
        PowerLawFit,
        Sparsity,
        Spectrum,
        StudentT,
        TailFit,
        compare_tails,
        eigenvalues,
        fit_intervals,
        fit_laplace,
        fit_power_law,
        fit_student_t,
        fit_tail,
        gini,
        goodness_of_fit,
        histogram,
        log_density,
        merge_histograms,
        merge_moments,
        moments,
        moments_and_histogram,
        quantiles,
        singular_values,
        sparsity,
        spectrum,
        tail_ccdf,
    )
    from spectra.report.cleaning import Cleaning, LayerCleaning
    from spectra.report.comparison import LayerComparison, ModelComparison
    from spectra.report.result import LayerResult, Report

_ELSEWHERE = {
    "analyze": "spectra.engine.analyze",
    "clean": "spectra.engine.clean",
    "compare": "spectra.engine.compare",
    "describe": "spectra.engine.describe",
    "Progress": "spectra.engine.progress",
    "Cleaning": "spectra.report.cleaning",
    "LayerCleaning": "spectra.report.cleaning",
    "LayerComparison": "spectra.report.comparison",
    "LayerResult": "spectra.report.result",
    "ModelComparison": "spectra.report.comparison",
    "Report": "spectra.report.result",
}

__all__ = [
    "FAMILIES",
    "PARAMETERS",
    "CheckpointError",
    "Cleaning",
    "Comparison",
    "FitIntervals",
    "FitStatus",
    "GoodnessOfFit",
    "Histogram",
    "InputError",
    "Laplace",
    "LayerCleaning",
    "LayerComparison",
    "LayerResult",
    "ModelComparison",
    "Moments",
    "OutputError",
    "PowerLawFit",
    "Progress",
    "Report",
    "Sparsity",
    "SpectraError",
    "Spectrum",
    "StudentT",
    "TailFit",
    "analyze",
    "clean",
    "compare",
    "compare_tails",
    "describe",
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
    "sparsity",
    "spectrum",
    "tail_ccdf",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'spectra' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_ELSEWHERE.get(name, "spectra.kernels")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
