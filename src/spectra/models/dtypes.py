"""Which element types are analyzed, and what is said about the others."""

from __future__ import annotations

import re

from spectra.models.names import WEIGHT_LEAVES, Name

FLOATS = re.compile(r"float(64|32|16)|bfloat16|float8_(?!e8m0)\w+")
"""Types that are analyzed. ``float8_e8m0fnu`` has no sign and no mantissa: it holds scales of blocks."""

SUB_BYTE_FLOATS = re.compile(r"float[46]_\w+|float8_e8m0\w+")
INTEGERS = re.compile(r"u?int\d+|bool")
COMPLEX = re.compile(r"complex\d+")

PACKED_WEIGHTS = re.compile(r"[Ww]\d+|weight_packed|\w+_(weight|kernel|proj|blocks)")
"""Leaves of quantized weights beside `WEIGHT_LEAVES`: ``gate_up_proj_blocks``, ``weight_packed``, ``W1``."""


def refusal(name: Name, shape: tuple[int, ...], dtype: str) -> tuple[str, str]:
    """(problem, skip) that the element type gives reason for; both "" if it is analyzed."""
    if FLOATS.fullmatch(dtype):
        return "", ""
    weights = len(shape) >= 2 and (name.leaf in WEIGHT_LEAVES or PACKED_WEIGHTS.fullmatch(name.leaf) is not None)
    if COMPLEX.fullmatch(dtype) and (weights or len(shape) >= 2):
        return f"complex weights ({dtype}): save real and imaginary parts as two tensors", ""
    if weights and INTEGERS.fullmatch(dtype):
        return f"integer weights ({dtype}): dequantize to a float checkpoint first", ""
    if weights and SUB_BYTE_FLOATS.fullmatch(dtype):
        return f"quantized weights ({dtype}): dequantize to a float checkpoint first", ""
    if weights:
        return f"unknown element type {dtype}: save as float32 first", ""
    return "", f"{dtype} buffer, not weights"
