"""Chats: a tree of turns in which nothing is lost, and answers that are kept as far as they came."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.models.registry import Model
from llmops_tui.prompts.chats.answers import answer, rewritten, said
from llmops_tui.prompts.chats.store import Chats
from llmops_tui.prompts.chats.tree import ASSISTANT, USER, Chat, chat_of, new_turn
from llmops_tui.prompts.runs import PromptRunner
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.fakes import FakeModelServer

MODEL = Model("m", "gguf", Path("/m.gguf"), "0" * 64, 1, {}, 0.0, None)


@pytest.fixture
def server(event_log: EventLog) -> Iterator[FakeModelServer]:
    with tempfile.TemporaryDirectory(prefix="fake") as folder:
        made = FakeModelServer(Path(folder) / "s", ["Hel", "lo."], event_log)
        yield made
        made.close()


@pytest.fixture
def runner(workspace: Workspace, event_log: EventLog, server: FakeModelServer) -> Iterator[PromptRunner]:
    renderer = TemplateRenderer()
    yield PromptRunner(Catalog(workspace), event_log, renderer, server.ensure)
    renderer.close()


@pytest.fixture
def chats(event_log: EventLog) -> Chats:
    return Chats(event_log)


async def ask(chats: Chats, runner: PromptRunner, chat: Chat, begun: str = "") -> Chat:
    parent = chat.head
    kept = None
    async with aclosing(answer(chats, runner, chat, parent, MODEL, SamplingParameters(), begun=begun)) as steps:
        async for step in steps:
            kept = step.chat or kept
    assert kept is not None
    return kept


def texts(chat: Chat) -> list[tuple[str, str]]:
    return [(turn.role, turn.text) for turn in chat.branch()]


# ── the tree ──


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=40))
def test_every_turn_stays_and_is_reached(moves: list[tuple[int, bool]]) -> None:
    chat = Chat("c")
    for number, beside in moves:
        at = chat.turns[number % len(chat.turns)] if chat.turns else None
        parent = "" if at is None else at.parent if beside else at.id
        chat = chat.with_turn(new_turn(parent, USER, f"text {len(chat.turns)}"))
        assert chat.branch()[-1] == chat.turns[-1]
    assert chat_of("c", json.loads(json.dumps(chat.as_dict()))) == chat
    for turn in chat.turns:
        shown = chat.shown_at(turn).branch()
        assert turn in shown
        ways = chat.beside(turn)
        now, seen = turn, []
        for _ in ways:
            shown_now = chat.at_other(now, 1).branch()
            now = next(one for one in shown_now if one.parent == turn.parent)
            seen.append(now)
        assert (seen[-1], sorted(one.id for one in seen)) == (turn, sorted(one.id for one in ways))
        gone = {one.id for one in chat.below(turn)}
        less = chat.without(turn)
        assert {one.id for one in less.turns} == {one.id for one in chat.turns} - gone
        assert not gone & {one.id for one in less.branch()}
        assert chat_of("c", json.loads(json.dumps(less.as_dict()))) == less


def test_a_turn_goes_by_its_number_on_the_branch_or_its_id() -> None:
    chat = Chat("c").with_turn(first := new_turn("", USER, "a"))
    chat = chat.with_turn(second := new_turn(first.id, ASSISTANT, "b"))
    assert (chat.turn("2"), chat.turn(first.id)) == (second, first)
    for unknown in ("3", "0", "turn_zzz"):
        with pytest.raises(NotFoundError):
            chat.turn(unknown)
    with pytest.raises(InputRefusedError, match="no turn turn_x"):
        chat.with_turn(new_turn("turn_x", USER, "c"))


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body["turns"][0].update(mood="new"),
        lambda body: body["turns"][0].update(role="narrator"),
        lambda body: body["turns"][0].update(text=None),
        lambda body: body["turns"].append(dict(body["turns"][0])),
        lambda body: body["turns"].append("a"),
        lambda body: body["turns"][0].update(parent="turn_gone"),
        lambda body: body.update(head="turn_gone"),
        lambda body: body.pop("parameters"),
        lambda body: body["parameters"].update(warmth=3),
    ],
)
def test_what_cannot_be_read_is_refused_and_stays_as_it_is(change: Any, event_log: EventLog, chats: Chats) -> None:
    body: Any = Chat("c").with_turn(new_turn("", USER, "a")).as_dict()
    change(body)
    event_log.save_draft("chat:c", body)
    for attempt in (lambda: chats.load("c"), lambda: chats.change("c", lambda chat: replace(chat, head=""))):
        with pytest.raises(LlmopsError, match="the chat c cannot be read"):
            attempt()
    assert event_log.load_draft("chat:c") == body


# ── the store ──


def test_two_windows_say_something_at_once_and_both_stay(chats: Chats, event_log: EventLog) -> None:
    stale = said(chats, chats.begin("c"), "", "first")
    other = Chats(event_log)
    said(other, other.load("c"), "", "from another window")
    said(chats, stale, stale.head, "from here")
    assert [turn.text for turn in chats.load("c").turns] == ["first", "from another window", "from here"]


def test_chats_are_named_listed_renamed_and_removed(chats: Chats) -> None:
    assert chats.free_name() == "chat-1"
    said(chats, chats.begin("chat-1", model="m", system="Be kind."), "", "hello\nthere")
    chats.begin("b")
    assert chats.free_name() == "chat-2"
    for name, code in (("b", "name_taken"), ("../b", "bad_name"), ("", "bad_name")):
        with pytest.raises(InputRefusedError) as refused:
            chats.begin(name)
        assert refused.value.code == code
        with pytest.raises(InputRefusedError) as refused:
            chats.rename("chat-1", name)
        assert refused.value.code == code
    assert texts(chats.rename("chat-1", "z")) == [(USER, "hello\nthere")]
    assert {(one.name, one.turns, one.branches, one.first) for one in chats.summaries()} == {
        ("z", 1, 1, "hello\nthere"),
        ("b", 0, 0, ""),
    }
    removed = chats.remove("z")
    with pytest.raises(NotFoundError):
        chats.load("z")
    assert removed is not None
    assert texts(chats.put(removed)) == [(USER, "hello\nthere")]


# ── answers ──


async def test_answers_follow_the_branch_that_is_shown(
    chats: Chats, runner: PromptRunner, server: FakeModelServer
) -> None:
    chat = await ask(chats, runner, said(chats, chats.begin("c", system="Be brief."), "", "one"))
    chat = await ask(chats, runner, said(chats, chat, chat.head, "two"))
    assert texts(chat) == [(USER, "one"), (ASSISTANT, "Hello."), (USER, "two"), (ASSISTANT, "Hello.")]
    last = chat.branch()[-1]
    assert (last.model, last.ended, last.run.startswith("run_")) == ("m", "stop", True)
    # Another first question: the branch begins anew, and the old one is there.
    chat = rewritten(chats, chat, chat.branch()[0], "uno")
    server.pieces = ["Ciao."]
    chat = await ask(chats, runner, chat)
    assert texts(chat) == [(USER, "uno"), (ASSISTANT, "Ciao.")]
    assert server.requests[-1]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "uno"},
    ]
    assert texts(chat.at_other(chat.branch()[0], 1))[-1] == (ASSISTANT, "Hello.")
    assert (len(chat.turns), chat.branches()) == (6, 2)


async def test_an_answer_goes_on_from_its_beginning(
    chats: Chats, runner: PromptRunner, server: FakeModelServer
) -> None:
    chat = await ask(chats, runner, said(chats, chats.begin("c"), "", "one"), begun="Well, ")
    assert texts(chat)[-1] == (ASSISTANT, "Well, Hello.")
    assert server.requests[-1]["messages"][-1] == {"role": "assistant", "content": "Well, "}


async def test_a_stopped_answer_and_one_that_fails_are_kept_as_far_as_they_came(
    chats: Chats, runner: PromptRunner, server: FakeModelServer
) -> None:
    chat = said(chats, chats.begin("c"), "", "one")
    async with aclosing(answer(chats, runner, chat, chat.head, MODEL, SamplingParameters())) as steps:
        async for step in steps:
            if step.progress is not None and step.progress.stage == "text":
                break
    chat = chats.load("c")
    assert (texts(chat)[-1][0], chat.branch()[-1].ended) == (ASSISTANT, "stopped")
    server.die_after = 1
    with pytest.raises(LlmopsError):
        await ask(chats, runner, replace(chat, head=chat.branch()[0].id))
    chat = chats.load("c")
    assert (texts(chat)[-1], chat.branch()[-1].ended) == ((ASSISTANT, "Hel"), "error")
    # Of what failed before the first word nothing is kept: the question waits for its answer.
    server.die_after = 0
    count = len(chat.turns)
    with pytest.raises(LlmopsError):
        await ask(chats, runner, replace(chat, head=chat.branch()[0].id))
    assert len(chats.load("c").turns) == count


async def test_a_cancelled_answer_is_kept(chats: Chats, runner: PromptRunner, server: FakeModelServer) -> None:
    chat = said(chats, chats.begin("c"), "", "one")
    server.gated = True
    seen = asyncio.Event()

    async def talk() -> None:
        async for step in answer(chats, runner, chat, chat.head, MODEL, SamplingParameters()):
            if step.progress is not None and step.progress.stage == "text":
                seen.set()

    task = asyncio.create_task(talk())
    server.release()
    await seen.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (texts(chats.load("c"))[-1], chats.load("c").branch()[-1].ended) == ((ASSISTANT, "Hel"), "stopped")


async def test_what_cannot_be_said_is_refused(chats: Chats, runner: PromptRunner) -> None:
    chat = chats.begin("c")
    with pytest.raises(InputRefusedError, match=r"half of a character, .*udcff"):
        said(chats, chat, "", "caf\udcff")
    with pytest.raises(InputRefusedError, match="the request has half of a character"):
        await ask(chats, runner, chats.put(Chat("half").with_turn(new_turn("", USER, "caf\udcff"))))
    with pytest.raises(InputRefusedError, match="nothing here that a model could answer"):
        await ask(chats, runner, chat)
    with pytest.raises(InputRefusedError, match="the message is empty"):
        said(chats, chat, "", " \n")
    chat = said(chats, chat, "", "one")
    with pytest.raises(InputRefusedError, match="the text is the same"):
        rewritten(chats, chat, chat.branch()[0], "one")
    # What has no answer yet is said in another way, not twice in a row.
    chat = said(chats, chat, chat.head, "two")
    assert texts(chat) == [(USER, "two")]
    assert [turn.text for turn in chat.beside(chat.branch()[0])] == ["one", "two"]


async def test_an_answer_is_kept_in_a_chat_that_was_renamed_meanwhile(chats: Chats, runner: PromptRunner) -> None:
    chat = said(chats, chats.begin("c"), "", "one")
    chats.rename("c", "d")
    chats.begin("c")  # another one of the name
    kept = await ask(chats, runner, chat)
    assert (kept.name, texts(kept)) == ("d", [(USER, "one"), (ASSISTANT, "Hello.")])
    assert chats.load("c").turns == ()
    # Where what is answered is gone, that is said with the trace that has the answer.
    for gone in (lambda: chats.change("d", lambda now: now.without(now.turns[0])), lambda: chats.remove("d")):
        gone()
        with pytest.raises(InputRefusedError, match="was deleted from c meanwhile") as refused:
            await ask(chats, runner, chat)
        assert "run_" in refused.value.hint


async def test_a_chat_without_room_for_an_answer_says_so_before_it_is_asked_for(
    chats: Chats, runner: PromptRunner, server: FakeModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmops_tui.prompts.chats.tree.MOST_TURNS", 3)
    chat = await ask(chats, runner, said(chats, chats.begin("c"), "", "one"))
    with pytest.raises(InputRefusedError, match="no room"):
        said(chats, chat, chat.head, "two")
    chat = rewritten(chats, chat, chat.turns[0], "uno")
    with pytest.raises(InputRefusedError, match="no room"):
        await ask(chats, runner, chat)
    assert (len(chats.load("c").turns), len(server.requests)) == (3, 1)


def test_what_is_typed_goes_with_its_chat_and_to_no_other_of_its_name(chats: Chats) -> None:
    chats.begin("a")
    chats.begin("b")
    chats.keep_unsent("b", "of b")
    chats.remove("a")
    chats.keep_unsent("a", "from a window that has it open still")
    assert chats.unsent("a") == ""
    assert chats.rename("b", "a").name == "a"
    assert (chats.unsent("a"), chats.unsent("b")) == ("of b", "")
    chats.keep_unsent("a", "")
    assert chats.unsent("a") == ""


def test_an_edit_that_was_not_sent_goes_with_its_chat_too(chats: Chats) -> None:
    chats.begin("a")
    chats.keep_editing("a", "turn_1", "half")
    chats.keep_unsent("a", "the next message")
    assert (chats.editing("a"), chats.unsent("a")) == (("turn_1", "half"), "the next message")
    chats.rename("a", "b")
    assert (chats.editing("a"), chats.editing("b")) == (None, ("turn_1", "half"))
    chats.keep_editing("b", "turn_1", "")
    assert (chats.editing("b"), chats.unsent("b")) == (None, "the next message")
    chats.keep_editing("b", "turn_1", "again")
    chats.remove("b")
    assert chats.editing("b") is None


def test_a_chat_that_cannot_be_read_hides_no_other_and_can_be_removed(chats: Chats, event_log: EventLog) -> None:
    chats.begin("b")
    event_log.save_draft("chat:c", {"turns": [7]})
    found, unreadable = chats.listed()
    assert [one.name for one in found] == ["b"]
    assert ["the chat c cannot be read" in one.message for one in unreadable] == [True]
    assert chats.remove("c") is None
    assert chats.listed()[1] == []
