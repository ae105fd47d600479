"""OTLP's messages in protobuf's binary form, read as the same objects that its JSON has.

Only the fields that are read are named, by their numbers in opentelemetry/proto/trace/v1/trace.proto and
common/v1/common.proto; others are passed over, as protobuf has it. https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from llmops_tui.foreign_text import JsonObject

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Values within values: more than anybody writes, and far below what Python can call.
_DEEPEST = 60


class ProtobufError(ValueError):
    """The bytes are no message of this kind."""


@dataclass(frozen=True)
class _Field:
    """A field: its name in JSON, how it is read, and whether there may be several."""

    name: str
    read: Callable[[Any, int], Any]
    kind: int = _BYTES
    several: bool = False


_Message = dict[int, _Field]


def read_request(data: bytes) -> JsonObject:
    """An ``ExportTraceServiceRequest``.

    Raises:
        ProtobufError: it is none.
    """
    return _read(_REQUEST, data, 0)


def _read(fields: _Message, data: bytes, depth: int) -> JsonObject:
    if depth > _DEEPEST:
        raise ProtobufError("values nest too deep")
    found: JsonObject = {}
    for number, kind, value in _parts(data):
        field = fields.get(number)
        if field is None:
            continue
        if field.kind != kind:
            raise ProtobufError(f"{field.name} has the wire type {kind}, and {field.kind} is expected")
        read = field.read(value, depth)
        if field.several:
            found.setdefault(field.name, []).append(read)
        else:
            found[field.name] = read
    return found


def _parts(data: bytes) -> Iterator[tuple[int, int, Any]]:
    """The fields as they stand: number, wire type, and value."""
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, place = _varint(data, place)
            yield number, kind, value
            continue
        if kind == _BYTES:
            size, place = _varint(data, place)
        elif kind in {_FIXED64, _FIXED32}:
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ProtobufError(f"the wire type {kind} is not known")
        if place + size > len(data):
            raise ProtobufError("it ends in the middle of a field")
        yield number, kind, data[place : place + size]
        place += size


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(data) and shift < 70:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if not byte & 0x80:
            return value & (1 << 64) - 1, place
    raise ProtobufError("a number does not end")


def _text(value: bytes, _depth: int) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise ProtobufError("a text is no UTF-8") from error


def _hex(value: bytes, _depth: int) -> str:
    return value.hex()


def _base64(value: bytes, _depth: int) -> str:
    import base64

    return base64.b64encode(value).decode()


def _unsigned(value: bytes, _depth: int) -> str:
    # As JSON has numbers of 64 bits.
    return str(int.from_bytes(value, "little"))


def _signed(value: int, _depth: int) -> str:
    return str(value - (1 << 64) if value >= 1 << 63 else value)


def _double(value: bytes, _depth: int) -> float:
    return float(struct.unpack("<d", value)[0])


def _within(fields: _Message) -> Callable[[bytes, int], JsonObject]:
    return lambda data, depth: _read(fields, data, depth + 1)


_VALUE: _Message = {}
_PAIR: _Message = {1: _Field("key", _text), 2: _Field("value", _within(_VALUE))}
_VALUE |= {
    1: _Field("stringValue", _text),
    2: _Field("boolValue", lambda value, _depth: bool(value), _VARINT),
    3: _Field("intValue", _signed, _VARINT),
    4: _Field("doubleValue", _double, _FIXED64),
    5: _Field("arrayValue", _within({1: _Field("values", _within(_VALUE), several=True)})),
    6: _Field("kvlistValue", _within({1: _Field("values", _within(_PAIR), several=True)})),
    7: _Field("bytesValue", _base64),
}
_ATTRIBUTES = _Field("attributes", _within(_PAIR), several=True)
_EVENT: _Message = {1: _Field("timeUnixNano", _unsigned, _FIXED64), 2: _Field("name", _text), 3: _ATTRIBUTES}
_STATUS: _Message = {2: _Field("message", _text), 3: _Field("code", lambda value, _depth: value, _VARINT)}
_SPAN: _Message = {
    1: _Field("traceId", _hex),
    2: _Field("spanId", _hex),
    4: _Field("parentSpanId", _hex),
    5: _Field("name", _text),
    7: _Field("startTimeUnixNano", _unsigned, _FIXED64),
    8: _Field("endTimeUnixNano", _unsigned, _FIXED64),
    9: _ATTRIBUTES,
    11: _Field("events", _within(_EVENT), several=True),
    15: _Field("status", _within(_STATUS)),
}
_SCOPE: _Message = {1: _Field("name", _text), 2: _Field("version", _text)}
_SCOPE_SPANS: _Message = {
    1: _Field("scope", _within(_SCOPE)), 2: _Field("spans", _within(_SPAN), several=True), 3: _Field("schemaUrl", _text),
}  # fmt: skip
_RESOURCE_SPANS: _Message = {
    1: _Field("resource", _within({1: _ATTRIBUTES})),
    2: _Field("scopeSpans", _within(_SCOPE_SPANS), several=True),
}
_REQUEST: _Message = {1: _Field("resourceSpans", _within(_RESOURCE_SPANS), several=True)}


def partial_success(rejected: int, why: str) -> bytes:
    """An ``ExportTraceServiceResponse``; empty where nothing was rejected and there is nothing to tell."""
    if not (rejected or why):
        return b""
    told = why.encode()
    inner = b"\x08" + _as_varint(rejected) + b"\x12" + _as_varint(len(told)) + told
    return b"\x0a" + _as_varint(len(inner)) + inner


def _as_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
