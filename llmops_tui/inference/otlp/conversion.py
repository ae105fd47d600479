"""Spans of other applications as traces of this workspace: what was asked of a model, a tool or an index, and what came.

Read are the names of OpenTelemetry's GenAI semantic conventions 0.1.0, those of versions 1.28 to 1.41 before they had a
repository of their own, and OpenInference's (https://arize-ai.github.io/openinference/spec). Messages are attributes as JSON
or as structured values, or events.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.otlp.spans import ForeignEvent, ForeignSpan
from llmops_tui.workspace.events import ClientRecord, FeedbackRecord, RequestRecord, TracedSpan

CONVENTIONS = "0.1.0"
"""The version of OpenTelemetry's GenAI semantic conventions that is sent, and read beside older ones."""
_MODEL_CALLS = {"chat", "text_completion", "generate_content"}
# OpenInference's kinds of spans, as operations.
_KINDS = {
    "LLM": "chat", "TOOL": "execute_tool", "RETRIEVER": "retrieval", "AGENT": "invoke_agent", "EMBEDDING": "embeddings",
    "CHAIN": "invoke_workflow", "RERANKER": "rerank",
}  # fmt: skip
_PARAMETERS = {
    "temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "max_tokens": "max_tokens", "seed": "seed",
    "stop_sequences": "stop", "frequency_penalty": "frequency_penalty", "presence_penalty": "presence_penalty",
}  # fmt: skip
# How attributes begin that count tokens.
_COUNTED = ("gen_ai.usage.", "llm.token_count.")
_EVALUATION = "gen_ai.evaluation.result"
_ROLES = {f"gen_ai.{role}.message": role for role in ("system", "user", "assistant", "tool")}


def operation_of(span: ForeignSpan) -> str:
    """What a span says that it did, by the conventions; empty where it is no work of a model, a tool or an agent."""
    told = span.attributes.get("gen_ai.operation.name")
    if isinstance(told, str) and told:
        return told
    return _KINDS.get(str(span.attributes.get("openinference.span.kind") or "").upper(), "")


def key_of(span: ForeignSpan) -> str:
    """The trace's id here: the same however often the span is sent."""
    return f"run_otlp_{span.trace}{span.id}"


def as_request(span: ForeignSpan, key: str) -> RequestRecord | None:
    """The trace of a span; none where it is nothing of :func:`operation_of`. ``key`` is what the client's key is called."""
    operation = operation_of(span)
    if not operation:
        return None
    given = span.attributes
    messages, answer, thinking, reason = _said(span, operation)
    facts: TracedSpan = {"trace": span.trace, "span": span.id, "parent": span.parent, "operation": operation}
    facts |= {"service": span.service, "scope": span.scope}
    metadata = {
        name: value for name, value in given.items() if name.startswith("llmops.") or name == "gen_ai.conversation.id"
    }
    metadata |= {"span": span.name} | _evaluations(span)
    client: ClientRecord = {"key": key or None, "metadata": metadata, "otlp": facts}
    error = _error(span)
    total = (span.ended_at - span.started_at) * 1000
    first = _number(given.get("gen_ai.response.time_to_first_chunk"))
    completion = _count(
        given, "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion"
    )
    found: RequestRecord = {
        "started_at": span.started_at,
        "model": _model(span, operation),
        "engine": str(
            given.get("gen_ai.provider.name") or given.get("gen_ai.system") or given.get("llm.provider") or ""
        )
        or None,
        "messages": messages,
        "parameters": _parameters(given),
        "output": answer,
        "finish_reason": "error" if span.failed else reason or "stop",
        "error": error,
        "prompt_tokens": _count(
            given, "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt"
        ),
        "completion_tokens": completion,
        "reused_tokens": _count(given, "gen_ai.usage.cache_read.input_tokens"),
        "reasoning_tokens": _count(given, "gen_ai.usage.reasoning.output_tokens"),
        "total_ms": total,
        "tokens_per_s": completion / total * 1000 if completion and total > 0 else None,
        "client": client,
    }
    if first is not None:
        found["ttft_ms"] = first * 1000
    if thinking:
        found["thinking"] = thinking
    return found


def not_kept(span: ForeignSpan) -> list[str]:
    """What a span tells of itself that its trace does not keep, since it cannot be: each in words, by its name."""
    given = span.attributes
    names = [name for name in given if name.startswith(_COUNTED) and given[name] is not None]
    found = [f"{name} is {str(given[name])[:40]}, no number of tokens" for name in names if _count(given, name) is None]
    if span.backward:
        found.append("it ends before it starts, and took 0 ms here")
    return found


