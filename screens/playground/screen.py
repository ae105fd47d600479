"""The playground screen: edit a prompt, run it, watch the answer, go back to any version."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.widgets import Input, Static, TextArea
from textual.worker import Worker

from llmops_tui.errors import LlmopsError
from llmops_tui.prompts.drafts import Draft, Session
from screens.actions import bindings_of
from screens.navigation import Destination, ModelInPlayground, PromptPlace
from screens.playground import commands
from screens.playground.drafting import DraftKeeper
from screens.playground.editors import TemplateEditor, VariableFields
from screens.playground.judging import JudgingScreen
from screens.playground.layout import panes
from screens.playground.running import Run
from screens.playground.runs import RunList, figures
from screens.playground.sidebar import PromptList, VersionList
from screens.playground.state import Loaded, PlaygroundState, read
from screens.widgets.panel import Panel
from screens.widgets.stream_view import StreamView

if TYPE_CHECKING:
    from screens.services import Services
    from screens.terminal import TerminalProfile

_AFTER_FIRST_FRAME = 0.06
_VARIABLES_SECONDS = 0.15
_UNTITLED = "untitled"
_PLACEHOLDER = "F5 runs the prompt; the answer streams here."


def make(services: Services, profile: TerminalProfile) -> PlaygroundScreen:
    """Make the screen."""
    return PlaygroundScreen(services, profile)


class PlaygroundScreen(JudgingScreen):
    """Prompts and versions at the left, the editors in the middle, the answer at the right."""

    BINDINGS: ClassVar[list[Binding]] = bindings_of("playground")  # type: ignore[assignment]
    AUTO_FOCUS = ""
    opens = (PromptPlace, ModelInPlayground)
    scope = "playground"
    about = (
        "Write a system and a user template, fill in the variables, and run them on a local model. Each run of changed "
        "text keeps a version by itself; no version is ever lost or changed. Enter on a version brings its text back."
    )

    def __init__(self, services: Services, profile: TerminalProfile) -> None:
        super().__init__(services, profile)
        self.state = PlaygroundState()
        self.run: Run | None = None
        self._run_worker: Worker[None] | None = None
        self._keeper = DraftKeeper(self)
        self._reading = asyncio.Lock()
        self.opened = asyncio.Event()  # the workspace was read for the first time, or could not be
        self._editors = (
            TemplateEditor(placeholder="who the model is (may stay empty)", id="system"),
            TemplateEditor(placeholder="what you ask; {{ name }} makes a variable", id="user"),
        )
        self._shown: tuple[object, ...] = ()
        self._variables_timer = self.set_timer(0.0, lambda: None, pause=True)

    def compose_body(self) -> ComposeResult:
        """Three columns."""
        yield from panes(*self._editors, self.profile, _PLACEHOLDER)

    def on_mount(self) -> None:
        """Read the workspace once the first frame is out: importing the database would hold it up."""
        self.set_timer(_AFTER_FIRST_FRAME, lambda: self.act("load", self._start))

    async def _start(self) -> None:
        if self.focused is None:  # not before the first frame: a focus draws half the screen again
            self.query_one("#user").focus()
        try:
            session = await asyncio.to_thread(lambda: self.services.drafts.load_session())
            self.state.parameters, self.state.model_name = session.parameters, session.model
            await self.load(session.prompt)
        finally:
            self.opened.set()

    # ── showing ──

    async def load(self, prompt: str | None) -> None:
        """Open a prompt."""
        await self._keeper.written()
        async with self._reading:
            loaded = await asyncio.to_thread(read, self.services, prompt)
            early = self.state.draft if self.state.versions == [] and self.state.prompt == _UNTITLED else None
            self._take(loaded)
        self.show_draft(loaded.draft)
        if early is not None and loaded.prompt != _UNTITLED:
            # Typed while the app was still starting: it goes where the cursor stood, before the text that came.
            self.show_draft(
                replace(
                    loaded.draft,
                    system=early.system + loaded.draft.system,
                    template=early.template + loaded.draft.template,
                )
            )
            self._keeper.keep(loaded.prompt or _UNTITLED, self.state.draft)
        await self.query_one(VariableFields).show(loaded.variables, loaded.draft.variables)
        self.query_one(RunList).show(loaded.runs)
        newest = loaded.runs[0] if loaded.runs else None
        if newest is not None:
            self.query_one("#answer", StreamView).show(newest.output)
        else:
            self.query_one("#answer", StreamView).clear(_PLACEHOLDER)
        self.query_one("#figures", Static).update(figures(newest))
        await self.refresh_lists()
        await self.keep_session()

    def show_draft(self, draft: Draft) -> None:
        """Put a draft into the editors."""
        self.state.draft = draft
        for editor, text in zip(self._editors, (draft.system, draft.template), strict=True):
            if editor.text != text:
                with editor.prevent(TextArea.Changed):
                    editor.load_text(text)

    def _take(self, loaded: Loaded) -> None:
        state = self.state
        state.prompts, state.versions, state.models = loaded.prompts, loaded.versions, loaded.models
        state.prompt, state.marked = loaded.prompt, None
        if state.model is None and state.models:
            state.model_name = state.models[0].name

    async def refresh_versions(self) -> None:
        """Read prompts, versions and runs again; the editors stay as they are."""
        # One after another: a look that began earlier must not be shown over a later one.
        async with self._reading:
            prompt = self.state.prompt
            loaded = await asyncio.to_thread(read, self.services, prompt)
            if self.state.prompt != prompt:  # another prompt was opened meanwhile; what was read is not about it
                return
            marked = self.state.marked
            self._take(loaded)
            self.state.marked = marked
        self.query_one(RunList).show(loaded.runs)
        await self.refresh_lists()

    async def refresh_lists(self) -> None:
        """Draw the sidebar and the titles from the state, where they changed."""
        state = self.state
        drafts = {state.prompt} if state.dirty and state.prompt else set()
        self._shown = ()
        self.query_one(PromptList).show(state.prompts, state.prompt, drafts)
        self.show_heads()

    def show_heads(self) -> None:
        """Draw what depends on whether the text is a version: the list of versions and the titles."""
        state = self.state
        matching = state.matching
        draft = state.next_number if state.dirty else None
        model = state.model
        facts = (
            state.prompt,
            matching and matching.ref,
            draft,
            state.marked,
            model,
            state.parameters,
            len(state.versions),
        )
        if facts == self._shown:
            return
        self._shown = facts
        self.query_one(VersionList).show(
            state.versions, draft=draft, matching=matching.number if matching else None, marked=state.marked
        )
        where = f"@{matching.number}" if matching else f"@{state.next_number} draft"
        self.query_one("#user-panel", Panel).set_title("User", f"{state.prompt or _UNTITLED} {where}")
        named = f"{model.name} {model.quantization}" if model is not None else "no model: F4 chooses, models adds one"
        answer = self.query_one("#answer-panel", Panel)
        answer.set_title("Answer", named)
        answer.set_note(state.parameters.brief())
        name = model.name if model is not None else ""
        if name != self.app.status.model:
            self.app.show_status(replace(self.app.status, model=name, tokens_per_s=None))

    # ── editing ──

    @on(TextArea.Changed)
    def _text_changed(self, event: TextArea.Changed) -> None:
        event.stop()
        field = "system" if event.text_area.id == "system" else "template"
        self.edit(**{field: event.text_area.text})
        panel = event.text_area.parent
        if isinstance(panel, Panel) and isinstance(event.text_area, TemplateEditor):
            hidden = event.text_area.hidden_characters
            panel.set_note(f"⚠ {hidden} hidden characters" if hidden else "")

    @on(VariableFields.Changed)
    def _variable_changed(self, event: VariableFields.Changed) -> None:
        event.stop()
        self.edit(variables=self.state.draft.variables | {event.name: event.value})

    def edit(self, **changes: Any) -> None:
        """Change the draft; it is kept at once."""
        draft = replace(self.state.draft, **changes)
        if draft == self.state.draft:
            return
        self.state.draft = draft
        self.show_heads()
        self.keep_draft()

    def keep_draft(self) -> None:
        """Keep the draft as it is now, and look for its variables."""
        self.state.prompt = self.state.prompt or _UNTITLED
        self._keeper.keep(self.state.prompt, self.state.draft)
        self._variables_timer.stop()
        self._variables_timer = self.set_timer(_VARIABLES_SECONDS, lambda: self.act("variables", self._find_variables))

    def on_unmount(self) -> None:
        """The last keys before leaving are kept too, even those of which no message came any more."""
        system, user = self._editors
        draft = replace(self.state.draft, system=system.text, template=user.text)
        changed = bool(self.state.versions) and draft != self.state.draft
        self._keeper.write_now(self.state.prompt or _UNTITLED, draft if changed else None)

    async def _find_variables(self) -> None:
        draft = self.state.draft
        panel = self.query_one("#variables", Panel)
        try:
            names = await asyncio.to_thread(self.services.renderer.variables, f"{draft.system}\n{draft.template}")
        except LlmopsError as error:
            panel.set_note(error.message.removeprefix("the template cannot be rendered: "))
            return
        panel.set_note("")
        await self.query_one(VariableFields).show(names, draft.variables)

    async def keep_session(self) -> None:
        """Remember where the playground is."""
        session = Session(self.state.prompt, self.state.model_name, self.state.parameters)
        await asyncio.to_thread(self.services.drafts.save_session, session)

    # ── running ──

    @property
    def running(self) -> bool:
        """Whether an answer is being generated."""
        return self.run is not None and self.run.generating

    def action_run(self) -> None:
        """Run the draft."""
        if self.running:
            self.app.say("An answer is being generated; esc stops it.", severity="warning")
            return
        # Keys typed just before still wait in the editor's own queue; what is run comes after them.
        (self.focused or self).call_later(self._begin_run)

    def _begin_run(self) -> None:
        if self.running:
            return  # the key was pressed again before the first one came this far
        if self.state.prompt is not None:
            self.edit(system=self._editors[0].text, template=self._editors[1].text)
        self.run = Run(self)
        self._run_worker = self.run_worker(partial(self.guarded, self.run.go), group="run", exit_on_error=False)

    def action_cancel(self) -> None:
        """Out: stop the answer, then leave a filled pane, then the filter."""
        if self.run is not None and self.running and self._run_worker is not None:
            self.run.generating = False
            self._run_worker.cancel()
        elif self.has_class("-maximised"):
            self.toggle_maximised()
        elif self.has_class("-finding"):
            self.remove_class("-finding")
            self.query_one("#find", Input).value = ""
            self.query_one(PromptList).focus()
        elif self.has_class("-sidebar"):
            self.remove_class("-sidebar")
            self.query_one("#user").focus()

    # ── the other actions; what they do is in the commands module ──

    def action_save(self) -> None:
        """Save a version with a note."""
        commands.save(self)

    def action_diff(self) -> None:
        """Compare versions."""
        commands.diff(self)

    def action_model(self) -> None:
        """Choose the model."""
        self.act("dialog", commands.choose_model, self)

    def action_parameters(self) -> None:
        """Edit the sampling parameters."""
        commands.edit_parameters(self)

    def action_new(self) -> None:
        """Start a new prompt."""
        commands.new_prompt(self)

    action_label = commands.label
    action_delete = commands.delete

    def action_mark(self) -> None:
        """Mark the version under the cursor, or unmark it."""
        commands.mark(self)

    def action_filter(self) -> None:
        """Open the filter."""
        commands.open_filter(self)

    def action_edit(self) -> None:
        """Open the text in $EDITOR."""
        commands.edit_outside(self)

    async def undo(self) -> str:
        """Take back the last move of a label."""
        return await commands.undo_label(self)

    def open_prompt(self, name: str, model: str = "") -> None:
        """Open a prompt by name, for a model where one is given."""
        if not self.running:
            self.state.model_name = model or self.state.model_name
            self.act("load", self.load, name)

    def use_model(self, name: str) -> None:
        """Choose a model by name."""
        self.state.model_name = name
        self.act("load", self.refresh_versions)
        self.act("session", self.keep_session)

    async def go_to(self, destination: Destination) -> None:
        """Open a prompt, or choose a model."""
        if isinstance(destination, PromptPlace):
            self.open_prompt(destination.prompt, destination.model)
        elif isinstance(destination, ModelInPlayground):
            self.use_model(destination.model)

    def place(self) -> PromptPlace | None:
        """The prompt and the model."""
        return PromptPlace(self.state.prompt, self.state.model_name or "") if self.state.prompt else None

    # ── events of the lists ──

    @on(PromptList.Opened)
    def _prompt_opened(self, event: PromptList.Opened) -> None:
        event.stop()
        if self.running:
            self.app.say("An answer is being generated; esc stops it.", severity="warning")
            return
        self.open_prompt(event.name)

    @on(VersionList.Chosen)
    def _version_chosen(self, event: VersionList.Chosen) -> None:
        event.stop()
        self.act("load", commands.restore, self, event.version)

    @on(VersionList.Looked)
    def _version_looked(self, event: VersionList.Looked) -> None:
        event.stop()
        self.act("runs", commands.show_runs, self, event.version)

    @on(RunList.Opened)
    def _run_opened(self, event: RunList.Opened) -> None:
        event.stop()
        if not self.running:
            self.query_one("#answer", StreamView).show(event.run.output)
            self.query_one("#figures", Static).update(figures(event.run))

    @on(Input.Changed, "#find")
    def _find_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.act("find", commands.find, self, event.value)

    @on(Input.Submitted, "#find")
    def _find_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.query_one(PromptList).focus()

    # ── what every screen tells ──

    def reveal(self, panel: Panel) -> None:
        """Unfold the left column on a narrow terminal."""
        self.set_class(panel.id in {"prompts", "versions"}, "-sidebar")
        self.set_class(panel.id == "runs", "-runs")

    def copy_choices(self) -> list[tuple[str, str]]:
        """The answer first, then the texts and the command."""
        return commands.copy_choices(self)

    def cli_command(self) -> str:
        """``llmops prompt run`` with the variables and parameters of the screen."""
        return commands.cli_command(self)

    def show_figures(self, content: Content) -> None:
        """Show a line under the answer."""
        self.query_one("#figures", Static).update(content)
