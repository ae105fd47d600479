"""The chat screen: saying, answering, other ways of a turn, and what is typed is on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, OptionList

from llmops_tui.prompts.chats.answers import said
from llmops_tui.prompts.chats.store import Chats
from llmops_tui.prompts.chats.tree import ASSISTANT, USER, Chat, new_turn
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from screens.chat.conversation_pane import ConversationPane
from screens.chat.message_pane import MessagePane
from screens.chat.screen import ChatScreen
from screens.navigation import ChatPlace
from screens.widgets.dialogs import ChoiceDialog, LineDialog
from screens.widgets.line_list import LineList
from tests.fakes import FakeModelServer, hostile_strings
from tests.screens.conftest import OpenApp, notices, settle, until


def lines(pilot: Pilot[int]) -> list[str]:
    """The conversation as it is drawn."""
    found = pilot.app.screen.query_one("#chat-turns", LineList)
    return [str(found.render_line(y).text).rstrip() for y in range(min(found.size.height, max(1, found.count)))]


def branch(chats: Chats, name: str = "trip") -> list[str]:
    return [turn.text for turn in chats.load(name).branch()]


async def opened(pilot: Pilot[int], name: str = "") -> ChatScreen:
    app: Any = pilot.app
    app.open_place(ChatPlace(name))
    await until(pilot, lambda: isinstance(pilot.app.screen, ChatScreen) and pilot.app.screen.state.chat is not None)
    await settle(pilot)
    screen = pilot.app.screen
    assert isinstance(screen, ChatScreen)
    return screen


def trip(workspace: Workspace) -> Chats:
    """A question with two answers, the second of which is shown."""
    chats = Chats(EventLog(workspace))
    chat = said(chats, chats.begin("trip", model="support-base", system="Be brief."), "", "Where?")
    asked = chat.head
    for text in ("Here.", "There, where the long road ends and nobody ever goes, not even in the summer months."):
        chats.change("trip", lambda now, text=text: now.with_turn(new_turn(asked, ASSISTANT, text)))  # type: ignore[misc]
    return chats


async def test_a_chat_is_begun_and_goes_on(open_app: OpenApp, server: FakeModelServer, sample: Workspace) -> None:
    async with open_app(size=(120, 40)) as pilot:
        await pilot.press("escape", "o")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChatScreen))
        await settle(pilot)
        assert "No chat is open." in lines(pilot)[0]
        await pilot.press("n")
        await until(pilot, lambda: bool(pilot.app.screen.query(OptionList)))
        await pilot.press("enter")
        await settle(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChatScreen) and pilot.app.screen.state.chat is not None)
        await settle(pilot)
        chats = Chats(EventLog(sample))
        for text in ("hi", "and"):
            await pilot.press(*text, "enter")
            await until(pilot, lambda text=text: branch(chats, "chat-1")[-2:] == [text, "Hello world."])  # type: ignore[misc]
            await settle(pilot)
        assert [message["content"] for message in server.requests[-1]["messages"]] == ["hi", "Hello world.", "and"]
        drawn = "\n".join(lines(pilot))
        assert "1 you\n  hi\n\n2 " in drawn
        assert drawn.endswith("  Hello world.")


async def test_the_ways_of_a_turn_are_gone_through_and_another_is_said(
    open_app: OpenApp, server: FakeModelServer, sample: Workspace
) -> None:
    chats = trip(sample)
    async with open_app(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        assert any("‹2/2›" in line for line in lines(pilot))
        await pilot.press("escape", "h")
        await until(pilot, lambda: branch(chats) == ["Where?", "Here."])
        await settle(pilot)
        turn = screen.query_one(ConversationPane).turn
        assert turn is not None
        assert turn.text == "Here."
        # The question in another way: it is answered, and the first one stays with its answers.
        await pilot.press("g", "j", "j", "j", "e")
        await settle(pilot)
        assert screen.query_one(MessagePane).text == "Where?"
        await pilot.press("o", "n", "enter")
        await until(pilot, lambda: branch(chats) == ["Where?on", "Hello world."])
        chat = chats.load("trip")
        assert (len(chat.turns), chat.branches()) == (5, 3)
        await settle(pilot)
        await pilot.press("escape", "r")
        await until(pilot, lambda: len(chats.load("trip").turns) == 6)
        await settle(pilot)
        await pilot.press("x")
        await settle(pilot)
        await pilot.press("Y")
        await until(pilot, lambda: len(chats.load("trip").turns) == 5)


async def test_what_is_typed_is_kept_for_each_chat(open_app: OpenApp, sample: Workspace) -> None:
    chats = trip(sample)
    chats.begin("other", model="support-base")
    async with open_app(size=(120, 40)) as pilot:
        await opened(pilot, "trip")
        await pilot.press(*"half", "ctrl+j", *"said")
        await until(pilot, lambda: chats.unsent("trip") == "half\nsaid")
        screen = await opened(pilot, "other")
        await until(pilot, lambda: screen.state.chat is not None and screen.state.chat.name == "other")
        await settle(pilot)
        assert screen.query_one(MessagePane).text == ""
        await opened(pilot, "trip")
        await until(pilot, lambda: screen.query_one(MessagePane).text == "half\nsaid")
        # Another way of a turn is no next message: leaving it brings back what was written.
        await pilot.press("escape", "e")
        await settle(pilot)
        await pilot.press("X", "escape")
        await until(pilot, lambda: screen.query_one(MessagePane).text == "half\nsaid")
    assert chats.unsent("trip") == "half\nsaid"


async def test_a_stopped_answer_is_kept_and_shown(
    open_app: OpenApp, server: FakeModelServer, sample: Workspace
) -> None:
    chats = trip(sample)
    server.gated = True
    async with open_app(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        await pilot.press(*"more", "enter")
        pane = screen.query_one(ConversationPane)
        await until(pilot, lambda: pane.answering)
        server.release()
        await until(pilot, lambda: any("Hel" in line for line in lines(pilot)))
        await pilot.press("enter")
        assert "on its way" in notices(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: chats.load("trip").branch()[-1].ended == "stopped")
        await settle(pilot)
        assert any("cancelled" in line for line in lines(pilot))


async def test_hostile_text_is_drawn_harmless(open_app: OpenApp, sample: Workspace) -> None:
    chats = Chats(EventLog(sample))
    chats.begin("c", model="support-base", system="\x1b[2J[bold]")
    for number, text in enumerate(hostile_strings()):
        role = (USER, ASSISTANT)[number % 2]
        chats.change("c", lambda now, role=role, text=text: now.with_turn(new_turn(now.head, role, text)))  # type: ignore[misc]
    async with open_app(size=(100, 200)) as pilot:
        await opened(pilot)
        assert len(lines(pilot)) > 10
        assert not any("\x1b" in line for line in lines(pilot))


async def test_without_its_model_nothing_is_kept_and_the_text_stays(open_app: OpenApp, sample: Workspace) -> None:
    chats = Chats(EventLog(sample))
    chats.begin("c", model="gone")
    async with open_app(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        await pilot.press(*"hello", "enter")
        await until(pilot, lambda: "gone" in notices(pilot))
        assert screen.query_one(MessagePane).text == "hello"
        kept = chats.load("c")
        assert kept == Chat("c", model="gone", changed_at=kept.changed_at, id=kept.id)


MOCKS = "- {name: book, description: Book a room., results: [{result: booked}]}"


@pytest.mark.slow
async def test_tools_are_offered_and_their_calls_stand_before_the_answer(
    open_app: OpenApp, server: FakeModelServer, sample: Workspace, tmp_path: Path
) -> None:
    chats = trip(sample)
    file = tmp_path / "mocks.yaml"
    file.write_text(MOCKS)
    called = {
        "tool_calls": [{"index": 0, "id": "c0", "type": "function", "function": {"name": "book", "arguments": "{}"}}]
    }
    server.turns = [["I book. ", called]]
    async with open_app(size=(120, 40)) as pilot:
        await opened(pilot)
        await pilot.press("escape", "i")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        pilot.app.screen.query_one(Input).value = str(file)
        await pilot.press("enter")
        await until(pilot, lambda: "Tools with mock results, until the app ends: book." in notices(pilot))
        await pilot.press("r")
        await until(pilot, lambda: len(chats.load("trip").turns) == 4)
        await settle(pilot)
        assert [tool["function"]["name"] for tool in server.requests[0]["tools"]] == ["book"]
        turn = chats.load("trip").branch()[-1]
        assert (turn.text, [message["role"] for message in turn.rounds]) == ("Hello world.", ["assistant", "tool"])
        drawn = "\n".join(lines(pilot))
        assert "called book {}" in drawn
        assert "→ booked" in drawn


@pytest.mark.slow
async def test_an_edit_is_kept_while_it_is_typed_until_it_is_sent_or_left(
    open_app: OpenApp, server: FakeModelServer, sample: Workspace
) -> None:
    chats = trip(sample)
    first = chats.load("trip").turns[0]
    chats.keep_editing("trip", first.id, "Where to?")
    async with open_app(size=(120, 40)) as pilot:
        screen = await opened(pilot)
        assert (screen.state.editing, screen.query_one(MessagePane).text) == (first.id, "Where to?")
        await pilot.press("n", "o", "w")
        await until(pilot, lambda: chats.editing("trip") == (first.id, "Where to?now"))
        await pilot.press("escape")
        await until(pilot, lambda: chats.editing("trip") is None)
        await settle(pilot)
        assert screen.state.editing == ""
        await pilot.press("g", "j", "j", "j", "e")
        await settle(pilot)
        await pilot.press("x")
        await until(pilot, lambda: chats.editing("trip") == (first.id, "Where?x"))
        await pilot.press("enter")
        await until(pilot, lambda: branch(chats) == ["Where?x", "Hello world."])
        await until(pilot, lambda: chats.editing("trip") is None)
