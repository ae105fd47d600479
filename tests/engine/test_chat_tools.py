"""Tools in chats: mock results, calls that a rule allows or denies, and rounds that stay with their turn."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.scripted.mock_toolbox import MockToolbox, read_mock_tools
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.mcp_client.rules import ToolRule, read_conditions, ruling
from llmops_tui.mcp_client.servers import add_server, set_rules, tool_server
from llmops_tui.models.registry import Model
from llmops_tui.prompts.chats.answers import answer, said
from llmops_tui.prompts.chats.store import Chats
from llmops_tui.prompts.chats.texts import as_text
from llmops_tui.prompts.runs import PromptRunner
from llmops_tui.prompts.tool_rounds import CallStep, Decision, Together, ToolRounds
from llmops_tui.user_files import approved_tool_servers_path
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops, llmops
from tests.fakes import FakeModelServer

MODEL = Model("m", "gguf", Path("/m.gguf"), "0" * 64, 1, {}, 0.0, None)
TOOLS = """
tools:
- name: book
  description: Book a room.
  parameters: {type: object, properties: {city: {type: string}}}
  results:
  - when: {city: Graz}
    result: {booked: "{{ city }}", rooms: "{{ state.rooms }}"}
    set: {rooms: 1}
  - when: {city: Linz}
    result: {error: full}
state: {rooms: 2}
"""


@pytest.fixture
def mocks(tmp_path: Path) -> Path:
    path = tmp_path / "tools.yaml"
    path.write_text(TOOLS)
    return path


@pytest.fixture
def server(event_log: EventLog) -> Iterator[FakeModelServer]:
    with tempfile.TemporaryDirectory(prefix="fake") as folder:
        made = FakeModelServer(Path(folder) / "s", ["Done."], event_log)
        yield made
        made.close()


def call(name: str, **arguments: str) -> dict[str, Any]:
    """A piece of an answer with a call."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"tool_calls": [{"index": 0, "id": "c0", "type": "function", "function": function}]}


async def nobody(step: CallStep) -> Decision:
    raise AssertionError(f"{step.function} was asked about")


async def test_a_chat_calls_mock_tools_and_keeps_the_rounds(
    workspace: Workspace, event_log: EventLog, server: FakeModelServer, mocks: Path
) -> None:
    chats, renderer = Chats(event_log), TemplateRenderer()
    runner = PromptRunner(Catalog(workspace), event_log, renderer, server.ensure)
    tools = ToolRounds(MockToolbox(read_mock_tools(mocks)), nobody)
    server.turns = [["I book. ", call("book", city="Graz")], [call("book", city="Graz")], [call("book", city="Linz")]]
    chat = said(chats, chats.begin("trip", model="m"), "", "A room, please.")
    states = []
    try:
        steps = answer(chats, runner, chat, chat.head, MODEL, SamplingParameters(), tools=tools)
        async with aclosing(steps):
            async for step in steps:
                if step.progress is not None and step.progress.call is not None:
                    states.append(step.progress.call.state)
                chat = step.chat or chat
        assert states == ["runs", "done", "runs", "done", "runs", "failed"]
        # The state goes on from call to call; the rounds stand before the answer, and go with it to the next one.
        results = [json.loads(one["content"]) for one in chat.branch()[1].rounds if one["role"] == "tool"]
        assert results == [{"booked": "Graz", "rooms": 2}, {"booked": "Graz", "rooms": 1}, {"error": "full"}]
        assert chat.branch()[1].text == "Done."
        chat = said(chats, chat, chat.head, "Thanks.")
        async with aclosing(answer(chats, runner, chat, chat.head, MODEL, SamplingParameters())) as steps:
            async for _ in steps:
                pass
        roles = [message["role"] for message in server.requests[-1]["messages"]]
        assert roles == ["user", *["assistant", "tool"] * 3, "assistant", "user"]
    finally:
        renderer.close()
    text = as_text(chats.load("trip"), "markdown")
    assert "> I book." in text
    assert '> called book {"city": "Graz"}' in text
    assert '> → {"booked": "Graz", "rooms": 2}' in text


def test_a_mock_stands_in_the_place_of_a_real_tool(mocks: Path) -> None:
    first, second = MockToolbox(read_mock_tools(mocks)), MockToolbox(read_mock_tools(mocks))
    both = Together(first, second)
    assert both.tools == first.tools
    assert both.find("book") is first.tools[0]
    assert both.find("none") is None


