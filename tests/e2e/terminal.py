"""A terminal for tests: the real app in a real pty, its screen read back, every byte it wrote kept."""

from __future__ import annotations

import os
import re
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect

from tests.emulated import EmulatedByteStream, EmulatedScreen
from tests.waiting import may_wait

KEYS = {
    "f1": "\x1bOP", "f3": "\x1bOR", "f4": "\x1bOS", "f5": "\x1b[15~", "f6": "\x1b[17~", "f7": "\x1b[18~", "f9": "\x1b[20~", "f10": "\x1b[21~",
    "enter": "\r", "escape": "\x1b", "down": "\x1b[B", "up": "\x1b[A", "end": "\x1b[F",
    "ctrl+q": "\x11", "ctrl+r": "\x12", "ctrl+s": "\x13", "tab": "\t",
}  # fmt: skip
# The accent of the default theme, as pyte tells colours.
ACCENT = "7aa2f7"
# The line with the screens, which jump mode shows.
_JUMP_BAR = "1  playground"
_PRIVATE = re.compile(rb"\x1b\[\?([\d;]+)([hl])")


class Terminal:
    """The app under a pty of its own.

    Attributes:
        ascii_alone: whether the terminals repeat signs of ASCII alone, as tmux does.
    """

    ascii_alone = False

    def __init__(
        self,
        *arguments: str,
        size: tuple[int, int] = (120, 40),
        env: dict[str, str] | None = None,
        script: Path | None = None,
    ) -> None:
        self.columns, self.rows = size
        self._screen = EmulatedScreen(self.columns, self.rows)
        self._screen.ascii_alone = self.ascii_alone
        self._stream = EmulatedByteStream(self._screen)
        self.raw = bytearray()
        self.child = pexpect.spawn(
            sys.executable,
            [str(script)] if script is not None else ["-m", "llmops_tui", *arguments],
            dimensions=(self.rows, self.columns),
            env={**os.environ, "COLORTERM": "truecolor", **(env or {})},
            timeout=120,
        )
        # pexpect waits 50 ms before it sends, for programs that are slow to switch echo off.
        self.child.delaybeforesend = None
        self._screen.answer = self.child.send
        self.attributes = termios.tcgetattr(self.child.child_fd)

    @property
    def text(self) -> str:
        """What the screen shows now."""
        return "\n".join(self._screen.display)

    def pump(self, seconds: float = 0.05) -> bool:
        """Read what the app wrote; false where it closed the terminal."""
        try:
            part: bytes = self.child.read_nonblocking(65_536, timeout=seconds)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += part
        self._stream.feed(self.obeyed(part))
        return True

    def obeyed(self, part: bytes) -> bytes:
        """What pyte gets of it: it knows no kitty key reports and would print their tail."""
        return re.sub(rb"\x1b\[[<>=]\d*u", b"", part)

    def wait(self, what: str | Callable[[str], bool], seconds: float = 120) -> None:
        """Wait until the screen shows a text, or a condition on it holds."""
        holds = what if callable(what) else lambda text: what in text
        begun = time.monotonic()
        while not holds(self.text):
            assert may_wait(begun, seconds), f"never saw {what!r}; the screen:\n{self.text}"
            assert self.pump() or holds(self.text), f"the app ended; the screen:\n{self.text}"

    def jump(self, key: str, title: str) -> None:
        """Jump to a pane and wait until it has the focus, which its border shows."""
        self.press("f9")
        self.wait(_JUMP_BAR)
        self.press(key)
        self.wait(lambda text: _JUMP_BAR not in text and self._focused(text, title))

    def go(self, digit: str, sign: str) -> None:
        """Go to a screen and wait until it is in front; the sign may be on the screen before it too."""
        self.press("f9")
        self.wait(_JUMP_BAR)
        self.press(digit)
        self.wait(lambda text: _JUMP_BAR not in text and sign in text)

    def _focused(self, text: str, title: str) -> bool:
        for y, line in enumerate(text.split("\n")):
            x = line.rfind("╭", 0, max(0, line.find(title)))
            if title in line and x >= 0:
                return self._screen.buffer[y][x].fg == ACCENT
        return False

    def leave(self, sign: str) -> None:
        """Press escape and wait until a dialog with this text is gone."""
        self.press("escape")
        self.wait(lambda text: sign not in text)

    def press(self, *keys: str) -> None:
        """Press keys by name, or type text."""
        for key in keys:
            self.child.send(KEYS.get(key, key))
            # An escape followed at once by another key reads as one key with alt.
            self.pump(0.12 if key == "escape" else 0.02)

    def finish(self) -> int:
        """Read to the end and return the exit code."""
        begun = time.monotonic()
        while self.pump(0.2):
            assert may_wait(begun, 120), f"the app did not end; the screen:\n{self.text}"
        self.child.wait()
        return int(self.child.exitstatus if self.child.exitstatus is not None else -self.child.signalstatus)

    def left_on(self) -> set[int]:
        """Private modes that the app switched on and left so, and 25 where it left the cursor hidden."""
        state: dict[int, bool] = {}
        for match in _PRIVATE.finditer(bytes(self.raw)):
            for mode in match.group(1).split(b";"):
                state[int(mode)] = match.group(2) == b"h"
        on = {mode for mode, is_on in state.items() if is_on and mode not in {7, 25}}
        on |= {25} if state.get(25) is False else set()
        pushed = len(re.findall(rb"\x1b\[>\d+u", self.raw))
        popped = len(re.findall(rb"\x1b\[<u", self.raw))
        return on | ({-1} if popped < pushed else set())

    def unchanged(self) -> bool:
        """Whether the terminal is as it was found."""
        return self.left_on() == set() and self._attributes() == self.attributes

    def _attributes(self) -> list[Any]:
        return termios.tcgetattr(self.child.child_fd)

    def vanish(self) -> None:
        """Be gone as a closed window or a broken connection is: the app gets a hangup and nothing else."""
        self.child.ptyproc.fileobj.close()

    def close(self) -> None:
        """End the app by force."""
        try:
            self.child.close(force=True)
        except pexpect.ExceptionPexpect:
            # It was killed, and the machine was too busy to see it gone within a tenth of a second.
            self.child.wait()


def registered_state(root: Path, model: str) -> Path:
    """Where a model server of a workspace leaves its state."""
    return root / "runs" / "servers" / f"{model}.json"
