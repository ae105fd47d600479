"""``POST /v1/traces``: spans of other applications by OTLP/HTTP, in protobuf or JSON, kept as traces of the workspace.

https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Mapping

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject, parse_json
from llmops_tui.inference.content import as_kept, feedback_as_kept
from llmops_tui.inference.otlp.conversion import as_feedback, as_request, key_of, not_kept, operation_of
from llmops_tui.inference.otlp.protobuf import ProtobufError, partial_success, read_request
from llmops_tui.inference.otlp.spans import ForeignSpan, spans_of
from llmops_tui.inference.server.callers import Caller
from llmops_tui.workspace.event_log import EventLog

PATH = "/v1/traces"
PROTOBUF = "application/x-protobuf"
# Of a body that was packed, and of one that was not.
MAX_UNPACKED = 32_000_000
_LEFT_OUT = "not kept: without gen_ai.operation.name or openinference.span.kind, no work of a model, a tool or an agent"
# What is dated farther ahead, in seconds, is no wrong clock's: it would stand before all others for years.
_AHEAD = 366 * 86_400
_MOST_TOLD = 20
Event = tuple[str, str, Mapping[str, object]]


class OtlpApi:
    """Takes spans in; what is kept of their texts, ``trace_content`` says."""

    def __init__(self, event_log: EventLog, trace_content: str) -> None:
        self._event_log = event_log
        self._content = trace_content

    def routes(self) -> list[BaseRoute]:
        """Its door."""
        return [Route(PATH, self._take, methods=["POST"])]

    async def _take(self, request: Request) -> Response:
        try:
            raw = await request.body()
        except ClientDisconnect as error:
            raise InputRefusedError("client_gone", "the client left before its request was complete") from error
        binary = request.headers.get("content-type", "").partition(";")[0].strip().lower() == PROTOBUF
        caller: Caller = request.scope["caller"]
        packed = "gzip" in request.headers.get("content-encoding", "").lower()
        left_out, why = await asyncio.to_thread(self._keep, raw, binary, packed, caller.key)
        if binary:
            return Response(partial_success(left_out, why), media_type=PROTOBUF)
        told: JsonObject = {"partialSuccess": {"rejectedSpans": str(left_out), "errorMessage": why}} if why else {}
        return JSONResponse(told)

    def _keep(self, raw: bytes, binary: bool, packed: bool, key: str) -> tuple[int, str]:
        """Keep the spans; returns how many were not, and what is told of those and of what is not kept of the others."""
        spans = list(spans_of(_read(_unpacked(raw) if packed else raw, binary=binary)))
        works = [one for one in spans if operation_of(one)]
        latest = time.time() + _AHEAD
        kept = [one for one in works if one.ended_at <= latest]
        events = [event for span in kept for event in self._events(span, key)]
        if events:
            # All of them, or none: whoever sends them again sends all.
            self._event_log.append_many(events)
        told = [f"{counted(len(spans) - len(works), 'span')} {_LEFT_OUT}"] if len(works) < len(spans) else []
        told += [f"span {one.id} not kept: its time is in the future" for one in works if one.ended_at > latest]
        told += [f"span {one.id}: {why}" for one in kept for why in not_kept(one)]
        more = [f"and {len(told) - _MOST_TOLD} more"] if len(told) > _MOST_TOLD else []
        return len(spans) - len(kept), "; ".join([*told[:_MOST_TOLD], *more])

    def _events(self, span: ForeignSpan, key: str) -> list[Event]:
        found = as_request(span, key)
        if found is None:
            return []
        said = [("feedback", name, feedback_as_kept(entry, self._content)) for name, entry in as_feedback(span)]
        return [("taken", key_of(span), as_kept(found, self._content)), *said]


def _unpacked(raw: bytes) -> bytes:
    unpacking = zlib.decompressobj(wbits=31)
    try:
        data = unpacking.decompress(raw, MAX_UNPACKED)
    except zlib.error as error:
        raise InputRefusedError("bad_otlp", f"the body is no gzip: {error}") from error
    if not unpacking.eof:
        what = f"is larger than {MAX_UNPACKED:,} bytes" if unpacking.unconsumed_tail else "ends in the middle"
        raise InputRefusedError("bad_otlp", f"the body, unpacked, {what}", "Send fewer spans at once.")
    return data


def _read(data: bytes, *, binary: bool) -> JsonObject:
    try:
        found = read_request(data) if binary else parse_json(data)
    except ProtobufError as error:
        raise InputRefusedError("bad_otlp", f"the body is no ExportTraceServiceRequest: {error}") from error
    except ValueError as error:
        raise InputRefusedError("bad_otlp", f"the body is no JSON: {error}"[:300]) from error
    if not isinstance(found, dict):
        raise InputRefusedError("bad_otlp", f"the body must be an object, not {type(found).__name__}")
    return found
