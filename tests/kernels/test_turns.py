"""Waiting for a result: nothing else about the values changes, and the compiler keeps the wait."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spectra.kernels.low_rank import low_rank_spectrum
from spectra.kernels.turns import after


@pytest.mark.parametrize("result", [[1.0, 2.0], [np.nan, np.nan], [np.nan, 1.0], [np.inf, -np.inf]])
def test_values_and_gradients_stay(result: list[float]):
    x = jnp.array([3.0, np.nan, -np.inf, 0.0])
    np.testing.assert_array_equal(after(x, jnp.array(result)), x)
    gradient = jax.grad(lambda x: jnp.sum(after(x, jnp.array(result)) * jnp.arange(4.0)))(jnp.ones(4))
    np.testing.assert_array_equal(gradient, np.arange(4.0))


def test_in_a_batch_each_waits_for_its_own():
    x, result = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([[np.nan], [1.0]], np.float32)
    np.testing.assert_array_equal(jax.vmap(after)(x, result), x)


def test_the_compiler_keeps_the_wait():
    """The second factor is decomposed from something that needs the first one's decomposition."""
    shape = jax.ShapeDtypeStruct((7, 30, 4), jnp.float32)
    text = jax.jit(lambda b, a: low_rank_spectrum(b, jnp.swapaxes(a, -1, -2))).lower(shape, shape).compile().as_text()
    lines = {line.split(" = ")[0].strip().lstrip("%"): line for line in text.splitlines() if " = " in line}
    calls = [name for name, line in lines.items() if "lapack_sgeqrf" in line and "custom-call(" in line]
    assert len(calls) == 2
    assert sum(reaches(lines, one, other) for one, other in (calls, calls[::-1])) == 1


def reaches(lines: dict[str, str], start: str, goal: str) -> bool:
    """Whether an instruction of the program needs another, through any number of operands."""
    seen, waiting = set(), [start]
    while waiting:
        name = waiting.pop()
        operands = [word.strip("%,()") for word in lines.get(name, " = ").split(" = ", 1)[1].replace(",", " ").split()]
        new = {word.split("(")[-1].lstrip("%") for word in operands} & lines.keys() - seen
        if goal in new:
            return True
        seen |= new
        waiting += new
    return False
