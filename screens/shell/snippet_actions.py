"""The keys of snippets and macros: a text by its name, and keys that are recorded and pressed again."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from textual.widget import Widget
from textual.widgets import Input, TextArea

from screens.shell.key_queue import Typed
from screens.shell.macros import MacroKeys
from screens.shell.tour_actions import TourActions
from screens.widgets.dialogs import Choice, ChoiceDialog, LineDialog
from screens.widgets.modal import Modal

_NO_MACROS = "No macros yet: alt+, begins to record one, and ends it."
_NO_SNIPPETS = "No snippets yet: m on the settings screen, or llmops snippet add, keeps one."


class SnippetActions(TourActions):
    """An app with snippets and macros."""

    _macros: MacroKeys | None = None

    @property
    def macros(self) -> MacroKeys:
        """What is recorded and played."""
        if self._macros is None:
            self._macros = MacroKeys()
        return self._macros

    async def _deliver_typed(self, event: Typed) -> None:
        asked = isinstance(self.screen, Modal) and self.screen.asks
        if self._macros is not None and (ended := self._macros.take(event, asked=asked)):
            if ended != "-":
                self.say(f"The macro has stopped: {ended}.", severity="warning")
            return
        await super()._deliver_typed(event)

    # ── snippets ──

    def action_snippet(self) -> None:
        """Put a snippet where the cursor is: that of the word in front of it, or a chosen one."""
        field = self.focused
        if not isinstance(field, Input | TextArea) or (isinstance(field, TextArea) and field.read_only):
            self.say("Go to a text first: a snippet is put where its cursor is.", severity="warning")
            return
        self.keys.expect(self.run_worker(self._put_snippet(field), group="snippet", exit_on_error=False))

    async def _put_snippet(self, field: Input | TextArea) -> None:
        from llmops_tui.snippets import load_snippets, word_before

        kept, problems = await asyncio.to_thread(load_snippets)
        for problem in problems:
            self.say(problem, severity="warning")
        word = word_before(_before_cursor(field))
        if word not in kept.texts:
            choices = [Choice(name, name, " ".join(text.split())[:80]) for name, text in kept.texts.items()]
            name = await self.ask(ChoiceDialog("Snippet", choices, _NO_SNIPPETS))
            if name is None:
                return
            word, replaced = name, ""
        else:
            replaced = word
        if field.is_attached:
            _put(field, replaced, kept.texts[word])

    # ── macros ──

    def action_record_macro(self) -> None:
        """Begin to record keys, or end that and keep them by a name."""
        if self.macros.recorded is None:
            self.macros.recorded = []
            self.say("Your keys are recorded: alt+, ends that, and asks for a name.")
            return
        # The last one is that which ends it.
        keys, self.macros.recorded = self.macros.recorded[:-1], None
        if keys:
            self.run_worker(self._keep_macro(keys), group="macro", exit_on_error=False)
        else:
            self.say("No key was recorded.", severity="warning")

    async def _keep_macro(self, keys: list[str]) -> None:
        from llmops_tui.snippets import NAME_RULE, load_snippets, problem_of_keys, save_snippets
        from llmops_tui.user_entries import MACRO, EntryChange

        told = f"{' '.join(keys[-12:])}\n{NAME_RULE}"
        name = await self.ask(LineDialog("The name of the macro", told, check=lambda text: problem_of_keys(text, keys)))
        if not name:
            return
        kept, _ = await asyncio.to_thread(load_snippets)
        made = replace(kept, macros={**kept.macros, name: tuple(keys)})
        former = await asyncio.to_thread(save_snippets, made)
        if former is not None:
            self.say(f"The former file is kept as {former}.", severity="warning")
        before = kept.macros.get(name)
        change = EntryChange(MACRO, name, None if before is None else list(before), keys)
        await asyncio.to_thread(self.services.undo.note_entries, change)
        self.say(f"{name} is kept: alt+/ plays it; z undoes.")

    def action_play_macro(self) -> None:
        """Press the keys of a macro."""
        if not self.macros.is_playing:
            self.run_worker(self._play_macro(), group="macro", exit_on_error=False)

    async def _play_macro(self) -> None:
        from llmops_tui.snippets import load_snippets

        kept, problems = await asyncio.to_thread(load_snippets)
        for problem in problems:
            self.say(problem, severity="warning")
        choices = [Choice(name, name, " ".join(keys)[:80]) for name, keys in kept.macros.items()]
        name = await self.ask(ChoiceDialog("Play a macro", choices, _NO_MACROS))
        if name is not None:
            for key in self.macros.play(kept.macros[name]):
                # As if it were typed: it waits for the screen that it is meant for.
                await self.keys.take(key)


def _before_cursor(field: Widget) -> str:
    if isinstance(field, Input):
        return field.value[: field.cursor_position]
    assert isinstance(field, TextArea)
    row, column = field.cursor_location
    return field.document.get_line(row)[:column]


def _put(field: Input | TextArea, word: str, text: str) -> None:
    """Put a text at the cursor, in place of a word in front of it. A field of one line gets one line."""
    if isinstance(field, Input):
        at = field.cursor_position
        field.replace(" ".join(text.splitlines()), at - len(word), at)
        return
    row, column = field.cursor_location
    field.replace(text, (row, column - len(word)), (row, column), maintain_selection_offset=False)
