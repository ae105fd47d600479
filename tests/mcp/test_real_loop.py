"""A real model calls a real server's tools in runs of prompts, and goes on with what came of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.mcp_client.servers import tool_server
from llmops_tui.prompts.run_history import RunHistory
from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.clients.templates import QWEN
from tests.commands import Llmops
from tests.engine.engines import rewrite_gguf

pytestmark = pytest.mark.slow

OFFICIAL = Path(__file__).parent / "servers" / "official.py"


@pytest.fixture
def ready(workspace: Workspace, tmp_path: Path, smollm2: Path) -> Llmops:
    """A small real model with a template that knows tools, a prompt, and a server whose tools are on."""
    path = rewrite_gguf(
        smollm2, tmp_path / "small.gguf", {"tokenizer.chat_template"}, lambda writer: writer.add_chat_template(QWEN)
    )
    command = Llmops(workspace)
    command.run("model", "add", str(path), "--name", "small")
    command.run("tools", "add", "counterpart", "--", sys.executable, str(OFFICIAL))
    command.run("tools", "on", "counterpart", "add", "weather")
    PromptStore(Catalog(workspace)).save("ask", template="{{ question }}", system="", note="", parent=None)
    return command


def run(command: Llmops, question: str, choice: str) -> dict[str, Any]:
    """A run whose first answer has to call."""
    told: dict[str, Any] = command.run(
        "prompt", "run", "ask", "--model", "small", "--var", f"question={question}", "--mcp", "counterpart",
        "--approve-tools", "--tool-choice", choice, "--temperature", "0", "--max-tokens", "120",
    )  # fmt: skip
    return told


def test_a_model_calls_a_tool_and_answers_with_its_result(ready: Llmops) -> None:
    told = run(ready, "What is the weather in Graz?", "weather")
    made = told["calls"][0]
    city = json.loads(made["arguments"])["city"]
    assert (made["server"], made["tool"], made["state"]) == ("counterpart", "weather", "done")
    assert made["text"] == f"It rains in {city}."
    assert told["text"].strip()
    # The second request has the call and what came of it, in the model's own format.
    workspace = ready.workspace
    last, first = RunHistory(Catalog(workspace), EventLog(workspace)).of("ask", limit=2)
    assert [message["role"] for message in first.messages] == ["user"]
    assert [message["role"] for message in last.messages] == ["user", "assistant", "tool"]
    assert last.messages[2]["content"] == made["text"]
    assert last.output == told["text"]
    # Numbers are numbers, since the tool's schema says so.
    added = run(ready, "Add 2 and 3.", "add")["calls"][0]
    assert added["state"] == "done"
    numbers = json.loads(added["arguments"])
    assert json.loads(added["text"]) == {"total": numbers["a"] + numbers["b"]}
    # Any of those that are on, and none that is off.
    free = run(ready, "Add 2 and 3.", "required")["calls"][0]
    assert free["state"] == "done"
    assert free["tool"] in tool_server(workspace, "counterpart").tools
    refused = ready.run(
        "prompt", "run", "ask", "--model", "small", "--var", "question=x", "--mcp", "counterpart", "--approve-tools",
        "--tool-choice", "fail", code=3,
    )  # fmt: skip
    assert refused["error"]["code"] == "tool_not_found"
