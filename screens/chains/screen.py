"""Chains at the left with their runs and steps, the text at the right above the drawing."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical

from screens.actions import bindings_of
from screens.chains.list_pane import ListPane
from screens.chains.runs_pane import RunsPane
from screens.chains.shown_pane import ShownPane
from screens.chains.steps_pane import StepsPane
from screens.chains.text_pane import TextPane
from screens.navigation import ScreenPlace
from screens.shell.live_screen import LiveScreen
from screens.widgets.panel import Panel

if TYPE_CHECKING:
    from screens.services import Services
    from screens.terminal import TerminalProfile


def make(services: Services, profile: TerminalProfile) -> ChainsScreen:
    """Make the screen."""
    return ChainsScreen(services, profile)


class ChainsScreen(LiveScreen):
    """Five panes."""

    BINDINGS: ClassVar[list[Binding]] = bindings_of("chains")  # type: ignore[assignment]
    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = "#chains-versions"
    scope = "chains"
    tab = "playground"
    about = (
        "Chains: prompts, searches, branches, maps and functions that use each other's results, as a text with versions and "
        "labels. Run one, look at what each step was given and said, and run it again from a step on with an edit."
    )

    def compose_body(self) -> ComposeResult:
        """Two columns."""
        with Horizontal(id="columns"):
            with Vertical(id="chains-left", classes="column"):
                yield ListPane()
                yield RunsPane()
                yield StepsPane()
            with Vertical(id="chains-right", classes="column"):
                yield TextPane()
                yield ShownPane()

    # ── reading ──

    async def refresh_all(self, select: str = "") -> None:
        """Read chains, runs and steps; with ``select`` put the cursor on a run."""
        await self.query_one(ListPane).load()
        await self._load_runs(select)

    async def _load_runs(self, select: str = "") -> None:
        version = self.query_one(ListPane).current
        await self.query_one(RunsPane).load(version.name if version is not None else "", select)
        await self.query_one(StepsPane).load(self.query_one(RunsPane).current)

    @on(ListPane.CursorMoved)
    @on(ListPane.Changed)
    def _version_moved(self) -> None:
        self.query_one(TextPane).show(self.query_one(ListPane).current)
        self.act("runs", self._load_runs)

    @on(RunsPane.CursorMoved)
    def _run_moved(self) -> None:
        self.act("steps", self.query_one(StepsPane).load, self.query_one(RunsPane).current)

    @on(StepsPane.CursorMoved)
    def _step_moved(self) -> None:
        span = self.query_one(StepsPane).current
        # While one writes, the drawing is what is looked at.
        if span is not None and not self.query_one(TextPane).has_focus_within:
            self.query_one(ShownPane).show_step(span)

    @on(TextPane.Read)
    def _text_read(self, event: TextPane.Read) -> None:
        self.query_one(ShownPane).draw(event.checked.drawn)

    @on(TextPane.Saved)
    def _text_saved(self, event: TextPane.Saved) -> None:
        self.act("load", self.query_one(ListPane).load, event.ref)

    @on(ListPane.Compared)
    def _compared(self, event: ListPane.Compared) -> None:
        self.query_one(ShownPane).show_text(event.title, event.told)

    @on(ListPane.Begun)
    def _begun(self) -> None:
        self.query_one(TextPane).begin()

    # ── running ──

    @on(ListPane.Wanted)
    def _wanted(self, event: ListPane.Wanted) -> None:
        self.ask_by("run", self._run, event.rows)

    async def _run(self, rows: bool) -> None:
        from screens.chains.start_run import start_run

        version, text = self.query_one(ListPane).current, self.query_one(TextPane)
        if version is None:
            self.shell.say("There is no chain yet: n writes one.", severity="warning")
            return
        if text.changed and text.name_of_chain == version.name:
            self.shell.say("The text is changed: ctrl+s keeps it as a version, which F5 runs.", severity="warning")
            return
        if (run := await start_run(self.shell, text.tools, version, rows=rows)) is not None:
            await self._load_runs(run)
            self._show_run()

    @on(StepsPane.Again)
    def _again(self) -> None:
        self.ask_by("run", self._run_from)

    async def _run_from(self) -> None:
        from screens.chains.start_run import run_from

        run, span = self.query_one(RunsPane).current, self.query_one(StepsPane).current
        text = self.query_one(TextPane)
        if run is None or span is None:
            return
        # A step inside of another one is done with that.
        step = next((name for name in _outermost(run.asked["text"]) if _is_of(span["path"], name)), span["step"])
        written = text.text if text.name_of_chain == run.asked["chain"] and text.changed else run.asked["text"]
        if (made := await run_from(self.shell, text.tools, run, step, written)) is not None:
            await self._load_runs(made)
            self._show_run()

    def _show_run(self) -> None:
        """Where the panes of runs are not seen, in place of those one writes in."""
        runs = self.query_one(RunsPane)
        if not runs.display:
            self.reveal(runs)
            self.call_after_refresh(runs.focus_inside)

    def reveal(self, panel: Panel) -> None:
        """On a narrow terminal the chain and its text are seen, or its runs."""
        self.set_class(panel.id in {"chains-runs", "chains-steps", "chains-shown"}, "-running")

    # ── leaving ──

    def action_look(self) -> None:
        """Show the drawing of the chain again."""
        self.query_one(ShownPane).show_graph()

    def action_leave(self) -> None:
        """Leave the editor or a filled pane, then go back."""
        if self.query_one(TextPane).has_focus_within:
            self.query_one(ListPane).focus_inside()
        elif self.has_class("-maximised"):
            self.toggle_maximised()
        else:
            self.act("back", self._back)

    async def _back(self) -> None:
        if not await self.shell.navigation.back():
            self.shell.open_place(ScreenPlace("playground"))

    def copy_choices(self) -> list[tuple[str, str]]:
        """The text, the served name, and what is shown."""
        version = self.query_one(ListPane).current
        served = [("name as a served model", version.served)] if version is not None else []
        return [("text", self.query_one(TextPane).text), *served, ("what is shown", self.query_one(ShownPane).told)]

    def cli_command(self) -> str:
        """``llmops chain run``, or ``steps`` of a run."""
        version, run = self.query_one(ListPane).current, self.query_one(RunsPane).current
        if version is None:
            return "llmops chain save --file FILE"
        if run is not None and self.query_one(StepsPane).has_focus_within:
            return shlex.join(["llmops", "chain", "steps", run.id])
        inputs = [part for name in version.chain.inputs for part in ("--input", f"{name}=VALUE")]
        return shlex.join(["llmops", "chain", "run", version.ref, *inputs])

    def lineage_subject(self) -> str:
        """The version under the cursor."""
        version = self.query_one(ListPane).current
        return version.sha256 if version is not None else ""


def _outermost(text: str) -> list[str]:
    from llmops_tui.chains.reading import parse_chain

    return list(parse_chain(text).body.steps)


def _is_of(path: str, name: str) -> bool:
    """Whether a place is that of a step of this name, or inside of it."""
    inside = path.split("]/", 1)[1] if path.startswith("row[") else path
    return inside == name or inside.startswith((f"{name}[", f"{name}#", f"{name}.", f"{name}/"))
