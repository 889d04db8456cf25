"""Analyze a model in a fresh process and print, as JSON, what XLA compiled for it.

    python count_compilations.py MODEL [BACKEND]

Counted are the compilations that JAX reports, the small ones too, with no persistent cache.
"""

from __future__ import annotations

import json
import logging
import sys

import jax
from jax import monitoring

import spectra

EVENT = "/jax/core/compile/backend_compile_duration"


def main() -> None:
    """Count and print."""
    model, *backend = sys.argv[1:]
    seconds: list[float] = []
    names: list[str] = []
    monitoring.register_event_duration_secs_listener(
        lambda event, duration, **_: seconds.append(duration) if event == EVENT else None
    )

    class Names(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said = record.getMessage()
            if said.startswith("Compiling "):
                names.append(said.removeprefix("Compiling ").split(" with ")[0][:120])

    logging.getLogger("jax").addHandler(Names())
    logging.getLogger("jax").propagate = False
    jax.config.update("jax_enable_compilation_cache", False)
    jax.config.update("jax_log_compiles", True)  # for all threads, which the context manager is not
    spectra.analyze(model, **({"backend": backend[0]} if backend else {}))
    print(json.dumps({"count": len(seconds), "seconds": sum(seconds), "programs": names}))


if __name__ == "__main__":
    main()
