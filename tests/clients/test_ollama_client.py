"""The ollama package, unmodified, against Ollama's API of our server; vectors against a real model."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from tests.clients.running import Program
from tests.clients.scripted import CONTEXT, Say, Scripted
from tests.clients.templates import called, thinking
from tests.engine.test_guard import KEY, free_port
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

RAIN = "It rains in Rome."
WEATHER = {"city": "Rome", "degrees": 21, "rain": True}
WRITTEN = '{"city": "Rome", "degrees": 21, "rain": true}'
BOTH = called("qwen", ("weather", '{"city": "Rome"}'), ("weather", '{"city": "Oslo"}'), said="I look.")
CALLS = [["weather", {"city": "Rome"}], ["weather", {"city": "Oslo"}]]


@pytest.fixture(scope="module")
def ollama() -> Iterator[Program]:
    program = Program("ollama_chat")
    yield program
    program.close()


def test_answers_whole_and_in_pieces(ollama: Program, qwen: Scripted) -> None:
    qwen.say(RAIN, again=True)
    told = ollama.does("plain", qwen)
    assert told == {"text": RAIN, "reasoning": "", "calls": [], "finish": "stop", "counts": [True] * 3}
    for streamed in ollama.does("stream", qwen):
        assert (streamed["text"], streamed["finish"], streamed["calls"]) == (RAIN, "stop", [])
        assert streamed["pieces"] > 2


def test_thinking_is_apart_and_can_be_switched_off(ollama: Program, qwen: Scripted) -> None:
    qwen.say(thinking("Rome, hm.", RAIN), again=True)
    for told in ollama.does("thinking", qwen):
        assert (told["reasoning"], told["text"]) == ("Rome, hm.", RAIN)
    qwen.say(RAIN)
    assert ollama.does("not_thinking", qwen)["text"] == RAIN
    assert qwen.prompts[0].endswith("<think>\n\n</think>\n\n")


def test_tools_are_called_and_their_results_sent_back(ollama: Program, qwen: Scripted) -> None:
    qwen.say(BOTH, again=True)
    for told in ollama.does("auto", qwen):
        assert (told["text"], told["calls"], told["finish"]) == ("I look.", CALLS, "stop")
    qwen.say(BOTH, RAIN)
    assert ollama.does("second_turn", qwen)["text"] == RAIN
    assert "<tool_response>\nIt rains in Rome.\n</tool_response><tool_response>\nIt rains in Oslo." in qwen.prompts[1]


def test_answers_in_a_form(ollama: Program, qwen: Scripted) -> None:
    qwen.say(WRITTEN, again=True)
    assert ollama.does("structured", qwen) == [WEATHER, WEATHER]
    assert all(call["grammar"] for call in qwen.calls)


def test_prompts_and_raw_text(ollama: Program, qwen: Scripted) -> None:
    qwen.say(RAIN, "upon a time. The end")
    assert ollama.does("generate", qwen) == [RAIN, "upon a time", "stop"]
    assert qwen.prompts[0].startswith("<|im_start|>system\nBe brief.<|im_end|>")
    assert qwen.prompts[1] == "once"


def test_leaving_ends_the_work(ollama: Program, qwen: Scripted) -> None:
    qwen.say(Say(RAIN * 9, still_after=3))
    assert ollama.does("cancel", qwen)
    wait_for(qwen.left.is_set)


def test_lists_and_facts(ollama: Program, qwen: Scripted) -> None:
    told = ollama.does("facts", qwen)
    assert told["list"] == [qwen.model]
    assert told["ps"] == [[qwen.model, CONTEXT]]
    assert told["sizes"][0] > 1_000_000
    assert told["family"] == told["info"] == "llama"
    assert {"completion", "tools", "thinking"} <= set(told["capabilities"])


def test_errors_say_what_and_why(ollama: Program, qwen: Scripted) -> None:
    told = ollama.does("errors", qwen)
    assert [status for _, status in told] == [404, 400, 400, 400, 400, 401]
    for (message, _), word in zip(
        told,
        ("'other'", "options.mirostat", "think", "llmops model get", "llmops model remove", "API key"),
        strict=True,
    ):
        assert word in message


def test_vectors_of_a_real_model(ollama: Program, tmp_path_factory: pytest.TempPathFactory, filled_once: Path) -> None:
    root = tmp_path_factory.mktemp("ollama") / "ws"
    shutil.copytree(filled_once, root)
    workspace, port = Workspace(root), free_port()
    supervisor = ServerSupervisor(workspace)
    options = LoadOptions(threads=1, parallel=1, context=256, host="127.0.0.1", port=port, keys=(KEY,))
    handle = supervisor.ensure(ModelRegistry(Catalog(workspace)).get("support-base"), options)
    try:
        place: Any = SimpleNamespace(url=f"{handle.address}/v1", key=KEY, model="support-base")
        told = ollama.does("embed", place)
    finally:
        supervisor.stop("support-base")
    assert told["widths"] == [256, 256]
    assert told["tokens"] > 2
    assert np.linalg.norm(told["new"]) == pytest.approx(1.0, abs=1e-5)
    assert told["old"] == pytest.approx(told["new"], abs=1e-5)
