"""What all tests share: the shapes and types in the signatures of the kernels are checked while the tests run.

The hook must stand before spectra is imported; the tests' own code is not checked.
"""

import gc
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import jaxtyping
import pytest

ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"
"""Two processes of tests on two cores: threads beside them would only wait for each other. So would those of BLAS,
which reads their number before this file is read: scripts/test sets it."""

QUICK_TO_COMPILE = (
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_backend_optimization_level=0",
    "--xla_cpu_parallel_codegen_split_count=1",
)
"""Compiling is most of what many tests do, and unoptimized programs of XLA's older code generator take a third of the
time. Only with SPECTRA_TEST_XLA=quick, which `scripts/test` sets for all tests that are not marked `as_users`: those
have programs compiled as users compile them."""

LONGEST = (
    *("test_docs.py", "test_tails.py", "test_bootstrap.py", "test_run.py", "test_laws.py", "test_resume.py"),
    *("test_power_law.py", "test_devices.py", "test_spectrum.py", "test_histogram.py", "test_sparsity.py"),
    *("test_compare.py", "test_docstrings.py", "test_permutation.py", "test_moments.py", "test_training.py"),
    *("test_measures.py", "test_fitted.py", "test_entries.py", "test_browser.py"),
)
"""Files begun first, so that no process is left alone with one of them at the end."""

SHARING = {
    *("tests/test_docs.py", "tests/test_docstrings.py", "tests/test_cli_clean.py", "tests/test_cli_compare.py"),
    *("tests/engine/test_fitted.py", "tests/engine/test_null.py", "tests/engine/test_analyze.py"),
    *("tests/engine/test_measures.py", "tests/engine/test_compare.py", "tests/engine/test_devices.py"),
}
"""Files whose analyses are of the same sizes, for one process, which compiles for each size once."""


def _flags() -> str:
    """Those of the flags that this jaxlib knows; it ends the process at any other."""
    flags = " ".join([ONE_THREAD, *(QUICK_TO_COMPILE if os.environ.get("SPECTRA_TEST_XLA") == "quick" else ())])
    trial = [sys.executable, "-c", "from jaxlib import xla_client; xla_client.CompileOptions()"]  # reads them
    known = subprocess.run(trial, env={**os.environ, "XLA_FLAGS": flags}, capture_output=True).returncode == 0
    return flags if known else ""


if "XLA_FLAGS" not in os.environ:  # in the first process; the others have its environment
    os.environ["XLA_FLAGS"] = _flags()

if "PYTEST_XDIST_WORKER" not in os.environ:
    _CACHES = tempfile.TemporaryDirectory(prefix="spectra-tests-", ignore_cleanup_errors=True)
    os.environ["XDG_CACHE_HOME"] = _CACHES.name  # the programs that tests start share what they compile, and no more

_HOOK = jaxtyping.install_import_hook("spectra.kernels", "beartype.beartype")


def pytest_configure() -> None:
    """Programs of this process are compiled once; to write them down for others would take longer."""
    import jax

    jax.config.update("jax_enable_compilation_cache", False)


def pytest_collection_finish() -> None:
    """What has been imported stays; to look through it, and often, for garbage takes 6 % of the time."""
    gc.freeze()
    gc.set_threshold(200_000, 50, 100)


def pytest_unconfigure() -> None:
    """Nothing that is left needs to be looked through either, for which pytest would now ask five times."""
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first."""
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file a process, as `--dist loadfile` has it, but for those that share."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Sharing(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "together" if file in SHARING else file

    return Sharing(config, log)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Switches the run-time type checks off, to see the library's own errors for arguments of the wrong kind."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
