"""A function of one sample over all leading axes, compiled as a whole."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax


@partial(jax.jit, static_argnums=(0, 1))
def over_batches(one: Callable[..., Any], static: tuple[Any, ...], values: Any, *others: Any) -> Any:
    """The function over all axes of `values` but the last, and over as many of the other arrays.

    Called outside `jit`, a kernel would otherwise compile each of its operations by itself for every new shape, which
    takes three times as long as the whole, and run them one by one each time.
    """
    run = partial(one, *static)
    for _ in values.shape[:-1]:
        run = jax.vmap(run)
    return run(values, *others)
