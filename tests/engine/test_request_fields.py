"""Nothing in a request is ignored: what the engine is told of each field, what has no effect, and what is refused by name.

The whole application answers, with an engine that is a fake and keeps what it was asked.
"""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import httpx
import pydantic_core
import pytest

from llmops_tui.inference.server import connection
from llmops_tui.inference.server.app import ModelServer
from llmops_tui.inference.server.duplicate_keys import duplicate_key
from llmops_tui.inference.server.options import ServerOptions
from llmops_tui.workspace.layout import Workspace
from tests.engine.engines import MODEL
from tests.representatives import representatives

CHAT, TEXT, RESPONSES, EMBED = "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings"
TOKENIZE, FEEDBACK, MESSAGES, COUNT = "/tokenize", "/v1/feedback", "/v1/messages", "/v1/messages/count_tokens"
KEY = "a-key-of-at-least-sixteen-characters"
HI = [{"role": "user", "content": "Hi"}]
# What each endpoint needs at the least.
LEAST: dict[str, dict[str, Any]] = {
    CHAT: {"messages": HI, "seed": 1}, TEXT: {"prompt": "Hi", "seed": 1}, RESPONSES: {"input": "Hi"},
    EMBED: {"input": "Hi"}, TOKENIZE: {"content": "Hi"}, "/detokenize": {"tokens": [1]},
    FEEDBACK: {"id": "run_1", "score": "up"}, MESSAGES: {"messages": HI, "max_tokens": 5}, COUNT: {"messages": HI},
}  # fmt: skip
PLAIN = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
TOOLS = [{"type": "function", "function": {"name": "refund", "parameters": {"type": "object", "properties": {}}}}]
KNOWING = (
    "{% if tools %}{{ tools | tojson }}<tool_call>{% endif %}{% if enable_thinking is defined and not enable_thinking %}quick{% endif %}"
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ m.mood }}{% if m.role == 'critic' %}!{% endif %}{% endfor %}<think></think>"
)
RESULT = {"finish_reason": "stop", "prompt_tokens": 3, "completion_tokens": 1, "reused_tokens": 0}


class FakeEngine:
    """An engine that answers at once and keeps its calls."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.info = {"n_vocab": 2048, "n_ctx": 512, "engine": "fake", "bos": "", "eos": ""}
        self.pid, self.state, self.fallback, self.last_failure = 1, "ok", {}, ""
        self.lost: Callable[[], None] = lambda: None

    async def start(self) -> None:
        pass

    async def facts(self) -> dict[str, Any]:
        return self.info

    async def stop(self) -> None:
        pass

    async def call(self, request: dict[str, Any]) -> AsyncGenerator[list[dict[str, Any]]]:
        self.calls.append(request)
        if request["op"] == "embed":
            for index in range(len(request["inputs"])):
                yield [{"id": request["id"], "event": "part", "index": index, "embedding": "AACAPw=="}]
        result: dict[str, Any] = RESULT | {"text": "", "count": 700, "tokens": 2, "dimensions": 1}
        yield [{"id": request["id"], "event": "done", "result": result}]


def _said(body: dict[str, Any]) -> dict[str, Any]:
    return {name: body[name] for name in ("score", "correction", "comment", "source", "prompt") if name in body}


class Server:
    """The application over a fake engine."""

    def __init__(self, workspace: Workspace, template: str, engine: FakeEngine | None = None) -> None:
        options = ServerOptions(str(workspace.root), "m", str(MODEL), "", "", KEY, template)
        self.engine = engine or FakeEngine()
        self.server = ModelServer(options, self.engine)  # type: ignore[arg-type]
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.server.app()),
            base_url="http://localhost",
            headers={"Authorization": f"Bearer {KEY}"},
        )
        self.written: list[dict[str, Any]] = []
        append = self.server._event_log.append_many

        def kept(events: list[tuple[str, str, Any]]) -> None:
            self.written += [{"client": body.get("client")} | _said(body) for _, _, body in events]
            append(events)

        self.server._event_log.append_many = kept  # type: ignore[method-assign,assignment]
        knows = self.server._event_log.knows_request
        # An answer that was given before.
        self.server._event_log.knows_request = lambda key: key == "run_1" or knows(key)  # type: ignore[method-assign]

    async def post(self, path: str, body: Any) -> httpx.Response:
        return await self.http.post(path, json=body)

    async def asked(self, path: str, more: dict[str, Any]) -> dict[str, Any]:
        """What the engine is asked of a request that has to be taken."""
        self.engine.calls.clear()
        answer = await self.post(path, LEAST[path] | more)
        assert answer.status_code == 200, answer.text
        return self.engine.calls[-1] if self.engine.calls else {}

    async def refusal(self, path: str, more: dict[str, Any]) -> dict[str, Any]:
        """The error of a request that has to be refused before the engine hears of it."""
        self.engine.calls.clear()
        answer = await self.post(path, LEAST[path] | more)
        assert answer.status_code == 400, answer.text
        assert self.engine.calls == []
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code", "hint"}
        return dict(error)


async def opened(workspace: Workspace, template: str) -> AsyncIterator[Server]:
    server = Server(workspace, template)
    yield server
    await server.http.aclose()
    await server.server.close()


@pytest.fixture
async def plain(workspace: Workspace) -> AsyncIterator[Server]:
    async for server in opened(workspace, PLAIN):
        yield server


@pytest.fixture
async def knowing(workspace: Workspace) -> AsyncIterator[Server]:
    async for server in opened(workspace, KNOWING):
        yield server


def message(**more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "Hi"} | more]}


def part(kind: str, **more: Any) -> dict[str, Any]:
    return message(content=[{"type": "text", "text": "a"}, {"type": kind, **more}])


CALLING = {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f"}}]}


def function(**more: Any) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": {"name": "f"} | more}]}


def function_tool(name: str, **more: Any) -> dict[str, Any]:
    """A tool as the responses API has it."""
    return {"type": "function", "name": name, "parameters": {"type": "object", "properties": {}}} | more


def allowed(mode: str, *names: str) -> dict[str, Any]:
    return {"type": "allowed_tools", "mode": mode, "tools": [{"type": "function", "name": name} for name in names]}


CALL_ITEM = {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"}
USED = {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]}


def result_item(call: str, **more: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call, "output": "1"} | more


def blocks(*given: Any) -> dict[str, Any]:
    """A request to Anthropic's API with these blocks."""
    return {"messages": [{"role": "user", "content": list(given)}]}


