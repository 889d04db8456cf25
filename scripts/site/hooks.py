"""What the site does to pages that GitHub shows as they are."""

from typing import Any


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Markdown inside of ``<details>`` is Markdown, as on GitHub; the search finds a column where it is explained."""
    if page.file.src_uri.startswith("metrics/"):
        page.meta.setdefault("search", {"boost": 4})
    return markdown.replace("<details>", '<details markdown="1">')
