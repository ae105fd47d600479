"""The settings screen: a form, the settings file, and the terminal's capabilities."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.widgets import Static

from llmops_tui import __version__
from llmops_tui.counts import counted
from llmops_tui.keymap_file import keymap_path
from llmops_tui.safe_text import safe_line
from llmops_tui.settings import GROUPS, Settings
from llmops_tui.themes import PLUGINS
from llmops_tui.user_files import settings_path
from llmops_tui.workspace.files import write_atomic
from screens.actions import bindings_of
from screens.plugin_themes import missing_theme, register_plugin_themes
from screens.settings.keys_screen import KeysScreen
from screens.shell.base import BaseScreen
from screens.shell.keymap_again import read_again
from screens.widgets.form import ModelForm
from screens.widgets.panel import Panel

if TYPE_CHECKING:
    from screens.services import Services
    from screens.terminal import TerminalProfile


_HELP = "One row per setting: j and k go through them, enter edits one or chooses its next word, esc ends that. ctrl+s saves."


def make(services: Services, profile: TerminalProfile) -> SettingsScreen:
    """Make the screen."""
    return SettingsScreen(services, profile)


class SettingsScreen(BaseScreen):
    """One form."""

    CSS_PATH = ["screen.tcss", "../widgets/form.tcss"]  # noqa: RUF012  declared so by Textual
    BINDINGS: ClassVar[list[Binding]] = bindings_of("settings")  # type: ignore[assignment]
    AUTO_FOCUS = ".model-form"
    scope = "settings"
    about = "Every setting with its description. Changes apply when you save them; a theme is previewed at once."

    def compose_body(self) -> ComposeResult:
        """The form, and at its end where things are."""
        with Panel(title="Settings", jump_key="s", id="settings", help_text=_HELP):
            yield ModelForm(
                self.services.settings,
                browses=True,
                suggestions={"theme": tuple(sorted(self.app.available_themes))},
                groups=GROUPS,
                ending=Static(self._places(), id="places", markup=False),
            )

    def on_mount(self) -> None:
        """Look for the themes of installed packages, behind the first frame: all packages are looked through for them."""
        self.act("themes", self._find_themes)

    async def _find_themes(self) -> None:
        await asyncio.to_thread(PLUGINS.all)
        register_plugin_themes(self.app)
        self.query_one(ModelForm).suggest("theme", tuple(sorted(self.app.available_themes)))

    def on_screen_resume(self) -> None:
        """Show what is in force: the theme may have been chosen elsewhere, and the keys changed in their file."""
        self.act("keymap", read_again, self.shell)
        for form in self.query(ModelForm):
            form.fill(self.services.settings)

    def _places(self) -> Content:
        terminal = [
            name
            for name, true in (
                ("over SSH", self.profile.remote),
                ("in a multiplexer", self.profile.multiplexed),
                ("without UTF-8", not self.profile.utf8),
            )
            if true
        ]
        return Content.assemble(
            f"llmops {__version__} · {safe_line(str(self.services.workspace.root))}\n",
            (f"Settings: {settings_path()}\nKeys: {keymap_path()}\n", "$muted"),
            (f"Terminal: {', '.join(terminal) or 'local'}", "$muted"),
        )

    @on(ModelForm.Changed)
    def _changed(self, event: ModelForm.Changed) -> None:
        event.stop()
        settings = self.query_one(ModelForm).value
        changed = settings != self.services.settings
        self.query_one("#settings", Panel).set_note("not saved yet: ctrl+s" if changed else "")
        if settings.theme in self.app.available_themes and settings.theme != self.app.theme:
            self.app.theme = settings.theme

    def action_save(self) -> None:
        """Keep the settings, where all are valid."""
        form: ModelForm[Settings] = self.query_one(ModelForm)
        if form.problems:
            self.app.say("Fix the fields that are marked first.", severity="warning")
            return
        if form.value.theme not in self.app.available_themes:
            self.app.say(f"{missing_theme(form.value.theme)}.", severity="warning")
            return
        self.app.keep_settings(form.value)
        self.query_one("#settings", Panel).set_note("")
        self.app.say("The settings are saved.")

    def action_edit(self) -> None:
        """Change the setting under the cursor."""
        self.query_one(ModelForm).edit()

    def action_theme(self) -> None:
        """Choose a theme, each seen while one is on it."""
        self.shell.open_palette("theme: ")

    def action_keys(self) -> None:
        """Change keys."""
        self.app.push_screen(KeysScreen())

    def action_snippets(self) -> None:
        """Change snippets and macros; what cannot be used of them is told."""
        from llmops_tui.snippets import load_snippets, parse_snippets, save_snippets, snippets_path
        from llmops_tui.user_entries import changes_between
        from screens.shell.external_editor import edit_outside

        path = snippets_path()
        if not path.exists():
            save_snippets(load_snippets()[0])
        before = path.read_text(encoding="utf-8", errors="replace")
        former = parse_snippets(before)[0]
        changed = edit_outside(self.shell, before, path.name)
        if changed is None or changed == before:
            return
        write_atomic(path, changed)
        found, problems = parse_snippets(changed)
        for problem in problems:
            self.app.say(problem, severity="warning")
        undoes = " z undoes it." if self.services.undo.note_entries(*changes_between(former, found)) else ""
        told = f"{counted(len(found.texts), 'snippet')} and {counted(len(found.macros), 'macro')}."
        self.app.say(f"{told}{undoes}")

    def action_reset(self) -> None:
        """Fill in the defaults."""
        self.query_one(ModelForm).fill(Settings())

    def cli_command(self) -> str:
        """``llmops doctor``."""
        return "llmops doctor"
