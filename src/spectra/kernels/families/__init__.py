"""The families of tails, one file each, all of the same shape (`base.py` says which)."""

from types import ModuleType

from spectra.kernels.families import (
    exponential,
    laplace,
    lognormal,
    power_law,
    stretched_exponential,
    student_t,
    truncated_power_law,
)

MODULES: dict[str, ModuleType] = {
    "power_law": power_law,
    "truncated_power_law": truncated_power_law,
    "lognormal": lognormal,
    "exponential": exponential,
    "stretched_exponential": stretched_exponential,
    "student_t": student_t,
    "laplace": laplace,
}
