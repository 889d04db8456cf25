"""How every figure looks, and how it is written.

Nothing goes through pyplot, so that figures can be made without a display and from several threads, and none is left
open.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from spectra.errors import InputError
from spectra.report.save import check_writable, write_whole

if TYPE_CHECKING:  # matplotlib builds a font cache when first imported; the HTML report must not wait for that
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURE_SUFFIXES = (".pdf", ".png", ".svg")

# Okabe & Ito (2008): told apart under every common colour blindness.
BLUE, VERMILLION, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#666666"
ORANGE, SKY = "#E69F00", "#56B4E9"

GROUP_STYLES = ((BLUE, "o"), (VERMILLION, "s"), (GREEN, "^"), (PURPLE, "D"), (ORANGE, "v"), (SKY, "P"))
"""A colour and a marker for each role of layers; the rest is grey."""

FAMILY_STYLES = {
    "power_law": (VERMILLION, "-"),
    "truncated_power_law": (BLUE, "-"),
    "lognormal": (GREEN, "--"),
    "exponential": (GREY, ":"),
    "stretched_exponential": (PURPLE, "-."),
}

ALPHA_LOG_FROM = 20.0
"""Some layers of a few hundred weights fit to an alpha in the hundreds; on a linear axis one would see nothing else."""

NAME: dict[str, Any] = {"fontsize": "medium", "parse_math": False, "usetex": False}
"""For names of layers, which may hold $ and _."""


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, that notebooks show by themselves."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    # A notebook shows what has `_repr_png_`; matplotlib's own hook is there only once pyplot has been loaded.
    vars(figure)["_repr_png_"] = functools.partial(_png, figure)
    return figure


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def figure_of(ax: Axes) -> Figure:
    """The figure that axes belong to."""
    return cast("Figure", ax.figure)


def one_axes(ax: Any, width: float, height: float) -> tuple[Figure, Axes]:
    """The axes given and their figure, or new ones."""
    if ax is not None:
        return figure_of(ax), ax
    figure = new_figure(width, height)
    return figure, figure.add_subplot()


def given_axes(axes: Any, count: int, what: str) -> list[Axes]:
    """The axes a caller brought, none if there are none.

    Raises
    ------
    InputError
        Where they are not as many as `what` needs.
    """
    given = [] if axes is None else list(np.ravel(np.asarray(axes, dtype=object)))
    if axes is not None and len(given) != count:
        raise InputError(f"{what} needs {count} axes, not {len(given)}")
    return given


def legend(ax: Axes, **changes: Any) -> None:
    """A legend in small letters on a ground that lets little of the drawing through."""
    ax.legend(**({"fontsize": "x-small", "framealpha": 0.8, "edgecolor": "none", "borderpad": 0.2} | changes))


def log_axes(ax: Axes, bottom: float | None = None) -> None:
    """Logarithmic axes, of which short ones have few plain numbers; matplotlib's own run into each other there."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

    ax.set_xscale("log")
    ax.set_yscale("log")
    if bottom is not None:
        ax.set_ylim(bottom=bottom)
    for axis in (ax.xaxis, ax.yaxis):
        low, high = axis.get_view_interval()
        axis.set_minor_formatter(NullFormatter())
        if high < 100 * low:
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)) if high > 8 * low else MaxNLocator(4))
            axis.set_major_formatter(StrMethodFormatter("{x:g}"))


def say(ax: Axes, words: str) -> None:
    """Words in the place of a drawing."""
    ax.text(0.5, 0.5, words, ha="center", va="center", transform=ax.transAxes, color=GREY, parse_math=False)
    ax.set_xticks([])
    ax.set_yticks([])


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure in the format of the suffix, whole or not at all.

    Raises
    ------
    OutputError
        For another suffix, or where the file cannot be written.
    """
    target = check_writable(path, FIGURE_SUFFIXES)
    write_whole(target, lambda place: figure.savefig(place, dpi=150))


def save_pages(figures: Iterable[Figure], path: str | Path) -> None:
    """Write figures as the pages of one PDF, whole or not at all.

    Raises
    ------
    OutputError
        For another suffix, or where the file cannot be written.
    """
    from matplotlib.backends.backend_pdf import PdfPages

    def write(place: Path) -> None:
        with PdfPages(place) as pages:
            for figure in figures:
                pages.savefig(figure, dpi=150)

    write_whole(check_writable(path, (".pdf",)), write)
