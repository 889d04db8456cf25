"""How tests compile what they run."""

import os

LONG_LOOPS = {"xla_backend_optimization_level": 1} if os.environ.get("SPECTRA_TEST_XLA") == "quick" else None
"""`compiler_options` of programs that run longer than they are compiled, where all others are left unoptimized."""
