"""Where the programs, unlike the library, keep what they compiled."""

from __future__ import annotations

import os
import warnings
from pathlib import Path


def use_compilation_cache() -> None:
    """Keep compiled programs between runs of the program; the library never does this on import."""
    import jax

    # A full disk, or an entry that one has cut short, costs compile time and nothing else either.
    warnings.filterwarnings("ignore", r"Error (reading|writing) persistent compilation cache entry")
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))  # to be ignored unless absolute, says its specification
    try:
        place = (given if given.is_absolute() else Path.home() / ".cache") / "spectra" / "jax"
        place.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return  # a read-only home, or none at all, costs compile time and nothing else
    jax.config.update("jax_compilation_cache_dir", str(place))
