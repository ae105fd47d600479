"""What the palette offers beside the things of the workspace: actions, themes, commands, pages of the docs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from textual.widgets import Input, TextArea

from llmops_tui.safe_text import safe_line
from screens.action import Action
from screens.actions import ACTIONS
from screens.navigation import ScreenPlace
from screens.shell.help import show_keys
from screens.shell.shell import Shell
from screens.theme import THEMES

# Other words that people look for an action by.
_ALSO = {
    "playground.inside": "tokens logprobs probabilities entropy how many tokens",
    "playground.parameters": "max tokens length cut off truncated",
    "playground.compare": "side by side models columns a/b",
    "playground.diff": "changes",
    "datasets.operate": "duplicates deduplicate clean anonymize train test",
    "datasets.check": "duplicates quality problems issues leaks",
    "datasets.profile": "how many tokens statistics lengths",
    "training.start": "fine-tune finetune qlora lora train",
    "training.new": "fine-tune finetune qlora lora recipe",
    "evaluation.narrow": "flip flipped regressions worse better failing",
    "evaluation.mark": "compare reference",
    "traces.order": "slowest latency",
    "models.get": "pull hugging face hub",
    "models.stop": "eject free memory",
    "app.undo": "revert take back",
    "settings.theme": "colours colors dark light",
}
_OWN = frozenset(theme.name for theme in THEMES)
Run = Callable[[], Awaitable[object] | object]
# How an action is done where the palette was opened, by its name.
Here = Callable[[str], Awaitable[object]]


@dataclass(frozen=True)
class Entry:
    """A line: what it is, its name, what is said of it, its keys, and what happens when it is chosen.

    ``key`` is the one of them that works where the palette was opened, ``also`` are other words that it is looked for by.
    """

    kind: str
    title: str
    note: str
    run: Run
    keys: tuple[str, ...] = ()
    key: str = ""
    also: str = ""
    archived: bool = False

    @property
    def texts(self) -> tuple[str, str, str]:
        """What is searched."""
        return self.title, self.kind, f"{self.note} {self.also}".rstrip()

    @property
    def name(self) -> str:
        """How it is remembered."""
        return f"{self.kind} {self.title}"


def _working(keys: Sequence[str], *, writing: bool) -> str:
    """The first of the keys that does not write a letter where text is written; anywhere else the first."""
    return next((key for key in keys if not writing or len(key) > 1), keys[0]) if keys else ""


def actions(shell: Shell, scope: str, here: Here) -> list[Entry]:
    """What can be done here, and on other screens, to which the choice leads."""
    found = []
    writing = isinstance(shell.screen.focused, Input | TextArea)
    for action in sorted(ACTIONS, key=lambda action: action.scope != scope):
        if action.scope == "app" and not action.call and not shell.check_action(action.name, ()):
            continue
        keys = tuple(show_keys(action, shell.user_keymap).split("  "))
        if action.scope in {scope, "app"}:
            kind = "go" if action.call.startswith("app.go") else "do"
            run: Run = partial(here, action.target)
            found.append(
                Entry(
                    kind,
                    action.title,
                    action.help,
                    run,
                    keys,
                    _working(keys, writing=writing),
                    _ALSO.get(action.id, ""),
                )
            )
        else:
            found.append(_elsewhere(shell, action, keys))
    return found


def _elsewhere(shell: Shell, action: Action, keys: tuple[str, ...]) -> Entry:
    key = _working(keys, writing=False)

    def go() -> None:
        shell.open_place(ScreenPlace(action.scope))
        shell.say(f"{action.title}: {key} here. {action.help}")

    return Entry(f"on {action.scope}", action.title, action.help, go, keys, key, _ALSO.get(action.id, ""))


def themes(shell: Shell) -> list[Entry]:
    """Those of installed packages are looked for first; blocks."""
    from llmops_tui.themes import PLUGINS
    from screens.plugin_themes import register_plugin_themes

    PLUGINS.all()
    register_plugin_themes(shell)
    return [
        Entry("theme", safe_line(name), "", partial(shell.choose_theme, name))
        for name in sorted(shell.available_themes, key=lambda name: (name not in _OWN, name))
    ]


def commands(shell: Shell) -> list[Entry]:
    """The nouns of the command line, which the choice begins to write."""
    from llmops_tui.cli.commands import COMMANDS

    return [
        Entry("command", name, command.help, partial(shell.open_command_line, f"{name} "))
        for name, command in COMMANDS.items()
    ]


def pages(shell: Shell) -> list[Entry]:
    """The pages of the documentation, where it is on this machine: in a checkout it is, in an installed package not."""
    from screens.shell.docs_page import DocsPage, read_pages

    return [
        Entry("docs", safe_line(page.title), safe_line(page.about), partial(shell.push_screen, DocsPage(page.path)))
        for page in read_pages()
    ]
