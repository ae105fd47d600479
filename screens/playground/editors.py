"""The editors of the draft, which is saved to disk while it is typed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from llmops_tui.errors import LlmopsError
from llmops_tui.safe_text import safe_line
from screens.playground.draft_writer import DraftWriter
from screens.playground.partials_line import PartialsLine
from screens.playground.state import PlaygroundState
from screens.playground.template_pane import TemplatePane
from screens.playground.variables_pane import VariablesPane
from screens.shell.node import ShellNode

if TYPE_CHECKING:
    from llmops_tui.prompts.drafts import Draft
    from llmops_tui.prompts.store import PromptVersion
    from screens.services import Services

_HELP_SYSTEM = "The system template: who the model is and what rules hold. It may stay empty."
_HELP_USER = (
    'The user template, in Jinja: {{ name }} becomes a variable with a field below, and {% include "tone" %} '
    "the text of the prompt tone, when a version is saved. It is saved as you type."
)
_HINT_SYSTEM = "who the model is (may stay empty)"
_HINT_USER = "what you ask; {{ name }} makes a variable"


class Editors(Vertical, ShellNode):
    """Two templates and the values of their variables."""

    class Changed(Message):
        """The draft is another one."""

    class Entered(Message):
        """The focus is here now."""

    def __init__(self, state: PlaygroundState, services: Services) -> None:
        super().__init__(id="middle", classes="column")
        self._state = state
        self._writer = DraftWriter(services, self._start_writing, self._report)
        self._system = TemplatePane(
            "system", title="System", jump_key="s", placeholder=_HINT_SYSTEM, help_text=_HELP_SYSTEM
        )
        self._user = TemplatePane("user", title="User", jump_key="u", placeholder=_HINT_USER, help_text=_HELP_USER)
        self._variables = VariablesPane(state)
        state.catch_up = self.edit_what_stands
        self._holds = Static("", id="settings-line", markup=False)
        self._holds.display = False
        self._partials = PartialsLine(state)
        self._told = ("", "")  # the two texts as the draft has them; an editor may hold its newlines differently

    def compose(self) -> ComposeResult:
        """Three panes, and lines of the partials in the texts and of what the version holds beside them."""
        yield self._system
        yield self._user
        yield self._partials
        yield self._holds
        yield self._variables

    def on_descendant_focus(self) -> None:
        """Tell who looks at another text."""
        self.post_message(self.Entered())

    # ── showing ──

    def show(self, draft: Draft) -> None:
        """Put a draft into the editors; it is on disk already."""
        self._state.draft = draft
        self.look_at(None)
        self._system.show(draft.system)
        self._user.show(draft.template)
        self._told = self._texts

    @property
    def _texts(self) -> tuple[str, str]:
        return self._system.text, self._user.text

    async def show_variables(self, names: list[str]) -> None:
        """Show fields for these variables."""
        await self._variables.show(names)

    def show_title(self) -> None:
        """Say in the title which version the text is."""
        state = self._state
        matching, seen = state.matching, state.looked_at
        where = f"@{matching.number}" if matching else f"@{state.next_number} draft"
        if seen is not None:
            self._user.set_title("User", f"{state.name} @{seen.number}, enter takes it", "$warning")
        else:
            self._user.set_title("User", f"{state.name} {where}")
        self._holds.display = bool(state.draft.settings)
        if state.draft.settings:
            held = state.settings
            told = held.brief() if held is not None else "settings that a later release wrote"
            self._holds.update(Content.assemble(("holds ", "$accent"), (safe_line(told, 200), "$muted")))
        self._partials.look()
        self._variables.show_note()

    def look_at(self, version: PromptVersion | None) -> None:
        """Show the texts of a version in place of those that stand here, which stay; none shows these again."""
        draft = self._state.draft
        if version is not None and (version.system, version.template) == (draft.system, draft.template):
            version = None
        self._state.looked_at = version
        self._system.look_at(version.system if version is not None else None)
        self._user.look_at(version.template if version is not None else None)
        self.show_title()

    def focus_user(self) -> None:
        """Give the focus to the user's template."""
        self._user.focus_editor()

    # ── changing ──

    @on(TemplatePane.Edited)
    def _template_edited(self, event: TemplatePane.Edited) -> None:
        event.stop()
        self.edit_what_stands()

    @on(VariablesPane.Changed)
    def _variable_changed(self, event: VariablesPane.Changed) -> None:
        event.stop()
        self.edit(variables=self._state.draft.variables | {event.name: event.value})

    def edit_what_stands(self) -> None:
        """Take in what was typed and not told yet."""
        texts = self._texts
        if texts != self._told:
            self._told = texts
            self.edit(system=texts[0], template=texts[1])

    def edit(self, **changes: Any) -> None:
        """Change the draft; it is kept at once."""
        draft = replace(self._state.draft, **changes)
        if draft == self._state.draft:
            return
        other = draft.settings != self._state.draft.settings
        self._state.draft = draft
        if other:
            self.take_held_model()
        self.keep()
        self.post_message(self.Changed())

    def take_held_model(self) -> None:
        """Choose the model that the draft holds; one that is not here is told."""
        held = self._state.held_model
        if held and not self._state.take_model(held):
            told = f"{self._state.name} is for the model {held}, which is not here: m chooses another."
            self.shell.say(told, severity="warning")

    def put(self, draft: Draft) -> None:
        """Put another draft into the editors, and keep it."""
        self.show(draft)
        self.take_held_model()
        self.keep()

    async def restore(self, version: PromptVersion) -> bool:
        """Put the text of a version in the place of what stands here, which is kept; whether that was wanted."""
        from screens.playground.restore_version import restore_version

        draft = await restore_version(self.shell, self._state, version)
        if draft is not None:
            self.put(draft)
        return draft is not None

    # ── partials ──

    def take_whole(self, version: PromptVersion) -> None:
        """Go on from a version that was saved of what stands here; what it includes stands here then, too, as it was put in."""
        from llmops_tui.prompts.partials import has_includes, is_put_in

        self.edit_what_stands()
        draft = self._state.draft
        whole = is_put_in(draft.system, version.system) and is_put_in(draft.template, version.template)
        if whole and has_includes(draft.system, draft.template):
            self._replace(version.system, version.template)
        self.edit(base=version.number)

    def _replace(self, system: str, template: str) -> None:
        """Put other texts in the place of those that stand here; the editors' own undo takes that back."""
        self._system.put(system)
        self._user.put(template)
        self._told = self._texts
        self.edit(system=system, template=template)

    @on(TemplatePane.NewerWanted)
    def _newer_wanted(self, event: TemplatePane.NewerWanted) -> None:
        event.stop()
        self.edit_what_stands()
        self.act("newer", self._take_newer, self._state.draft.system, self._state.draft.template)

    async def _take_newer(self, *texts: str) -> None:
        from llmops_tui.prompts.partial_versions import take_newer

        store, name = self.services.prompts, self._state.name
        system, template = await asyncio.to_thread(lambda: [take_newer(store, name, text) for text in texts])
        if self._texts != self._told or (self._state.draft.system, self._state.draft.template) != texts:
            self.shell.say("The text was changed meanwhile, so no partials were taken.", severity="warning")
        elif (system, template) == texts:
            self.shell.say("Each partial here is what its name stands for now.")
        else:
            self._replace(system, template)
            self.shell.say("The newer partials stand in the draft; undo in the editor takes them out again.")

    def edit_outside(self) -> None:
        """Open the template with the focus, or else the user's, in $EDITOR."""
        (self._system if self._system.has_focus_within else self._user).edit_outside(self._state.name)

    # ── keeping ──

    def keep(self) -> None:
        """Keep the draft as it is now, and look for its variables."""
        self._state.prompt = self._state.name
        self._writer.write(self._state.prompt, self._state.draft)
        self._variables.read_soon()

    async def written(self) -> None:
        """Wait until the draft is on disk."""
        await self._writer.written()

    def on_unmount(self) -> None:
        """The last keys before leaving are kept too, even those of which no message came any more."""
        state = self._state
        texts = self._texts
        draft = replace(state.draft, system=texts[0], template=texts[1])
        changed = bool(state.versions) and texts != self._told
        self._writer.write_now(state.name, draft if changed else None)

    def _start_writing(self, writing: Coroutine[Any, Any, None]) -> None:
        self.run_worker(writing, group="drafts", exit_on_error=False)

    def _report(self, error: LlmopsError) -> None:
        self.shell.report(error)
