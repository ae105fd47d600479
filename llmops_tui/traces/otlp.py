"""Export of traces as OpenTelemetry spans, on request only.

Names follow OpenTelemetry's GenAI semantic conventions 0.1.0 (https://github.com/open-telemetry/semantic-conventions-genai);
the wire form is OTLP/HTTP with JSON: https://opentelemetry.io/docs/specs/otlp/#otlphttp.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

from llmops_tui import __version__
from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.otlp.conversion import CONVENTIONS
from llmops_tui.traces.otlp_retrievals import chain_retrievals, searched
from llmops_tui.traces.otlp_spans import (
    CLIENT,
    ERROR,
    ResourceSpans,
    Scope,
    Span,
    SpanEvent,
    attributes,
    below,
    trace_of,
)
from llmops_tui.traces.records import Said
from llmops_tui.traces.store import Trace, TraceFilter, TraceStore

_BATCH = 200
_SECONDS = 30.0


def export(store: TraceStore, wanted: TraceFilter, url: str, *, content: bool, headers: dict[str, str]) -> int:
    """Send traces to a collector, oldest first; returns how many. ``content`` sends what was asked and answered too.

    Raises:
        LlmopsError: ``export_failed``: it does not answer or refuses; what was sent before is said.
    """
    import httpx

    if not url.startswith(("http://", "https://")):
        raise InputRefusedError("bad_address", f"{url!r} is not the URL of a collector", "http://localhost:4318")
    address = url.rstrip("/") + ("" if url.rstrip("/").endswith("/v1/traces") else "/v1/traces")
    sent, runs = 0, set[str]()
    with httpx.Client(timeout=_SECONDS, headers=headers) as client:
        for batch in _batches(store, wanted):
            spans = [one for trace in batch for one in spans_of(trace, content=content)]
            spans += chain_retrievals(store, batch, runs, content=content)
            body = {"resourceSpans": [_resource(spans)]}
            try:
                with client.stream("POST", address, json=body) as answer:
                    told = next(answer.iter_bytes(), b"")[:200].decode("utf-8", "replace")
            except httpx.HTTPError as error:
                raise _failed(address, str(error), sent) from error
            if answer.status_code >= 300:
                raise _failed(address, f"HTTP {answer.status_code}: {told}", sent)
            sent += len(batch)
    return sent


def spans_of(trace: Trace, *, content: bool) -> list[Span]:
    """One trace as spans of OTLP's JSON: the request, below it what was searched for it, and tools whose results it had."""
    whole = span(trace, content=content)
    return [whole, *_tools(trace, whole, content=content), *searched(trace, whole, content=content)]


def span(trace: Trace, *, content: bool) -> Span:
    """One request as a span; what came from another application has the ids that it had there."""
    line = trace.line
    digest = hashlib.sha256(line.id.encode()).hexdigest()
    begin = int(line.started_at * 1e9)
    foreign = (trace.client or {}).get("otlp") or {}
    operation = "text_completion" if trace.messages and trace.messages[0].get("role") == "prompt" else "chat"
    operation = foreign.get("operation") or operation
    values: dict[str, object] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": (trace.engine or "unknown") if foreign else "llama_cpp",
        "gen_ai.request.model": line.model,
        "gen_ai.response.model": line.model,
        "gen_ai.response.id": line.id,
        "gen_ai.usage.input_tokens": line.prompt_tokens,
        "gen_ai.usage.output_tokens": line.completion_tokens,
        "gen_ai.usage.reasoning.output_tokens": trace.reasoning_tokens,
        "gen_ai.usage.cache_read.input_tokens": trace.reused_tokens,
        "gen_ai.response.finish_reasons": [line.finish_reason],
        "gen_ai.response.time_to_first_chunk": None if line.ttft_ms is None else line.ttft_ms / 1000,
        "llmops.prompt.name": line.prompt,
        "llmops.prompt.version": line.version,
        "gen_ai.output.type": "json" if trace.parameters.get("response_format") else None,
        **{f"gen_ai.request.{name}": trace.parameters.get(key) for name, key in _PARAMETERS.items()},
    }
    step = (trace.client or {}).get("chain") or {}
    # Steps of one run of a chain are one trace.
    whole = trace_of(step["run"]) if step.get("run") else digest
    values |= {"llmops.chain.name": step.get("chain"), "llmops.chain.step": step.get("step")}
    if line.error:
        values["error.type"] = "error"
    if content:
        if tools := trace.parameters.get("tools"):
            values["gen_ai.tool.definitions"] = json.dumps(tools, ensure_ascii=False)
        parts = [{"role": m.get("role"), "parts": _parts(m)} for m in trace.messages]
        answer = {
            "role": "assistant",
            "parts": [
                *([{"type": "reasoning", "content": trace.thinking}] if trace.thinking else []),
                {"type": "text", "content": trace.output},
            ],
            "finish_reason": line.finish_reason,
        }
        values["gen_ai.input.messages"] = json.dumps(parts, ensure_ascii=False)
        values["gen_ai.output.messages"] = json.dumps([answer], ensure_ascii=False)
    events = [_evaluation(said, score, content=content) for said in trace.said if (score := said["score"])]
    out: Span = {
        "traceId": foreign.get("trace") or whole[:32],
        "spanId": foreign.get("span") or digest[32:48],
        "name": f"{operation} {line.model}",
        "kind": CLIENT,
        "startTimeUnixNano": str(begin),
        "endTimeUnixNano": str(begin + int((line.total_ms or 0) * 1e6)),
        "attributes": attributes(values),
        "events": events,
    }
    if foreign.get("parent"):
        out["parentSpanId"] = foreign["parent"]
    if line.error:
        # A message may quote what was asked.
        out["status"] = {"code": ERROR}
        if content:
            out["status"]["message"] = line.error
    return out


