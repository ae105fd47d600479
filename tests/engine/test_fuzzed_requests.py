"""Requests made up from the description of the API, over all its doors: no failure of ours, nothing ignored, no stream disturbed.

What a door takes is read off ``/openapi.json``, so that a new one is fuzzed as soon as it is described.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncGenerator, AsyncIterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from llmops_tui.inference.server import head_scores
from llmops_tui.inference.server.openapi import describe_api
from llmops_tui.workspace.layout import Workspace
from tests.engine.test_request_fields import CHAT, HI, LEAST, TOOLS, FakeEngine, Server

TEMPLATE = (
    "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}<|{{ m.role }}|>"
    "{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content or '' }}"
    "{% for c in m.tool_calls or [] %}<tool_call>\n"
    '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}\n</tool_call>{% endfor %}<|end|>'
    "{% endfor %}<|assistant|>{% if enable_thinking is false %}<think></think>{% endif %}"
)
ANSWER = "<think>Let me see.</think>Of course."
CALLS = '<tool_call>\n{"name": "refund", "arguments": {"a": 1}}\n</tool_call>'
PIECES = ["Yes", " no", "<think>", "</think>", CALLS, "<tool_call>", "{", "\n", "é", "<|end|>", "<", '"name"', ""]
STEADY = "steady"
ODD: list[Any] = [
    None, True, False, 0, 1, -1, 3, 0.5, 2**31, 2**63, 2**70, -(2**70), 1e300, "", "Hi", "<|end|>", "\x00", "\ud83e", "x" * 5000,
    [], [1], ["a"], [[1], "a"], [None], {}, {"type": "text"}, {"a": {"b": []}}, [{"role": "user", "content": "Hi"}], [{}],
]  # fmt: skip
# What doors need at the least that other tests do not ask.
NEEDED: dict[str, dict[str, Any]] = LEAST | {
    "/infill": {"input_prefix": "a", "input_suffix": "b", "seed": 1}, "/v1/rerank": {"query": "a", "documents": ["b", "c"]}, "/v1/classify": {"input": "Hi"},
    "/api/chat": {"model": "m", "messages": HI, "stream": False}, "/api/generate": {"model": "m", "prompt": "Hi", "stream": False},
    "/v1/keys": {"name": "a key"},
    "/v1/batches": {"input_file_id": "file_none", "endpoint": CHAT, "completion_window": "24h"},
    "/api/embed": {"model": "m", "input": "Hi"}, "/api/embeddings": {"model": "m", "prompt": "Hi"}, "/api/show": {"model": "m"},
}  # fmt: skip
GRAMMAR = 'root ::= "a"'
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
FLAT = {"type": "function", "name": "refund", "parameters": {"type": "object", "properties": {}}}
USED = {"name": "refund", "input_schema": {"type": "object", "properties": {}}}
# What a field needs beside it to have a meaning, and two values that must make a difference.
HINTS: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "top_logprobs": ({"logprobs": True}, 1, 2),
    "stream_options": ({"stream": True}, {"include_usage": True}, {"include_usage": False}),
    "tool_choice": ({"tools": TOOLS}, "required", "none"),
    "parallel_tool_calls": ({"tools": TOOLS}, True, False),
    "tools": ({}, TOOLS, None),
    "grammar": ({}, GRAMMAR, None),
    "response_format": ({}, {"type": "json_schema", "json_schema": {"schema": SCHEMA}}, {"type": "text"}),
    "reasoning_effort": ({}, "none", "medium"),
    "reasoning": ({}, {"effort": "none"}, {"effort": "medium"}),
    "chat_template_kwargs": ({}, {"enable_thinking": False}, {}),
    "enable_thinking": ({"messages": HI, "content": None}, False, None),
    "thinking_budget": ({}, 0, 5),
    "answer_token_ids": ({}, [1], [2]),
    "logprob_start_len": ({"echo": True, "logprobs": 1}, 1, 2),
    "logit_bias": ({}, {"5": 1}, {"6": 1}),
    "messages": ({"content": None}, HI, [{"role": "user", "content": "Bye"}]),
    "prompt": ({"content": None}, "Hi", "Bye"),
    "text": ({}, {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}, {"format": {"type": "text"}}),
    "truncation": ({}, "auto", "disabled"),
    "add_special_tokens": ({"add_special": None}, True, False),
    "seed": ({}, 1, 2),
    "stop": ({}, ["a"], ["b"]),
    "metadata": ({}, {"prompt": "a"}, {"prompt": "b"}),
    "tokens": ({}, [1], [2]),
    "input": ({}, "Hi", "Bye"),
    "score": ({"id": "run_1", "comment": "x"}, "up", "down"),
    "max_completion_tokens": ({}, 5, 6),
    "encoding_format": ({}, "float", "base64"),
    "best_of": ({"n": 2}, 2, 1),
    "adapter": ({}, "", "none-such"),
    "model": ({}, "m", "none-such"),
    "stop_sequences": ({}, ["a"], ["b"]),
    "format": ({}, SCHEMA, "json"),
    "options": ({}, {"temperature": 0.25}, {"temperature": 0.5}),
    "json_schema": ({}, SCHEMA, {"type": "object"}),
    "input_extra": ({}, [{"text": "x", "filename": "f"}], [{"text": "y", "filename": "f"}]),
    "response_fields": ({}, ["content"], ["model"]),
    "thinking": ({}, {"type": "enabled", "budget_tokens": 1024}, {"type": "disabled"}),
    "output_config": ({}, {"format": {"type": "json_schema", "schema": SCHEMA}}, None),
    "documents": ({}, ["a", "b"], ["a", "c"]),
    "top_n": ({}, 1, 2),
    "/v1/classify head": ({}, "", "none-such"),
    # Only what asks for nothing is taken, and all else is refused.
    "samplers": ({}, [], ["top_k"]),
    "n_indent": ({}, 0, 3),
    "t_max_prompt_ms": ({}, 0, 3),
    "t_max_predict_ms": ({}, 0, 3),
    "context_management": ({}, {"edits": []}, {"edits": [{"type": "clear_tool_uses_20250919"}]}),
    # What an answer is to look like changes no count; only whether it could be is looked at.
    "/v1/messages/count_tokens output_config": ({}, {"effort": "medium"}, {"format": {"type": "none-such"}}),
    "/v1/messages metadata": ({}, {"user_id": "a"}, {"other": "a"}),
    "/v1/messages tool_choice": ({"tools": [USED]}, {"type": "any"}, {"type": "none"}),
    "/v1/messages/count_tokens tool_choice": ({"tools": [USED]}, {"type": "any"}, {"type": "none"}),
    "/v1/messages tools": ({}, [USED], []),
    "/v1/messages/count_tokens tools": ({}, [USED], []),
    "/v1/responses tools": ({}, [FLAT], []),
    "/v1/responses tool_choice": ({"tools": [FLAT]}, "required", "none"),
    "/v1/responses parallel_tool_calls": ({"tools": [FLAT]}, True, False),
    "/tokenize continue_final_message": ({"content": None, "messages": HI}, True, False),
    "/tokenize add_generation_prompt": ({"content": None, "messages": HI}, True, False),
    **{f"/v1/keys {name}": ({}, ["a"], ["b"]) for name in ("models", "adapters")},
    "/v1/keys endpoints": ({}, ["chat"], ["rerank"]),
    "/v1/batches completion_window": ({}, "24h", "1h"),
    "/v1/batches metadata": ({}, {"a": "b"}, {"a": 5}),
    "/v1/batches output_expires_after": ({}, {"anchor": "created_at", "seconds": 3600}, {"anchor": "created_at", "seconds": 1}),
    "/api/embed options": ({}, {"num_ctx": 512}, {"wrong": 1}),
    "/api/embeddings options": ({}, {"num_ctx": 512}, {"wrong": 1}),
}  # fmt: skip


class ScriptedEngine(FakeEngine):
    """Answers with pieces in formats of its own, some of them broken; a steady prompt always gets the same ones."""

    def __init__(self) -> None:
        super().__init__()
        self.info |= {
            "controls": ["<|end|>", "<|user|>", "<|assistant|>"],
            "marks": ["<think>"],
            "add_bos": True,
            "fills": True,
            "ranks": True,
            "labels": ["good"],
        }
        self.chance: random.Random | None = None

    async def call(self, request: dict[str, Any]) -> AsyncGenerator[list[dict[str, Any]]]:
        if request["op"] in {"rank", "classify"}:
            self.calls.append(request)
            for index in range(len(request["inputs"])):
                yield [{"id": request["id"], "event": "vector", "index": index, "embedding": "AACAPw=="}]
            yield [{"id": request["id"], "event": "done", "result": {"tokens": 2, "pooling": "rank", "dimensions": 1}}]
            return
        if request["op"] != "generate":
            async for batch in super().call(request):
                yield batch
            return
        self.calls.append(request)
        pieces = list(ANSWER)
        if self.chance is not None and STEADY not in str(request.get("text")):
            pieces = self.chance.choices(PIECES, k=self.chance.randint(0, 8))
        for piece in pieces:
            await asyncio.sleep(0)
            text: dict[str, Any] = {"id": request["id"], "event": "text", "text": piece}
            if request.get("sizes"):
                text["sizes"] = [len(piece.encode())]
            yield [text]
        counted = {"prompt_tokens": 3, "completion_tokens": len(pieces), "reused_tokens": 0}
        yield [{"id": request["id"], "event": "done", "result": {"finish_reason": "stop", **counted}}]


@pytest.fixture
async def server(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    # The file's model has no head that ranks; what the door does with a request needs none.
    monkeypatch.setattr(head_scores, "read_header", lambda _: SimpleNamespace(has_classifier=True))
    made = Server(workspace, TEMPLATE, ScriptedEngine())
    yield made
    await made.http.aclose()
    await made.server.close()


def doors() -> dict[str, dict[str, Any]]:
    """The properties of each door's body, by its path."""
    document = describe_api()
    known = document["components"]["schemas"]
    found = {}
    for path, operations in document["paths"].items():
        if "post" in operations and "requestBody" in operations["post"]:
            reference = operations["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
            found[path] = known[reference.rpartition("/")[2]]
    return found


KNOWN = describe_api()["components"]["schemas"]


def made_up(chance: random.Random, schema: dict[str, Any], depth: int = 0) -> Any:
    """A value that a schema allows, more or less; now and then one that it does not."""
    if chance.random() < 0.06 or depth > 6:
        return chance.choice(ODD)
    if "$ref" in schema:
        return made_up(chance, KNOWN[schema["$ref"].rpartition("/")[2]], depth + 1)
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return made_up(chance, chance.choice(schema[key]), depth + 1)
    if "enum" in schema:
        return chance.choice(schema["enum"])
    if "const" in schema:
        return schema["const"]
    kind = schema.get("type")
    if kind == "object":
        properties = schema.get("properties", {})
        needed = set(schema.get("required", ()))
        names = [name for name in properties if name in needed or chance.random() < 0.3]
        return {name: made_up(chance, properties[name], depth + 1) for name in names}
    if kind == "array":
        return [made_up(chance, schema.get("items", {}), depth + 1) for _ in range(chance.randint(0, 3))]
    values: dict[Any, list[Any]] = {
        "boolean": [True, False],
        "integer": [0, 1, 2, 5, schema.get("maximum", 7), schema.get("minimum", -1)],
        "number": [0, 0.5, 1, 1.5, -1],
        "string": ["Hi", "user", "assistant", "tool", "m", "", "run_1", "<|end|>", "refund", STEADY[:3], "{}"],
        "null": [None],
    }
    return chance.choice(values.get(kind, ODD))


def body_of(chance: random.Random, path: str, schema: dict[str, Any]) -> Any:
    """A request to a door: what it needs, with a few fields made up."""
    base = dict(NEEDED[path]) if path in NEEDED and chance.random() < 0.9 else made_up(chance, schema)
    if not isinstance(base, dict):
        return base
    properties = schema["properties"]
    for name in chance.sample(sorted(properties), min(len(properties), chance.randint(0, 4))):
        hint = HINTS.get(f"{path} {name}") or HINTS.get(name)
        if hint is not None and chance.random() < 0.4:
            base |= hint[0] | {name: hint[1]}
        else:
            base[name] = made_up(chance, properties[name])
    if chance.random() < 0.05:
        base[chance.choice(["wholly_unknown", "temprature", "", "max_token", "\ud83e"])] = chance.choice(ODD)
    return base


def sound(answer: httpx.Response) -> str:
    """What is wrong with an answer; nothing where it is as it should be."""
    kind = answer.headers.get("content-type", "")
    if answer.status_code != 200:
        if answer.status_code not in {400, 404, 422}:
            return f"status {answer.status_code}: {answer.text[:300]}"
        error = answer.json()["error"]
        told = error["message"] if isinstance(error, dict) else error
        return "" if told else "a refusal without a reason"
    if kind.startswith("text/event-stream"):
        lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
        events = [json.loads(line) for line in lines if line != "[DONE]"]
        return "" if events else "a stream without events"
    json.loads(answer.text.splitlines()[-1] if "ndjson" in kind else answer.text)
    return ""


async def steady(server: Server) -> None:
    """A stream that has to be the same whatever goes on beside it."""
    body = {
        "messages": [{"role": "user", "content": STEADY}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    answer = await server.post(CHAT, body)
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    deltas = [choice["delta"] for event in events for choice in event["choices"]]
    assert "".join(delta.get("content", "") for delta in deltas) == "Of course."
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "Let me see."
    usage = events[-1]["usage"]
    assert usage["completion_tokens"] == len(ANSWER)
    assert usage["completion_tokens_details"] == {"reasoning_tokens": len(ANSWER.partition("</think>")[0]) + 8}


async def fuzz(server: Server, seed: int, count: int) -> None:
    """So many requests, a few at a time, with a steady stream beside them."""
    chance = random.Random(seed)
    assert isinstance(server.engine, ScriptedEngine)
    server.engine.chance = random.Random(seed + 1)
    described = doors()
    for _ in range(count // 20):
        asked = [(path, body_of(chance, path, described[path])) for path in chance.choices(sorted(described), k=20)]

        async def one(path: str, body: Any) -> str:
            # As it goes over the wire, halves of characters and all.
            raw = json.dumps(body).encode()
            return sound(await server.http.post(path, content=raw, headers={"Content-Type": "application/json"}))

        told = await asyncio.gather(*(one(path, body) for path, body in asked), steady(server))
        wrong = [(request, why) for request, why in zip(asked, told[:-1], strict=True) if why]
        assert wrong == []
        server.engine.calls.clear()


async def test_made_up_requests_are_answered_or_refused_and_disturb_no_stream(server: Server) -> None:
    await fuzz(server, 16, 300)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(61, 71))
async def test_ten_thousand_made_up_requests(server: Server, seed: int) -> None:
    """In pieces, so that it is seen how far it came."""
    await fuzz(server, seed, 1_000)


def values_of(schema: dict[str, Any]) -> list[Any]:
    """Two values of a field's kind and none of them odd."""
    options = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    schema = options[0]
    if "enum" in schema:
        return list(schema["enum"][:2])
    return {"boolean": [True, False], "integer": [2, 3], "number": [0.25, 0.5], "string": ["a", "b"]}.get(
        schema.get("type"), []
    )


async def acts(server: Server, path: str, name: str, schema: dict[str, Any]) -> bool:
    """Whether two values of a field make a difference: to what the engine is asked, to the answer, or to the record."""
    context, *values = HINTS.get(f"{path} {name}") or HINTS.get(name, ({}, *values_of(schema)))
    seen = []
    for value in values:
        server.engine.calls.clear()
        server.written.clear()
        body = NEEDED.get(path, {}) | context | {name: value}
        # What names the same twice is refused; one of several ways to say it stands alone.
        answer = await server.post(path, {key: one for key, one in body.items() if one is not None or key == name})
        calls = [{k: v for k, v in call.items() if k != "id"} for call in server.engine.calls]
        told = answer.json() if answer.headers["content-type"].startswith("application/json") else answer.text
        if isinstance(told, dict):
            told = {k: v for k, v in told.items() if k not in {"id", "created", "created_at", "output", "feedback"}}
        else:
            told = len(told)
        seen.append(json.dumps([calls, told, server.written], default=str, sort_keys=True))
    return len(set(seen)) > 1


@pytest.mark.slow
async def test_each_field_that_is_taken_makes_a_difference(server: Server) -> None:
    ignored = []
    for path, schema in doors().items():
        for name, field in schema["properties"].items():
            idle = str(field.get("description", "")).startswith("No effect: ")
            if not idle and not await acts(server, path, name, field):
                ignored.append((path, name))
    assert ignored == []
