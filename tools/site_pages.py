"""Pages of the site that lie beside the documentation: the README is its front page. Read by mkdocs as hooks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md"}
_LINK = re.compile(r"(?<=\]\()(?!\w+:)([^)#]*)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages, with their links as they are from the documentation's folder."""
    for page, source in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=_LINK.sub(lambda link: _moved(link.group()), text)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links from the documentation to what became a page of it; and what lies elsewhere in the source is named alone."""
    for page, source in PAGES.items():
        markdown = markdown.replace(f"](../{source}", f"]({page}")
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]*\)", r"\1", markdown)


def _moved(target: str) -> str:
    """A link of the repository's root, as it is from the documentation's folder."""
    pages = {source: page for page, source in PAGES.items()}
    if target in pages:
        return pages[target]
    return target.removeprefix("docs/") if target.startswith("docs/") else f"../{target}" if target else target
