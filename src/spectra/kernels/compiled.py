"""Kernels that are compiled as a whole, also where nobody calls `jit`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(*static: str) -> Callable[[Kernel], Kernel]:
    """Compile a kernel once for every shape, element type and value of the arguments named here.

    Without it a call outside `jit` would compile each operation by itself, and trace and compile every loop anew each
    time. Inside `jit` it makes no difference.
    """

    def decorate(kernel: Kernel) -> Kernel:
        program = jax.jit(kernel, static_argnames=static)

        @wraps(kernel)  # a function by the kernel's name, which can be pickled; a program cannot
        def call(*args: Any, **named: Any) -> Any:
            return program(*map(_array, args), **{name: _array(value) for name, value in named.items()})

        return cast(Kernel, call)

    return decorate


def _array(value: Any) -> Any:
    """Lists and arrays of other libraries, which `jit` does not take, as JAX's; anything else as it is."""
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        return value
    return jnp.asarray(value) if isinstance(value, list) or hasattr(value, "__array__") else value
