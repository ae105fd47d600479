"""Guards: which look at the requests of which model, what each found or would have, and one key to switch one on."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual import getters, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from llmops_tui.counts import counted
from llmops_tui.errors import LlmopsError
from llmops_tui.safe_text import safe_line
from screens.shell.shell import Shell
from screens.widgets.dialogs import Choice, ChoiceDialog, ConfirmDialog, LineDialog
from screens.widgets.keys_line import KeysLine
from screens.widgets.modal import Modal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from llmops_tui.deployment.guard_reports import TrafficFigures
    from llmops_tui.inference.guardrails.guard_file import Guard
    from llmops_tui.inference.guardrails.store import GuardsInForce, GuardStore, GuardVersion
    from screens.services import Services

_EMPTY = (
    "No guards are in force. n keeps a guard set from a YAML file, u has one look at requests.\n"
    "A new guard notes what it would have blocked, until you switch it on with s."
)
_WEEK = 7 * 86_400.0


@dataclass(frozen=True)
class _Line:
    """A guard of a set in force, with what it did."""

    force: GuardsInForce
    guard: Guard
    figures: list[TrafficFigures]

    @property
    def place(self) -> str:
        """What the line is known by."""
        return f"{self.force.model}/{self.guard.name}"


class GuardsScreen(Modal[None]):
    """The guards in force, and what is known of the one under the cursor."""

    app = getters.app(Shell)
    CSS_PATH = "../dialog.tcss"
    BINDINGS = [  # noqa: RUF012  declared so by Textual
        Binding("escape,q", "close", "Close"),
        Binding("s,f6", "switch", "Switch"),
        Binding("n,f7", "save", "New"),
        Binding("u,f4", "use", "Use"),
        Binding("D,x,f8", "off", "Off"),
    ]

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services
        self._lines: list[_Line] = []

    def compose(self) -> ComposeResult:
        """Title, list, facts and keys."""
        with Vertical(classes="dialog dialog-wide"):
            yield Static("Guards", id="guard-title", classes="dialog-title", markup=False)
            yield Static("", id="guard-head", markup=False)
            yield OptionList(id="guard-list", markup=False)
            yield Static("", id="guard-facts", markup=False)
            yield KeysLine(
                *(
                    ("s", "switch on or off"),
                    ("n", "new set"),
                    ("u", "use"),
                    ("D", "off"),
                    ("esc", "close"),
                )
            )

    def on_mount(self) -> None:
        """Read what is in force."""
        self.query_one(OptionList).focus()
        self._do(self._read)

    def _do(self, work: Callable[[], Awaitable[None]]) -> None:
        self.run_worker(self._told(work), group="act", exclusive=True, exit_on_error=False)

    async def _told(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except LlmopsError as error:
            self.app.report(error)

    def _store(self) -> GuardStore:
        from llmops_tui.inference.guardrails.store import GuardStore

        return GuardStore(self._services.event_log)

    def _found(self) -> list[_Line]:
        from llmops_tui.deployment.guard_reports import traffic

        now = time.time()
        lines: list[_Line] = []
        for force in self._store().in_force():
            figures = traffic(
                self._services.catalog, self._services.event_log, force.version.guards.name, now - _WEEK, now
            )
            for guard in force.version.guards.guards:
                lines.append(_Line(force, guard, [one for one in figures if one["guard"] == guard.name]))  # noqa: PERF401
        return lines

    async def _read(self) -> None:
        here = self._current.place if self._current is not None else ""
        self._lines = await asyncio.to_thread(self._found)
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options([Option(_shown(one), id=str(number)) for number, one in enumerate(self._lines)])
        places = [one.place for one in self._lines]
        options.highlighted = places.index(here) if here in places else 0 if places else None
        on_now = sum(one.guard.mode == "on" for one in self._lines)
        self.query_one("#guard-title", Static).update(f"Guards · {on_now:,} of {len(self._lines):,} on")
        self.query_one("#guard-head", Static).update(Content.styled(_HEAD if self._lines else "", "bold $muted"))
        if not self._lines:
            self.query_one("#guard-facts", Static).update(Content.styled(_EMPTY, "$muted"))

    @property
    def _current(self) -> _Line | None:
        at = self.query_one(OptionList).highlighted
        return self._lines[at] if at is not None and at < len(self._lines) else None

    @on(OptionList.OptionHighlighted)
    def _moved(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        if (line := self._current) is not None:
            self.query_one("#guard-facts", Static).update(_facts(line))

    # ── actions ──

    def action_switch(self) -> None:
        """Switch the guard on, after asking, or back into the shadow."""
        if self._current is not None:
            self._do(self._switch)

    async def _switch(self) -> None:
        line = self._current
        assert line is not None
        mode = "shadow" if line.guard.mode == "on" else "on"
        question = f"Switch {line.guard.name!r} {'on' if mode == 'on' else 'back into the shadow'}?"
        if await self.app.ask(ConfirmDialog(question, f"{_would(line)} It will {_does(line.guard)}.")):
            await asyncio.to_thread(self._store().switch, line.force.version, line.guard.name, mode)
            await self._read()

    def action_save(self) -> None:
        """Keep a guard set from a file."""
        self._do(self._save)

    async def _save(self) -> None:
        from pathlib import Path

        from llmops_tui.foreign_text import text_of
        from llmops_tui.inference.guardrails.guard_file import read_guard_set
        from llmops_tui.user_files import with_home

        given = await self.app.ask(
            LineDialog("A guard set", "A YAML file; docs/guardrails.md says what it has.", path=True)
        )
        if given:
            path = with_home(Path(given))
            made, _ = await asyncio.to_thread(lambda: self._store().save(read_guard_set(text_of(path), str(path))))
            self.app.say(f"{made.ref} is kept; u has it look at requests.")

    def action_use(self) -> None:
        """Have a set look at requests."""
        self._do(self._use)

    async def _use(self) -> None:
        versions = await asyncio.to_thread(lambda: self._store().all())
        chosen = await self.app.ask(
            ChoiceDialog("Which set?", [_choice(one) for one in versions], "No guard sets yet.")
        )
        if chosen is None:
            return
        models = await asyncio.to_thread(self._services.models.all)
        places = [Choice("", "all models", "that have no set of their own")]
        places += [Choice(one.name, one.name, "") for one in models if one.kind == "gguf"]
        model = await self.app.ask(ChoiceDialog("For which model?", places))
        if model is not None:
            await asyncio.to_thread(lambda: self._store().use(self._store().get(chosen), model))
            await self._read()

    def action_off(self) -> None:
        """Have the set look at no requests any more, after asking."""
        if self._current is not None:
            self._do(self._off)

    async def _off(self) -> None:
        line = self._current
        assert line is not None
        name = line.force.model or "all models"
        if await self.app.ask(
            ConfirmDialog(f"Take the guards of {name} off?", f"{line.force.version.ref} looks no more.")
        ):
            await asyncio.to_thread(self._store().stop, line.force.model)
            await self._read()

    def action_close(self) -> None:
        """Close."""
        self.dismiss(None)


def _choice(version: GuardVersion) -> Choice:
    return Choice(version.ref, version.ref, counted(len(version.guards.guards), "guard"))


_HEAD = f"{'guard':16} {'mode':7} {'does':8} {'looks at':8} {'in a week':>14}  model"
_SIDES: dict[tuple[str, ...], str] = {("input", "output"): "both"}


def _shown(line: _Line) -> Content:
    guard = line.guard
    found = sum(one["found"] for one in line.figures)
    looked = sum(one["looked"] for one in line.figures)
    told = f"{found:,} of {looked:,}" if looked else "not asked yet"
    return Content.assemble(
        f"{safe_line(guard.name, 15):16} ",
        (f"{guard.mode:7}", "$success" if guard.mode == "on" else "$muted"),
        f" {guard.action:8} {_SIDES.get(tuple(guard.sides), '+'.join(guard.sides)):8} ",
        (f"{told:>14}", "$warning" if found else "$muted"),
        ("  " + safe_line(line.force.model or "all models", 30), "$muted"),
    )


def _facts(line: _Line) -> Content:
    guard = line.guard
    parts: list[str | tuple[str, str]] = [
        ("set      ", "$muted"), f"{line.force.version.ref}, {guard.kind}, fails {guard.fails}\n",
        ("does     ", "$muted"), f"{_does(guard)}\n",
        ("week     ", "$muted"), f"{_would(line)}\n",
    ]  # fmt: skip
    for one in line.figures:
        told = f"{one['side']}: {one['found']:,} of {one['looked']:,} ({one['mode']}), {one['ms']:.2f} ms each"
        parts += [("         ", ""), told + (f", {one['errors']:,} failed" if one["errors"] else "") + "\n"]
    return Content.assemble(*parts)


def _would(line: _Line) -> str:
    shadow = [one for one in line.figures if one["mode"] == "shadow"]
    if not shadow:
        return "Nothing is known of it in the shadow yet."
    found = sum(one["found"] for one in shadow)
    looked = sum(one["looked"] for one in shadow)
    return f"In the shadow it would have acted on {found:,} of {looked:,}, {sum(one['found_a_day'] for one in shadow):.1f} a day."


def _does(guard: Guard) -> str:
    what = {
        "block": "refuse what it finds",
        "redact": "take out what it finds",
        "flag": "note what it finds",
        "retry": "have the model answer again, and refuse what it finds then",
    }
    return what[guard.action]