_PARAMETERS = {
    "temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "max_tokens": "max_tokens", "seed": "seed",
    "stop_sequences": "stop", "frequency_penalty": "frequency_penalty", "presence_penalty": "presence_penalty",
}  # fmt: skip


def _parts(message: JsonObject) -> list[dict[str, object]]:
    """A message's parts, as the conventions have them."""
    if message.get("role") == "tool":
        response = {"type": "tool_call_response", "id": message.get("tool_call_id"), "result": message.get("content")}
        return [response]
    parts: list[dict[str, object]] = []
    if message.get("reasoning_content"):
        parts.append({"type": "reasoning", "content": message["reasoning_content"]})
    if message.get("content") or not message.get("tool_calls"):
        parts.append({"type": "text", "content": message.get("content")})
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        arguments = function.get("arguments")
        parts.append({"type": "tool_call", "id": call.get("id"), "name": function.get("name"), "arguments": arguments})
    return parts


def _tools(trace: Trace, asked: Span, *, content: bool) -> list[Span]:
    """The tools that were executed just before a request, as far as it tells; when they were is not known."""
    last = next((n for n, m in reversed(list(enumerate(trace.messages))) if m.get("role") != "tool"), None)
    if last is None:
        return []
    calls = {call.get("id"): call.get("function") or {} for call in trace.messages[last].get("tool_calls") or ()}
    found = []
    for message in trace.messages[last + 1 :]:
        key = message.get("tool_call_id")
        called = calls.get(key, {})
        values = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": called.get("name"),
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.id": key,
            "gen_ai.tool.call.arguments": called.get("arguments") if content else None,
            "gen_ai.tool.call.result": message.get("content") if content else None,
        }
        digest = hashlib.sha256(f"{trace.line.id} {key}".encode()).hexdigest()
        found.append(
            below(asked["traceId"], digest, asked["spanId"], f"execute_tool {called.get('name') or ''}", values)
        )
        found[-1]["startTimeUnixNano"] = found[-1]["endTimeUnixNano"] = asked["startTimeUnixNano"]
    return found


def _evaluation(said: Said, score: int, *, content: bool) -> SpanEvent:
    values = {
        "gen_ai.evaluation.name": "user_feedback",
        "gen_ai.evaluation.score.value": float(score),
        "gen_ai.evaluation.score.label": "up" if score > 0 else "down",
        # What somebody wrote is content, too.
        "gen_ai.evaluation.explanation": said["comment"] if content else None,
    }
    return {
        "name": "gen_ai.evaluation.result",
        "timeUnixNano": str(int(said["said_at"] * 1e9)),
        "attributes": attributes(values),
    }


def _resource(spans: list[Span]) -> ResourceSpans:
    return {
        "resource": {"attributes": attributes({"service.name": "llmops", "service.version": __version__})},
        "scopeSpans": [{"scope": _scope(), "spans": spans}],
    }


def _scope() -> Scope:
    # The conventions have no schema's address of their own yet.
    told = {"gen_ai.semantic_conventions.version": CONVENTIONS}
    return {"name": "llmops", "version": __version__, "attributes": attributes(told)}


def _batches(store: TraceStore, wanted: TraceFilter) -> Iterator[list[Trace]]:
    """All traces that are wanted, as they were when the export began, oldest first."""
    _, total = store.page(wanted, 1)
    ids = [line.id for line in store.page(wanted, total)[0]][::-1]
    for start in range(0, len(ids), _BATCH):
        yield [store.get(trace) for trace in ids[start : start + _BATCH]]


def _failed(address: str, cause: str, sent: int) -> LlmopsError:
    return LlmopsError(
        "export_failed",
        f"{address}: {cause}; {counted(sent, 'trace')} sent before",
        "Check that the collector is running, and try again.",
    )
