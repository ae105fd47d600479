"""Chats over kill -9: what was said in another way is a branch or was never there, and nothing that stood is lost."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time

import pytest

from llmops_tui.prompts.chats.answers import said
from llmops_tui.prompts.chats.store import Chats
from llmops_tui.prompts.chats.tree import ASSISTANT, Chat, new_turn
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.e2e.conftest import OpenTerminal
from tests.fakes import FakeModelServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROUNDS = 25
# Rewrites the first turn again and again, and says which text was kept, once it was.
EDITOR = """
import sys
from pathlib import Path
from llmops_tui.prompts.chats.answers import rewritten
from llmops_tui.prompts.chats.store import Chats
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace

chats = Chats(EventLog(Workspace(Path(sys.argv[1]))))
number = 0
while True:
    number += 1
    chat = chats.load("trip")
    text = f"round {sys.argv[2]} number {number}"
    chats.keep_editing("trip", chat.turns[0].id, text)
    rewritten(chats, chat, chat.turns[0], text)
    print(text, flush=True)
"""


def begun(chats: Chats) -> Chat:
    chat = said(chats, chats.begin("trip", model="support-base"), "", "Where?")
    return chats.change("trip", lambda now: now.with_turn(new_turn(chat.head, ASSISTANT, "Here.")))


def test_edited_turns_survive_kills(sample: Workspace) -> None:
    chats, chance = Chats(EventLog(sample)), random.Random(7)
    first = begun(chats).turns
    acknowledged: set[str] = set()
    for number in range(ROUNDS):
        with subprocess.Popen(
            [sys.executable, "-c", EDITOR, str(sample.root), str(number)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            acknowledged.add(process.stdout.readline().strip())
            time.sleep(chance.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
            acknowledged |= {line.strip() for line in process.stdout if line.endswith("\n")}
        chat = chats.load("trip")
        assert chat.turns[:2] == first
        texts = [turn.text for turn in chat.beside(first[0])]
        assert len(texts) == len(set(texts))
        assert acknowledged <= set(texts)
    assert len(acknowledged) >= ROUNDS


def test_an_edit_that_is_being_typed_is_there_after_a_kill(
    terminal: OpenTerminal, sample: Workspace, found_server: FakeModelServer
) -> None:
    chats = Chats(EventLog(sample))
    first = begun(chats).turns
    app = terminal()
    app.wait("{{ question }}")
    app.jump("a", "Answer")
    app.press("o")
    app.wait("Here.")
    # Not escape and then the key: a busy app reads both at once, as one key with alt.
    app.jump("v", "trip")
    app.press("g", "e")
    app.wait("Turn 1 in another way")
    app.press(" And when?")
    app.wait("Where? And when?")
    app.wait(lambda _text: chats.editing("trip") == (first[0].id, "Where? And when?"))
    app.child.kill(signal.SIGKILL)
    app.finish()
    again = terminal()
    again.wait("{{ question }}")
    again.jump("a", "Answer")
    again.press("o")
    # The chat is at what was being written.
    again.wait("Turn 1 in another way")
    again.wait("Where? And when?")
    again.press("enter")
    # It is drawn as it comes, and kept when it ended.
    again.wait(lambda text: "Hello world." in text and len(chats.load("trip").turns) == 4)
    again.wait(lambda _text: chats.editing("trip") is None)
    chat = chats.load("trip")
    assert chat.turns[:2] == first
    assert [turn.text for turn in chat.branch()] == ["Where? And when?", "Hello world."]
    again.press("ctrl+q")
    assert again.finish() == 0
