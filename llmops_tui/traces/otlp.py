"""Export of traces as OpenTelemetry spans, on request only.

Names follow the semantic conventions for generative AI (gen_ai.*, in development); the wire form is OTLP/HTTP with
JSON: https://opentelemetry.io/docs/specs/otlp/#otlphttp.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import NotRequired, TypedDict

from llmops_tui import __version__
from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.traces.records import Said
from llmops_tui.traces.retrieved import retrieved_of
from llmops_tui.traces.store import Trace, TraceFilter, TraceStore
from llmops_tui.workspace.events import TracedRetrieval

_BATCH = 200
_SECONDS = 30.0
_CLIENT = 3
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
    sent = 0
    with httpx.Client(timeout=_SECONDS, headers=headers) as client:
        for batch in _batches(store, wanted):
            body = {"resourceSpans": [_resource([one for trace in batch for one in spans(trace, content=content)])]}
            try:
                with client.stream("POST", address, json=body) as answer:
                    told = next(answer.iter_bytes(), b"")[:200].decode("utf-8", "replace")
            except httpx.HTTPError as error:
                raise _failed(address, str(error), sent) from error
            if answer.status_code >= 300:
                raise _failed(address, f"HTTP {answer.status_code}: {told}", sent)
            sent += len(batch)
    return sent


def spans(trace: Trace, *, content: bool) -> list[Span]:
    """A trace as its span, and behind it one for each search that its passages came from."""
    whole = span(trace, content=content)
    return [whole, *(_retrieval(n, one, whole, content=content) for n, one in enumerate(retrieved_of(trace.client)))]


def _retrieval(number: int, found: TracedRetrieval, whole: Span, *, content: bool) -> Span:
    begin = int(found["started_at"] * 1e9)
    documents = [{"id": f"{found['index']}#{one['chunk']}", "score": one["score"]} for one in found["passages"]]
    values: dict[str, object] = {
        "gen_ai.operation.name": "retrieval",
        "gen_ai.data_source.id": found["index"],
        "gen_ai.request.top_k": found["k"],
        "gen_ai.retrieval.documents": json.dumps(documents),
        "llmops.retrieval.by": found["by"],
    }
    if content:
        values["gen_ai.retrieval.query.text"] = found["query"]
    return {
        "traceId": whole["traceId"],
        "spanId": hashlib.sha256(f"{whole['spanId']} {number}".encode()).hexdigest()[:16],
        "parentSpanId": whole["spanId"],
        "name": f"retrieval {found['index']}",
        "kind": _CLIENT,
        "startTimeUnixNano": str(begin),
        "endTimeUnixNano": str(begin + int(found["seconds"] * 1e9)),
        "attributes": _attributes(values),
        "events": [],
    }


def span(trace: Trace, *, content: bool) -> Span:
    """One trace as a span of OTLP's JSON."""
    line = trace.line
    digest = hashlib.sha256(line.id.encode()).hexdigest()
    begin = int(line.started_at * 1e9)
    operation = "text_completion" if trace.messages and trace.messages[0].get("role") == "prompt" else "chat"
    values: dict[str, object] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "llama_cpp",
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
    whole = hashlib.sha256(step["run"].encode()).hexdigest() if step.get("run") else digest
    values |= {"llmops.chain.name": step.get("chain"), "llmops.chain.step": step.get("step")}
    if line.error:
        values["error.type"] = "error"
    if content:
        parts = [
            {"role": m.get("role"), "parts": [{"type": "text", "content": m.get("content")}]} for m in trace.messages
        ]
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
        "traceId": whole[:32],
        "spanId": digest[32:48],
        "name": f"{operation} {line.model}",
        "kind": _CLIENT,
        "startTimeUnixNano": str(begin),
        "endTimeUnixNano": str(begin + int((line.total_ms or 0) * 1e6)),
        "attributes": _attributes(values),
        "events": events,
    }
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
        "scopeSpans": [{"scope": {"name": "llmops", "version": __version__}, "spans": spans}],
    }


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
