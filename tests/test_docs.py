"""What the documentation shows works as shown: README's code and commands, and the examples in docstrings."""

from __future__ import annotations

import doctest
import importlib
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from spectra.cli import run

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

EXAMPLES = [
    "spectra.engine.analyze",
    "spectra.engine.clean",
    "spectra.engine.compare",
    "spectra.kernels.between",
    "spectra.kernels.conv_spectrum",
    "spectra.kernels.histogram",
    "spectra.kernels.low_rank",
    "spectra.kernels.moments",
    "spectra.kernels.bootstrap",
    "spectra.kernels.power_law",
    "spectra.kernels.sparsity",
    "spectra.kernels.spectrum",
    "spectra.kernels.tails",
]


PAGES = [path.name for path in sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    save_file({"mlp.fc.weight": rng.standard_t(3, (40, 30)).astype(np.float32)}, "model.safetensors")
    Path("big").mkdir()
    for shard in ("a", "b"):
        save_file({f"{shard}.weight": rng.standard_t(3, (40, 30)).astype(np.float32)}, f"big/{shard}.safetensors")
    return tmp_path


@pytest.mark.parametrize("code", blocks("python"), ids=["analyze", "kernels"])
def test_readme_python(workplace: Path, code: str):
    exec(compile(code, "README.md", "exec"), {})


def test_readme_commands(workplace: Path):
    commands = [line for block in blocks("") for line in block.splitlines() if line.startswith("spectra ")]
    assert len(commands) == 3  # the launchers are run in tests/engine/test_devices.py
    for command in commands:
        assert run(shlex.split(command, comments=True)[1:]) == 0
    made = {"layers.csv", "layers.html", "run"}
    assert {path.name for path in workplace.iterdir()} == {"model.safetensors", "big", *made}


def write_adapter() -> None:
    """An adapter of PEFT's and the model that it changes."""
    rng = np.random.default_rng(1)
    normal = {shape: rng.standard_normal(shape).astype(np.float32) for shape in ((4, 30), (40, 4), (40, 30))}
    for folder in ("adapter", "base-model"):
        Path(folder).mkdir()
    factors = {"base_model.model.q.lora_A.weight": normal[4, 30], "base_model.model.q.lora_B.weight": normal[40, 4]}
    save_file(factors, "adapter/adapter_model.safetensors")
    Path("adapter/adapter_config.json").write_text('{"lora_alpha": 8}')
    save_file({"q.weight": normal[40, 30]}, "base-model/model.safetensors")


@pytest.mark.parametrize("name", [name for name in PAGES if blocks("python", page(name)) or blocks("", page(name))])
def test_pages_work_as_shown(workplace: Path, name: str):
    """Every command that begins with `spectra`, then every block of Python, in the order of the page."""
    if name == "adapters.md":
        write_adapter()
    for command in [line for block in blocks("", page(name)) for line in block.splitlines()]:
        if command.startswith("spectra "):
            assert run(shlex.split(command, comments=True)[1:]) == 0, command
    scope: dict[str, object] = {}
    for code in blocks("python", page(name)):
        exec(compile(code, name, "exec"), scope)


def test_texts_name_what_exists():
    for script in re.findall(r"`?(scripts/[a-z_.]+)`?", README):
        assert (ROOT / script).is_file(), script
    for place, text in [(ROOT, README), *((ROOT / "docs", page(name)) for name in PAGES)]:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (place / link).is_file(), link


@pytest.mark.parametrize("name", EXAMPLES)
def test_docstring_examples(name: str):
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.attempted > 0
    assert outcome.failed == 0
