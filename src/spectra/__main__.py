"""The program's entry: `spectra …` or `python -m spectra …`."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Run the program and exit with its status."""
    # An interrupt must not become an exception while JAX loads: in the middle of its C++ that ends in an abort.
    signal.signal(signal.SIGINT, _leave)
    from spectra.cli import run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(run(sys.argv[1:]))


def _leave(*_: object) -> None:
    os.write(2, b"spectra: interrupted\n")
    os._exit(1)


if __name__ == "__main__":
    main()
