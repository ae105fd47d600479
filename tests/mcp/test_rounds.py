"""Tools in a run: what a model calls waits for a word, is made, and goes back; what is not approved is not called."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.client import ModelClient, StreamEnd
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.mcp_client.connection import Called, ToolConnection
from llmops_tui.mcp_client.messages import ToolRecord
from llmops_tui.mcp_client.rules import ToolRule
from llmops_tui.mcp_client.servers import ToolServer, switch_tools
from llmops_tui.mcp_client.toolbox import OfferedTool, Toolbox, offered
from llmops_tui.models.registry import Model, ModelRegistry
from llmops_tui.prompts.runs import MOST_ROUNDS, PromptRunner, RunProgress, RunRequest
from llmops_tui.prompts.tool_rounds import CallStep, Decision, ToolRounds
from llmops_tui.traces.store import TraceStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.fakes import FakeModelServer
from tests.mcp.test_client import added

REQUEST = RunRequest("tools-test", "", "What is the weather?", {}, SamplingParameters())


def record(name: str, digest: str = "d", problem: str = "") -> ToolRecord:
    """A tool as a server describes it."""
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    return {
        "name": name,
        "title": "",
        "description": f"does {name}",
        "parameters": parameters,
        "digest": digest,
        "problem": problem,
        "reads_only": None,
        "destroys": None,
    }


class FakeTools:
    """Tools that are functions."""

    def __init__(self, *names: str) -> None:
        self.tools = [OfferedTool(name, "home", record(name)) for name in names]
        self.called: list[tuple[str, JsonObject]] = []

    def find(self, function: str) -> OfferedTool | None:
        return next((tool for tool in self.tools if tool.function == function), None)

    async def call(self, tool: OfferedTool, arguments: JsonObject) -> Called:
        self.called.append((tool.function, arguments))
        if tool.function == "broken":
            raise LlmopsError("tool_silent", "it said nothing", "Try again.")
        return Called(f"{tool.function} says {arguments}", failed=tool.function == "failing")


def call(name: str, arguments: Any, index: int = 0) -> dict[str, Any]:
    """A piece of an answer with a call."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    function = {"name": name, "arguments": text}
    return {"tool_calls": [{"index": index, "id": f"c{index}", "type": "function", "function": function}]}


@pytest.fixture
def server(sample: Workspace) -> Iterator[FakeModelServer]:
    with tempfile.TemporaryDirectory(prefix="fake") as folder:
        made = FakeModelServer(Path(folder) / "s", ["It ", "rains."], EventLog(sample))
        yield made
        made.close()


@pytest.fixture
def model(sample: Workspace) -> Model:
    return ModelRegistry(Catalog(sample)).get("support-base")


async def run(
    workspace: Workspace, server: FakeModelServer, model: Model, tools: Any, *decisions: Decision
) -> tuple[list[RunProgress], list[CallStep]]:
    """A run in which a person says these words in turn: all steps, and what waited for a word."""
    asked: list[CallStep] = []

    async def approve(step: CallStep) -> Decision:
        asked.append(step)
        return decisions[len(asked) - 1]

    renderer = TemplateRenderer()
    try:
        runner = PromptRunner(Catalog(workspace), EventLog(workspace), renderer, server.ensure)
        return [step async for step in runner.run(REQUEST, model, ToolRounds(tools, approve))], asked
    finally:
        renderer.close()


def sent_back(server: FakeModelServer) -> list[str]:
    """What tools said, as the last request has it."""
    return [message["content"] for message in server.requests[-1]["messages"] if message["role"] == "tool"]


async def test_a_call_waits_is_made_and_goes_back(sample: Workspace, server: FakeModelServer, model: Model) -> None:
    tools = FakeTools("weather")
    server.turns = [["Let me see. ", call("weather", {"city": "Graz"})]]
    steps, asked = await run(sample, server, model, tools, Decision.ONCE)
    assert [(step.function, step.server, json.loads(step.arguments)) for step in asked] == [
        ("weather", "home", {"city": "Graz"})
    ]
    states = [step.call.state for step in steps if step.call is not None]
    assert states == ["waits", "runs", "done"]
    assert tools.called == [("weather", {"city": "Graz"})]
    assert [tool["function"]["name"] for tool in server.requests[0]["tools"]] == ["weather"]
    (back,) = sent_back(server)
    assert back == "weather says {'city': 'Graz'}"
    turn = server.requests[-1]["messages"][1]
    assert (turn["role"], turn["content"], turn["tool_calls"][0]["id"]) == ("assistant", "Let me see. ", "c0")
    assert "".join(step.text for step in steps) == "Let me see. It rains."
    assert [step.stage for step in steps].count("finished") == 1
    # The record of the last request has the calls and their results.
    kept = TraceStore(Catalog(sample), EventLog(sample)).get(steps[-1].run_id)
    assert [message["role"] for message in kept.messages] == ["user", "assistant", "tool"]
    assert kept.messages[2]["content"] == back


