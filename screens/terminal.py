"""Capabilities of the terminal: frame rate, animations, glyphs."""

from __future__ import annotations

import locale
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

# Those that know placeholders of kitty's protocol; whether they show pictures now is asked.
_WITH_PICTURES = frozenset({"xterm-kitty", "xterm-ghostty"})
_LOCAL_FPS = 60
_REMOTE_FPS = 15


@dataclass(frozen=True)
class TerminalProfile:
    """How to behave on this terminal.

    Attributes:
        remote: over SSH, where every byte travels.
        multiplexed: inside tmux or screen.
        utf8: whether block and braille glyphs can be written.
        stream_interval: seconds between two updates of a streaming text.
        cells_per_second: cells a streaming text may repaint in a second; bounds the bytes that travel.
        erases_in_colour: whether what is erased takes the colour behind it; screen leaves its own.
        pictures: whether it is one of those that may show pictures in its cells: never in a multiplexer, nor where every byte
            travels.
    """

    remote: bool
    multiplexed: bool
    utf8: bool
    stream_interval: float
    cells_per_second: int
    erases_in_colour: bool = True
    pictures: bool = False

    @property
    def calm(self) -> bool:
        """Whether animations stay off."""
        return self.remote or self.multiplexed

    @property
    def frames_per_second(self) -> int:
        """The most frames the app draws in a second."""
        return _REMOTE_FPS if self.remote else _LOCAL_FPS


def detect(environment: Mapping[str, str] | None = None) -> TerminalProfile:
    """The profile of the terminal that the environment describes."""
    env = os.environ if environment is None else environment
    remote = bool(env.get("SSH_CONNECTION") or env.get("SSH_TTY"))
    multiplexed = bool(env.get("TMUX") or env.get("STY"))
    names = env.get("LC_ALL") or env.get("LC_CTYPE") or env.get("LANG") or ""
    encoding = names.rpartition(".")[2] if "." in names else locale.getpreferredencoding(do_setlocale=False)
    utf8 = "utf" in encoding.lower() and env.get("TERM") not in {"dumb", "vt100"}
    return TerminalProfile(
        remote=remote,
        multiplexed=multiplexed,
        utf8=utf8,
        stream_interval=1 / 10 if remote else 1 / 30,
        cells_per_second=9_000 if remote else 200_000,
        erases_in_colour=not env.get("STY"),
        pictures=utf8 and not remote and not multiplexed and env.get("TERM") in _WITH_PICTURES,
    )


def prepare_environment(profile: TerminalProfile, animations: str) -> None:
    """Set what Textual reads when it is imported; must run before that."""
    off = animations == "off" or (animations == "auto" and profile.calm)
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none" if off else "full")
    os.environ.setdefault("TEXTUAL_FPS", str(profile.frames_per_second))
    if profile.calm:
        # Pixel mouse reports multiply the input that travels, and some multiplexers garble them.
        os.environ.setdefault("TEXTUAL_SMOOTH_SCROLL", "0")


def without_utf8(profile: TerminalProfile) -> TerminalProfile:
    """The same terminal, drawn on in ASCII."""
    return replace(profile, utf8=False)
