"""Spans of another application, as OTLP's JSON has them, with the values of their attributes as Python has them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject

_ERROR = 2
_TRACE = re.compile(r"[0-9a-f]{32}")
_SPAN = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class ForeignEvent:
    """Something that happened to a span; ``at`` is in seconds since 1970."""

    name: str
    at: float
    attributes: JsonObject


@dataclass(frozen=True)
class ForeignSpan:
    """One step of a trace; moments are seconds since 1970, ids hexadecimal, ``parent`` is empty for the first of a trace.

    ``backward`` is set where it says that it ended before it started; it took no time then.
    ``failed`` and ``error`` say whether and how it failed; ``service`` and ``scope`` name the program and its library.
    """

    trace: str
    id: str
    parent: str
    name: str
    started_at: float
    ended_at: float
    attributes: JsonObject
    events: list[ForeignEvent] = field(default_factory=list)
    failed: bool = False
    error: str = ""
    service: str = ""
    scope: str = ""
    backward: bool = False


def spans_of(request: JsonObject) -> Iterator[ForeignSpan]:
    """All spans of an ``ExportTraceServiceRequest``, as JSON.

    Raises:
        InputRefusedError: ``bad_otlp``: it is none, by the place of what is wrong.
    """
    for n, resource in enumerate(_list(request, "resourceSpans", "")):
        place = f"resourceSpans[{n}]"
        facts = _attributes(_object(resource, "resource", place), f"{place}.resource")
        for m, scoped in enumerate(_list(resource, "scopeSpans", place)):
            scope = str(_object(scoped, "scope", f"{place}.scopeSpans[{m}]").get("name") or "")
            for k, span in enumerate(_list(scoped, "spans", f"{place}.scopeSpans[{m}]")):
                where = f"{place}.scopeSpans[{m}].spans[{k}]"
                yield _span(span, where, str(facts.get("service.name") or ""), scope)


def _span(span: JsonObject, place: str, service: str, scope: str) -> ForeignSpan:
    trace, own = (str(span.get(name) or "").lower() for name in ("traceId", "spanId"))
    for name, value, form in (("traceId", trace, _TRACE), ("spanId", own, _SPAN)):
        if not form.fullmatch(value) or not value.strip("0"):
            raise _refused(f"{place}.{name}", "is no id in hexadecimal digits")
    status = _object(span, "status", place)
    events = [
        ForeignEvent(
            str(event.get("name") or ""),
            _moment(event, "timeUnixNano", f"{place}.events[{n}]"),
            _attributes(event, f"{place}.events[{n}]"),
        )
        for n, event in enumerate(_list(span, "events", place))
    ]
    # JSON may have the code's name in place of its number.
    failed = status.get("code") in {_ERROR, "STATUS_CODE_ERROR"}
    start, end = (_moment(span, name, place) for name in ("startTimeUnixNano", "endTimeUnixNano"))
    return ForeignSpan(
        trace,
        own,
        str(span.get("parentSpanId") or "").lower(),
        str(span.get("name") or ""),
        start,
        max(start, end),
        _attributes(span, place),
        events,
        failed,
        str(status.get("message") or ""),
        service,
        scope,
        backward=end < start,
    )


def _attributes(holder: JsonObject, place: str) -> JsonObject:
    found: JsonObject = {}
    for n, pair in enumerate(_list(holder, "attributes", place)):
        found[str(pair.get("key") or "")] = _value(pair.get("value"), f"{place}.attributes[{n}].value")
    return found


def _value(value: Any, place: str) -> Any:
    """A value by its type's name; one without any is none."""
    if value is None or value == {}:
        return None
    if not isinstance(value, dict):
        raise _refused(place, "is no object with a value by its type")
    ((kind, given),) = list(value.items())[:1]
    try:
        if kind == "intValue":
            whole = int(given)
            if not -(1 << 63) <= whole < 1 << 63:
                raise ValueError("it has more than 64 bits")
            return whole
        if kind == "doubleValue":
            number = float(given)
            return number if math.isfinite(number) else str(number)
        if kind == "arrayValue":
            return [_value(one, place) for one in _list(given, "values", place)]
        if kind == "kvlistValue":
            return {str(one.get("key") or ""): _value(one.get("value"), place) for one in _list(given, "values", place)}
    except (TypeError, ValueError, OverflowError) as error:
        raise _refused(place, f"is no {kind}") from error
    if kind in {"stringValue", "boolValue", "bytesValue"}:
        return given
    raise _refused(place, f"has the type {kind[:40]!r}, which is not known")


def _moment(holder: JsonObject, name: str, place: str) -> float:
    try:
        told = int(holder.get(name) or 0)
    except (TypeError, ValueError, OverflowError) as error:
        raise _refused(f"{place}.{name}", "is no number of nanoseconds") from error
    if not 0 <= told < 1 << 64:
        raise _refused(f"{place}.{name}", "is no number of nanoseconds in 64 bits")
    return told / 1e9


def _list(holder: Any, name: str, place: str) -> list[JsonObject]:
    found = holder.get(name) if isinstance(holder, dict) else None
    found = [] if found is None else found
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise _refused(f"{place}.{name}".lstrip("."), "is no list of objects")
    return found


def _object(holder: JsonObject, name: str, place: str) -> JsonObject:
    found = holder.get(name)
    found = {} if found is None else found
    if not isinstance(found, dict):
        raise _refused(f"{place}.{name}", "is no object")
    return found


def _refused(place: str, what: str) -> InputRefusedError:
    return InputRefusedError(
        "bad_otlp", f"{place[:200]} {what}", "Send OTLP: opentelemetry/proto/trace/v1/trace.proto."
    )
