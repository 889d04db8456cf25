"""What the documentation shows works as shown: every command and block of code, every name, every column.

That the site builds, with every link and anchor in it, is what `scripts/docs` tells.
"""

from __future__ import annotations

import contextlib
import doctest
import importlib
import io
import re
import shlex
from collections import Counter
from pathlib import Path

import click
import numpy as np
import pytest
import yaml
from markdown_pages import PAGES, ROOT, anchors, blocks, commands, documented_columns, links, names
from safetensors.numpy import save_file

import spectra
import spectra.kernels
import spectra.training
from spectra.cli import run
from spectra.cli import spectra as program

SHOWN = doctest.OutputChecker()
LOOSELY = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def weights(seed: int, *names: str) -> dict[str, np.ndarray]:
    """Layers of one shape, so that all pages share few programs."""
    rng = np.random.default_rng(seed)
    return {name: rng.standard_t(3, (80, 60)).astype(np.float32) for name in names}


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with every checkpoint that a page names."""
    monkeypatch.chdir(tmp_path)
    for folder in ("big", "adapter", "base-model", "step-0", "step-500", "step-1000"):
        Path(folder).mkdir()
    for seed, file in enumerate(("model", "before", "after", "base", "step-0/m", "step-500/m", "step-1000/m")):
        save_file(weights(seed, "blocks.0.mlp.fc.weight"), f"{file}.safetensors")
    np.savez("tuned.npz", **weights(9, "blocks.0.mlp.fc.weight"))
    for shard in "ab":
        save_file(weights(1, f"{shard}.weight"), f"big/{shard}.safetensors")
    factors = {"lora_A": np.ones((4, 60), np.float32), "lora_B": weights(2, "b")["b"][:, :4].copy()}
    save_file(
        {f"base_model.model.q.{name}.weight": w for name, w in factors.items()}, "adapter/adapter_model.safetensors"
    )
    Path("adapter/adapter_config.json").write_text('{"lora_alpha": 8}')
    save_file(weights(3, "q.weight"), "base-model/model.safetensors")
    return tmp_path


def test_what_is_shown_is_found():
    """Where nothing is found nothing can fail."""
    assert {"README.md", "docs/index.md", "docs/metrics/noise.md", "docs/study/protocol.md"} <= set(PAGES)
    assert sum(len(commands(block)) for page in PAGES for block in blocks(page)) > 20
    assert sum(block.language == "python" for page in PAGES for block in blocks(page)) > 20


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)])
def test_page_works_as_shown(workplace: Path, page: str):
    """Commands and Python in the order of the page; what a block prints is what the block of text behind it says."""
    scope: dict[str, object] = {}
    shown = blocks(page)
    for block, following in zip(shown, [*shown[1:], None], strict=True):
        assert block.language in ("", "sh", "python", "text"), "no such block is run"
        for command in commands(block):
            check_command(shlex.split(command, comments=True)[1:])
        if block.language == "python":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(block.text, page, "exec"), scope)
            if following and following.language == "text":
                assert SHOWN.check_output(following.text, printed.getvalue(), LOOSELY), printed.getvalue()


def check_command(arguments: list[str]) -> None:
    """Run it; a study, which takes hours, is only read."""
    if arguments[0] == "study":
        program.commands["study"].make_context("study", arguments[1:])
    else:
        assert run(arguments) == 0, arguments


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str):
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.is_file(), link
        if anchor:
            assert anchor in anchors(str(target.resolve().relative_to(ROOT))), link


@pytest.mark.parametrize("page", [page for page in PAGES if page != "docs/peers.md"])  # which has a test of its own
def test_names_exist(page: str):
    """Files, options, commands, and whatever of the library is called by its full name."""
    for name in names(page):
        if re.fullmatch(r"(scripts|benchmarks|src|docs|tests)/[\w/.-]+", name):
            assert (ROOT / name).exists(), name
        elif name.startswith(("--", "spectra ")):
            assert all(is_option(word) for word in name.split() if word.startswith("--")), name
            assert not name.startswith("spectra ") or name.split()[1] in program.commands, name
        elif re.fullmatch(r"spectra(\.\w+)+", name):
            assert is_there(name), name


def is_option(word: str) -> bool:
    return word == "--help" or any(
        word in parameter.opts
        for command in program.commands.values()
        for parameter in command.params
        if isinstance(parameter, click.Option)
    )


def is_there(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    module, rest = name, []
    while True:
        try:
            found = importlib.import_module(module)
            break
        except ImportError:
            module, _, last = module.rpartition(".")
            rest.insert(0, last)
    for part in rest:
        if not hasattr(found, part):
            return False
        found = getattr(found, part)
    return True


def test_every_column_has_one_entry_in_the_metric_reference(workplace: Path):
    """Columns of real runs with all options, against the tables of docs/metrics/."""
    report = spectra.analyze(
        "model.safetensors", gof=1000, tails=True, null=True, farms=True, vectors=3, fix_fingers=True
    )
    tables = [report.to_pandas(), spectra.describe("model.safetensors")]
    comparison = spectra.compare("before.safetensors", "after.safetensors")
    tables += [comparison.to_pandas(), comparison.trajectory()]
    for number, removal in enumerate(({}, {"remove": "bulk", "keep": "tail"})):
        tables.append(spectra.clean("model.safetensors", f"clean{number}.safetensors", **removal).to_pandas())
    written = {column for table in tables for column in table.columns}
    pages = [page for page in PAGES if page.startswith("docs/metrics/")]
    entries = Counter(column for page in pages for column in documented_columns(page))
    assert set(entries) == written
    assert {column: times for column, times in entries.items() if times > 1} == {}


def test_every_public_name_has_one_entry_in_the_api_reference():
    text = "".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES if page.startswith("docs/api/"))
    # A function in a module of its own name is found by its path, and shown by the name that is public.
    found = re.findall(r"^::: (\S+)(?:\n    options: {heading: ([\w.]+),.*)?$", text, flags=re.MULTILINE)
    entries = [heading or path for path, heading in found]
    assert len(set(entries)) == len(entries)
    assert [name for names in found for name in names if name and not is_there(name)] == []
    kernels = {name if name in spectra.__all__ else f"kernels.{name}" for name in spectra.kernels.__all__}
    public = {*spectra.__all__, *kernels, *(f"training.{name}" for name in spectra.training.__all__)}
    assert {f"spectra.{name}" for name in public} <= set(entries)


def test_the_site_has_every_page():
    """One that is missing in the navigation is a warning of mkdocs; one that is in it and nowhere else is not."""
    text = (ROOT / "scripts" / "site" / "mkdocs.yml").read_text(encoding="utf-8")
    navigation = re.findall(r"[\w/]+\.md", str(yaml.safe_load(text)["nav"]))
    pages = {page.removeprefix("docs/") for page in PAGES if page != "README.md"}
    assert set(navigation) == pages
