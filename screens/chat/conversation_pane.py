"""The conversation: its turns, the answer on its way, and what is done with a turn."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.message import Message
from textual.timer import Timer
from textual.worker import Worker

from llmops_tui.errors import InputRefusedError
from llmops_tui.prompts.chats.tree import ASSISTANT, Chat, Turn
from screens.chat.change_chat import change_chat, change_system
from screens.chat.rendering import DrawnTurns, Live, live_lines, system_lines
from screens.chat.state import ChatState
from screens.shell.pane import Pane
from screens.terminal import TerminalProfile
from screens.widgets.line_list import Line, LineList

if TYPE_CHECKING:
    from llmops_tui.prompts.runs import RunProgress

_HELP = (
    "The branch that is shown, from its beginning. The cursor is on a turn: e says it in another way, r has it answered "
    "once more, h and l show the other ways in which it was said (‹2/3›). Nothing is lost: each way keeps what was said on it."
)
_NO_CHAT = "No chat is open.\nn begins one with a model of this workspace."
_NOTHING_SAID = "Nothing was said yet.\nWrite below; enter sends it, ctrl+j begins a line."


class ConversationPane(Pane):
    """The turns as lines, with a cursor that says which turn is meant."""

    @dataclass
    class Asked(Message):
        """Something is to be done with a turn: ``again``, ``edit``, ``go on``, ``begin``, ``cut``, ``pair``."""

        what: str
        turn: Turn

    @dataclass
    class Switched(Message):
        """Another way of saying a turn is to be shown: the next (1) or the previous (-1)."""

        turn: Turn
        step: int

    @dataclass
    class Changed(Message):
        """The chat is to be changed so."""

        work: Callable[[Chat], Chat]

    @dataclass
    class Answered(Message):
        """An answer came to its end, whole or not, and is kept in this chat."""

        name: str

    def __init__(self, state: ChatState, profile: TerminalProfile) -> None:
        super().__init__(title="Conversation", jump_key="v", id="chat-conversation", help_text=_HELP)
        self._state = state
        self._profile = profile
        self._list = LineList(id="chat-turns")
        self._live: Live | None = None
        self._unfolded = False
        # Which turn each line is of, and where the turns of the branch begin.
        self._owners: list[Turn | None] = []
        self._drawn_turns = DrawnTurns()
        self._timer: Timer | None = None
        self._worker: Worker[None] | None = None

    def compose(self) -> ComposeResult:
        """The lines."""
        yield self._list

    # ── showing ──

    def show(self, *, end: bool = False) -> None:
        """Draw the branch; with ``end`` the cursor goes to its last line."""
        chat = self._state.chat
        self._list.placeholder = _NO_CHAT if chat is None else _NOTHING_SAID
        if chat is None:
            self.set_title("Conversation")
            self.set_note("")
        else:
            branches = chat.branches()
            self.set_title(chat.name, f"{branches} branches" if branches > 1 else "")
            self.set_note(f"{chat.model or 'no model: m chooses one'} · {chat.parameters.brief()}")
        name = chat.model if chat is not None else ""
        if name != self.shell.status.model:
            self.shell.show_status(replace(self.shell.status, model=name, tokens_per_s=None))
        self._draw(end=end)

    def _draw(self, *, end: bool = False) -> None:
        lines, self._owners = self._lines(max(20, self._list.scrollable_content_region.width))
        self._list.show_lines(lines)
        if end and lines:
            self._list.move_to(len(lines) - 1)
            self._list.keep_in_sight()

    def _lines(self, width: int) -> tuple[list[Line], list[Turn | None]]:
        chat = self._state.chat
        if chat is None:
            return [], []
        utf8 = self._profile.utf8
        lines = system_lines(chat, width)
        owners: list[Turn | None] = [None] * len(lines)
        drawn = self._drawn_turns.of(chat, width, unfolded=self._unfolded, utf8=utf8)
        for turn, made in drawn:
            lines += made
            owners += [turn] * len(made)
        if self._live is None:
            # A turn ends with a blank line, and the conversation with its last word.
            return lines[:-1], owners[:-1]
        made = live_lines(self._live, len(drawn) + 1, width, unfolded=self._unfolded, utf8=utf8)
        return [*lines, *made], [*owners, *[None] * len(made)]

    def on_resize(self) -> None:
        """Wrap again to the new width."""
        self.call_after_refresh(self._draw)

    # ── the answer on its way ──

    @property
    def answering(self) -> bool:
        """Whether an answer is on its way."""
        return self._worker is not None and not self._worker.is_finished

    def answer(self, chat: Chat, parent: str, begun: str = "") -> None:
        """Have a turn answered, beginning so, and draw the answer as it comes."""
        self._worker = self.run_worker(
            self.guarded(self._answer, chat, parent, begun), group="answer", exit_on_error=False
        )

    def stop(self) -> None:
        """Stop it; the text so far is kept."""
        if self._worker is not None:
            self._worker.cancel()

    def check_model(self) -> None:
        """Refuse where nobody would answer.

        Raises:
            InputRefusedError: ``no_model``.
        """
        chat = self._state.chat
        if self._state.model is None:
            name = chat.model if chat is not None else ""
            told = f"the model {name} is not there any more" if name else "no model is chosen"
            raise InputRefusedError("no_model", told, "m chooses one; the Models screen adds one.")

    async def _answer(self, chat: Chat, parent: str, begun: str) -> None:
        from llmops_tui.prompts.chats.answers import answer
        from llmops_tui.prompts.chats.store import Chats
        from screens.playground.tools import offering

        self.check_model()
        model = self._state.model
        assert model is not None
        self._state.chat = replace(chat, head=parent)
        self._live = Live(model.name, begun, doing="loading …")
        self.show(end=True)
        self.shell.unfinished = "An answer is being generated."
        chats, runner = Chats(self.services.event_log), self.services.runner
        try:
            async with offering(self.shell, self._state, self.stop) as tools:
                steps = answer(chats, runner, chat, parent, model, chat.parameters, begun=begun, tools=tools)
                async with aclosing(steps):
                    async for step in steps:
                        if step.progress is not None:
                            self._take(step.progress)
        finally:
            self.shell.unfinished = ""
            self._live = None
            if self._timer is not None:
                self._timer.stop()
                self._timer = None
            self.post_message(self.Answered(chat.name))

    def _take(self, step: RunProgress) -> None:
        """Note what came; it is drawn with what comes in the same moment."""
        if self._live is None:
            return
        self._live = self._live.after(step)
        if step.end is not None:
            self.shell.show_status(
                replace(self.shell.status, loaded=True, tokens_per_s=step.end.timings.get("tokens_per_s"))
            )
        if self._timer is None:
            self._timer = self.set_timer(self._profile.stream_interval, self._flush)

    def _flush(self) -> None:
        self._timer = None
        # Who reads further up stays there.
        self._draw(end=self._list.cursor >= len(self._owners) - 2)

    # ── turns ──

    @property
    def turn(self) -> Turn | None:
        """The turn under the cursor."""
        return self._owners[self._list.cursor] if self._list.cursor < len(self._owners) else None

    def _ask(self, what: str) -> None:
        if self._live is not None:
            self.shell.say("An answer is on its way; esc stops it.", severity="warning")
        elif self.turn is None:
            self.shell.say("Put the cursor on a turn first.", severity="warning")
        else:
            self.post_message(self.Asked(what, self.turn))

    def action_again(self) -> None:
        """Have it answered once more."""
        self._ask("again")

    def action_edit(self) -> None:
        """Say it in another way."""
        self._ask("edit")

    def action_go_on(self) -> None:
        """Have the model go on from the end of the answer."""
        self._ask("go on")

    def action_begin(self) -> None:
        """Say how the answer begins."""
        self._ask("begin")

    def action_cut(self) -> None:
        """Delete the turn and what was said on it."""
        self._ask("cut")

    def action_pair(self) -> None:
        """Keep the answer as chosen over its other ways."""
        self._ask("pair")

    def action_next(self) -> None:
        """The next way of saying it."""
        self._switch(1)

    def action_previous(self) -> None:
        """The way before."""
        self._switch(-1)

    def _switch(self, step: int) -> None:
        chat, turn = self._state.chat, self.turn
        if self._live is not None or chat is None or turn is None:
            return
        if len(chat.beside(turn)) == 1:
            self.shell.say(
                f"There is one way only; {'r has it answered' if turn.role == ASSISTANT else 'e says it'} in another."
            )
        else:
            self.post_message(self.Switched(turn, step))

    def action_unfold(self) -> None:
        """Unfold or fold what was thought."""
        self._unfolded = not self._unfolded
        self._draw()

    def put_cursor_on(self, turn: Turn | None) -> None:
        """Put the cursor on the head of a turn."""
        if turn in self._owners:
            self._list.move_to(self._owners.index(turn))

    def action_tools(self) -> None:
        """Choose tools."""
        from screens.playground.tools import choose_tools

        self.ask_by("tools", choose_tools, self.shell, self._state)

    async def on_unmount(self) -> None:
        """End the tool servers that were kept for the next answer."""
        if self._state.connections is not None:
            await self._state.connections.close()

    # ── who answers, and how ──

    def action_model(self) -> None:
        """Choose the model that answers."""
        self.ask_by("change", self._change, "model")

    def action_parameters(self) -> None:
        """Change the sampling parameters."""
        self.ask_by("change", self._change, "parameters")

    async def _change(self, what: str) -> None:
        if (change := await change_chat(self.shell, self._state.chat, what)) is not None:
            self.post_message(self.Changed(change))

    def action_system(self) -> None:
        """Change the system text in $EDITOR."""
        if (chat := self._state.chat) is None:
            self.shell.say("No chat is open; n begins one.", severity="warning")
        elif (change := change_system(self.shell, chat)) is not None:
            self.post_message(self.Changed(change))
