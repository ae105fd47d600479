"""Open the app on this terminal, and restore the terminal however the app ends."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import gc
import logging
import os
import signal
import sqlite3
import sys
import termios
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_tui.errors import LlmopsError
from llmops_tui.rotating_log import RotatingLog
from llmops_tui.safe_text import safe_line
from llmops_tui.workspace.files import append_text
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import existing
from screens import terminal

if TYPE_CHECKING:
    from screens.navigation import Destination

_LOG_BYTES = 1_000_000
_LAST_RESORT_SECONDS = 5.0
# Alternate screen off, cursor on, mouse, focus and paste reports off, colours reset, kitty keys off.
_RESTORE = (
    b"\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l\x1b[?1004l\x1b[?2004l\x1b[?2048l\x1b[<u\x1b[?7h"
    b"\x1b[?1049l\x1b[?25h\x1b[0m"
)


def launch(
    workspace: Workspace, notes: Sequence[str] = (), start: Destination | None = None, *, tour: bool = False
) -> int:
    """Run the app, which says ``notes`` when it opens, at a place, or where it was left.

    Returns the exit code of the command: 128 plus the number of the signal that ended it.
    """
    from llmops_tui.workspace.trust import HOW, refuse_links, untrusted_reason

    # Nothing made while starting is garbage; collecting begins again with the first look at the machine.
    gc.disable()
    # What was frozen is never collected, and DuckDB's bindings would tell on the terminal what is left at the end.
    atexit.register(gc.unfreeze)
    with _told(f"Opening {safe_line(workspace.name)} ..."):
        existing(workspace)
        refuse_links(workspace)
        profile, settings = prepared()
        # These load Textual, which takes seconds on a busy machine.
        from screens.app import LlmopsApp
        from screens.keymap import load_keymap
        from screens.theme import DEFAULT_THEME

        keymap, problems = load_keymap()
        why = untrusted_reason(workspace)
    if why:
        notes = (
            *notes,
            f"This workspace is not trusted: {why}. Its remote models, keys and commands are disabled. {HOW}",
        )
    _log_to(workspace.logs / "app.log")
    with _terminal_kept(workspace.logs / "native.log"):
        theme = str(settings.get("theme", DEFAULT_THEME))
        # The tour begins at the beginning.
        last = _last_place(workspace)
        start = start if tour else start or last
        if last is None and not tour and not workspace.event_log.exists():
            notes = (*notes, "New here? ctrl+n begins a tour of two minutes; alt+q leaves it.")
        app = LlmopsApp(
            workspace, theme=theme, profile=profile, keymap=keymap, problems=[*problems, *notes], start=start, tour=tour
        )
        code = asyncio.run(_run(app))
    app.services.close()
    from llmops_tui.workspace.checksums import record_checksums_at_end

    record_checksums_at_end(workspace)
    sys.stderr.write(app.running.told_at_end())
    if app.return_code and not code:
        sys.stderr.write(f"llmops ended with an error; see {workspace.logs / 'native.log'}\n")
        return int(app.return_code)
    return code


def prepared() -> tuple[terminal.TerminalProfile, dict[str, Any]]:
    """What the terminal can do, and the user's settings; the environment says both to Textual, which is not loaded yet."""
    from llmops_tui.user_files import peek_settings

    profile, settings = terminal.detect(), peek_settings()
    terminal.prepare_environment(profile, str(settings.get("animations", "auto")))
    # Some shells export the size the terminal once had; the terminal itself knows better.
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)
    return terminal.without_utf8(profile) if settings.get("charts") == "ascii" else profile, settings


@contextlib.contextmanager
def _told(text: str) -> Iterator[None]:
    """Say meanwhile what is done, on a line that is as it was behind that."""
    sys.stdout.write(f"{text}\r")
    sys.stdout.flush()
    try:
        yield
    finally:
        sys.stdout.write("\x1b[K")
        sys.stdout.flush()


def _last_place(workspace: Workspace) -> Destination | None:
    """Where the app was left; none in a new workspace, which begins in the playground."""
    from llmops_tui.workspace.event_log import EventLog
    from screens.navigation import place_of
    from screens.view_memory import ViewMemory

    # What is wrong with the file is told by whoever needs more of it.
    with contextlib.suppress(LlmopsError, OSError, sqlite3.Error):
        if workspace.event_log.exists():
            return place_of(ViewMemory(EventLog(workspace)).get("place", "last"))
    return None


async def _run(app: object) -> int:
    """Run the app; SIGTERM, SIGHUP and SIGINT end it as a quit does."""
    from screens.app import LlmopsApp

    assert isinstance(app, LlmopsApp)
    loop = asyncio.get_running_loop()
    ended_by = 0

    def end(number: int) -> None:
        nonlocal ended_by
        ended_by = number
        # Whatever hangs, the terminal comes back and the process goes.
        threading.Timer(_LAST_RESORT_SECONDS, _leave_now, (number,)).start()
        app.services.stopping.set()
        app.note_place()
        app.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        loop.add_signal_handler(number, end, number)
    result = await app.run_async()
    if ended_by:
        app.services.close()
        _leave_after_restore()
        os._exit(128 + ended_by)
    return result or 0


_kept: tuple[int, list[Any] | None] | None = None


@contextlib.contextmanager
def _terminal_kept(log: Path) -> Iterator[None]:
    """Give Textual a terminal of its own, and everything else that prints to descriptors 1 and 2 a log file."""
    global _kept  # noqa: PLW0603  the last resort runs in a thread, after everything else failed
    tty = os.dup(2)
    attributes: list[Any] | None = None
    with contextlib.suppress(termios.error):
        attributes = termios.tcgetattr(0)
    _kept = (tty, attributes)
    saved = (os.dup(1), os.dup(2))
    streams = (sys.__stdout__, sys.__stderr__)
    sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    with os.fdopen(os.dup(tty), "w", encoding="utf-8", errors="replace") as screen:
        # Textual draws to __stderr__ and asks __stdout__ for the size of the terminal.
        sys.__stdout__ = sys.__stderr__ = screen  # type: ignore[misc]  # that is how Textual is told
        small = RotatingLog()
        try:
            yield
        finally:
            small.stop()
            sys.__stdout__, sys.__stderr__ = streams  # type: ignore[misc]
            os.dup2(saved[0], 1)
            os.dup2(saved[1], 2)
            for descriptor in (*saved, sink):
                os.close(descriptor)
            _leave_after_restore()
            os.close(tty)
            _kept = None


def _leave_after_restore() -> None:
    """Write the sequences and attributes with which the terminal was found."""
    if _kept is None:
        return
    tty, attributes = _kept
    with contextlib.suppress(OSError):
        os.write(tty, _RESTORE)
    if attributes is not None:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(tty, termios.TCSADRAIN, attributes)


def _leave_now(number: int) -> None:
    _leave_after_restore()
    os._exit(128 + number)


def _log_to(path: Path) -> None:
    if path.exists() and path.stat().st_size > _LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    handler = logging.StreamHandler(append_text(path))
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("httpx").setLevel(logging.WARNING)
