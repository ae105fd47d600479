"""The command line of the app: what one types in a shell behind ``llmops``, with completion, history, and its output above."""

from __future__ import annotations

import asyncio
import shlex
import time
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import Input, Static

from llmops_tui.safe_text import safe_line
from screens.shell.child_command import ChildCommand
from screens.shell.completion import Completion, complete, replaced
from screens.shell.things import Thing, read_things
from screens.widgets import units
from screens.widgets.columns import fit
from screens.widgets.fields import Field
from screens.widgets.line_list import Line, LineList
from screens.widgets.modal import Modal
from screens.widgets.text_wrap import wrap_line

if TYPE_CHECKING:
    from screens.shell.shell import Shell

_SECTION = "commands"
# Lines of output that are kept, the newest; ways to go on that are seen.
_MOST, _SEEN = 5000, 8
_WORD = 28


class CommandScreen(Modal[None]):
    """A field at the bottom. Tab takes a completion, up and down go through the history; escape cancels, then closes."""

    CSS_PATH = "../dialog.tcss"
    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]
        Binding("escape", "leave", "Cancel", priority=True),
        Binding("tab", "take(1)", show=False, priority=True),
        Binding("shift+tab", "take(-1)", show=False, priority=True),
        Binding("up", "history(-1)", show=False),
        Binding("down", "history(1)", show=False),
        Binding("pageup", "page(-1)", show=False, priority=True),
        Binding("pagedown", "page(1)", show=False, priority=True),
        Binding("alt+y", "copy_output", show=False, priority=True),
    ]

    def __init__(self, shell: Shell, begun: str = "") -> None:
        super().__init__()
        self._shell, self._begun = shell, begun
        self._output: list[Line] = []
        self._ways: list[Completion] = []
        self._things: list[Thing] | None = None
        self._history: list[str] = []
        self._at = 0
        # What was typed before tab went through the ways, and the way it is at.
        self._taking: tuple[str, int] | None = None
        self._child: ChildCommand | None = None

    def compose(self) -> ComposeResult:
        """Output, ways to go on, the field, and what tells of the command."""
        with Vertical(classes="dialog-command"):
            yield LineList(id="command-output", marks=False)
            yield Static("", id="command-state", markup=False)
            yield Static("", id="command-ways", markup=False)
            yield Field(
                self._begun, id="command-words", compact=True, placeholder="a command, such as data list; tab completes"
            )

    def on_mount(self) -> None:
        """The field has the focus; the history is read."""
        self.query_one(LineList).can_focus = False
        self.query_one(LineList).display = False
        field = self.query_one(Field)
        field.focus()
        field.cursor_position = len(field.value)
        self.run_worker(self._read(), group="command-history", exit_on_error=False)

    async def _read(self) -> None:
        self._history = await asyncio.to_thread(self._shell.services.memory.lines, _SECTION)
        self._at = len(self._history)
        await self._find_ways()

    # ── completion ──

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        # What is typed behind a completion goes on from it.
        self._taking = None
        self.run_worker(self._find_ways(), group="ways", exclusive=True, exit_on_error=False)

    async def _find_ways(self) -> None:
        text = self.query_one(Field).value
        ways = await asyncio.to_thread(complete, text, self._names)
        if self.is_attached and self.query_one(Field).value == text:
            self._ways = ways
            self._draw_ways()

    def _names(self, kinds: tuple[str, ...]) -> list[tuple[str, str]]:
        """Things of these kinds, read once while the line is open; in a thread."""
        if not kinds:
            return []
        if self._things is None:
            self._things = read_things(self._shell.services)
        return [
            (thing.command, thing.title if thing.kind == "job" else thing.note)
            for thing in self._things
            if thing.kind in kinds and not thing.archived
        ]

    def _draw_ways(self) -> None:
        at = self._taking[1] if self._taking is not None else -1
        first = max(0, min(at - _SEEN // 2, len(self._ways) - _SEEN))
        width = max(20, self.size.width - 4)
        lines = []
        for number, way in enumerate(self._ways[first : first + _SEEN], first):
            mark = "▸ " if number == at else "  "
            lines.append(fit(mark + fit(safe_line(way.word), _WORD) + " " + safe_line(way.help), width).rstrip())
        if len(self._ways) > _SEEN:
            lines.append(f"  {len(self._ways):,} in all")
        ways = self.query_one("#command-ways", Static)
        # Whoever reads what a command said has the room for it, until the next is begun.
        begun = bool(self.query_one(Field).value) or not self._output
        ways.display = bool(lines) and self._child is None and begun
        ways.update("\n".join(lines))

    def action_take(self, step: int) -> None:
        """Take a way to go on; pressed again the next."""
        if not self._ways or self._child is not None:
            return
        text, at = self._taking or (self.query_one(Field).value, -1 if step > 0 else 0)
        at = (at + step) % len(self._ways)
        if len(self._ways) == 1:
            self._put(replaced(text, self._ways[0].word))
            self.run_worker(self._find_ways(), group="ways", exclusive=True, exit_on_error=False)
            return
        self._taking = (text, at)
        self._put(replaced(text, self._ways[at].word))
        self._draw_ways()

    def _put(self, text: str) -> None:
        field = self.query_one(Field)
        with field.prevent(Input.Changed):
            field.value = text
        field.cursor_position = len(text)

    def action_history(self, step: int) -> None:
        """An earlier command, or a later one."""
        if not self._history:
            return
        self._at = max(0, min(len(self._history), self._at + step))
        self._put(self._history[self._at] if self._at < len(self._history) else "")
        self.run_worker(self._find_ways(), group="ways", exclusive=True, exit_on_error=False)

    # ── running ──

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        text = event.value.strip().removeprefix("llmops ").strip()
        if not text or self._child is not None:
            return
        try:
            words = shlex.split(text)
        except ValueError as error:
            self._tell(f"{error}: close the quotes, or write a backslash before them.", "bad")
            return
        self._put("")
        self._taking = None
        self._history = [line for line in self._history if line != text] + [text]
        self._at = len(self._history)
        self.run_worker(self._run(text, words), group="command", exit_on_error=False)

    async def _run(self, text: str, words: list[str]) -> None:
        shell, output = self._shell, self.query_one(LineList)
        self._child = child = ChildCommand(shell.services.workspace.root, words, max(40, self.size.width - 6))
        self._ways, self._things = [], None
        self._draw_ways()
        output.display = True
        self._add(f"$ llmops {safe_line(text)}", "accent")
        self._tell("running; esc cancels it", "muted")
        begun = time.monotonic()
        pending = [0.0]

        def told(line: str) -> None:
            self._add(line, "plain", draw=time.monotonic() - pending[0] > 0.05)
            pending[0] = time.monotonic()

        try:
            await asyncio.to_thread(shell.services.memory.add_line, _SECTION, text)
            code = await child.run(told)
        except OSError as error:
            self._add(f"The command could not be started: {safe_line(str(error))}", "bad")
            code = 1
        finally:
            self._child = None
            shell.services.memory.read_again()
        took = units.duration(time.monotonic() - begun).strip()
        how = "cancelled" if child.cancelled else "done" if code == 0 else f"ended with {code}"
        self._draw()
        if self.is_attached:
            self._tell(f"{how} after {took} · alt+y copies the output · esc closes", "good" if code == 0 else "bad")
            await self._find_ways()

    def _add(self, text: str, style: str, *, draw: bool = True) -> None:
        width = max(20, self.query_one(LineList).size.width or self.size.width - 4)
        self._output += [[(part, style)] for part in wrap_line(text.expandtabs(8), width)]
        if len(self._output) > _MOST:
            self._output = [[("… earlier lines are left out", "muted")], *self._output[-_MOST + 1 :]]
        if draw:
            self._draw()

    def _draw(self) -> None:
        if self.is_attached:
            output = self.query_one(LineList)
            output.styles.height = min(len(self._output), max(3, self.size.height * 2 // 3))
            output.show_lines(self._output)
            output.call_after_refresh(output.scroll_end, animate=False)

    def _tell(self, text: str, style: str) -> None:
        from textual.content import Content

        colours = {"good": "$success", "bad": "$error", "muted": "$muted"}
        self.query_one("#command-state", Static).update(Content.styled(text, colours[style]))

    def action_page(self, step: int) -> None:
        """A page of the output."""
        output = self.query_one(LineList)
        output.scroll_relative(y=step * max(1, output.size.height - 1), animate=False)

    def action_copy_output(self) -> None:
        """Copy what the commands said."""
        self._shell.copy_text("output", "\n".join("".join(text for text, _ in line) for line in self._output))

    def action_leave(self) -> None:
        """Cancel what runs; else close."""
        if self._child is not None:
            self._tell("is being cancelled …", "muted")
            self.run_worker(self._child.cancel(), group="cancel", exclusive=True, exit_on_error=False)
        else:
            self.dismiss(None)
