"""Eigenvalues of symmetric matrices, by the route that each platform has.

A primitive of its own rather than `lax.platform_dependent`: the latter lowers every branch for every platform when
several are exported at once, and the tridiagonal reduction does not exist on the TPU.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir
from jaxtyping import Array, Float

from spectra.kernels.tridiagonal import tridiagonal_eigenvalues


@jax.custom_jvp
def symmetric_eigenvalues(x: Float[Array, "*batch n n"]) -> Float[Array, "*batch n"]:
    """Eigenvalues of symmetric matrices, ascending; only the lower triangle is read.

    Reduction to tridiagonal form and bisection, without eigenvectors (LAPACK's sytrd on the CPU, cuSOLVER's on the
    GPU); on the TPU, which has no such reduction, `jnp.linalg.eigvalsh`. Differentiable once.
    """
    return _primitive.bind(x)


@symmetric_eigenvalues.defjvp
def _jvp(
    primals: tuple[Float[Array, "*batch n n"]], tangents: tuple[Float[Array, "*batch n n"]]
) -> tuple[Float[Array, "*batch n"], Float[Array, "*batch n"]]:
    (x,), (dx,) = primals, tangents
    values, vectors = jnp.linalg.eigh(x, symmetrize_input=False)
    # First-order perturbation, dλᵢ = vᵢᵀ dX vᵢ: no division by gaps, so it is finite for repeated eigenvalues too.
    moved = jnp.matmul(_from_lower(dx), vectors, precision=lax.Precision.HIGHEST)
    return values, jnp.sum(vectors * moved, axis=-2)


def _by_tridiagonal(x: Float[Array, "*batch n n"]) -> Float[Array, "*batch n"]:
    if x.shape[-1] == 1:
        return x[..., 0]
    _, diagonal, off_diagonal, _ = lax.linalg.tridiagonal(x, lower=True)
    return jnp.vectorize(tridiagonal_eigenvalues, signature="(n),(m)->(n)")(diagonal, off_diagonal)


def _by_eigh(x: Float[Array, "*batch n n"]) -> Float[Array, "*batch n"]:
    return jnp.linalg.eigvalsh(_from_lower(x), symmetrize_input=False)


def _from_lower(x: Float[Array, "*batch n n"]) -> Float[Array, "*batch n n"]:
    """The symmetric matrix with this lower triangle; what stands above the diagonal is not read."""
    return jnp.tril(x) + jnp.swapaxes(jnp.tril(x, -1), -1, -2)


_primitive = Primitive("spectra_symmetric_eigenvalues")
_primitive.def_impl(jax.jit(lambda x: _primitive.bind(x)))
_primitive.def_abstract_eval(lambda x: x.update(shape=x.shape[:-1]))
mlir.register_lowering(_primitive, mlir.lower_fun(_by_eigh, multiple_results=False))
for _platform in ("cpu", "cuda", "rocm"):
    mlir.register_lowering(_primitive, mlir.lower_fun(_by_tridiagonal, multiple_results=False), platform=_platform)


def _batch(args: tuple[Array], axes: tuple[int]) -> tuple[Array, int]:
    return _primitive.bind(jnp.moveaxis(args[0], axes[0], 0)), 0


batching.primitive_batchers[_primitive] = _batch
