"""The panes of the playground and how they stand: prompts and versions, the editors, the answer and the runs."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Static

from screens.playground.commands import HELP
from screens.playground.editors import TemplateEditor, VariableFields
from screens.playground.runs import RunList
from screens.playground.sidebar import PromptList, VersionList
from screens.terminal import TerminalProfile
from screens.widgets.fields import Field
from screens.widgets.panel import Panel
from screens.widgets.stream_view import StreamView


def panes(system: TemplateEditor, user: TemplateEditor, profile: TerminalProfile, placeholder: str) -> ComposeResult:
    """Three columns, for a screen to compose; the two editors belong to the screen."""
    with Horizontal(id="columns"):
        with Vertical(id="left", classes="column"):
            with Panel(title="Prompts", jump_key="p", id="prompts", help_text=HELP["prompts"]):
                yield Field(placeholder="find in names, notes and text", id="find", compact=True)
                yield PromptList()
            with Panel(title="Versions", jump_key="v", id="versions", help_text=HELP["versions"]):
                yield VersionList()
        with Vertical(id="middle", classes="column"):
            with Panel(title="System", jump_key="s", id="system-panel", help_text=HELP["system"]):
                yield system
            with Panel(title="User", jump_key="u", id="user-panel", help_text=HELP["user"]):
                yield user
            with Panel(title="Variables", jump_key="i", id="variables", help_text=HELP["variables"]):
                yield VariableFields()
        with Vertical(id="right", classes="column"):
            with Panel(title="Answer", jump_key="a", id="answer-panel", help_text=HELP["answer"]):
                yield StreamView(profile, placeholder=placeholder, id="answer")
                yield Static("", id="figures", markup=False)
            with Panel(title="Runs", jump_key="r", id="runs", help_text=HELP["runs"]):
                yield RunList()
