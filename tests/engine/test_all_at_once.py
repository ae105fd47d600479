"""A schema, tools, thinking and a stream in one request, answered by a real engine: each holds, whatever the others do."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import httpx
import jsonschema
import pytest

from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.socket_transport import socket_transport
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import make_workspace
from tests.chat_format.styles import OBJECTS
from tests.engine.engines import write_with_template
from tests.engine.test_answers_served import told

pytestmark = pytest.mark.slow

SCHEMA = {
    "type": "object",
    "properties": {"sky": {"enum": ["clear", "grey"]}, "rain": {"type": "boolean"}},
    "required": ["sky", "rain"],
    "additionalProperties": False,
}
PARAMETERS = SCHEMA | {"properties": {"city": {"enum": ["Rome", "Oslo"]}}, "required": ["city"]}
TOOLS = [{"type": "function", "function": {"name": name, "parameters": PARAMETERS}} for name in ("look", "find")]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("at-once")
    workspace = make_workspace(Workspace(root / "ws"))
    registry = ModelRegistry(Catalog(workspace))
    registry.add(write_with_template(root / "m.gguf", "{% if tools %}{{ tools | tojson }}{% endif %}" + OBJECTS), "m")
    supervisor = ServerSupervisor(workspace)
    handle = supervisor.ensure(registry.get("m"), LoadOptions(threads=1, context=2048))
    headers = {"Authorization": f"Bearer {handle.key}"}
    transport = socket_transport(handle.socket)
    with httpx.Client(transport=transport, base_url="http://localhost", headers=headers, timeout=300) as client:
        yield client
    supervisor.stop("m")


@pytest.mark.parametrize("choice", ["auto", "required", {"type": "function", "function": {"name": "find"}}])
@pytest.mark.parametrize("parallel", [True, False])
def test_each_of_them_holds(served: httpx.Client, choice: Any, parallel: bool) -> None:
    found: Counter[str] = Counter()
    for seed in range(12):
        body: dict[str, Any] = {
            "messages": [{"role": "user", "content": "How is the sky?"}],
            "tools": TOOLS,
            "tool_choice": choice,
            "parallel_tool_calls": parallel,
            "response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}},
            "chat_template_kwargs": {"enable_thinking": bool(seed % 2)},
            "temperature": 2.0,
            "seed": seed,
            "max_tokens": 150,
        }
        whole = served.post("/v1/chat/completions", json=body)
        assert whole.status_code == 200, whole.text
        (answer,) = whole.json()["choices"]
        lines = served.post("/v1/chat/completions", json=body | {"stream": True}).text.split("\n\n")
        events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
        choices = [one for event in events for one in event["choices"]]
        said = told([answer["message"]])
        assert told([one["delta"] for one in choices]) == said
        assert choices[-1]["finish_reason"] == answer["finish_reason"]
        for mark in ("<tool_call>", "</tool_call>", "<think>", "</think>"):
            assert mark not in said["content"]
        for name, arguments in said["calls"]:
            jsonschema.validate(arguments, PARAMETERS)
            assert name == "find" if isinstance(choice, dict) else name in {"look", "find"}
        assert len(said["calls"]) <= 1 or parallel
        if answer["finish_reason"] == "stop":
            assert choice == "auto"
            jsonschema.validate(json.loads(said["content"]), SCHEMA)
        found[answer["finish_reason"]] += 1
        found["thought"] += bool(said["reasoning"])
    # It was put to the test at all.
    assert found["tool_calls"] + found["stop"] > 0, found
