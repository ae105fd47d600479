"""What a grammar leaves out of a schema is told on every door: before the answer, and behind one that does not keep it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from llmops_tui.inference.server.answer_forms import HEADER, AnswerForm, as_header
from llmops_tui.workspace.layout import Workspace
from tests.chat_format.styles import OBJECTS
from tests.engine.talking import Talking
from tests.engine.test_request_fields import CHAT, HI, LEAST, MESSAGES, RESPONSES, TEXT, function_tool, tool_of

LOOSE = {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}
ARGUMENTS = {"type": "object", "properties": {"a": LOOSE}, "required": ["a"]}
ASKED = {"type": "json_schema", "json_schema": {"schema": LOOSE}}
OLLAMA = {"model": "m", "messages": HI}
FORMS: list[tuple[str, dict[str, Any], str]] = [
    (CHAT, LEAST[CHAT] | {"response_format": ASKED}, "response_format.json_schema.schema"),
    (TEXT, LEAST[TEXT] | {"response_format": ASKED}, "response_format.json_schema.schema"),
    (RESPONSES, LEAST[RESPONSES] | {"text": {"format": {"type": "json_schema", "name": "x", "schema": LOOSE}}}, "text.format"),
    (
        MESSAGES, LEAST[MESSAGES] | {"output_config": {"format": {"type": "json_schema", "schema": LOOSE}}},
        "output_config.format",
    ),
    ("/api/chat", OLLAMA | {"format": LOOSE}, "format"),
]  # fmt: skip
TOOLS: list[tuple[str, dict[str, Any], str]] = [
    (CHAT, LEAST[CHAT] | {"tools": [{"type": "function", "function": {"name": "f", "parameters": ARGUMENTS}}]}, "tools[0].function.parameters"),
    (RESPONSES, LEAST[RESPONSES] | {"tools": [function_tool("f", parameters=ARGUMENTS)]}, "tools[0].parameters"),
    (MESSAGES, LEAST[MESSAGES] | {"tools": [tool_of("f", input_schema=ARGUMENTS)]}, "tools[0].input_schema"),
    ("/api/chat", OLLAMA | {"tools": [{"type": "function", "function": {"name": "f", "parameters": ARGUMENTS}}]}, "tools[0].function.parameters"),
]  # fmt: skip


@pytest.fixture
async def talking(workspace: Workspace) -> AsyncIterator[Talking]:
    server = Talking(workspace, OBJECTS)
    yield server
    await server.http.aclose()
    await server.server.close()


async def told(server: Talking, path: str, body: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """The warnings of a whole answer, of a stream's last words, and the headers of both."""
    whole = await server.post(path, body | {"stream": False})
    assert whole.status_code == 200, whole.text
    stream = await server.post(path, body | {"stream": True})
    events = [
        json.loads(line.removeprefix("data: "))
        for line in stream.text.splitlines()
        if line.startswith(("data: {", "{"))
    ]
    last = next(
        found for event in reversed(events) if (found := event.get("warnings") or event.get("response", {}).get("warnings"))
        or (found := event.get("message", {}).get("warnings"))
    )  # fmt: skip
    return [whole.json()["warnings"], last, json.loads(whole.headers[HEADER]), json.loads(stream.headers[HEADER])]


async def test_each_door_tells_what_is_left_out_and_what_an_answer_does_not_keep(talking: Talking) -> None:
    for path, body, param in FORMS:
        talking.says("[1, 2]")
        for warnings in await told(talking, path, body):
            (one,) = warnings
            assert (one["param"], one["pointer"]) == (param, "#/uniqueItems"), path
            assert "checked when it is finished" in one["message"]
        talking.says("[1, 1]")
        whole, last, header, early = await told(talking, path, body)
        assert whole == last == header
        assert whole[:1] == early
        assert whole[1]["param"] == param
        assert "the answer is not as the schema says, at #: [1, 1] has non-unique elements" in whole[1]["message"]


async def test_the_arguments_of_calls_are_checked_by_their_tool(talking: Talking) -> None:
    def call(given: Any) -> str:
        return f'<tool_call>\n{{"name": "f", "arguments": {json.dumps(given)}}}\n</tool_call>'

    for path, body, param in TOOLS:
        talking.says(call({"a": [1, 2]}))
        for warnings in await told(talking, path, body):
            (one,) = warnings
            assert (one["param"], one["pointer"]) == (param, "#/properties/a/uniqueItems"), path
        talking.says(call({"a": [1, 2]}) + call({"a": [3, 3]}))
        whole, last, _, _ = await told(talking, path, body)
        assert whole == last
        assert [one["param"] for one in whole] == [param] * 2
        assert "the call of 'f' is not as the schema says, at #/a: [3, 3] has non-unique" in whole[1]["message"]


async def test_what_was_cut_off_is_told_as_that_alone(talking: Talking) -> None:
    talking.says("[1, 1", "length")
    whole, last, _, _ = await told(talking, *FORMS[0][:2])
    assert len(whole) == len(last) == 1


async def test_of_several_answers_each_is_checked(talking: Talking) -> None:
    talking.says("[1, 1]")
    whole, _, _, _ = await told(talking, CHAT, FORMS[0][1] | {"n": 2})
    assert [one.get("choice") for one in whole] == [None, 0, 1]


async def test_a_misspelt_keyword_is_told_and_nothing_else_changes(talking: Talking) -> None:
    talking.says('{"a": 1}')
    form = {"type": "json_schema", "json_schema": {"schema": {"type": "object", "propertis": {}}}}
    for warnings in await told(talking, CHAT, LEAST[CHAT] | {"response_format": form}):
        (one,) = warnings
        assert one["message"] == "propertis is no keyword of JSON Schema and has no effect; did you mean properties?"
    answer = await talking.post(CHAT, LEAST[CHAT] | {"response_format": {"type": "json_object"}})
    assert HEADER not in answer.headers
    assert "warnings" not in answer.json()


def test_a_header_has_room_for_a_few_and_counts_the_others() -> None:
    many: Any = [{"param": "x", "message": "é" * 100}] * 50
    ((name, value),) = as_header(many).items()
    assert name == HEADER
    assert value.isascii()
    found = json.loads(value)
    assert found[-1]["message"] == f"{50 - len(found) + 1} more are told in the answer"
    odd: Any = [{"param": "x", "message": "\x7f\x00\r\n\ud800é"}]
    value = as_header(odd)[HEADER]
    assert value.isprintable()
    assert json.loads(value) == odd
    assert as_header([]) == {}
    assert AnswerForm().warnings() == []
