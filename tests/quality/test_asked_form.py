"""Traces keep the form that was asked for, in each API, so that answers that are not of it are found."""

from __future__ import annotations

from typing import Any

import pytest

from llmops_tui.inference.request_code import RequestCode
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.prompts.asked_run import AskedRun
from llmops_tui.quality.checks import checks_of
from llmops_tui.quality.sampling import draw, read_exchanges
from llmops_tui.traces.store import TraceFilter
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.ingest import ingest
from llmops_tui.workspace.layout import Workspace
from tests.chat_format.styles import STYLES
from tests.chat_format.world import TOOLS
from tests.engine.test_answers_served import ScriptedEngine
from tests.engine.test_request_fields import Server

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
KEPT = {"type": "json_schema", "json_schema": {"schema": SCHEMA}}
SAID = {"messages": [{"role": "user", "content": "Hi"}]}
FORM = {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}}
ASKED: list[tuple[str, dict[str, Any], object]] = [
    ("/v1/chat/completions", SAID | FORM, KEPT),
    ("/v1/chat/completions", SAID | FORM | {"stream": True}, KEPT),
    ("/v1/chat/completions", SAID | {"response_format": {"type": "json_object"}}, {"type": "json_object"}),
    ("/v1/chat/completions", SAID | {"response_format": {"type": "text"}}, None),
    ("/v1/chat/completions", SAID, None),
    ("/v1/chat/completions", SAID | FORM | {"tools": TOOLS}, None),
    ("/v1/chat/completions", SAID | FORM | {"tools": TOOLS, "tool_choice": "none"}, KEPT),
    ("/v1/completions", {"prompt": "Hi"} | FORM, KEPT),
    ("/v1/responses", {"input": "Hi", "text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}}, KEPT),
    ("/v1/messages", SAID | {"max_tokens": 9, "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}, KEPT),
    ("/api/chat", SAID | {"format": SCHEMA, "stream": False}, KEPT),
    ("/api/generate", {"prompt": "Hi", "format": "json", "stream": False}, {"type": "json_object"}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "kept"), ASKED)
async def test_what_is_asked_of_the_form_is_kept_and_judged(
    workspace: Workspace, catalog: Catalog, path: str, body: dict[str, Any], kept: object
) -> None:
    server = Server(workspace, STYLES["objects"])
    try:
        for pieces in (['{"'], ['{"a": 1}']):
            server.engine.call = ScriptedEngine(pieces).call  # type: ignore[method-assign]
            assert (await server.post(path, {"model": "m"} | body)).status_code == 200
    finally:
        await server.http.aclose()
        await server.server.close()
    event_log = EventLog(workspace)
    ingest(catalog, event_log)
    traces = draw(catalog, TraceFilter(), 0.0, 1e12, 10).stream
    found = read_exchanges(catalog, traces).found.values()
    assert [one.parameters.get("response_format") for one in found] == [kept, kept]
    (check,) = checks_of(["schema"], None)
    judged = {one.output: check.judge(one) for one in found}
    assert judged == {'{"': None if kept is None else 1.0, '{"a": 1}': None if kept is None else 0.0}
    event_log.close()


def test_a_run_on_an_endpoint_keeps_the_form_of_its_version() -> None:
    class Named:
        name, sha256 = "far", ""

    fields: dict[str, Any] = {"response_format": KEPT, "tools": []}
    asked = AskedRun("run_1", Named(), SamplingParameters(), fields, {}, [])  # type: ignore[arg-type]
    kept = asked.as_record(fields)["parameters"]
    assert (kept["response_format"], "tools" in kept) == (KEPT, False)
    # A call is of another form.
    assert "response_format" not in asked.as_record(fields | {"tools": TOOLS})["parameters"]


def test_the_code_of_a_trace_asks_for_its_form() -> None:
    asked = RequestCode("m", [{"role": "user", "content": "Hi"}], {"temperature": 0.1, "response_format": KEPT})
    assert asked.body["response_format"] == KEPT
    assert "response_format=" in asked.python()
