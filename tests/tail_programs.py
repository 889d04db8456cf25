"""Fits of one tail as the tests compile them: of one length, so that files of tests share what they compile."""

import functools
from collections.abc import Callable

import jax
import numpy as np

from spectra.kernels.tails import TailFit, fit_tail

LENGTH = 2048


@functools.cache
def fitter(family: str) -> Callable[..., TailFit]:
    return jax.jit(functools.partial(fit_tail, family=family))


def padded(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A sample with NaN behind it, and its mask."""
    return np.pad(x, (0, LENGTH - x.size), constant_values=np.nan), np.arange(LENGTH) < x.size


def fit_in_float64(family: str, x: np.ndarray, xmin: float) -> TailFit:
    values, mask = padded(x.astype(float))
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, fitter(family)(values, xmin=np.float64(xmin), where=mask))