def result_block(call: str, **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call, "content": "1"} | more


def tool_of(name: str, **more: Any) -> dict[str, Any]:
    """A tool as Anthropic's API has it."""
    return {"name": name, "input_schema": {"type": "object", "properties": {}}} | more


def among(mode: str, *names: str) -> dict[str, Any]:
    """A choice among some tools, as chat completions have it."""
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


# (endpoint, what is asked for, the field that is named, what message or hint say)
REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    # Slips of the pen, and names of elsewhere
    (CHAT, {"max_token": 5}, "max_token", "Did you mean max_tokens?"),
    (CHAT, {"temprature": 0}, "temprature", "Did you mean temperature?"),
    (CHAT, {"repetition_penalty": 1.1}, "repetition_penalty", "Did you mean repeat_penalty?"),
    (TEXT, {"max_new_tokens": 5}, "max_new_tokens", "Did you mean max_tokens?"),
    (RESPONSES, {"max_tokens": 5}, "max_tokens", "Did you mean max_output_tokens?"),
    (EMBED, {"dimension": 5}, "dimension", "Did you mean dimensions?"),
    (TOKENIZE, {"add_specials": True}, "add_specials", "Did you mean add_special?"),
    ("/detokenize", {"token": [1]}, "token", "Did you mean tokens?"),
    (FEEDBACK, {"scores": "up"}, "scores", "Did you mean score?"),
    (CHAT, {"wholly_unknown": 1}, "wholly_unknown", "Leave it out"),
    # What is known and cannot be had
    (CHAT, {"functions": [{"name": "f"}]}, "functions", "as tools"),
    (CHAT, {"function_call": {"name": "f"}}, "function_call", "as tools"),
    (CHAT, {"modalities": ["text", "audio"]}, "modalities", "text"),
    (CHAT, {"audio": {"voice": "x"}}, "audio", "text"),
    (CHAT, {"web_search_options": {}}, "web_search_options", "searched"),
    (CHAT, {"store": True}, "store", "fetched later"),
    (CHAT, {"service_tier": "priority"}, "service_tier", "one queue"),
    (CHAT, {"verbosity": "low"}, "verbosity", "instructions"),
    (CHAT, {"stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation", "padded"),
    (CHAT, {"stream_options": {"include_usages": True}}, "stream_options.include_usages", "include_usage?"),
    (TEXT, {"suffix": "x"}, "suffix", "mark a gap"),
    (TEXT, {"suffix": "x", "truncate": "middle"}, "truncate", "far from it"),
    (TEXT, {"suffix": "x", "echo": True, "logprobs": 1}, "logprobs", "not scored"),
    (TEXT, {"best_of": 3}, "best_of", "same number as n"),
    (TEXT, {"truncate": "oldest"}, "truncate", "no turns"),
    (TEXT, {"logprob_start_len": 3}, "logprob_start_len", "echo and logprobs"),
    # What has no meaning alone, or contradicts itself
    (CHAT, {"top_logprobs": 3}, "top_logprobs", "Set logprobs"),
    (CHAT, {"tool_choice": "required"}, "tool_choice", "no tools"),
    (CHAT, {"tool_choice": "required", "tools": []}, "tool_choice", "no tools"),
    (CHAT, {"tool_choice": "sometimes"}, "tool_choice", "none, auto, required"),
    (CHAT, {"tools": TOOLS, "tool_choice": {"type": "allowed_tools"}}, "tool_choice.allowed_tools.mode", "neither"),
    (CHAT, {"tools": TOOLS, "tool_choice": among("auto")}, "tool_choice.allowed_tools.tools", "a list"),
    (CHAT, {"tools": TOOLS, "tool_choice": among("auto", "x")}, "tool_choice", "refund"),
    (CHAT, {"tool_choice": among("auto", "x")}, "tool_choice", "no tools"),
    (CHAT, {"max_tokens": -2}, "max_tokens", "greater"),
    (CHAT, {"max_completion_tokens": -2}, "max_completion_tokens", "greater"),
    (CHAT, {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice", "refund"),
    (CHAT, {"max_tokens": 3, "max_completion_tokens": 4}, "max_completion_tokens", "max_tokens"),
    (CHAT, {"grammar": ""}, "grammar", "empty"),
    (CHAT, {"grammar": 'root ::= "a"', "response_format": {"type": "json_object"}}, "grammar", "not both"),
    (CHAT, {"logit_bias": {"99999": 1}}, "logit_bias.99999", "99,999"),
    (CHAT, {"logit_bias": {"5": 1, "-1": 1}}, "logit_bias.-1", "-1"),
    (CHAT, {"logit_bias": {"x": 1}}, "logit_bias.x", "integer"),
    (CHAT, {"tools": TOOLS * 200}, "tools", "must have at most 128 items"),
    (CHAT, {"response_format": 3}, "response_format", "Input should be an object"),
    (CHAT, message(role="assistant", tool_calls=[{"function": {"name": "f", "arguments": 3}}]),
     "messages[0].tool_calls[0].function.arguments", "a valid string, or an object"),
    (MESSAGES, {"tool_choice": "auto"}, "tool_choice", "Input should be an object"),
    (CHAT, {"seed": "a"}, "seed", "and a number is wanted"),
    # Messages
    (CHAT, message(role="boss"), "messages[0].role", "user"),
    (CHAT, message(role="function"), "messages[0].role", "tool"),
    (CHAT, message(content=None), "messages[0].content", "needs content"),
    (CHAT, message(content=[]), "messages[0].content", "no parts"),
    (CHAT, {"seed": 2**70}, "seed", "less"),
    (TEXT, {"seed": -(2**63) - 1}, "seed", "greater"),
    (CHAT, {"top_p": -0.1}, "top_p", "greater"),
    (CHAT, {"top_k": 2**70}, "top_k", "less"),
    (CHAT, {"messages": [{"role": "user"}]}, "messages[0].content", "needs content"),
    (CHAT, {"messages": [{"role": "assistant", "content": None}]}, "messages[0].content", "tool_calls"),
    (CHAT, {"messages": []}, "messages", "at least 1"),
    (CHAT, message(mood="gay"), "messages[0].mood", "template"),
    (CHAT, message(audio={"id": "x"}), "messages[0].audio", "text"),
    (CHAT, message(tool_call_id="x"), "messages[0].tool_call_id", "role tool"),
    (CHAT, message(tool_calls=[{"function": {"name": "f"}}]), "messages[0].tool_calls", "assistant"),
    (CHAT, {"messages": [CALLING, {"role": "tool", "content": "1", "tool_call_id": "b"}]}, "messages[1].tool_call_id", "'b'"),
    (CHAT, {"messages": [{"role": "tool", "content": "1", "tool_call_id": "a"}, CALLING]}, "messages[0].tool_call_id", "'a'"),
    *(
        (CHAT, {"messages": [CALLING, *([{"role": "tool", "content": "1", "tool_call_id": "a"}] * 2)]},
         "messages[2].tool_call_id", "has a result already"),
        (RESPONSES, {"input": [*HI, CALL_ITEM, result_item("a"), result_item("a")]}, "input[3].call_id", "has a result already"),
        (RESPONSES, {"input": [*HI, result_item("none")]}, "input[1].call_id", "no message before has a call 'none'"),
        (MESSAGES, {"messages": [*HI, USED, {"role": "user", "content": [result_block("a"), result_block("a")]}]},
         "messages[2].content[1].tool_use_id", "has a result already"),
        (MESSAGES, {"messages": [{"role": "user", "content": [result_block("none")]}]},
         "messages[0].content[0].tool_use_id", "no message before"),
        (TOKENIZE, {"content": None, "messages": [{"role": "tool", "content": "1", "tool_call_id": "a"}]},
         "messages[0].tool_call_id", "no message before"),
    ),
    # Said nothing
    *(
        (path, {"messages": [{"role": "user", "content": content}]}, param, "is empty")
        for path in (MESSAGES, COUNT)
        for content, param in (
            ("", "messages[0].content[0].text"), ([], "messages[0].content"),
            ([{"type": "text", "text": "a"}, {"type": "text", "text": ""}], "messages[0].content[1].text"),
        )
    ),
    (MESSAGES, {"messages": [*HI, {"role": "assistant", "content": []}, *HI]}, "messages[1].content", "is empty"),
    # References
    *(
        (CHAT, {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object", **part}}}},
         "response_format.json_schema.schema", "'#/$defs/none', which is not in it")
        for part in (
            {"not": {"$ref": "#/$defs/none"}}, {"if": {"$ref": "#/$defs/none"}, "then": True},
            {"if": True, "then": {"anyOf": [{"$ref": "#/$defs/none"}]}}, {"contains": {"$ref": "#/$defs/none"}},
            {"dependentSchemas": {"a": {"$ref": "#/$defs/none"}}}, {"properties": {"a": {"$ref": "#/$defs/none"}}},
        )
    ),
    (CHAT, message(role="assistant", tool_calls=[{"function": {"name": "f", "args": "{}"}}]),
     "messages[0].tool_calls[0].function.args", "no such field"),
    (CHAT, part("image_url", image_url={"url": "http://x/"}), "messages[0].content[1].type", "only text"),
    (CHAT, part("input_audio", input_audio={}), "messages[0].content[1].type", "only text"),
    (CHAT, part("text", txt="b"), "messages[0].content[1].txt", "Did you mean text?"),
    (CHAT, part("text"), "messages[0].content[1].text", "a text"),
    (CHAT, message(content=["a"]), "messages[0].content[0]", "object"),
    # Forms and tools
    (CHAT, {"response_format": {"type": "yaml"}}, "response_format.type", "json_schema"),
    (CHAT, {"response_format": {"type": "json_schema"}}, "response_format.json_schema", "needs one"),
    (CHAT, {"response_format": {"type": "text", "json_schema": {"schema": {}}}}, "response_format.json_schema", "type text"),
    (CHAT, {"response_format": {"type": "json_schema", "json_schema": {"shema": {}}}},
     "response_format.json_schema.shema", "Did you mean schema?"),
    (CHAT, function(paramters={}), "tools[0].function.paramters", "Did you mean parameters?"),
    (CHAT, {"tools": [{"type": "function", "name": "f", "parameters": {}}]}, "tools[0].name", "Put it into function"),
    (CHAT, {"tools": [{"name": "f"}]}, "tools[0].name", "Put it into function"),
    (CHAT, {"tools": [{"type": "web_search"}]}, "tools[0].type", "function"),
    (CHAT, {"tools": TOOLS}, "tools", "knows no tools"),
    (CHAT, {"tools": [*TOOLS, *TOOLS]}, f"tools[{len(TOOLS)}].function.name", "another tool"),
    (CHAT, function(name='a b"\n'), "tools[0].function.name", "no name of a function"),
    # Variables of the template
    (CHAT, {"chat_template_kwargs": {"enable_thinking": True}}, "chat_template_kwargs.enable_thinking", "does not think"),
    (CHAT, {"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs.messages", "set from the request"),
    (CHAT, {"reasoning_effort": "very much"}, "reasoning_effort", "high"),
    # Prompts and inputs
    (TEXT, {"prompt": []}, "prompt", "not empty"),
    (TEXT, {"prompt": {"a": 1}}, "prompt", "token ids"),
    (TEXT, {"prompt": ["a", 3]}, "prompt[1]", "text or a list"),
    (TEXT, {"prompt": [1, "a"]}, "prompt[1]", "no token id"),
    (TEXT, {"prompt": [[1], [2, 5000]]}, "prompt[1][1]", "5,000"),
    (EMBED, {"input": [3, -1]}, "input[1]", "'-1'"),
    (EMBED, {"input": [2**40]}, "input[0]", str(2**40)),
    (EMBED, {"input": [[5], [5, 2048]]}, "input[1][1]", "2,048"),
    (EMBED, {"input": ["x"] * 2049}, "input", "2,049 texts, more than the 2,048"),
    (EMBED, {"input": [[1]] * 3000}, "input", "3,000 texts"),
    (EMBED, {"encoding_format": "int8"}, "encoding_format", "base64"),
    ("/detokenize", {"tokens": [2048]}, "tokens[0]", "2,047"),
    ("/detokenize", {"tokens": "1"}, "tokens", "list"),
    (TOKENIZE, {"content": None}, "content", "nothing to tokenize"),
    (TOKENIZE, {"prompt": "b"}, "prompt", "only one"),
    (TOKENIZE, {"messages": []}, "messages", "at least 1"),
    (TOKENIZE, {"content": None, "messages": [{"role": "boss", "content": "x"}]}, "messages[0].role", "no role"),
    (TOKENIZE, {"add_generation_prompt": False}, "add_generation_prompt", "no messages"),
    (TOKENIZE, {"add_special": True, "add_special_tokens": False}, "add_special_tokens", "add_special"),
    (FEEDBACK, {"score": None}, "score", "Give a score"),
    # Responses
    (RESPONSES, {"tools": [function_tool("f"), {"type": "web_search"}]}, "tools[1].type", "searched"),
    (RESPONSES, {"tools": [{"type": "web_search_2025_08_26"}]}, "tools[0].type", "searched"),
    (RESPONSES, {"tools": [{"type": "local_shell"}]}, "tools[0].type", "as a function"),
    (RESPONSES, {"tools": [{"type": "namespace", "name": "n", "tools": []}]}, "tools[0].type", "below [agents]"),
    (RESPONSES, {"tools": [{"type": "custom", "name": "f"}]}, "tools[0].type", "as a function"),
    (RESPONSES, {"tools": [{"type": "mcp", "server_url": "x"}]}, "tools[0].type", "in the client"),
    (RESPONSES, {"tools": [function_tool("f", paramters={})]}, "tools[0].paramters", "Did you mean parameters?"),
    (RESPONSES, {"tools": [function_tool("f", defer_loading=True)]}, "tools[0].defer_loading", "shown"),
    (RESPONSES, {"tools": [function_tool("a b")]}, "tools[0].name", "no name of a function"),
    (RESPONSES, {"tools": [function_tool("f"), function_tool("f")]}, "tools[1].name", "another tool"),
    (RESPONSES, {"tools": [function_tool("f")]}, "tools", "knows no tools"),
    (RESPONSES, {"tool_choice": "required"}, "tool_choice", "no tools"),
    (RESPONSES, {"tool_choice": {"type": "web_search"}}, "tool_choice", "function"),
    (RESPONSES, {"tools": [function_tool("f")], "tool_choice": {"type": "function", "name": "g"}}, "tool_choice", "'g'"),
    (RESPONSES, {"tool_choice": allowed("auto", "f")}, "tool_choice.tools[0].name", "'f'"),
    (RESPONSES, {"tools": [function_tool("f")], "tool_choice": allowed("none", "f")}, "tool_choice.mode", "neither"),
    (RESPONSES, {"tools": [function_tool("f")], "tool_choice": allowed("auto")}, "tool_choice.tools", "a list"),
    (RESPONSES, {"input": []}, "input", "nothing to answer"),
    (RESPONSES, {"conversation": "c"}, "conversation", "whole conversation"),
    (RESPONSES, {"prompt": {"id": "p"}}, "prompt", "input"),
    (RESPONSES, {"store": "yes please"}, "store", "true or false"),
    (RESPONSES, {"background": True}, "background", "stream"),
    (RESPONSES, {"include": ["message.output_text.logprobs"]}, "include", "beside the answer"),
    (RESPONSES, {"top_logprobs": 2}, "top_logprobs", "/v1/chat/completions"),
    (RESPONSES, {"truncation": "some"}, "truncation", "disabled"),
    (RESPONSES, {"reasoning": {"summary": "concise"}}, "reasoning.summary", "summarized"),
    (RESPONSES, {"reasoning": {"effort": "huge"}}, "reasoning.effort", "high"),
    (RESPONSES, {"text": {"verbosity": "high"}}, "text.verbosity", "instructions"),
    (RESPONSES, {"text": {"format": {"type": "json_schema"}}}, "text.format.schema", "json_schema"),
    (RESPONSES, {"text": {"formats": {}}}, "text.formats", "Did you mean format?"),
    (RESPONSES, {"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id", "required"),
    (RESPONSES, {"input": [{"type": "web_search_call", "id": "x"}]}, "input[0].type", "function_call_output"),
    (RESPONSES, {"input": [result_item("a")]}, "input[0].call_id", "no message before"),
    (RESPONSES, {"input": [{"role": "user", "content": "x"}, {"role": "boss", "content": "x"}]}, "input[1].role", "no role"),
    (RESPONSES, {"input": [{"type": "reasoning", "encrypted_content": "x"}]}, "input[0].encrypted_content", "Leave the item"),
    (RESPONSES, {"input": [result_item("a", output=[{"type": "input_image"}])]}, "input[0].output[0].type", "only text"),
    # Anthropic's
    (MESSAGES, {"max_tokens": None}, "max_tokens", "required"),
    (MESSAGES, {"max_token": 3}, "max_token", "Did you mean max_tokens?"),
    (COUNT, {"max_tokens": 3}, "max_tokens", "no such field"),
    (MESSAGES, {"stop": ["x"]}, "stop", "stop_sequences"),
    (MESSAGES, {"stop_sequences": [""]}, "stop_sequences", "at least 1"),
    (MESSAGES, {"temperature": 9}, "temperature", "less"),
    (MESSAGES, {"service_tier": "priority"}, "service_tier", "one queue"),
    (MESSAGES, {"mcp_servers": [{"type": "url"}]}, "mcp_servers", "in the client"),
    (MESSAGES, {"metadata": {"team": "x"}}, "metadata.team", "no such field"),
    (MESSAGES, {"system": [{"type": "image"}]}, "system[0].type", "Blocks are text"),
    (MESSAGES, {"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role", "user"),
    (MESSAGES, blocks({"type": "image", "source": {}}), "messages[0].content[0].type", "'image'"),
    (MESSAGES, blocks({"type": "document", "source": {}}), "messages[0].content[0].type", "'document'"),
    (MESSAGES, blocks({"type": "tool_use", "id": "a", "name": "f", "input": {}}), "messages[0].content[0].type", "tool_result"),
    (MESSAGES, blocks({"type": "text", "txt": "a"}), "messages[0].content[0].txt", "Did you mean text?"),
    (MESSAGES, blocks("a"), "messages[0].content[0]", "an object"),
    (MESSAGES, blocks(result_block("a")), "messages[0].content[0].tool_use_id", "no message before"),
    (MESSAGES, blocks(result_block("a", content=[{"type": "image"}])), "messages[0].content[0].content[0].type", "Blocks are text"),
    (MESSAGES, blocks({"type": "text", "text": "a"}, result_block("a")), "messages[0].content[1]", "results come before"),
    (MESSAGES, {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type", "'web_search'"),
    (MESSAGES, {"tools": [{"name": "f"}]}, "tools[0].input_schema", "required"),
    (MESSAGES, {"tools": [tool_of("f", defer_loading=True)]}, "tools[0].defer_loading", "shown"),
    (MESSAGES, {"tools": [tool_of("f"), tool_of("f")]}, "tools[1].name", "another tool"),
    (MESSAGES, {"tools": [tool_of("f")]}, "tools", "knows no tools"),
    (COUNT, {"tools": [tool_of("f")]}, "tools", "knows no tools"),
    (MESSAGES, {"tool_choice": {"type": "any"}}, "tool_choice", "no tools"),
    (MESSAGES, {"tool_choice": {"type": "tool"}}, "tool_choice.name", "goes with"),
    (MESSAGES, {"tool_choice": {"type": "some"}}, "tool_choice.type", "auto"),
    (MESSAGES, {"thinking": {"type": "enabled"}}, "thinking.budget_tokens", "goes with"),
    (MESSAGES, {"thinking": {"type": "adaptive", "display": "all"}}, "thinking.display", "summarized"),
    (MESSAGES, {"output_config": {"effort": "some"}}, "output_config.effort", "low"),
    (MESSAGES, {"output_format": {"type": "json_schema"}}, "output_format", "output_config.format"),
    (MESSAGES, {"context_management": {"edits": [{"type": "compact_20260112"}]}}, "context_management.edits[0].type", "not edited"),
    (RESPONSES, {"temperature": 9}, "temperature", "less"),
    (RESPONSES, {"temperature": 9, "truncation": "auto"}, "temperature", "less"),
    (RESPONSES, {"max_output_tokens": -3}, "max_output_tokens", "greater"),
    (RESPONSES, {"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].type", "only text"),
    (RESPONSES, {"input": [{"role": "user", "content": "x", "mood": "y"}]}, "input[0].mood", "no such field"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "more", "param", "told"), REFUSED)
async def test_what_cannot_be_honoured_is_refused_by_name(
    path: str, more: dict[str, Any], param: str, told: str, plain: Server
) -> None:
    error = await plain.refusal(path, more)
    assert error["param"] == param
    assert error["message"].startswith(f"{param}: ")
    assert told in error["message"] + error["hint"]


@pytest.mark.parametrize("path", list(LEAST))
@pytest.mark.parametrize("raw", [b"[]", b"3", b"", b"{", b'{"x": \xff}', b"[" * 100_000])
async def test_a_body_that_is_no_object_is_refused(path: str, raw: bytes, plain: Server) -> None:
    answer = await plain.http.post(path, content=raw, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert "the body" in answer.json()["error"]["message"]


async def test_a_body_that_nests_too_deep_is_not_called_no_json(plain: Server) -> None:
    raw = b'{"messages": ' + b"[" * 400 + b"]" * 400 + b"}"
    answer = await plain.http.post(CHAT, content=raw, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert "nests deeper" in answer.json()["error"]["message"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e+400"])
@pytest.mark.parametrize(
    ("body", "param"),
    [
        ('{"messages": [{"role": "user", "content": "NaN"}], "temperature": %s}', "temperature"),
        ('{"messages": [{"role": "user", "content": "x"}], "logit_bias": {"5": %s}}', "logit_bias.5"),
        ('{"messages": [{"role": "user", "content": "x"}], "metadata": {"a": [1, %s]}}', "metadata.a[1]"),
    ],
)
async def test_numbers_that_are_none_are_refused_where_they_stand(
    number: str, body: str, param: str, plain: Server
) -> None:
    raw = (body % number).encode()
    answer = await plain.http.post(CHAT, content=raw, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == param
    assert "no numbers" in error["message"]


# What clients send with each request, or as a default, and what asks for nothing.
CALLER = {
    "user": "u",
    "safety_identifier": "s",
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "store": False,
    "service_tier": "auto",
    "metadata": {"team": "x"},
    "moderation": None,
    "anything": None,
}
NEUTRAL: dict[str, dict[str, Any]] = {
    CHAT: CALLER | {
        "stream_options": {"include_usage": True, "include_obfuscation": False}, "n": 1, "stop": None, "tools": None,
        "frequency_penalty": 0, "presence_penalty": 0.0, "logit_bias": {}, "temperature": 1, "top_p": 1, "tool_choice": "auto",
        "parallel_tool_calls": True, "reasoning_effort": "low", "verbosity": "medium", "modalities": ["text"],
        "functions": [], "function_call": "none", "logprobs": False, "top_logprobs": 0, "response_format": {"type": "text"},
        "prediction": {"type": "content", "content": "x"}, "max_tokens": None, "chat_template_kwargs": {"enable_thinking": False},
        "stream": False, "best_of": 1, "audio": None,
    },
    TEXT: CALLER | {"n": 1, "best_of": 1, "suffix": "", "echo": False, "logprobs": None, "frequency_penalty": 0, "stop": [],
                    "logit_bias": {}, "stream_options": None},
    RESPONSES: CALLER | {
        "tools": [], "tool_choice": "auto", "parallel_tool_calls": True, "max_tool_calls": 3, "client_metadata": {"session": "x"}, "truncation": "disabled",
        "include": ["reasoning.encrypted_content"], "background": False, "previous_response_id": None, "top_logprobs": 0,
        "reasoning": {"effort": "medium", "summary": "auto"}, "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "stream_options": {"include_obfuscation": False}, "temperature": 1,
    },
    MESSAGES: {
        "cache_control": {"type": "ephemeral"}, "service_tier": "auto", "metadata": {"user_id": "u"}, "tools": [],
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}, "stop_sequences": None,
        "output_config": {"effort": "high"}, "thinking": {"type": "adaptive"}, "temperature": 1, "mcp_servers": [],
    },
    COUNT: {"cache_control": {"type": "ephemeral"}, "thinking": {"type": "disabled"}},
    EMBED: {"user": "u", "encoding_format": "float", "dimensions": None, "model": "m"},
    TOKENIZE: {"model": "m", "messages": None, "with_pieces": True, "return_token_strs": True},
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "name"),
    [
        pytest.param(path, name, marks=() if number % 6 == 0 else pytest.mark.slow)
        for path, given in NEUTRAL.items()
        for number, name in enumerate(given)
    ],
)
async def test_what_clients_always_send_changes_nothing(path: str, name: str, plain: Server) -> None:
    def told(call: dict[str, Any]) -> dict[str, Any]:
        kept = {key: value for key, value in call.items() if key not in {"id", "parameters"}}
        # A seed that was not given is drawn.
        return kept | {key: value for key, value in call.get("parameters", {}).items() if key != "seed"}

    before = told(await plain.asked(path, {}))
    assert told(await plain.asked(path, {name: NEUTRAL[path][name]})) == before


async def test_all_of_it_at_once_is_taken_too(plain: Server) -> None:
    for path, given in NEUTRAL.items():
        await plain.asked(path, given)


@pytest.mark.parametrize(
    ("path", "more", "name", "value"),
    [
        (CHAT, {"messages": [{"role": "developer", "content": "a"}]}, "text", "<system>a"),
        (CHAT, {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f"}}]}]}, "text", "<assistant>"),
        (CHAT, {"messages": [{"role": "assistant", "content": None, "refusal": "No."}]}, "text", "<assistant>No."),
        (CHAT, message(name="ann"), "text", "<user>Hi"),
        (CHAT, part("text", text="b", cache_control={"type": "ephemeral"}), "text", "<user>ab"),
        (CHAT, {"logprobs": True, "top_logprobs": 2}, "logprobs", 2),
        (CHAT, {"cache_prompt": False}, "reuse", False),
        (TEXT, {"prompt": [[1, 2]]}, "tokens", [1, 2]),
        (TEXT, {"prompt": [1, 2]}, "tokens", [1, 2]),
        (TEXT, {"prompt": ["a", [1]]}, "tokens", [1]),
        (TEXT, {"echo": True, "logprobs": 1, "logprob_start_len": 4}, "score_from", 4),
        (TEXT, {"truncate": "middle"}, "truncate", "middle"),
        (TEXT, {"add_special_tokens": False}, "add_special", False),
        (RESPONSES, {"instructions": "Be brief."}, "text", "<system>Be brief.<user>Hi"),
        (RESPONSES, {"input": [{"type": "message", "id": "m", "status": "completed", "role": "assistant",
            "content": [{"type": "output_text", "text": "a", "annotations": [], "logprobs": []}]}]}, "text", "<assistant>a"),
        (EMBED, {"dimensions": 7}, "dimensions", 7),
        (EMBED, {"input": [[1], "a"]}, "inputs", [[1], "a"]),
        (TOKENIZE, {"add_special_tokens": True}, "add_special", True),
        (TOKENIZE, {"parse_special": False}, "parse_special", False),
        (TOKENIZE, {"content": None, "messages": HI}, "text", "<user>Hi"),
        (TOKENIZE, {"content": None, "messages": [{"role": "user", "content": ""}]}, "text", "<user>"),
    ],
)  # fmt: skip
async def test_what_is_honoured_reaches_the_engine(
    path: str, more: dict[str, Any], name: str, value: Any, plain: Server
) -> None:
    assert (await plain.asked(path, more))[name] == value


@pytest.mark.parametrize(
    ("path", "more", "name", "value"),
    [
        (CHAT, {"max_completion_tokens": 9}, "max_tokens", 9), (CHAT, {"logit_bias": {"5": -3}}, "logit_bias", {5: -3.0}),
        (CHAT, {"stop": "x"}, "stop", ("x",)), (CHAT, {"repeat_penalty": 1.5}, "repeat_penalty", 1.5),
        (RESPONSES, {"max_output_tokens": 9}, "max_tokens", 9), (RESPONSES, {"top_p": 0.5}, "top_p", 0.5),
        (CHAT, {"top_p": 0}, "top_p", 0.0), (RESPONSES, {"top_p": 0}, "top_p", 0.0),
        (CHAT, {"top_k": -1}, "top_k", 0), (TEXT, {"top_k": -40}, "top_k", 0), (CHAT, {"top_k": 0}, "top_k", 0),
        (CHAT, {"seed": 2**63 - 1}, "seed", (2**63 - 1) % (2**32 - 1)), (CHAT, {"seed": -2}, "seed", 2**32 - 3),
    ],
)  # fmt: skip
async def test_how_tokens_are_chosen_reaches_the_engine(
    path: str, more: dict[str, Any], name: str, value: Any, plain: Server
) -> None:
    assert (await plain.asked(path, more))["parameters"][name] == value


async def test_a_seed_of_minus_one_is_any(plain: Server) -> None:
    seeds = {(await plain.asked(CHAT, {"seed": -1}))["parameters"]["seed"] for _ in range(8)}
    assert len(seeds) > 1


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        (b'{"model": "a", "model": "b"}', "model"), (b'{"a": {"b": [1, {"c": 1, "d": 2, "c": 3}]}}', "a.b[1].c"),
        (b'{"a": 18446744073709551616, "b": 1, "b": 1}', "b"), (b'{"a": "x\\"y", "\\u0061": 1}', "a"),
        (b'{"\\u0022": 1, "b": "\\u0022"}', ""), (b'{"a": {"b": 1}, "c": {"b": 1}, "d": [{"b": 1}, {"b": 2}]}', ""),
        (b'{"temperature": 0, "temperature": 1, "prompt": "\\u0022hi\\u0022"}', "temperature"),
        (b'{"a": [{"b": "\\u0022"}, {"c": {"d": 1, "d": 2}}]}', "a[1].c.d"),
        (b'{"a": 36893488147419103232, "b": "\\ud83d\\ude00"}', ""), (b"[]", ""), (b'{"": 1, "x": ""}', ""),
    ],
)  # fmt: skip
def test_a_name_that_stands_twice_is_found(raw: bytes, place: str) -> None:
    assert duplicate_key(raw, pydantic_core.from_json(raw)) == place


@pytest.mark.parametrize(
    ("more", "param"),
    [('"temperature": 0, "temperature": 1', "temperature"), ('"temperature": NaN', "temperature"), ('"top_p": 1', None)],
)  # fmt: skip
async def test_a_large_body_is_looked_through_beside_the_streams(
    plain: Server, more: str, param: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []

    def inspected(raw: bytes, value: Any) -> str:
        threads.append(threading.get_ident())
        return duplicate_key(raw, value)

    monkeypatch.setattr(connection, "duplicate_key", inspected)
    for size in (10, 100_000):
        raw = f'{{"prompt": "\\u0022{"x" * size}", {more}}}'
        answer = await plain.http.post(TEXT, content=raw, headers={"Content-Type": "application/json"})
        assert answer.status_code == (200 if param is None else 400), answer.text
        if param is not None:
            assert answer.json()["error"]["param"] == param
    here, elsewhere = threads
    assert here == threading.get_ident() != elsewhere


@pytest.mark.parametrize("name", ["max_tokens", "temperature", "top_p", "seed", "top_k"])
async def test_true_is_no_number(plain: Server, name: str) -> None:
    assert (await plain.refusal(CHAT, {name: True}))["param"] == name


async def test_what_asks_for_nothing_is_taken(plain: Server) -> None:
    assert await plain.asked(RESPONSES, {"previous_response_id": ""})
    turns = [*HI, {"role": "assistant", "content": "Yes", "provider_specific_fields": {"refusal": None}}, *HI]
    assert await plain.asked(CHAT, {"messages": turns, "stream": False})


async def test_what_the_template_knows_is_taken(knowing: Server) -> None:
    assert "<critic>Hi!" in (await knowing.asked(CHAT, message(role="critic")))["text"]
    assert "Higrim" in (await knowing.asked(CHAT, message(mood="grim")))["text"]
    assert (await knowing.asked(CHAT, {"chat_template_kwargs": {"enable_thinking": False}}))["text"].startswith("quick")
    assert (await knowing.asked(CHAT, {"reasoning_effort": "none"}))["text"].startswith("quick")
    assert not (await knowing.asked(CHAT, {"reasoning_effort": "medium"}))["text"].startswith("quick")
    assert (await knowing.refusal(CHAT, {"reasoning_effort": "high"}))["param"] == "reasoning_effort"
    shown = (await knowing.asked(CHAT, {"tools": TOOLS}))["text"]
    assert json.loads(shown[: shown.index("<tool_call>")]) == TOOLS
    assert "refund" not in (await knowing.asked(CHAT, {"tools": TOOLS, "tool_choice": "none"}))["text"]


async def test_calls_are_held_to_one_where_there_may_not_be_several(knowing: Server) -> None:
    several = (await knowing.asked(CHAT, {"tools": TOOLS}))["grammar"]
    single = (await knowing.asked(CHAT, {"tools": TOOLS, "parallel_tool_calls": False}))["grammar"]
    assert several
    assert single
    assert several != single


async def test_an_object_with_its_schema_beside_is_held_to_it(plain: Server) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    forms = [
        {"type": "json_object", "schema": schema},
        {"type": "json_schema", "json_schema": {"name": "x", "description": "y", "strict": False, "schema": schema}},
    ]
    held = {(await plain.asked(CHAT, {"response_format": form}))["grammar"] for form in forms}
    text = {"format": {"type": "json_schema", "name": "x", "strict": True, "schema": schema}}
    held.add((await plain.asked(RESPONSES, {"text": text}))["grammar"])
    assert len(held) == 1
    assert "integer" in held.pop()


@pytest.mark.parametrize(
    ("word", "count"), representatives([("kettle ", 300_000), ("é", 1_100_000), ("日本", 550_000)], 2)
)
@pytest.mark.parametrize("more", [{}, {"truncate": "left"}, {"truncate": "oldest"}])
async def test_a_text_of_more_than_a_million_characters_reaches_the_engine_whole(
    word: str, count: int, more: dict[str, Any], plain: Server
) -> None:
    text = word * count
    # How many tokens are too many, and what is cut off, the engine tells.
    call = await plain.asked(CHAT, {"messages": [{"role": "user", "content": text}], **more})
    assert call["text"] == f"<user>{text}"


async def test_a_response_repeats_its_request_and_says_when_it_was_cut_off(plain: Server) -> None:
    given = {
        "metadata": {"a": "b"},
        "temperature": 0.5,
        "instructions": "x",
        "truncation": "auto",
        "max_output_tokens": 4,
    }
    told = (await plain.post(RESPONSES, LEAST[RESPONSES] | given)).json()
    assert {name: told[name] for name in given} == given
    RESULT["finish_reason"] = "length"
    try:
        whole = (await plain.post(RESPONSES, LEAST[RESPONSES])).json()
        raw = (await plain.post(RESPONSES, LEAST[RESPONSES] | {"stream": True})).text
    finally:
        RESULT["finish_reason"] = "stop"
    last = json.loads([line for line in raw.splitlines() if line.startswith("data: ")][-1][6:])
    assert (whole["status"], last["type"]) == ("incomplete", "response.incomplete")
    assert whole["incomplete_details"] == last["response"]["incomplete_details"] == {"reason": "max_output_tokens"}


@pytest.mark.slow  # its package is one of other people's programs, which the slow tests install
async def test_the_openai_package_is_understood_with_all_that_it_may_send(plain: Server) -> None:
    import openai

    client = openai.AsyncOpenAI(base_url="http://localhost/v1", api_key=KEY, http_client=plain.http)
    messages: Any = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
    ]
    first = await client.chat.completions.create(
        model="m",
        messages=messages,
        user="u",
        metadata={"a": "b"},
        store=False,
        service_tier="auto",
        n=1,
        logit_bias={},
        frequency_penalty=0,
        presence_penalty=0,
        seed=3,
        parallel_tool_calls=True,
        prompt_cache_key="k",
        safety_identifier="s",
        reasoning_effort="low",
        extra_body={"top_k": 5},
    )
    assert plain.engine.calls[-1]["parameters"]["top_k"] == 5
    # An answer goes back into the conversation as it came.
    answered: Any = [*messages, first.choices[0].message.model_dump(), {"role": "user", "content": "And?"}]
    await client.chat.completions.create(model="m", messages=answered)
    await client.embeddings.create(model="m", input=["a"], user="u", dimensions=1)
    response = await client.responses.create(model="m", input="Hi", store=False, metadata={"a": "b"})
    again: Any = [{"role": "user", "content": "Hi"}, *[o.model_dump() for o in response.output]]
    await client.responses.create(model="m", input=[*again, {"role": "user", "content": "And?"}])
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model="m", messages=messages, extra_body={"max_token": 5})
    assert (caught.value.param, caught.value.code) == ("max_token", "unknown_parameter")


async def test_the_description_tells_what_has_no_effect_and_why(plain: Server) -> None:
    document = (await plain.http.get("/openapi.json")).json()
    known = document["components"]["schemas"]["ChatRequest"]
    assert known["properties"]["user"]["description"].startswith("No effect: ")
    assert known["additionalProperties"] is False


@pytest.mark.parametrize("path", [CHAT, TEXT])
async def test_values_of_other_servers_are_understood(path: str, plain: Server) -> None:
    stops = [f"stop{n}" for n in range(20)]
    biases = {str(n): -1 for n in range(2000)}
    asked = (await plain.asked(path, {"max_tokens": -1, "top_k": -1, "stop": stops, "logit_bias": biases}))[
        "parameters"
    ]
    assert (asked["max_tokens"], asked["top_k"]) == (1_000_000, 0)
    assert list(asked["stop"]) == stops
    assert len(asked["logit_bias"]) == 2000


async def test_what_openai_s_own_parsing_adds_to_answers_may_come_back(plain: Server) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}", "parsed_arguments": {}}}
    answer = {"role": "assistant", "content": "x", "parsed": {"a": 1}, "tool_calls": [call]}
    assert "<assistant>x" in (await plain.asked(CHAT, {"messages": [*HI, answer, *HI]}))["text"]


async def test_the_newer_name_of_the_length_takes_the_same_values(plain: Server) -> None:
    for given, meant in ((-1, 1_000_000), (0, 0), (7, 7)):
        assert (await plain.asked(CHAT, {"max_completion_tokens": given}))["parameters"]["max_tokens"] == meant


UNHELD = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 2, "maximum": 1}}, "required": ["a"]}
MANY = [*TOOLS, {"type": "function", "function": {"name": "count", "parameters": UNHELD}}]


@pytest.mark.parametrize(
    ("path", "more", "param", "told"),
    [
        (CHAT, {"tools": MANY}, "tools[1].function.parameters", "the JSON schema of the tool 'count'"),
        (CHAT, {"tools": MANY, "tool_choice": "required"}, "tools[1].function.parameters", "unsatisfiable"),
        (CHAT, {"tools": MANY, "tool_choice": among("auto", "count")}, "tools[1].function.parameters", "'count'"),
        (CHAT, {"tools": TOOLS, "response_format": {"type": "json_object", "schema": UNHELD}}, "response_format.schema", "unsatisfiable"),
        (CHAT, {"response_format": {"type": "json_schema", "json_schema": {"schema": UNHELD}}}, "response_format.json_schema.schema", "unsatisfiable"),
        (TEXT, {"grammar": "root ::= ("}, "grammar", "cannot be enforced"),
        (RESPONSES, {"tools": [function_tool("f"), function_tool("g", parameters=UNHELD)]}, "tools[1].parameters", "'g'"),
        (MESSAGES, {"tools": [tool_of("f"), tool_of("g", input_schema=UNHELD)]}, "tools[1].input_schema", "'g'"),
    ],
)  # fmt: skip
async def test_what_cannot_be_enforced_is_named_by_its_place(
    path: str, more: dict[str, Any], param: str, told: str, knowing: Server
) -> None:
    knowing.engine.calls.clear()
    answer = await knowing.post(path, LEAST[path] | more)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["param"] == param
    assert told in error["message"]
    assert error["message"].startswith(f"{param}: ")
    assert knowing.engine.calls == []


@pytest.mark.parametrize(
    ("more", "param"), [({"model": "x"}, "model"), ({"adapter": "x"}, "adapter"), ({"model": "m+x"}, "model")]
)
async def test_a_model_or_adapter_that_is_not_there_is_named_by_its_field(
    more: dict[str, str], param: str, plain: Server
) -> None:
    answer = await plain.post(CHAT, LEAST[CHAT] | more)
    assert answer.status_code == 404, answer.text
    assert answer.json()["error"]["param"] == param


async def test_only_allowed_tools_are_offered(knowing: Server) -> None:
    tools = [TOOLS[0], {"type": "function", "function": {"name": "cancel"}}]
    auto = await knowing.asked(CHAT, {"tools": tools, "tool_choice": among("auto", "cancel")})
    assert "cancel" in auto["text"]
    assert "refund" not in auto["text"]
    required = await knowing.asked(CHAT, {"tools": tools, "tool_choice": among("required", "cancel")})
    assert "cancel" in required["grammar"]
    assert "refund" not in required["grammar"]


async def test_nothing_is_said_of_an_answer_that_is_not_kept(plain: Server) -> None:
    answer = await plain.post(FEEDBACK, LEAST[FEEDBACK] | {"id": "run_none"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (404, "trace_not_found", "id")
    whole = (await plain.post(CHAT, LEAST[CHAT])).json()
    assert (await plain.post(FEEDBACK, {"id": whole["id"], "score": "up"})).status_code == 200
    assert plain.written[-1]["score"] == 1
