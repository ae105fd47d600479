"""The chat screen: chats at the left, the conversation at the right, and below it what is said next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical

from llmops_tui.errors import InputRefusedError
from llmops_tui.prompts.chats.answers import rewritten, said
from llmops_tui.prompts.chats.store import Chats
from llmops_tui.prompts.chats.tree import ASSISTANT, USER, Chat, Turn
from screens.actions import bindings_of
from screens.chat.chats_pane import ChatsPane
from screens.chat.conversation_pane import ConversationPane
from screens.chat.copying import command, copies
from screens.chat.message_pane import MessagePane
from screens.chat.state import ChatState, read_chat
from screens.navigation import ChatPlace, Destination, ScreenPlace
from screens.shell.base import BaseScreen
from screens.widgets.panel import Panel

if TYPE_CHECKING:
    from screens.services import Services
    from screens.terminal import TerminalProfile


def make(services: Services, profile: TerminalProfile) -> ChatScreen:
    """Make the screen."""
    return ChatScreen(services, profile)


class ChatScreen(BaseScreen):
    """Three panes."""

    BINDINGS: ClassVar[list[Binding]] = bindings_of("chat")  # type: ignore[assignment]
    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = ""
    opens = (ChatPlace,)
    scope = "chat"
    tab = "playground"
    about = (
        "Talk with a model over many turns. Any turn can be said in another way: a branch beside the first, which stays with "
        "all that was said on it. Answers can be asked for again, begun by you, or gone on with."
    )

    def __init__(self, services: Services, profile: TerminalProfile) -> None:
        super().__init__(services, profile)
        self.state = ChatState()
        self._chats = ChatsPane(self.state)
        self._conversation = ConversationPane(self.state, profile)
        self._message = MessagePane(self.state)
        self._wanted: ChatPlace | None = None

    def compose_body(self) -> ComposeResult:
        """Two columns."""
        with Horizontal(id="columns"):
            with Vertical(id="chat-left", classes="column"):
                yield self._chats
            with Vertical(id="chat-right", classes="column"):
                yield self._conversation
                yield self._message

    def on_mount(self) -> None:
        """Open the chat that was changed last, where no other is asked for."""
        if self._wanted is None:
            self.act("load", self._open, "")

    # ── reading and showing ──

    @property
    def _store(self) -> Chats:
        return Chats(self.services.event_log)

    async def _open(self, name: str) -> None:
        """Show a chat; the last changed one where none is named, and none where there is none."""
        await self._read_lists(tell=True)
        chats = self.state.chats
        if name and all(one.name != name for one in chats):
            raise InputRefusedError("no_chat", f"there is no chat {name} any more", "Choose another one.")
        name = name or (chats[0].name if chats else "")
        chat, self.state.editing, text = await asyncio.to_thread(read_chat, self._store, name)
        self._show(chat, end=True)
        self._message.show(text)
        self.remove_class("-sidebar")
        self.call_after_refresh(self._message.focus_editor if chat is not None else self._conversation.focus_inside)

    async def _read_lists(self, *, tell: bool = False) -> None:
        services = self.services
        self.state.models = await asyncio.to_thread(lambda: services.models.runnable())
        self.state.chats, unreadable = await asyncio.to_thread(self._store.listed)
        for error in unreadable if tell else []:
            self.shell.say(error.message, severity="warning")

    def _show(self, chat: Chat | None, *, end: bool = False) -> None:
        self.state.chat = chat
        self._chats.show()
        self._conversation.show(end=end)
        self._message.show_title()

    async def _changed(self, work: Callable[[Chat], Chat]) -> None:
        """Change the open chat, and show it."""
        await self._show_changed(await asyncio.to_thread(self._store.change, self._chat.name, work))

    async def _show_changed(self, chat: Chat, *, end: bool = False) -> None:
        """Show a chat as it is now, in the list, too; the other chats are not read for that, nor models that are known."""
        self.state.note(chat)
        if self.state.model is None:
            self.state.models = await asyncio.to_thread(lambda: self.services.models.runnable())
        self._show(chat, end=end)

    @property
    def _chat(self) -> Chat:
        if self.state.chat is None:
            raise InputRefusedError("no_chat", "no chat is open", "n begins one.")
        return self.state.chat

    # ── saying ──

    @on(MessagePane.Sent)
    def _sent(self, event: MessagePane.Sent) -> None:
        if self._idle():
            self.act("say", self._say, event.text)

    async def _say(self, text: str) -> None:
        """Keep what was written, then have it answered where it is a person's turn."""
        chat, editing = self._chat, self.state.editing
        if editing:
            turn = chat.turn(editing)
            chat = await asyncio.to_thread(rewritten, self._store, chat, turn, text)
            self._message.keep(chat.name, editing, "")
            text = await asyncio.to_thread(self._store.unsent, chat.name)
        else:
            self._conversation.check_model()  # before anything is kept: without one nobody answers
            chat = await asyncio.to_thread(said, self._store, chat, chat.head, text)
            await asyncio.to_thread(self._store.keep_unsent, chat.name, "")
            text = ""
        self.state.editing = ""
        self._show(chat, end=True)
        self._message.show(text)
        if chat.branch()[-1].role == USER:
            self._conversation.answer(chat, chat.head)

    def action_send(self) -> None:
        """Send what is written."""
        self._message.action_send()

    # ── answers ──

    def _idle(self) -> bool:
        """Whether no answer is on its way; where one is, that is said."""
        if self._conversation.answering:
            self.shell.say("An answer is on its way; esc stops it.", severity="warning")
        return not self._conversation.answering

    @on(ConversationPane.Answered)
    def _answered(self, event: ConversationPane.Answered) -> None:
        self.act("shown", self._show_again, event.name)

    async def _show_again(self, name: str) -> None:
        """Show what was kept of an answer, where its chat is still the open one."""
        chat = await asyncio.to_thread(self._store.load, name)
        if self.state.chat is not None and self.state.chat.name == name:
            await self._show_changed(chat, end=True)

    def action_cancel(self) -> None:
        """Stop the answer; else leave a filled pane, the other way of a turn, the editor, the screen."""
        if self._conversation.answering:
            self._conversation.stop()
        elif self.has_class("-maximised"):
            self.toggle_maximised()
        elif self.close_sidebar():
            self._conversation.focus_inside()
        elif self.state.editing:
            self.act("edit", self._leave_edit)
        elif self._message.has_focus_within:
            self._conversation.focus_inside()
        else:
            self.act("back", self._back)

    async def _leave_edit(self) -> None:
        self._message.keep(self._chat.name, self.state.editing, "")
        self.state.editing = ""
        self._message.show(await asyncio.to_thread(self._store.unsent, self._chat.name))
        self._conversation.focus_inside()

    async def _back(self) -> None:
        if not await self.shell.navigation.back():
            self.shell.open_place(ScreenPlace("playground"))

    # ── turns ──

    @on(ConversationPane.Asked)
    def _asked(self, event: ConversationPane.Asked) -> None:
        turn, what = event.turn, event.what
        parent = turn.parent if turn.role == ASSISTANT else turn.id
        if what == "again":
            self._answer_again(parent)
        elif what == "edit":
            self.state.editing = turn.id
            self._message.show(turn.text)
            self._message.focus_editor()
        elif what == "go on" and turn.role == USER:
            self.shell.say("That is your own turn; put the cursor on an answer.", severity="warning")
        elif what == "go on":
            self._conversation.answer(self._chat, parent, turn.text)
        elif what == "begin":
            self.ask_by("begin", self._begin_answer, parent)
        else:
            self.ask_by(what, self._cut if what == "cut" else self._pair, turn)

    def _answer_again(self, parent: str) -> None:
        from screens.chat.chat_dialogs import again_parameters

        chat = self._chat
        answered = sum(one.parent == parent for one in chat.turns)
        parameters = again_parameters(chat.parameters, answered)
        if parameters is None and answered:
            self.shell.say("At temperature 0 the answer is the same again: p sets one, m another model, b begins it.")
        self._conversation.answer(replace(chat, parameters=parameters or chat.parameters), parent)

    async def _begin_answer(self, parent: str) -> None:
        from screens.chat.chat_dialogs import ask_beginning

        if begun := await ask_beginning(self.shell):
            self._conversation.answer(self._chat, parent, begun)

    @on(ConversationPane.Switched)
    def _switched(self, event: ConversationPane.Switched) -> None:
        self.act("switch", self._switch, event.turn, event.step)

    async def _switch(self, turn: Turn, step: int) -> None:
        await self._changed(lambda now: now.at_other(turn, step))
        chat = self._chat
        depth = len(chat.branch(turn.parent))
        self._conversation.put_cursor_on(chat.branch()[depth])

    async def _cut(self, turn: Turn) -> None:
        from screens.chat.chat_dialogs import confirm_cut

        if await confirm_cut(self.shell, self._chat, turn):
            await self._changed(lambda now: now.without(turn))

    async def _pair(self, turn: Turn) -> None:
        from screens.chat.keep_pair import keep_pair

        await keep_pair(self.shell, self._chat, turn)

    # ── chats ──

    @on(ChatsPane.Opened)
    def _chat_opened(self, event: ChatsPane.Opened) -> None:
        if self._idle():
            self.act("load", self._open, event.name)

    @on(ChatsPane.Asked)
    def _chat_asked(self, event: ChatsPane.Asked) -> None:
        if self._idle():
            self.ask_by("chat", self._do, event.what, event.name)

    async def _do(self, what: str, name: str) -> None:
        from screens.chat.chat_dialogs import do_with_chat

        if (opened := await do_with_chat(self.shell, what, name)) is not None:
            await self._open(opened)

    @on(ConversationPane.Changed)
    def _chat_changed(self, event: ConversationPane.Changed) -> None:
        self.act("change", self._changed, event.work)

    # ── going here ──

    async def go_to(self, destination: Destination) -> None:
        """Open a chat."""
        assert isinstance(destination, ChatPlace)
        self._wanted = destination
        if self._idle():
            self.act("load", self._open, destination.chat)

    def place(self) -> ChatPlace:
        """The chat."""
        return ChatPlace(self.state.chat.name if self.state.chat is not None else "")

    def reveal(self, panel: Panel) -> None:
        """Show the list on a narrow terminal."""
        self.set_class(panel is self._chats, "-sidebar")

    def copy_choices(self) -> list[tuple[str, str]]:
        """The turn under the cursor, the branch, the command."""
        return copies(self.state.chat, self._conversation.turn)

    def cli_command(self) -> str:
        """``llmops chat show`` of this chat."""
        return command(self.state.chat)