@pytest.mark.parametrize(
    ("text", "told"),
    [("[", "no YAML"), ("a: 1", "has no tools"), ("[]", "has no tools"), ("- {name: a, result: 1}", "tools.0.result")],
)
def test_files_that_have_no_tools_are_refused(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(text)
    with pytest.raises(InputRefusedError, match=told):
        read_mock_tools(path)
    with pytest.raises(InputRefusedError, match="cannot read"):
        read_mock_tools(tmp_path / "none")


ALLOWED = ToolRule(tool="read", allow=True, when={"path": "/notes/*"})


@pytest.mark.parametrize(
    ("rules", "tool", "arguments", "decided"),
    [
        ([], "read", {}, None),
        ([ALLOWED], "read", {"path": "/notes/a"}, True),
        ([ALLOWED], "read", {"path": "/notes/a/b"}, True),
        ([ALLOWED], "read", {"path": "/notes/../etc/passwd"}, None),
        ([ALLOWED], "read", {"path": "/etc/passwd"}, None),
        ([ALLOWED], "read", {}, None),
        ([ALLOWED], "write", {"path": "/notes/a"}, None),
        ([ToolRule(tool="*", allow=True)], "write", {"path": "/notes/a"}, True),
        # A denial comes first, wherever it stands.
        ([ToolRule(tool="*", allow=True), ToolRule(tool="write", allow=False)], "write", {}, False),
        ([ToolRule(tool="*", allow=False, when={"path": "*secret*"}), ALLOWED], "read", {"path": "/notes/../secret"}, False),
        ([ToolRule(tool="n", allow=True, when={"count": "[0-9]"})], "n", {"count": 7}, True),
        ([ToolRule(tool="n", allow=True, when={"count": "[0-9]"})], "n", {"count": 17}, None),
    ],
)  # fmt: skip
def test_a_rule_decides_a_call(
    rules: list[ToolRule], tool: str, arguments: dict[str, Any], decided: bool | None
) -> None:
    found = ruling(rules, tool, arguments)
    assert (None if found is None else found.allow) is decided


def test_conditions_are_read_or_refused() -> None:
    assert read_conditions(["path=/a=b*"]) == {"path": "/a=b*"}
    for wrong in (["path"], ["=x"], ["a=1", "a=2"]):
        with pytest.raises(InputRefusedError):
            read_conditions(wrong)


def test_rules_are_made_by_the_user_and_those_of_a_foreign_workspace_decide_nothing(workspace: Workspace) -> None:
    command = Llmops(workspace)
    add_server(workspace, "files", ("a program",))
    command.run("tools", "allow", "files", "read", "--when", "path=/notes/*")
    told = command.run("tools", "deny", "files", "*", "--when", "path=*secret*")["rules"]
    assert [(rule["tool"], rule["allow"]) for rule in told] == [("read", True), ("*", False)]
    assert (
        "allow read when path=/notes/*; deny * when path=*secret*"
        in llmops("tools", "list", workspace=workspace).stdout
    )
    server = tool_server(workspace, "files")
    assert server.followed_rules == server.rules
    approved_tool_servers_path().write_text("")
    server = tool_server(workspace, "files")
    assert (len(server.rules), server.followed_rules) == (2, ())
    assert "not made by you" in llmops("tools", "list", workspace=workspace).stdout
    # A rule of mine does not make theirs mine.
    command.run("tools", "allow", "files", "write")
    assert [rule.tool for rule in tool_server(workspace, "files").followed_rules] == ["write"]
    assert command.run("tools", "ask", "files", "write")["rules"] == []
    assert command.run("tools", "ask", "files", "write", code=3)["error"]["code"] == "rule_not_found"


async def test_a_rule_makes_a_call_without_a_word_and_denies_one_whatever_is_said(mocks: Path) -> None:
    box = MockToolbox(read_mock_tools(mocks))
    decided = []

    async def everything(step: CallStep) -> Decision:
        decided.append(step.function)
        return Decision.RUN

    asked: Any = [{"id": "1", "type": "function", "function": {"name": "book", "arguments": '{"city": "Graz"}'}}]
    for rules, state, words in (
        ((), "done", ["book"]),
        ((ToolRule(tool="book", allow=False, when={"city": "G*"}),), "denied", []),
        ((ToolRule(tool="book", allow=True),), "done", []),
    ):
        from dataclasses import replace

        decided.clear()
        box.tools = [replace(tool, rules=rules) for tool in box.tools]
        steps = [step async for step in ToolRounds(box, everything).answer(asked)]
        assert (steps[-1].state, decided) == (state, words)


def test_without_a_terminal_a_rule_has_to_be_there(sample: Workspace, mocks: Path) -> None:
    add_server(sample, "files", ("/nowhere/program",))
    asked = ("chat", "say", "c", "hi", "--model", "support-base", "--mcp", "files")
    done = llmops(*asked, workspace=sample)
    assert done.returncode == 2
    assert "llmops tools allow makes a rule" in done.stderr
    assert Chats(EventLog(sample)).summaries() == []
    set_rules(sample, "files", [ToolRule(tool="read", allow=True)])
    assert "usage" not in llmops("--json", *asked, workspace=sample).stdout
    assert "needs --mcp SERVER or --tools FILE" in llmops(*asked[:-2], "--tool-choice", "x", workspace=sample).stderr
    refused = llmops("chat", "edit", "c", "1", "x", "--no-answer", "--tools", str(mocks), workspace=sample)
    assert "no tool is offered" in refused.stderr


@pytest.mark.slow
def test_a_small_model_calls_a_mock_tool_in_a_chat(
    workspace: Workspace, smollm2: Path, mocks: Path, tmp_path: Path
) -> None:
    from tests.clients.templates import QWEN
    from tests.engine.engines import rewrite_gguf

    path = rewrite_gguf(
        smollm2, tmp_path / "small.gguf", {"tokenizer.chat_template"}, lambda writer: writer.add_chat_template(QWEN)
    )
    command = Llmops(workspace)
    command.run("model", "add", str(path), "--name", "small")
    told = command.run(
        "chat", "say", "trip", "Book a room in Graz.", "--model", "small", "--tools", str(mocks), "--tool-choice", "book",
        "--temperature", "0", "--max-tokens", "80",
    )  # fmt: skip
    calls = [call for message in told["rounds"] for call in message.get("tool_calls", [])]
    assert calls[0]["function"]["name"] == "book"
    assert told["rounds"][1]["role"] == "tool"
    again = command.run("chat", "say", "trip", "And now?", "--tools", str(mocks))
    assert again["number"] == 4
