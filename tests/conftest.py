"""What all tests share: the shapes and types in the signatures of the kernels are checked while the tests run.

The hook must stand before spectra is imported; the tests' own code is not checked.
"""

from collections.abc import Iterator

import jaxtyping
import pytest

_HOOK = jaxtyping.install_import_hook("spectra.kernels", "beartype.beartype")


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Switches the run-time type checks off, to see the library's own errors for arguments of the wrong kind."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
