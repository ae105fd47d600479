"""Charts as pictures, in the real app on a terminal that shows some: and braille where it does not say so, or is tmux."""

from __future__ import annotations

import base64
import io
import re

import pytest

from llmops_tui.workspace.layout import Workspace
from screens.terminal_pen import PLACEHOLDER
from tests.e2e.terminal import Terminal
from tests.screens.test_training import pretend_run

pytestmark = pytest.mark.slow

_MESSAGE = re.compile(rb"\x1b_G([^;\x1b]*);?([^\x1b]*)\x1b\\")
_BRAILLE = re.compile("[\u2801-\u28ff]")


class KittyTerminal(Terminal):
    """Takes messages with pictures, and moves the cursor behind those that it shows."""

    shows = True

    def __init__(self, *arguments: str, **options: object) -> None:
        self.messages: list[tuple[bytes, bytes]] = []
        self._kept = b""
        super().__init__(*arguments, **options)  # type: ignore[arg-type]

    def obeyed(self, part: bytes) -> bytes:
        part, self._kept = self._kept + part, b""
        begun = part.rfind(b"\x1b_G")
        if begun >= 0 and b"\x1b\\" not in part[begun:]:
            part, self._kept = part[:begun], part[begun:]
        return super().obeyed(_MESSAGE.sub(self._taken, part))

    def _taken(self, message: re.Match[bytes]) -> bytes:
        head, body = message.groups()
        self.messages.append((head, body))
        columns = re.search(rb"\bc=(\d+)", head)
        seen = self.shows and b"a=T" in head and b"U=1" not in head and columns is not None
        return b"\x1b[%bC" % columns.group(1) if seen and columns is not None else b""

    def pictures(self) -> list[bytes]:
        """The pictures that came for placeholders, put together."""
        found: list[bytes] = []
        for head, body in self.messages:
            if b"U=1" in head:
                found.append(b"")
            if found and b"m=" in head:
                found[-1] += body
        return [base64.b64decode(one) for one in found]


class WithoutPictures(KittyTerminal):
    """Takes the messages, and shows nothing."""

    shows = False


@pytest.mark.parametrize("kind", ["kitty", "one that shows none", "tmux"])
def test_a_chart_is_a_picture_where_the_terminal_shows_it(
    sample: Workspace, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    from PIL import Image

    pretend_run(sample, monkeypatch)
    for name in ("SSH_CONNECTION", "SSH_TTY", "TMUX", "STY"):
        monkeypatch.delenv(name, raising=False)
    env = {"TERM": "xterm-kitty", "LC_ALL": "C.UTF-8"} | ({"TMUX": "/nowhere/0"} if kind == "tmux" else {})
    made = WithoutPictures if kind == "one that shows none" else KittyTerminal
    app = made("--workspace", str(sample.root), env=env)
    try:
        app.wait("{{ question }}")
        app.go("3", "Recipes")
        app.wait(lambda text: PLACEHOLDER in text if kind == "kitty" else _BRAILLE.search(text) is not None)
        if kind != "kitty":
            assert PLACEHOLDER not in app.text
            assert app.pictures() == []
            # tmux is not even asked.
            assert bool(app.messages) is (kind != "tmux")
            return
        picture = Image.open(io.BytesIO(app.pictures()[-1]))
        columns = max(line.count(PLACEHOLDER) for line in app.text.split("\n"))
        rows = sum(PLACEHOLDER in line for line in app.text.split("\n"))
        assert picture.size == (columns * 12, rows * 24)
        assert len(picture.getcolors(1_000_000) or ()) > 1
        # A dialog is drawn over it, and it is there again behind that.
        sent = len(app.pictures())
        app.press("f1")
        app.wait(lambda text: text.count(PLACEHOLDER) < columns * rows)
        app.press("escape")
        app.wait(lambda text: text.count(PLACEHOLDER) == columns * rows)
        assert len(app.pictures()) == sent
        app.press("ctrl+q")
        assert app.finish() == 0
    finally:
        app.close()
