"""The program's entry: `spectra …` or `python -m spectra …`."""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import suppress


def main() -> None:
    """Run the program and exit with its status."""
    gc.set_threshold(100_000)  # modules make many objects and no garbage; a tenth of the time to import them
    # An interrupt must not become an exception while JAX loads: in the middle of its C++ that ends in an abort.
    signal.signal(signal.SIGINT, _leave)
    from spectra.cli import run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    status = run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or none at all
            stream.flush()
    os._exit(status)  # to take JAX's modules apart lasts as long as a small analysis


def _leave(*_: object) -> None:
    os.write(2, b"spectra: interrupted\n")
    os._exit(1)


if __name__ == "__main__":
    main()
