"""README and the pages of docs/ as their readers see them: blocks of code, names in code, links, tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]


class Block(NamedTuple):
    """A fenced block."""

    language: str
    text: str


@cache
def _tokens(page: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse((ROOT / page).read_text(encoding="utf-8"))


def _inline(page: str) -> Iterator[Token]:
    for token in _tokens(page):
        yield from token.children or ()


def blocks(page: str) -> list[Block]:
    """All fenced blocks, in order."""
    return [Block(token.info.strip(), token.content) for token in _tokens(page) if token.type == "fence"]


def commands(block: Block) -> list[str]:
    """The lines of a block without a language, or of a shell's, that start the program."""
    lines = block.text.splitlines() if block.language in ("", "sh", "bash") else []
    return [line for line in lines if line.startswith("spectra ")]


def names(page: str) -> list[str]:
    """What stands in backticks inside of sentences and tables."""
    return [token.content for token in _inline(page) if token.type == "code_inline"]


def links(page: str) -> list[str]:
    """Targets of links and pictures that lead to no other host."""
    targets = [token.attrGet("href") or token.attrGet("src") for token in _inline(page)]
    return [unquote(str(target)) for target in targets if target and not re.match(r"[a-z]+:", str(target))]


def anchors(page: str) -> set[str]:
    """Of all headings, as GitHub makes them."""
    tokens = _tokens(page)
    heads = [tokens[i + 1] for i, token in enumerate(tokens) if token.type == "heading_open"]
    texts = ["".join(child.content for child in head.children or ()) for head in heads]
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts}


def documented_columns(page: str) -> list[str]:
    """Names in the first cells of all tables whose first heading is *column*."""
    found: list[str] = []
    counts = False
    tokens = _tokens(page)
    for row, cell, content in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if (row.type, cell.type) == ("tr_open", "th_open"):
            counts = content.content == "column"
        elif (row.type, cell.type) == ("tr_open", "td_open") and counts:
            found += [child.content for child in content.children or () if child.type == "code_inline"]
    return found
