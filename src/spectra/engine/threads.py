"""How many threads BLAS has for the work inside of a `with` block."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from scipy.linalg import cython_blas  # noqa: F401 - loads SciPy's BLAS, which JAX calls too
from threadpoolctl import ThreadpoolController


def blas_threads(number: int) -> AbstractContextManager[Any]:
    """So many threads for the BLAS of NumPy and of SciPy, in the whole process, and as many as before behind it."""
    return _libraries().limit(limits=number, user_api="blas")


@cache
def _libraries() -> ThreadpoolController:
    """Found once: going through everything that a process has loaded takes milliseconds."""
    return ThreadpoolController()
