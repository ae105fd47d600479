"""Record the tour as an asciicast: the real app in a terminal, the keys of each step, a real answer at the end.

``asciinema play docs/pictures/tour.cast`` shows it. Its clock leaves out what a busy machine waited for.
"""

from __future__ import annotations

import codecs
import json
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from llmops_tui.inference.supervisor import ServerSupervisor  # noqa: E402
from llmops_tui.workspace.layout import Workspace  # noqa: E402
from tests.e2e.terminal import Terminal  # noqa: E402

CAST = ROOT / "docs" / "pictures" / "tour.cast"
SIZE = (100, 30)
# Seconds: the longest that nothing happens, for reading a step, and between two letters.
_LONGEST, _READING, _TYPING = 0.5, 2.5, 0.05
_QUESTION = "Do you deliver on Saturdays?"
# What is pressed in each step, and what the next one says.
STEPS: tuple[tuple[str, ...], ...] = (
    ("f5",), ("f9", "7"), ("s",), ("2",), ("4",), ("\x10", "escape"), ("f1", "escape"),
)  # fmt: skip


class Recorded(Terminal):
    """A terminal whose output is kept with its times."""

    def __init__(self, *arguments: str) -> None:
        self.events: list[tuple[float, str]] = []
        self.clock = 0.0
        self._last = time.monotonic()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        super().__init__(*arguments, size=SIZE)
        # Players are not asked what they can do.
        self._screen.answer = lambda _: None

    def pump(self, seconds: float = 0.05) -> bool:
        """As that of any terminal, and note what came."""
        before = len(self.raw)
        going = super().pump(seconds)
        if text := self._decoder.decode(bytes(self.raw[before:])):
            now = time.monotonic()
            self.clock += min(now - self._last, _LONGEST)
            self._last = now
            self.events.append((round(self.clock, 3), text))
        return going

    def read_on(self, seconds: float) -> None:
        """Let whoever watches read."""
        self.clock += seconds
        self._last = time.monotonic()


def record() -> Recorded:
    """Take the tour, in a folder of the place where this runs: no path of this machine is seen."""
    app = Recorded("tour", "--dir", "support-desk")
    for number, keys in enumerate(STEPS, 1):
        app.wait(f"Tour {number} of")
        app.read_on(_READING)
        for key in keys:
            app.press(key)
            app.pump(0.3)
            app.read_on(_TYPING)
    app.wait(f"Tour {len(STEPS) + 1} of")
    app.read_on(_READING)
    app.press("1")
    app.wait("Variables")
    app.jump("u", "User")
    app.press("\x01\x0b")  # to the beginning of the line, and what is behind it away
    for letter in _QUESTION:
        app.press(letter)
        app.read_on(_TYPING)
    app.press("f5")
    app.wait("That was the tour")
    app.read_on(_READING)
    app.pump(0.5)
    app.press("ctrl+q")
    app.finish()
    return app


def main() -> None:
    """Record it and write the file."""
    with tempfile.TemporaryDirectory(prefix="llmops-cast-", ignore_cleanup_errors=True) as folder:
        for name in ("SSH_CONNECTION", "SSH_TTY", "TMUX", "STY", "NO_COLOR"):
            os.environ.pop(name, None)
        os.environ.update(XDG_CONFIG_HOME=folder, XDG_STATE_HOME=folder, LC_ALL="C.UTF-8", TERM="xterm-256color")
        os.environ["PYTHONPATH"] = str(ROOT)
        os.chdir(folder)
        app = record()
        app.close()
        servers = ServerSupervisor(Workspace(Path("support-desk") / ".llmops"))
        for handle in servers.running():
            servers.stop(handle.model)
    header = {
        "version": 2,
        "width": SIZE[0],
        "height": SIZE[1],
        "title": "llmops tour",
        "env": {"TERM": "xterm-256color"},
    }
    lines = [json.dumps(header), *(json.dumps([at, "o", text], ensure_ascii=False) for at, text in app.events)]
    CAST.write_text("\n".join(lines) + "\n", encoding="utf-8")
    sys.stdout.write(f"{CAST}: {app.clock:.0f} seconds, {CAST.stat().st_size / 1e3:.0f} kB\n")


if __name__ == "__main__":
    main()
