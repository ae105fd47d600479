"""What was found of a person and would be erased; or the receipt of an erasure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from llmops_tui.safe_text import safe_line
from screens.privacy.forget_person import ask_whom, find, forget
from screens.shell.pane import Pane
from screens.widgets.motions import TextScroll

if TYPE_CHECKING:
    from llmops_tui.maintenance.erasure_records import ErasureRecord, How
    from llmops_tui.maintenance.forgetting.plan import Plan

_EMPTY = (
    "Nobody was looked for yet.\n"
    "n finds a person in datasets, traces, prompts, evaluations, caches, files and logs; nothing is changed by that.\n"
    "m then chooses between removing and marking, and f forgets, after a word.\n"
    "w writes a report on all personal data into a file."
)
_MEANING = {"remove": "rows and traces go whole", "redact": "rows and traces stay, with marks such as [NAME]"}


class PlanPane(Pane):
    """A plan, until it is carried out or another thing is looked at."""

    class Forgot(Message):
        """A person was forgotten."""

        def __init__(self, erasure: str) -> None:
            super().__init__()
            self.erasure = erasure

    def __init__(self) -> None:
        super().__init__(
            title="Plan",
            jump_key="p",
            id="privacy-plan",
            help_text="n finds a person, m chooses between removing and marking, f forgets after a word.",
        )
        self._plan: Plan | None = None
        self._how: How = "remove"

    def compose(self) -> ComposeResult:
        """The text."""
        with TextScroll(id="plan-scroll"):
            yield Static(Content.styled(_EMPTY, "$muted"), id="plan-text", markup=False)

    def _write(self, lines: list[str]) -> None:
        self.query_one("#plan-text", Static).update(Content("\n".join(map(safe_line, lines))))

    def show_receipt(self, erasure: ErasureRecord) -> None:
        """Show what an erasure did; a plan that was shown is put away."""
        from llmops_tui.maintenance.forgetting.told import erasure_lines

        self._plan = None
        self.set_title("Receipt")
        self._write(erasure_lines(erasure))

    def _show_plan(self) -> None:
        from llmops_tui.maintenance.forgetting.told import plan_lines

        if self._plan is not None:
            self.set_title("Plan", _MEANING[self._plan.how])
            self._write(plan_lines(self._plan.as_dict()))

    # ── actions ──

    def action_find(self) -> None:
        """Ask whom, and search."""
        self.ask_by("find", self._find)

    async def _find(self) -> None:
        person = await ask_whom(self.shell)
        if person is not None:
            self._plan = await find(self.shell, person, self._how, self.set_note)
            self._show_plan()

    def action_manner(self) -> None:
        """Change between removing and marking."""
        self._how = "redact" if self._how == "remove" else "remove"
        if self._plan is None:
            self.shell.say(f"Next: {_MEANING[self._how]}.")
        else:
            self.act("find", self._find_again)

    async def _find_again(self) -> None:
        if self._plan is not None:
            self._plan = await find(self.shell, self._plan.person, self._how, self.set_note)
            self._show_plan()

    def action_forget(self) -> None:
        """Do what is planned, after a word."""
        if self._plan is None or not self._plan.things:
            self.shell.say("There is nothing to forget: n finds a person first.", severity="warning")
        else:
            self.ask_by("forget", self._forget, self._plan)

    async def _forget(self, plan: Plan) -> None:
        erasure = await forget(self.shell, plan, self.set_note)
        if erasure:
            self._plan = None
            self.post_message(self.Forgot(erasure))
