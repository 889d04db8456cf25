"""Work that is done at some steps only, also for many networks trained side by side under `vmap`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool

State = TypeVar("State")


def only_if(due: Bool[Array, ""] | bool, change: Callable[[State], State], state: State) -> State:
    """`change(state)` if due, else the state as it is.

    Under `vmap` a plain `lax.cond` becomes a choice between two results that are both computed at every step. Here
    nothing is computed unless some member of the batch is due, and the others keep their state.
    """

    def changed(state: State) -> State:
        return jax.tree.map(lambda new, old: jnp.where(due, new, old), change(state), state)

    return lax.cond(_anywhere(jnp.asarray(due)), changed, lambda state: state, state)


@jax.custom_batching.custom_vmap
def _anywhere(due: Any) -> Any:
    return due


@_anywhere.def_vmap
def _anywhere_in_batch(size: int, batched: Any, due: Any) -> tuple[Any, bool]:
    return jnp.any(due, axis=0), False
