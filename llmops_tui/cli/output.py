"""Output of commands: data on stdout, narration on stderr, JSON on request, no silent truncation."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import typer

from llmops_tui import streams
from llmops_tui.cli.options import Globals
from llmops_tui.counts import counted
from llmops_tui.errors import ExitCode, LlmopsError
from llmops_tui.json_values import Notes, as_json
from llmops_tui.safe_text import safe_line, safe_text
from llmops_tui.workspace.layout import Workspace, find_workspace

if TYPE_CHECKING:
    from llmops_tui.settings import Settings
    from llmops_tui.workspace.catalog import Catalog
    from llmops_tui.workspace.event_log import EventLog

LIMIT = 50


class _Narration:
    """Standard error as it is narrated on: a line that is written over and over is ended before anything else comes."""

    def __init__(self) -> None:
        self._open = False

    def line(self, text: str) -> None:
        """Write one line."""
        self.end()
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def over(self, text: str, *, last: bool) -> None:
        """Write over the line that is there, for the ``last`` time or not."""
        sys.stderr.write(f"\r{text}")
        self._open = True
        if last:
            self.end()
        sys.stderr.flush()

    def end(self) -> None:
        """End the line that is written over, where one is."""
        if self._open:
            self._open = False
            sys.stderr.write("\n")
            sys.stderr.flush()


_NARRATION = _Narration()


class Session:
    """What a command works with: the workspace and the way to print."""

    def __init__(self, options: Globals) -> None:
        self.options = options
        self.used: Workspace | None = None

    @property
    def place(self) -> Workspace:
        """Where the workspace is or would be; nothing is made."""
        return find_workspace(self.options.workspace)

    @property
    def workspace(self) -> Workspace:
        """The workspace, which is there; only ``init`` makes one. Links of one that is not trusted are not followed."""
        from llmops_tui.workspace.trust import refuse_links

        refuse_links(self.unvetted)
        return self.unvetted

    @property
    def unvetted(self) -> Workspace:
        """The workspace, for whoever asks whether it is to be trusted."""
        from llmops_tui.workspace.marker import existing

        self.used = existing(self.place)
        return self.used

    @property
    def catalog(self) -> Catalog:
        """The workspace's catalog; banners that wait in the workspace are told."""
        from llmops_tui.moments import moment_words
        from llmops_tui.workspace.catalog import Catalog
        from llmops_tui.workspace.notices import noted_at, read_notices

        workspace = self.workspace
        for path, text in read_notices(workspace):
            at = noted_at(path)
            when = "" if at is None else f" of {moment_words(at)}"
            self.say(f"notice{when}: {text} (llmops doctor shows and clears this)")
        if workspace.read_only and (waiting := self.event_log.waiting()):
            self.say(
                f"{counted(waiting, 'request is', 'requests are')} only in the event log: the workspace is read-only"
            )
        return Catalog(workspace)

    @cached_property
    def settings(self) -> Settings:
        """The user's settings; what is wrong in their file is told, once a command."""
        from llmops_tui.settings import load_settings

        settings, problems = load_settings()
        for problem in problems:
            self.say(f"settings: {problem}")
        return settings

    @property
    def event_log(self) -> EventLog:
        """The workspace's event log."""
        from llmops_tui.workspace.event_log import EventLog

        return EventLog(self.workspace)

    def emit(self, data: Any, human: Callable[[], str]) -> None:
        """Print the result: JSON where asked for, else the text that ``human`` makes."""
        self._write(self._as_json(data) if self.options.json else safe_text(human()))

    def emit_line(self, data: Any) -> None:
        """Print one line of JSON Lines."""
        self._write(self._as_json(data))

    def _as_json(self, data: Any) -> str:
        """A result as JSON; what JSON has no word for is written in one way everywhere, and what that changes is told."""
        notes = Notes()
        made = json.dumps(as_json(data, "", notes), ensure_ascii=True, allow_nan=False)
        for note in notes.told():
            self.say(note)
        return made

    def stream(self, text: str) -> None:
        """Print a piece of a stream at once; on a terminal it is made harmless, in a pipe it stays as it is."""
        _NARRATION.end()
        sys.stdout.write(safe_text(text) if sys.stdout.isatty() else text)
        sys.stdout.flush()

    def say(self, text: str) -> None:
        """Narrate on stderr, unless asked to be quiet."""
        if not self.options.quiet:
            _NARRATION.line(safe_text(text))

    def progress(self, what: str) -> Callable[[float], None] | None:
        """A way to show how far something is, where somebody watches: a line on the terminal that is written over."""
        if self.options.quiet or not sys.stderr.isatty():
            return None

        def show(share: float) -> None:
            _NARRATION.over(f"{safe_line(what)} {share:4.0%}", last=share >= 1)

        return show

    def rows(self, headers: Sequence[str], rows: Sequence[Sequence[Any]], total: int | None = None) -> str:
        """An aligned table; numbers to the right, no column ever cut. Says on stderr where rows were left out."""
        if total is not None and total > len(rows):
            self.say(f"{len(rows)} of {total} shown; --limit shows more")
        if not rows:
            return "(none)"
        cells = [[safe_line("" if c is None else str(c)) for c in row] for row in rows]
        right = [all(isinstance(row[i], (int, float)) or row[i] is None for row in rows) for i in range(len(headers))]
        widths = [max(len(headers[i]), *(len(row[i]) for row in cells)) for i in range(len(headers))]

        def line(row: Sequence[str]) -> str:
            parts = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)]
            return "  ".join(parts).rstrip()

        return "\n".join([line(headers), *(line(row) for row in cells)])

    def _write(self, text: str) -> None:
        _NARRATION.end()
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def is_given(context: typer.Context, name: str) -> bool:
    """Whether an option stands in the command, its default or another value."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def refuse_idle(context: typer.Context, why: str, *names: str) -> None:
    """Refuse options that stand in the command and would not be looked at, by the names of their parameters.

    ``why`` ends the sentence that the option begins.

    Raises:
        LlmopsError: ``usage``.
    """
    for name in names:
        if is_given(context, name):
            flags = next(one.opts for one in context.command.params if one.name == name)
            raise LlmopsError("usage", f"{flags[0]} {why}", exit_code=ExitCode.USAGE)


def session_of(context: typer.Context) -> Session:
    """The session a command was called with."""
    session = context.find_object(Session)
    assert session is not None
    return session


def report_error(options: Globals, error: LlmopsError) -> int:
    """Print a failure as the interface promises and return the exit code."""
    # Of a failure to write no more is written there.
    if options.json and error.code != "output_failed":
        with contextlib.suppress(LlmopsError, BrokenPipeError), streams.watched():
            sys.stdout.write(json.dumps({"error": error.as_dict()}) + "\n")
    with contextlib.suppress(OSError, ValueError):
        _NARRATION.line(safe_line(f"llmops: {error.told}", limit=2000))
    return int(error.exit_code)
