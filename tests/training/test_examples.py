"""The examples in the docstrings."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["measure", "recorder", "selection", "temperature", "track"])
def test_docstring_examples(name: str):
    outcome = doctest.testmod(importlib.import_module(f"spectra.training.{name}"))
    assert outcome.attempted > 0
    assert outcome.failed == 0