def as_feedback(span: ForeignSpan) -> list[tuple[str, FeedbackRecord]]:
    """What a span's evaluations say of its answer, as a thumb: those of users; others are figures beside the trace."""
    found: list[tuple[str, FeedbackRecord]] = []
    for n, event in enumerate(one for one in span.events if one.name == _EVALUATION):
        told = event.attributes
        if told.get("gen_ai.evaluation.name") != "user_feedback":
            continue
        value = _number(told.get("gen_ai.evaluation.score.value"))
        label = str(told.get("gen_ai.evaluation.score.label") or "").lower()
        score = (
            1
            if label in {"up", "good", "pass", "positive"}
            else -1
            if label in {"down", "bad", "fail", "negative"}
            else None
        )
        if score is None and value is not None:
            score = 1 if value > 0 else -1
        said: FeedbackRecord = {
            "request": key_of(span), "score": score, "correction": None, "verdict": None,
            "comment": str(told.get("gen_ai.evaluation.explanation") or "") or None,
            "source": f"otlp {span.service}".strip(), "said_at": event.at or span.ended_at,
        }  # fmt: skip
        found.append((f"fb_otlp_{span.trace}{span.id}{n}", said))
    return found


def _evaluations(span: ForeignSpan) -> JsonObject:
    found = [
        {name.removeprefix("gen_ai.evaluation."): value for name, value in event.attributes.items()}
        for event in span.events
        if event.name == _EVALUATION and event.attributes.get("gen_ai.evaluation.name") != "user_feedback"
    ]
    return {"evaluations": found} if found else {}


def _model(span: ForeignSpan, operation: str) -> str:
    given = span.attributes
    if operation in {"execute_tool", "retrieval", "invoke_agent", "invoke_workflow"}:
        named = ("gen_ai.tool.name", "tool.name", "gen_ai.data_source.id", "gen_ai.agent.name")
        name = next((str(given[one]) for one in named if given.get(one)), "")
        return f"{operation} {name}".strip() if name else span.name or operation
    for name in ("gen_ai.response.model", "gen_ai.request.model", "llm.model_name", "embedding.model_name"):
        if given.get(name):
            return str(given[name])
    return span.name or operation


def _error(span: ForeignSpan) -> str | None:
    if not span.failed:
        return None
    raised = next((event for event in span.events if event.name == "exception"), None)
    told = span.error or (str(raised.attributes.get("exception.message") or "") if raised is not None else "")
    return told or str(span.attributes.get("error.type") or "it failed, and nothing says how")


def _parameters(given: JsonObject) -> dict[str, object]:
    found = {
        ours: given[f"gen_ai.request.{name}"] for name, ours in _PARAMETERS.items() if f"gen_ai.request.{name}" in given
    }
    if given.get("gen_ai.output.type") == "json":
        # Which schema it was is not told.
        found["response_format"] = {"type": "json_object"}
    tools = _parsed(given.get("gen_ai.tool.definitions"))
    if isinstance(tools, list) and tools:
        found["tools"] = tools
    foreign = _parsed(given.get("llm.invocation_parameters"))
    return found | (foreign if isinstance(foreign, dict) else {})


# ── what was said ──


def _said(span: ForeignSpan, operation: str) -> tuple[list[JsonObject], str, str, str]:
    """The messages that were given, the answer, the thinking before it, and why it ended."""
    given = span.attributes
    if operation == "execute_tool":
        arguments = given.get("gen_ai.tool.call.arguments", given.get("input.value"))
        asked = [{"role": "user", "content": _text(arguments)}] if arguments is not None else []
        return asked, _text(given.get("gen_ai.tool.call.result", given.get("output.value"))), "", ""
    if operation == "retrieval":
        query = given.get("gen_ai.retrieval.query.text", given.get("input.value"))
        found = (
            given.get("gen_ai.retrieval.documents")
            or _numbered(given, "retrieval.documents.")
            or given.get("output.value")
        )
        return ([{"role": "user", "content": _text(query)}] if query is not None else []), _text(found), "", ""
    asked = _instructions(given) + (
        _messages(given.get("gen_ai.input.messages") or given.get("gen_ai.prompt"))
        or [_numbered_message(one) for one in _numbered(given, "llm.input_messages.")]
        or _told(span.events)
    )
    if not asked and given.get("input.value") is not None:
        asked = [{"role": "user", "content": _text(given["input.value"])}]
    answers = _messages(given.get("gen_ai.output.messages") or given.get("gen_ai.completion")) or [
        _numbered_message(one) for one in _numbered(given, "llm.output_messages.")
    ]
    reasons = given.get("gen_ai.response.finish_reasons")
    reason = str(reasons[0]) if isinstance(reasons, list) and reasons else ""
    for event in span.events:
        if event.name == "gen_ai.choice" and not answers:
            answers = _messages([_parsed(event.attributes.get("message")) or event.attributes])
            reason = reason or str(event.attributes.get("finish_reason") or "")
    if not answers:
        return asked, _text(given.get("output.value")), "", reason
    first = answers[0]
    # An answer's text has its calls of tools, too, as models write them.
    calls = first.get("tool_calls")
    text = _text(first.get("content")) + (json.dumps({"tool_calls": calls}, ensure_ascii=False) if calls else "")
    return asked, text, _text(first.get("reasoning_content")), reason or str(first.get("finish_reason") or "")


