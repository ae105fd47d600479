"""``llmops chat``: what it shows, changes and refuses; its answers with the sample's own model are slow tests."""

from __future__ import annotations

import json

import pytest

from llmops_tui.prompts.chats.answers import said
from llmops_tui.prompts.chats.store import Chats
from llmops_tui.prompts.chats.tree import ASSISTANT, new_turn
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops, llmops


@pytest.fixture
def chats(workspace: Workspace) -> Chats:
    made = Chats(EventLog(workspace))
    chat = said(made, made.begin("trip", model="m", system="Be brief."), "", "Where?\n# to")
    made.change("trip", lambda now: now.with_turn(new_turn(chat.head, ASSISTANT, "Here:\n```\ncode")))
    return made


def test_a_chat_is_shown_changed_and_exported(workspace: Workspace, chats: Chats) -> None:
    run = Llmops(workspace).run
    assert [(c["chat"], c["turns"]) for c in run("chat", "list")["chats"]] == [("trip", 2)]
    run("chat", "edit", "trip", "1", "Whither?", "--no-answer")
    assert [turn.text for turn in chats.load("trip").branch()] == ["Whither?"]
    tree = llmops("chat", "show", "trip", "--tree", workspace=workspace).stdout.splitlines()
    first = chats.load("trip").turns[0]
    assert [line[:4] for line in tree] == ["  " + first.id[:2], "  " + first.id[:2], "* " + first.id[:2]]
    run("chat", "switch", "trip", first.id)
    shown = llmops("chat", "show", "trip", workspace=workspace).stdout
    assert "1  you  1/2\nWhere?\n# to\n\n2  assistant\nHere:" in shown
    messages = json.loads(llmops("chat", "export", "trip", "--format", "messages", workspace=workspace).stdout)
    assert [message["role"] for message in messages] == ["system", "user", "assistant"]
    row = json.loads(llmops("chat", "export", "trip", "--format", "jsonl", workspace=workspace).stdout)
    assert row == {"messages": messages}
    # A heading and an open fence of a turn are its own.
    text = llmops("chat", "export", "trip", workspace=workspace).stdout
    assert "> # to\n" in text
    assert text.endswith("> ```\n> code\n> ```\n")
    run("chat", "set", "trip", "--temperature", "0.5", "--system", "")
    kept = chats.load("trip")
    assert (kept.parameters.temperature, kept.system) == (0.5, "")


def test_a_branch_and_a_chat_are_deleted_when_told_so(workspace: Workspace, chats: Chats) -> None:
    run = Llmops(workspace).run
    assert run("chat", "remove", "trip", "2") == {"chat": "trip", "turns": 1, "removed": False}
    assert len(chats.load("trip").turns) == 2
    run("chat", "remove", "trip", "2", "--yes")
    assert len(chats.load("trip").turns) == 1
    run("chat", "rename", "trip", "journey")
    assert run("chat", "remove", "journey", "--yes")["turns"] == 1
    assert chats.summaries() == []


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("say", "new", "hi"), "a new chat needs a model"),
        (("say", "new", "hi", "--model", "none"), "none"),
        (("say", "new", "hi", "--model", "none", "--at", "2"), "no chat 'new'"),
        (("say", "trip", " ", "--temperature", "0.5"), "the message is empty"),
        (("say", "trip", "hi", "--system", "Be long."), "another system text"),
        (("say", "trip", "hi", "--temperature", "9"), "--temperature"),
        (("edit", "trip", "1", "x", "--go-on"), "--go-on is for an answer"),
        (("edit", "trip", "7", "x"), "7"),
        (("export", "trip", "--format", "pdf"), "there is no form 'pdf'"),
        (("show", "none"), "none"),
        (("rename", "trip", "a/b"), "not a valid chat name"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    arguments: tuple[str, ...], word: str, workspace: Workspace, chats: Chats
) -> None:
    before = chats.load("trip")
    done = llmops("chat", *arguments, workspace=workspace)
    assert done.returncode != 0
    assert word in done.stderr
    assert chats.load("trip") == before
    assert [one.name for one in chats.summaries()] == ["trip"]


@pytest.mark.slow
def test_a_chat_with_the_samples_own_model(sample: Workspace) -> None:
    run = Llmops(sample).run
    first = run("chat", "say", "c", "How long does shipping take?", "--model", "support-base", "--max-tokens", "30")
    assert (first["number"], first["role"], first["ended"]) == (2, "assistant", "stop")
    assert run("chat", "say", "c", "And returns?")["number"] == 4
    again = run("chat", "again", "c", "2", "--seed", "2", "--temperature", "1")
    assert again["number"] == 2
    begun = run("chat", "edit", "c", "2", "Parcels are", "--go-on")
    assert begun["text"].startswith("Parcels are")
    chat = Chats(EventLog(sample)).load("c")
    assert (len(chat.turns), chat.branches(), len(chat.beside(chat.turns[1]))) == (6, 3, 3)
    assert run("traces", "list")["traces"]
