"""The playground screen: edit a prompt, run it, watch the answer, go back to any version."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical

from screens.actions import bindings_of
from screens.navigation import Destination, ModelInPlayground, PromptPlace
from screens.playground.answer_pane import AnswerPane
from screens.playground.editors import Editors
from screens.playground.looking import Looking
from screens.playground.prompts_pane import PromptsPane
from screens.playground.reader import Reader
from screens.playground.runs_pane import RunsPane
from screens.playground.state import PlaygroundState
from screens.playground.versions_pane import VersionsPane
from screens.shell.base import BaseScreen
from screens.widgets.panel import Panel

if TYPE_CHECKING:
    from llmops_tui.maintenance.acts import Act
    from llmops_tui.prompts.store import PromptVersion
    from screens.services import Services
    from screens.terminal import TerminalProfile

_AFTER_FIRST_FRAME = 0.06


def make(services: Services, profile: TerminalProfile) -> PlaygroundScreen:
    """Make the screen."""
    return PlaygroundScreen(services, profile)


class PlaygroundScreen(BaseScreen):
    """Prompts and versions at the left, the editors in the middle, the answer at the right."""

    BINDINGS: ClassVar[list[Binding]] = bindings_of("playground")  # type: ignore[assignment]
    AUTO_FOCUS = ""
    opens = (PromptPlace, ModelInPlayground)
    scope = "playground"
    about = (
        "Write a system and a user template, fill in the variables, and run them on a local model. Each run of "
        "changed text saves a version automatically; versions never change. Enter on a version restores its text."
    )

    def __init__(self, services: Services, profile: TerminalProfile) -> None:
        super().__init__(services, profile)
        self.state = PlaygroundState()
        self._prompts = PromptsPane(self.state, self._busy)
        self._versions = VersionsPane(self.state)
        self._editors = Editors(self.state, services)
        self._reader = Reader(self.state, services, self._editors.edit_what_stands)
        self._answer = AnswerPane(self.state, profile)
        self._runs = RunsPane(lambda: self._answer.run, lambda: self.state.prompt)
        self._looking = Looking(self.state, self._versions, self._editors, self._answer, self._runs)

    def compose_body(self) -> ComposeResult:
        """Three columns."""
        with Horizontal(id="columns"):
            with Vertical(id="left", classes="column"):
                yield self._prompts
                yield self._versions
            yield self._editors
            with Vertical(id="right", classes="column"):
                yield self._answer
                yield self._runs

    def on_mount(self) -> None:
        """Read the workspace once the first frame is out: importing the database would hold it up."""
        self.set_timer(_AFTER_FIRST_FRAME, lambda: self.act("load", self._start))

    async def _start(self) -> None:
        if self.focused is None:  # not before the first frame: a focus draws half the screen again
            self._editors.focus_user()
        try:
            session = await asyncio.to_thread(lambda: self.services.drafts.load_session())
            self.state.parameters, self.state.model_name = session.parameters, session.model
            await self.load(session.prompt, model=session.model)
        finally:
            self.state.open()

    # ── reading and showing ──

    async def load(self, prompt: str | None, version: int | None = None, model: str | None = None) -> None:
        """Open a prompt; the cursor goes to a version that is given. Without a ``model`` it is the one that the draft holds."""
        await self._editors.written()
        loaded, early = await self._reader.open(prompt)
        self._versions.forget_marks()
        self._editors.show(draft := loaded.draft)
        if early is not None:
            # Typed while the app was still starting: it goes where the cursor stood, before the text that came.
            self._editors.put(draft.behind(early))
        await self._editors.show_variables(loaded.variables)
        if not model:
            self._editors.take_held_model()
        self._looking.begin(loaded.runs)
        self._show_lists()
        await self._keep_session()
        if version is not None:
            self.reveal(self._versions)
            self._versions.select(version)

    async def refresh_versions(self) -> None:
        """Read prompts, versions and runs again; the editors stay as they are."""
        if (loaded := await self._reader.read_again()) is not None:
            self._runs.show(loaded.runs, self._versions.version)
            self._show_lists()

    def _show_lists(self) -> None:
        self._prompts.show()
        self._show_heads(again=True)

    @on(Editors.Changed)
    def _show_heads(self, _event: Editors.Changed | None = None, *, again: bool = False) -> None:
        """What depends on whether the text is a version: the tree of versions and the titles; drawn where it changed."""
        self._versions.show(again=again)
        self._editors.show_title()
        self._answer.show_model(again=again)

    async def _keep_session(self) -> None:
        """Remember where the playground is."""
        await asyncio.to_thread(self.services.drafts.save_session, self.state.session)

    def _busy(self) -> bool:
        """Whether an answer is being generated, which is told."""
        if self._answer.running:
            self.shell.say("An answer is being generated: esc stops it first.", severity="warning")
        return self._answer.running

    def action_run(self) -> None:
        """Run the draft."""
        if not self._busy():
            # Keys typed just before still wait in the editor's own queue; what is run comes after them.
            (self.focused or self).call_later(self._begin_run)

    def _begin_run(self) -> None:
        if self._answer.running:
            return  # the key was pressed again before the first one came this far
        self._editors.look_at(None)  # what runs is seen
        if self.state.prompt is not None:
            self._editors.edit_what_stands()
        self._answer.start()

    def action_cancel(self) -> None:
        """Out: stop the answer, then leave a filled pane, then the filter, then what is written in."""
        if self._answer.running:
            self._answer.stop()
        elif self.has_class("-maximised"):
            self.toggle_maximised()
        elif self._prompts.finding:
            self._prompts.close_filter()
        elif self.close_sidebar() or self._editors.has_focus_within:
            # To what is read and never to an editor, which would take the next letter for text.
            self._answer.query_one("#answer").focus()

    @on(AnswerPane.Versioned)
    def _run_has_a_version(self, event: AnswerPane.Versioned) -> None:
        self.state.add(event.version)
        self._editors.take_whole(event.version)
        self._show_heads()
        self._versions.point_at(event.version.number)  # whose runs are listed

    @on(AnswerPane.Ended)
    @on(VersionsPane.Changed)
    @on(PromptsPane.Changed)
    def _read_again(self) -> None:
        self.act("refresh", self.refresh_versions)  # a group of its own: it must not stop a prompt from being opened

    # ── prompts, versions, runs, models ──

    @on(PromptsPane.Opened)
    def _prompt_opened(self, event: PromptsPane.Opened) -> None:
        if not self._busy():
            self.open_prompt(event.name)

    @on(PromptsPane.Started)
    def _prompt_started(self, event: PromptsPane.Started) -> None:
        self.open_prompt(event.name)
        self.call_after_refresh(self._editors.focus_user)

    @on(PromptsPane.Found)
    def _found(self, event: PromptsPane.Found) -> None:
        if event.versions is None:
            self._show_lists()
        else:
            self._versions.show_only({v.number for v in event.versions if v.prompt == self.state.prompt})

    @on(VersionsPane.Saved)
    def _version_saved(self, event: VersionsPane.Saved) -> None:
        self._editors.take_whole(event.version)
        self._read_again()

    @on(VersionsPane.Chosen)
    def _version_chosen(self, event: VersionsPane.Chosen) -> None:
        self.act("load", self._restore, event.version)

    async def _restore(self, version: PromptVersion) -> None:
        if not self._busy() and await self._editors.restore(version):
            await self.refresh_versions()
            await self._looking.at(version)

    @on(VersionsPane.CursorMoved)
    def _version_looked(self, event: VersionsPane.CursorMoved) -> None:
        self.act("runs", self._looking.at, event.version)

    @on(Editors.Entered)
    def _own_again(self) -> None:
        if self.state.looked_at is not None:
            self.act("runs", self._looking.at_own)

    @on(AnswerPane.Shown)
    def _answer_shown(self) -> None:
        self._runs.mark_shown()

    @on(RunsPane.Opened)
    def _run_opened(self, event: RunsPane.Opened) -> None:
        if not self._busy():
            self._answer.show_run(event.run)

    @on(AnswerPane.ModelChosen)
    def _model_chosen(self, event: AnswerPane.ModelChosen) -> None:
        self.use_model(event.name)

    @on(AnswerPane.Holds)
    def _draft_holds(self, event: AnswerPane.Holds) -> None:
        self._editors.edit(settings=event.text)
        self._show_heads()
        self.act("session", self._keep_session)

    def action_filter(self) -> None:
        """Open the filter of prompts and versions."""
        self.reveal(self._prompts)
        self._prompts.open_filter()

    def action_edit(self) -> None:
        """Open the template with the focus, or else the user's, in $EDITOR."""
        self._editors.edit_outside()

    async def undone(self, act: Act) -> None:
        """Labels of versions may be others now, and so may the name of the prompt."""
        if act.kind == "prompt" and self.state.prompt in {act.subject, act.name}:
            self.open_prompt(act.called)
        else:
            self._read_again()

    def open_prompt(self, name: str, model: str = "", version: int | None = None) -> None:
        """Open a prompt by name, for a model and at a version where they are given."""
        if not self._busy():
            self.state.model_name = model or self.state.model_name
            self.act("load", self.load, name, version, model)

    def use_model(self, name: str) -> None:
        """Choose a model by name."""
        self.state.model_name = name
        self._read_again()
        self.act("session", self._keep_session)

    async def go_to(self, destination: Destination) -> None:
        """Open a prompt, or choose a model."""
        if isinstance(destination, PromptPlace):
            self.open_prompt(destination.prompt, destination.model, destination.version)
        elif isinstance(destination, ModelInPlayground):
            self.use_model(destination.model)

    def place(self) -> PromptPlace | None:
        """The prompt and the model."""
        return PromptPlace(self.state.prompt, self.state.model_name or "") if self.state.prompt else None

    def reveal(self, panel: Panel) -> None:
        """Unfold the left column on a narrow terminal."""
        self.set_class(panel in (self._prompts, self._versions), "-sidebar")
        self.set_class(panel is self._runs, "-runs")

    def lineage_subject(self) -> str:
        """The version that is being written on."""
        base = self.state.draft.base
        return f"prompt:{self.state.prompt}@{base}" if self.state.prompt and base is not None else ""

    @property
    def reading(self) -> bool:
        """Until the draft is there, its command would be another one's."""
        return not self.state.known

    def copy_choices(self) -> list[tuple[str, str]]:
        """The answer first, then the texts and the command."""
        texts = [*self._answer.texts, *self.state.texts, ("command", self.cli_command())]
        texts += [("run as JSON", self._runs.as_json()), *self._runs.as_code(self.state.models, self.state.versions)]
        return [one for one in texts if one[1]]

    def cli_command(self) -> str:
        """``llmops prompt run`` with the variables and parameters of the screen."""
        from screens.playground.command_line import prompt_run

        return prompt_run(self.state)