async def test_what_is_denied_is_not_called(sample: Workspace, server: FakeModelServer, model: Model) -> None:
    tools = FakeTools("weather")
    server.turns = [[call("weather", {})]]
    steps, _ = await run(sample, server, model, tools, Decision.DENY)
    assert tools.called == []
    assert sent_back(server) == ["Not called: the user denied this call."]
    assert steps[-1].stage == "finished"


async def test_a_word_for_the_whole_run_is_for_one_tool(
    sample: Workspace, server: FakeModelServer, model: Model
) -> None:
    tools = FakeTools("weather", "time")
    server.turns = [[call("weather", {"n": n})] for n in range(3)] + [[call("time", {})]]
    _, asked = await run(sample, server, model, tools, Decision.RUN, Decision.DENY)
    assert [step.function for step in asked] == ["weather", "time"]
    assert [name for name, _ in tools.called] == ["weather"] * 3


@pytest.mark.parametrize(
    ("pieces", "told"),
    [
        ([call("other", {})], "there is no tool 'other'"),
        ([call("weather", "{no JSON")], "the arguments are no JSON"),
        ([call("weather", "[1]")], "no JSON object"),
        ([call("broken", {})], "it said nothing. Try again."),
        ([call("failing", {})], "failing says"),
    ],
)
async def test_what_goes_wrong_is_told_to_the_model(
    sample: Workspace, server: FakeModelServer, model: Model, pieces: list[Any], told: str
) -> None:
    server.turns = [pieces]
    tools = FakeTools("weather", "broken", "failing")
    steps, _ = await run(sample, server, model, tools, Decision.ONCE)
    assert told in sent_back(server)[0]
    assert {step.call.state for step in steps if step.call is not None} & {"refused", "failed"}


async def test_loops_come_to_an_end(sample: Workspace, server: FakeModelServer, model: Model) -> None:
    tools = FakeTools("weather")
    server.turns = [[call("weather", {"city": "Graz"})] for _ in range(MOST_ROUNDS)]
    with pytest.raises(LlmopsError, match="and gave no answer") as no:
        await run(sample, server, model, tools, Decision.RUN)
    assert no.value.code == "too_many_rounds"
    assert len(server.requests) == MOST_ROUNDS
    assert len(tools.called) == 3
    assert "was called 3 times with these arguments already" in sent_back(server)[-1]


async def test_many_calls_at_once(sample: Workspace, server: FakeModelServer, model: Model) -> None:
    tools = FakeTools("weather")
    server.turns = [[call("weather", {"n": n}, n) for n in range(20)]]
    await run(sample, server, model, tools, Decision.RUN)
    assert len(tools.called) == 16
    assert len(sent_back(server)) == 20


@settings(max_examples=20, deadline=None)
@given(st.data())
async def test_calls_in_pieces_are_as_the_whole_calls(data: st.DataObject) -> None:
    texts = data.draw(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=3))
    with tempfile.TemporaryDirectory(prefix="fake") as folder:
        pieces: list[Any] = []
        for index, text in enumerate(texts):
            pieces.append(call(f"f{index}", text[:1], index))
            cut = data.draw(st.integers(0, len(text)))
            parts = (text[1:cut], text[max(1, cut) :])
            pieces += [{"tool_calls": [{"index": index, "function": {"arguments": part}}]} for part in parts]
        server = FakeModelServer(Path(folder) / "s", pieces)
        try:
            async with ModelClient(server.handle) as client:
                events = [event async for event in client.stream_chat([], SamplingParameters())]
        finally:
            server.close()
    (end,) = events
    assert isinstance(end, StreamEnd)
    assert [one["function"]["name"] for one in end.calls] == [f"f{i}" for i in range(len(texts))]
    assert [one["function"]["arguments"] for one in end.calls] == texts


