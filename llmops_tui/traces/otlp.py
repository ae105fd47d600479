"""Export of traces as OpenTelemetry spans, on request only.

Names follow OpenTelemetry's GenAI semantic conventions 0.1.0 (https://github.com/open-telemetry/semantic-conventions-genai);
the wire form is OTLP/HTTP with JSON: https://opentelemetry.io/docs/specs/otlp/#otlphttp.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NotRequired, TypedDict

from llmops_tui import __version__
from llmops_tui.chains.records import SpanRecord
from llmops_tui.chains.runs import get_run
from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.otlp.conversion import CONVENTIONS
from llmops_tui.jobs.store import JobStore
from llmops_tui.traces.records import Said
from llmops_tui.traces.store import Trace, TraceFilter, TraceStore

_BATCH = 200
_SECONDS = 30.0
_INTERNAL, _CLIENT = 1, 3
_ERROR = 2


class Value(TypedDict, total=False):
    """A value of an attribute, under the name of its type."""

    boolValue: bool
    intValue: str
    doubleValue: float
    stringValue: str
    arrayValue: Values


class Values(TypedDict):
    """Values of a list."""

    values: list[Value]


class Attribute(TypedDict):
    """A name and its value."""

    key: str
    value: Value


class SpanEvent(TypedDict):
    """Something that happened to a span; moments are nanoseconds since 1970, as texts."""

    name: str
    timeUnixNano: str
    attributes: list[Attribute]


class Status(TypedDict, total=False):
    """How a span ended."""

    code: int
    message: str


class Span(TypedDict):
    """A trace in the collector's terms; see :class:`SpanEvent` for moments."""

    traceId: str
    spanId: str
    parentSpanId: NotRequired[str]
    name: str
    kind: int
    startTimeUnixNano: str
    endTimeUnixNano: str
    attributes: list[Attribute]
    events: list[SpanEvent]
    status: NotRequired[Status]


class Resource(TypedDict):
    """What the spans come from."""

    attributes: list[Attribute]


class Scope(TypedDict):
    """The program that made the spans."""

    name: str
    version: str
    attributes: list[Attribute]


class ScopeSpans(TypedDict):
    """Spans of one program."""

    scope: Scope
    spans: list[Span]


class ResourceSpans(TypedDict):
    """What a collector is sent."""

    resource: Resource
    scopeSpans: list[ScopeSpans]


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
            spans += _retrievals(store, batch, runs, content=content)
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
    """One trace as spans of OTLP's JSON: the request, and below it the tools whose results it was sent with."""
    whole = span(trace, content=content)
    return [whole, *_tools(trace, whole, content=content)]


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
        **{f"gen_ai.request.{name}": trace.parameters.get(key) for name, key in _PARAMETERS.items()},
    }
    step = (trace.client or {}).get("chain") or {}
    # Steps of one run of a chain are one trace.
    whole = _trace_of(step["run"]) if step.get("run") else digest
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
        "kind": _CLIENT,
        "startTimeUnixNano": str(begin),
        "endTimeUnixNano": str(begin + int((line.total_ms or 0) * 1e6)),
        "attributes": _attributes(values),
        "events": events,
    }
    if foreign.get("parent"):
        out["parentSpanId"] = foreign["parent"]
    if line.error:
        # A message may quote what was asked.
        out["status"] = {"code": _ERROR}
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
            _below(asked["traceId"], digest, asked["spanId"], f"execute_tool {called.get('name') or ''}", values)
        )
        found[-1]["startTimeUnixNano"] = found[-1]["endTimeUnixNano"] = asked["startTimeUnixNano"]
    return found


def _below(trace: str, digest: str, parent: str, name: str, values: Mapping[str, object]) -> Span:
    made: Span = {
        "traceId": trace, "spanId": digest[:16], "name": name.strip(), "kind": _INTERNAL, "startTimeUnixNano": "0",
        "endTimeUnixNano": "0", "attributes": _attributes(values), "events": [],
    }  # fmt: skip
    if parent:
        made["parentSpanId"] = parent
    return made


def _retrievals(store: TraceStore, batch: Sequence[Trace], seen: set[str], *, content: bool) -> list[Span]:
    """What the runs of chains whose steps are sent retrieved; each run's once."""
    found: list[Span] = []
    jobs = JobStore(store.event_log)
    for trace in batch:
        run = ((trace.client or {}).get("chain") or {}).get("run")
        if not run or run in seen:
            continue
        seen.add(run)
        try:
            steps: Iterable[SpanRecord] = get_run(jobs, run).spans()
        except NotFoundError:
            # Of a served chain only the requests are kept.
            continue
        found += [_retrieval(run, step, content=content) for step in steps if step["kind"] == "retrieve"]
    return found


def _retrieval(run: str, step: SpanRecord, *, content: bool) -> Span:
    passages = (step["output"] or {}).get("passages", []) if isinstance(step["output"], dict) else []
    kept = ("number", "source", "sha256", "score")
    documents = [
        {"id": str(one.get("source") or one.get("number")), **{k: one[k] for k in kept if k in one}} for one in passages
    ]
    if content:
        documents = [{**told, "content": one.get("text")} for told, one in zip(documents, passages, strict=True)]
    values = {
        "gen_ai.operation.name": "retrieval",
        "gen_ai.retrieval.query.text": str(step["input"]) if content else None,
        "gen_ai.retrieval.top_k": len(passages),
        "gen_ai.retrieval.documents": json.dumps(documents, ensure_ascii=False),
        "llmops.chain.step": step["path"],
        "error.type": "error" if step["state"] == "failed" else None,
    }
    digest = hashlib.sha256(f"{run} {step['path']} {step['key']}".encode()).hexdigest()
    made = _below(_trace_of(run)[:32], digest, "", f"retrieval {step['step']}", values)
    made["startTimeUnixNano"] = str(int(step["started_at"] * 1e9))
    made["endTimeUnixNano"] = str(int((step["started_at"] + step["seconds"]) * 1e9))
    if step["state"] == "failed":
        made["status"] = {"code": _ERROR}
    return made


def _trace_of(run: str) -> str:
    return hashlib.sha256(run.encode()).hexdigest()


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
        "attributes": _attributes(values),
    }


def _resource(spans: list[Span]) -> ResourceSpans:
    return {
        "resource": {"attributes": _attributes({"service.name": "llmops", "service.version": __version__})},
        "scopeSpans": [{"scope": _scope(), "spans": spans}],
    }


def _scope() -> Scope:
    # The conventions have no schema's address of their own yet.
    told = {"gen_ai.semantic_conventions.version": CONVENTIONS}
    return {"name": "llmops", "version": __version__, "attributes": _attributes(told)}


def _attributes(values: Mapping[str, object]) -> list[Attribute]:
    return [{"key": key, "value": _value(value)} for key, value in values.items() if value is not None]


def _value(value: object) -> Value:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        # 64-bit integers are texts in protobuf's JSON.
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, (list, tuple)):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    return {"stringValue": str(value)}


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
