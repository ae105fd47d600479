"""Pages of the documentation, read in the app."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.widgets import Static

from llmops_tui.safe_text import safe_text
from screens.widgets.modal import Modal
from screens.widgets.motions import TextScroll

_FOLDER = Path(__file__).resolve().parents[2] / "docs"


@dataclass(frozen=True)
class Page:
    """A page: its file, its title, and its first sentence."""

    path: Path
    title: str
    about: str


def read_pages(folder: Path = _FOLDER) -> list[Page]:
    """All pages of a folder; none where there is no such folder."""
    found = []
    for path in sorted(folder.glob("*.md")):
        title, _, rest = path.read_text(encoding="utf-8").partition("\n")
        about = " ".join(rest.strip().split("\n\n", maxsplit=1)[0].split())
        found.append(Page(path, title.removeprefix("# ").strip(), about))
    return found


class DocsPage(Modal[None]):
    """One page, as it is written."""

    CSS_PATH = "../dialog.tcss"
    BINDINGS: ClassVar[list[Binding]] = [Binding("escape,q", "close", "Close")]  # type: ignore[assignment]

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def compose(self) -> ComposeResult:
        """The text, its headings in bold."""
        parts: list[tuple[str, str] | str] = []
        for line in safe_text(self._path.read_text(encoding="utf-8")).splitlines():
            parts += [(line.lstrip("# "), "bold $accent") if line.startswith("#") else line, "\n"]
        with TextScroll(classes="dialog dialog-help"):
            yield Static(Content.assemble(*parts), markup=False)

    def action_close(self) -> None:
        """Close the page."""
        self.dismiss(None)