def _instructions(given: JsonObject) -> list[JsonObject]:
    told = _parsed(given.get("gen_ai.system_instructions"))
    if not told:
        return []
    parts = told if isinstance(told, list) else [told]
    texts = [_text(part.get("content")) if isinstance(part, dict) else _text(part) for part in parts]
    return [{"role": "system", "content": "\n".join(texts)}]


def _messages(told: Any) -> list[JsonObject]:
    found = _parsed(told)
    if isinstance(found, str):
        return [{"role": "user", "content": found}]
    if isinstance(found, dict):
        found = [found]
    return [_message(one) for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _message(told: JsonObject) -> JsonObject:
    """A message with parts as OpenAI's API has it; one that is so already stays as it is."""
    parts = told.get("parts")
    if not isinstance(parts, list):
        return {"role": "user", "content": "", **told}
    texts: list[str] = []
    found: JsonObject = {"role": told.get("role") or "user"}
    for part in parts:
        if not isinstance(part, dict):
            texts.append(_text(part))
            continue
        kind = part.get("type")
        if kind == "tool_call":
            call = {"name": part.get("name"), "arguments": _text(part.get("arguments"))}
            found.setdefault("tool_calls", []).append({"id": part.get("id"), "type": "function", "function": call})
        elif kind == "tool_call_response":
            found |= {"role": "tool", "tool_call_id": part.get("id")}
            texts.append(_text(part.get("result", part.get("response"))))
        elif kind == "reasoning":
            found["reasoning_content"] = found.get("reasoning_content", "") + _text(part.get("content"))
        elif kind == "text":
            texts.append(_text(part.get("content")))
        else:
            # Such as an image: what it was is told, and not what it showed.
            texts.append(f"[{kind or 'a part that is not told of'}]")
    found["content"] = "".join(texts)
    if told.get("finish_reason"):
        found["finish_reason"] = told["finish_reason"]
    return found


def _told(events: Sequence[ForeignEvent]) -> list[JsonObject]:
    """Messages as events have them, in the conventions up to 1.36."""
    found: list[JsonObject] = []
    for event in events:
        if event.name == "gen_ai.content.prompt":
            found += _messages(event.attributes.get("gen_ai.prompt"))
        elif (role := _ROLES.get(event.name)) is not None:
            kept = {name: value for name, value in event.attributes.items() if not name.startswith("gen_ai.")}
            found.append({"role": role, **kept, "content": _text(event.attributes.get("content"))})
    return found


def _numbered(given: JsonObject, begin: str) -> list[JsonObject]:
    """OpenInference's lists, whose members' fields are attributes of their own: ``BEGIN0.message.role``."""
    found: dict[int, JsonObject] = {}
    for name, value in given.items():
        if name.startswith(begin):
            number, _, rest = name.removeprefix(begin).partition(".")
            if number.isdigit():
                found.setdefault(int(number), {})[rest] = value
    return [found[number] for number in sorted(found)]


def _numbered_message(fields: JsonObject) -> JsonObject:
    found: JsonObject = {
        "role": fields.get("message.role") or "user",
        "content": _text(fields.get("message.content"))
        or "".join(_text(one.get("message_content.text")) for one in _numbered(fields, "message.contents.")),
    }
    calls = [
        {
            "id": one.get("tool_call.id"),
            "type": "function",
            "function": {
                "name": one.get("tool_call.function.name"),
                "arguments": _text(one.get("tool_call.function.arguments")),
            },
        }
        for one in _numbered(fields, "message.tool_calls.")
    ]
    return found | ({"tool_calls": calls} if calls else {})


def _parsed(value: Any) -> Any:
    """A value that may be JSON in a text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value[:1] in {"[", "{", '"'} else value
    except (ValueError, RecursionError):
        return value


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _count(given: JsonObject, *names: str) -> int | None:
    for name in names:
        value = given.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1 << 31:
            return int(value)
    return None
