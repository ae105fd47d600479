"""Spans in OTLP's JSON: their parts, and how they are made."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NotRequired, TypedDict

INTERNAL, CLIENT = 1, 3
ERROR = 2


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


def below(trace: str, digest: str, parent: str, name: str, values: Mapping[str, object]) -> Span:
    """A span below another one, at no moment yet."""
    made: Span = {
        "traceId": trace, "spanId": digest[:16], "name": name.strip(), "kind": INTERNAL, "startTimeUnixNano": "0",
        "endTimeUnixNano": "0", "attributes": attributes(values), "events": [],
    }  # fmt: skip
    if parent:
        made["parentSpanId"] = parent
    return made


def trace_of(run: str) -> str:
    """Of which the first 32 digits are the trace that all steps of a run are in."""
    return hashlib.sha256(run.encode()).hexdigest()


def attributes(values: Mapping[str, object]) -> list[Attribute]:
    """Attributes of what has a value."""
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
