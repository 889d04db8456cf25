"""Figures for papers, drawn with matplotlib: of one layer (`layer.py`) and of a whole network (`model.py`).

Each function draws onto the axes it is given, or onto a figure of its own, and returns the figure.
"""

from spectra.report.figures.layer import (
    plot_bulk,
    plot_ccdf,
    plot_esd,
    plot_families,
    plot_histogram,
    plot_layer,
    plot_xmin,
)
from spectra.report.figures.model import (
    GRID_KINDS,
    MODEL_KINDS,
    plot_alpha,
    plot_depth,
    plot_grid,
    plot_heat_map,
    plot_p_values,
    plot_report,
    plot_sparsity,
)
from spectra.report.figures.style import FIGURE_SUFFIXES, save_figure, save_pages

__all__ = [
    "FIGURE_SUFFIXES",
    "GRID_KINDS",
    "MODEL_KINDS",
    "plot_alpha",
    "plot_bulk",
    "plot_ccdf",
    "plot_depth",
    "plot_esd",
    "plot_families",
    "plot_grid",
    "plot_heat_map",
    "plot_histogram",
    "plot_layer",
    "plot_p_values",
    "plot_report",
    "plot_sparsity",
    "plot_xmin",
    "save_figure",
    "save_pages",
]
