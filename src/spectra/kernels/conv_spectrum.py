"""Singular values of a convolution as a linear operator on a periodic image.

The operator on an image with n₁×…×n_d pixels has one row for each output channel and pixel: far too large to be
formed. The Fourier transform makes it block diagonal, one complex in×out block a frequency (Sedghi, Gupta & Long, "The
Singular Values of Convolutional Layers", ICLR 2019), and the singular values of the blocks are all there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Num

from spectra.kernels.compiled import compiled
from spectra.kernels.dtypes import AnyArray, eps, to_compute
from spectra.kernels.spectrum import Method, Spectrum, spectrum

MAX_SPATIAL = 3

FFT_ERROR = 4.0
"""Rounding of the transform: |δŵ| ≤ FFT_ERROR·eps·(1 + log₂ of the number of pixels)·Σ|w|, entry by entry."""


def conv_spectrum(
    w: Num[AnyArray, "*kernel"], size: int | Sequence[int], *, groups: int = 1, method: Method = "auto"
) -> Spectrum:
    """Singular values of a convolution on a periodic image, frequency by frequency.

    Parameters
    ----------
    w
        Kernel with axes ``(*spatial, in, out)``, one to three of them spatial (Flax's order; PyTorch's ``(out, in, h,
        w)`` is ``w.transpose(2, 3, 1, 0)``). `in` counts the input channels of one group.
    size
        Pixels of the image along each spatial axis; a single number stands for all of them.
    groups
        Into how many groups the output channels are divided, as consecutive blocks, each with inputs of its own; for
        a depthwise convolution the number of its input channels.
    method
        As for `spectra.spectrum`, applied to the blocks.

    Returns
    -------
    Spectrum
        A batch of blocks: `singular_values` has shape ``(*size, groups, k)``, k = min(in, out/groups), descending
        along the last axis; frequency j of an axis of n pixels is j/n cycles a pixel. `num_evals`, `num_unresolved` and
        `floor` have shape ``(*size, groups)``. No value is off by more than its floor.

    Raises
    ------
    ValueError
        If the kernel has no or more than three spatial axes, is larger than the image, or its output channels cannot
        be divided into so many groups.

    Notes
    -----
    The stride is 1 and the borders are periodic; zero padding changes the singular values little where the kernel is
    small against the image. Cross-correlation, which networks compute, and convolution have the same values.

    The kernel is real, so frequency −ω has the complex conjugate of the block at ω and the same singular values: half
    of the blocks are computed. A complex block A + iB is taken as the real matrix [[A, −B], [B, A]], which has each
    singular value twice: so the routes, error bounds and platforms of `spectra.spectrum` serve here as well, and the
    Gram route on it takes no longer than LAPACK's own complex one.
    """
    return _by_frequency(w, _image(jnp.shape(w), size), groups, method)


def conv_singular_values(
    w: Num[AnyArray, "*kernel"], size: int | Sequence[int], *, groups: int = 1, method: Method = "auto"
) -> Float[Array, " k"]:
    """All singular values of a convolution on a periodic image, in descending order.

    There are as many as pixels times groups times min(in, out/groups); `conv_spectrum` describes the parameters and
    tells which frequency each belongs to. Values that the method cannot resolve are 0.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from spectra.kernels.conv_spectrum import conv_singular_values
    >>> blur = jnp.array([0.5, 0.5])[:, None, None]  # the mean of two neighbours; frequency 1/2 is lost
    >>> [round(float(s), 3) for s in conv_singular_values(blur, 4)]
    [1.0, 0.707, 0.707, 0.0]
    """
    return jnp.sort(conv_spectrum(w, size, groups=groups, method=method).singular_values, axis=None)[::-1]


@compiled("sizes", "groups", "method")
def _by_frequency(w: Num[AnyArray, "*kernel"], sizes: tuple[int, ...], groups: int, method: Method) -> Spectrum:
    blocks = _grouped(to_compute(w), groups)
    axes = tuple(range(len(sizes)))
    transform = jnp.fft.rfftn(blocks, s=sizes, axes=axes)
    real, imag = jnp.real(transform), jnp.imag(transform)
    embedded = jnp.concatenate(
        [jnp.concatenate([real, -imag], axis=-1), jnp.concatenate([imag, real], axis=-1)], axis=-2
    )
    found = spectrum(embedded.astype(blocks.dtype), method)
    half = _twice(found, _transform_error(blocks, sizes))
    return Spectrum(*(_whole(field, sizes) for field in half))


def _image(shape: tuple[int, ...], size: int | Sequence[int]) -> tuple[int, ...]:
    """Pixels of the image along each axis."""
    spatial = shape[:-2]
    if not 1 <= len(spatial) <= MAX_SPATIAL or 0 in shape:
        raise ValueError(f"a kernel (*spatial, in, out) with one to three spatial axes is needed, got shape {shape}")
    sizes = (size,) * len(spatial) if isinstance(size, int) else tuple(size)
    if len(sizes) != len(spatial):
        raise ValueError(f"size {sizes} has {len(sizes)} numbers for {len(spatial)} spatial axes")
    if any(n < k for n, k in zip(sizes, spatial, strict=True)):
        raise ValueError(f"an image of {sizes} pixels is smaller than the kernel {spatial}: give a larger size")
    return sizes


def _grouped(kernel: Float[Array, "*kernel"], groups: int) -> Float[Array, "*blocks"]:
    """Shape (*spatial, in, out) → (*spatial, groups, in, out/groups)."""
    *spatial, inputs, outputs = kernel.shape
    if groups < 1 or outputs % groups:
        raise ValueError(f"{outputs} output channels cannot be divided into {groups} groups")
    return jnp.moveaxis(kernel.reshape(*spatial, inputs, groups, outputs // groups), -2, -3)


def _transform_error(blocks: Float[Array, "*blocks"], sizes: tuple[int, ...]) -> Float[Array, " groups"]:
    """How far a singular value of a block may be moved by the rounding of the transform."""
    axes = tuple(range(len(sizes)))
    reach = jnp.linalg.norm(jnp.sum(jnp.abs(lax.stop_gradient(blocks)), axis=axes), axis=(-2, -1))
    return FFT_ERROR * eps(blocks) * (1 + math.log2(math.prod(sizes))) * reach


def _twice(found: Spectrum, error: Float[Array, " groups"]) -> Spectrum:
    """One of each pair of equal singular values; what the transform's rounding hides is unresolved too."""
    values, floor = found.singular_values[..., ::2], found.floor + error
    shown = jnp.where(values > floor[..., None], values, jnp.where(jnp.isnan(values), values, 0))
    lost = jnp.where(floor > 0, jnp.sum(shown == 0, axis=-1, dtype=jnp.int32), 0)
    lost = jnp.where(jnp.isnan(floor), values.shape[-1], lost)
    return Spectrum(shown, jnp.full_like(lost, values.shape[-1]), lost, floor)


def _whole(half: Num[Array, "*half"], sizes: tuple[int, ...]) -> Num[Array, "*whole"]:
    """The frequencies that the real transform leaves out of its last axis: those of −ω."""
    last = len(sizes) - 1
    missing = sizes[-1] - half.shape[last]
    mirrored = jnp.flip(lax.slice_in_dim(half, 1, 1 + missing, axis=last), axis=last)
    for axis, n in enumerate(sizes[:-1]):
        mirrored = jnp.take(mirrored, -jnp.arange(n) % n, axis=axis)
    return jnp.concatenate([half, mirrored], axis=last)