def connection(workspace: Workspace, name: str, tools: list[ToolRecord], on: dict[str, str]) -> ToolConnection:
    """A connection as it is once its tools are listed."""
    made = ToolConnection(workspace, ToolServer(name=name, command=("x",), tools=on))
    made.facts = {"event": "ready", "server": "", "version": "", "protocol": "", "tools": tools, "note": ""}
    return made


def test_only_tools_that_are_on_and_as_they_were_are_offered(workspace: Workspace) -> None:
    first = connection(
        workspace,
        "one",
        [record("a"), record("b", "changed"), record("c"), record("d", problem="too deep"), record("with space/x")],
        {"a": "d", "b": "d", "d": "d", "gone": "d", "with space/x": "d"},
    )
    second = connection(workspace, "two", [record("a"), record("x" * 80)], {"a": "d", "x" * 80: "d"})
    tools, notes = offered([first, second])
    names = [tool.function for tool in tools]
    assert names[:3] == ["a", "one__with_space_x", "two__a"]
    assert [len(name) for name in names[3:]] == [64]
    assert len(set(names)) == len(names)
    assert len(notes) == 3
    assert any("'b' is another since you switched it on" in note for note in notes)
    # A name that is written wrong in a rule is told, and one that nobody here made is not followed.
    rules = (ToolRule(tool="a", allow=True), ToolRule(tool="delet", allow=False), ToolRule(tool="*", allow=False))
    second.server = second.server.model_copy(update={"rules": rules})
    assert offered([second])[1] == [
        "two: its rules were not made by you and are not followed: each call is asked about"
    ]
    second.server.approve_rules()
    assert offered([second])[1] == ["two: it has no tool 'delet', and this rule decides nothing: deny delet"]


@pytest.mark.slow
async def test_a_toolbox_of_real_servers(workspace: Workspace) -> None:
    server = added(workspace, "bare")
    with pytest.raises(InputRefusedError, match="none is switched on"):
        async with Toolbox([server], partial(ToolConnection, workspace)):
            pass
    async with ToolConnection(workspace, server) as connected:
        digest = connected.tools[0]["digest"]
    server = switch_tools(workspace, "bare", {"echo": digest})
    async with Toolbox([server], partial(ToolConnection, workspace)) as toolbox:
        (tool,) = toolbox.tools
        assert tool.as_request()["function"]["description"] == "Say it again."
        assert (await toolbox.call(tool, {"text": "ha"})).text == "haha"


async def test_the_first_answer_can_be_made_a_call() -> None:
    async def approve(_: CallStep) -> Decision:
        return Decision.ONCE

    tools = FakeTools("weather", "home__time")
    tools.tools[1] = OfferedTool("home__time", "home", record("time"))
    named: Any = {"type": "function", "function": {"name": "home__time"}}
    for first, wanted in (("auto", None), ("required", "required"), ("home__time", named), ("time", named)):
        rounds = ToolRounds(tools, approve, first)
        assert rounds.as_request().get("tool_choice") == wanted
        assert len(rounds.as_request()["tools"]) == 2
        made: Any = [call("weather", {})["tool_calls"][0]]
        assert [step.state async for step in rounds.answer(made)][-1] == "done"
        # What follows is the model's own choice.
        assert "tool_choice" not in rounds.as_request()
    with pytest.raises(InputRefusedError, match="no tool 'rain' is offered") as no:
        ToolRounds(tools, approve, "rain").as_request()
    assert no.value.hint == "There are: weather, home__time."


def test_a_tool_that_a_server_refuses_is_named_with_its_server() -> None:
    async def approve(_: CallStep) -> Decision:
        raise AssertionError

    rounds = ToolRounds(FakeTools("weather", "count"), approve)
    refused = LlmopsError("schema_invalid", "tools[1].function.parameters: the schema has uniqueItems", "Remove it.")
    named = rounds.refusal_of_one(refused)
    assert named is not None
    assert named.code == "schema_invalid"
    assert named.message == "home: the tool 'count' cannot be offered to this model: the schema has uniqueItems"
    assert named.hint == "llmops tools off home count switches it off."
    assert rounds.refusal_of_one(LlmopsError("schema_invalid", "tools[7].function.parameters: x")) is None
    assert rounds.refusal_of_one(LlmopsError("queue_full", "too many wait")) is None
