"""What all tests share: the shapes and types in the signatures of the kernels are checked while the tests run.

The hook must stand before spectra is imported; the tests' own code is not checked.
"""

import os
from collections.abc import Iterator

import jaxtyping
import pytest

# Two processes of tests on two cores: threads of BLAS beside them would only wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

_HOOK = jaxtyping.install_import_hook("spectra.kernels", "beartype.beartype")


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Switches the run-time type checks off, to see the library's own errors for arguments of the wrong kind."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
