"""What a caller may choose about an analysis, checked in one place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Literal, get_args

import numpy as np

from spectra.errors import InputError
from spectra.kernels.spectrum import Method
from spectra.models.source import Layout

Conv = Literal["pool", "flatten"]
Gates = Literal["split", "stack"]
Precision = Literal["float32", "float64"]
Backend = Literal["auto", "lapack", "jax"]


@dataclass(frozen=True)
class Options:
    """Settings of one analysis.

    Attributes
    ----------
    layers
        Glob patterns; a layer is analyzed if its name matches any of them. Empty: all layers.
    conv
        ``pool``: one matrix for each kernel position, eigenvalues pooled; ``flatten``: one out × (in·kh·kw) matrix.
    gates
        ``split``: each gate of a recurrent kernel is a matrix of its own; ``stack``: all of them are one.
    precision
        Type in which everything is computed.
    method
        ``gram``, ``svd``, or ``auto``: gram, then svd for the layers where what gram leaves unresolved could
        change a reported number.
    min_evals
        Layers with fewer eigenvalues than this get no spectrum and no fit.
    layout
        Axis convention of weights, overriding what format and leaf names say.
    backend
        Where spectra are computed: ``lapack`` on the CPU, without XLA; ``jax`` on all local devices of JAX;
        ``auto``: ``jax`` where there is an accelerator or more than one device, else ``lapack``.
    """

    layers: Sequence[str] = ()
    conv: Conv = "pool"
    gates: Gates = "split"
    precision: Precision = "float32"
    method: Method = "auto"
    min_evals: int = 10
    layout: Layout | None = None
    backend: Backend = "auto"

    def __post_init__(self) -> None:
        kinds = {"conv": Conv, "gates": Gates, "precision": Precision, "method": Method, "layout": Layout}
        kinds["backend"] = Backend
        for name, choices in kinds.items():
            value = getattr(self, name)
            if value not in get_args(choices) and not (name == "layout" and value is None):
                raise InputError(f"{name}={value!r} is unknown: choose one of {', '.join(get_args(choices))}")
        if isinstance(self.min_evals, bool) or not isinstance(self.min_evals, Integral) or self.min_evals < 2:
            raise InputError(f"min_evals={self.min_evals!r} must be a whole number of at least 2")
        patterns = not isinstance(self.layers, str) and isinstance(self.layers, Iterable)
        if not patterns or not all(isinstance(pattern, str) for pattern in self.layers):
            raise InputError(f"layers={self.layers!r} must be a sequence of glob patterns, such as ['*.mlp.*']")
        object.__setattr__(self, "layers", tuple(self.layers))

    @property
    def dtype(self) -> np.dtype:
        """The type that everything is computed in."""
        return np.dtype(self.precision)
