"""The examples in docstrings print what they say."""

from __future__ import annotations

import doctest
import importlib

import pytest
from markdown_pages import ROOT

EXAMPLES = [
    str(path.relative_to(ROOT / "src").with_suffix("")).replace("/", ".")
    for path in sorted((ROOT / "src" / "spectra").rglob("*.py"))
    if ">>>" in path.read_text(encoding="utf-8") and path.parent.name != "training"  # which has a test of its own
]


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(name: str):
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.attempted > 0
    assert outcome.failed == 0
