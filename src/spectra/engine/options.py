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

Conv = Literal["pool", "flatten", "fft"]
Gates = Literal["split", "stack"]
Heads = Literal["fold", "split"]
Precision = Literal["float32", "float64"]
Backend = Literal["auto", "lapack", "jax"]

FEWEST_REPLICATES, MOST_REPLICATES = 40, 1_000_000
"""Fewer bootstrap replicates have no 2.5 % quantile."""


@dataclass(frozen=True)
class Options:
    """Settings of one analysis.

    Attributes
    ----------
    layers
        Glob patterns; a layer is analyzed if its name matches any of them. Empty: all layers.
    conv
        ``pool``: one matrix for each kernel position, eigenvalues pooled; ``flatten``: one out × (in·kh·kw) matrix;
        ``fft``: the operator on a periodic image, the eigenvalues of all frequencies pooled.
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
    gof
        Bootstrap replicates for the goodness of fit and the intervals of alpha and xmin; 0: neither.
    tails
        Whether the tails of the weight entries themselves are fitted too.
    null
        Whether each spectrum is held against noise: the Marchenko–Pastur bulk and the spectrum of shuffled entries.
    heads
        ``fold``: attention kernels with an axis of heads are one matrix; ``split``: each head is one of its own.
    fft_size
        Pixels a side of the image that ``conv="fft"`` takes; as many as the kernel has, where that has more.
    fix_fingers
        Whether the few largest eigenvalues that spoil a power-law fit are left out of it.
    farms
        Whether alpha is also estimated over square windows of the matrix, which makes layers of other shapes compare.
    vectors
        How many leading singular vectors are measured for localisation; 0: none.
    seed
        Of everything random. Each layer's numbers depend on it and on the layer's name, not on the other layers.
    """

    layers: Sequence[str] = ()
    conv: Conv = "pool"
    gates: Gates = "split"
    precision: Precision = "float32"
    method: Method = "auto"
    min_evals: int = 10
    layout: Layout | None = None
    backend: Backend = "auto"
    gof: int = 0
    tails: bool = False
    seed: int = 0
    null: bool = False
    heads: Heads = "fold"
    fft_size: int = 16
    fix_fingers: bool = False
    farms: bool = False
    vectors: int = 0

    def __post_init__(self) -> None:
        kinds = {"conv": Conv, "gates": Gates, "precision": Precision, "method": Method, "layout": Layout}
        kinds |= {"backend": Backend, "heads": Heads}
        for name, choices in kinds.items():
            value = getattr(self, name)
            if value not in get_args(choices) and not (name == "layout" and value is None):
                raise InputError(f"{name}={value!r} is unknown: choose one of {', '.join(get_args(choices))}")
        for name, least, most in (
            ("min_evals", 2, None),
            ("gof", 0, MOST_REPLICATES),
            ("seed", 0, 2**32 - 1),
            ("fft_size", 1, 4096),
            ("vectors", 0, None),
        ):
            value = getattr(self, name)
            whole = isinstance(value, Integral) and not isinstance(value, bool)
            if not whole or int(value) < least or (most is not None and int(value) > most):
                limits = f"of at least {least}" if most is None else f"from {least} to {most}"
                raise InputError(f"{name}={value!r} must be a whole number {limits}")
        if 0 < self.gof < FEWEST_REPLICATES:
            raise InputError(f"gof={self.gof} replicates tell nothing: give {FEWEST_REPLICATES} or more, or 0 for none")
        if self.fft_size != 16 and self.conv != "fft":
            raise InputError(f"fft_size={self.fft_size} is for conv='fft', not conv={self.conv!r}")
        for name in ("tails", "null", "fix_fingers", "farms"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{name}={getattr(self, name)!r} must be True or False")
        patterns = not isinstance(self.layers, str) and isinstance(self.layers, Iterable)
        if not patterns or not all(isinstance(pattern, str) for pattern in self.layers):
            raise InputError(f"layers={self.layers!r} must be a sequence of glob patterns, such as ['*.mlp.*']")
        object.__setattr__(self, "layers", tuple(self.layers))

    @property
    def dtype(self) -> np.dtype:
        """The type that everything is computed in."""
        return np.dtype(self.precision)
