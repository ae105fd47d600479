"""The user's clipboard: tmux's buffer, OSC 52 through the terminal, a local tool, or a file."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from llmops_tui.counts import counted
from llmops_tui.workspace.files import write_atomic

_TOOLS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("WAYLAND_DISPLAY", ("wl-copy",)),
    ("DISPLAY", ("xclip", "-selection", "clipboard")),
    ("DISPLAY", ("xsel", "--clipboard", "--input")),
)
# Terminals drop longer sequences: the limit is that of tmux and of older xterms.
_OSC52_LIMIT = 74_994
_TOOL_SECONDS = 2.0


def local_tool() -> tuple[str, ...] | None:
    """The clipboard program that works here, or none."""
    if shutil.which("pbcopy"):
        return ("pbcopy",)
    for variable, command in _TOOLS:
        if os.environ.get(variable) and shutil.which(command[0]):
            return command
    return None


def osc52(text: str, *, in_tmux: bool) -> str:
    """The escape sequence that asks the terminal to take ``text``; wrapped so that tmux passes it on."""
    sequence = f"\x1b]52;c;{base64.b64encode(text.encode('utf-8', 'replace')).decode('ascii')}\x07"
    if in_tmux:
        return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    return sequence


def copy(text: str, write: Callable[[str], None] | None, fallback: Path) -> str:
    """Copy ``text``; returns a message that tells which way it went, and claims no more than is known.

    ``write`` sends a sequence to the terminal; none where there is none. Inside tmux the text is given to tmux itself: as it
    comes, tmux takes no clipboard sequence from programs, neither plain nor wrapped, and says nothing about it.
    """
    in_tmux = bool(os.environ.get("TMUX"))
    held = _copy_to_tmux(text) if in_tmux else ""
    ways = [held] if held else []
    sequence = osc52(text, in_tmux=in_tmux)
    if not held and write is not None and len(sequence) <= _OSC52_LIMIT:
        write(sequence)
        ways.append("sent to the terminal (OSC 52; it may ignore it)")
    tool = local_tool()
    if tool is not None and _run_tool(tool, text):
        ways.append(f"copied with {tool[0]}")
    elif not ways or (in_tmux and not held):
        write_atomic(fallback, text)
        ways.append(f"written to {fallback}")
    return f"{counted(len(text), 'character')}: " + ", ".join(ways)


def tmux_hands_on() -> bool | None:
    """Whether tmux gives its buffers to the terminal's clipboard; none where tmux does not answer."""
    try:
        done = subprocess.run(
            ("tmux", "show-options", "-sv", "set-clipboard"), capture_output=True, timeout=_TOOL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() != b"off" if done.returncode == 0 else None


def _copy_to_tmux(text: str) -> str:
    """Put ``text`` into tmux's buffer, and into the terminal's clipboard where tmux does that; what happened, or nothing."""
    # -w hands the buffer on to the terminal (tmux 3.2 and newer).
    if _run_tool(("tmux", "load-buffer", "-w", "-"), text):
        kept = "in tmux's buffer (prefix ] pastes)"
        return f"{kept} and handed on to the terminal" if tmux_hands_on() else f"{kept}; tmux's set-clipboard is off"
    return "in tmux's buffer (prefix ] pastes)" if _run_tool(("tmux", "load-buffer", "-"), text) else ""


def _run_tool(command: tuple[str, ...], text: str) -> bool:
    try:
        done = subprocess.run(
            command,
            input=text.encode("utf-8", "replace"),
            timeout=_TOOL_SECONDS,
            check=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
