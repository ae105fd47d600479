"""What is wrong with a line that is no message of JSON-RPC: the error that its sender is answered."""

from __future__ import annotations

import mcp_types as wire
import pydantic
import pydantic_core

Refusal = wire.JSONRPCError
"""What answers a line."""


def fault_of(line: bytes) -> Refusal | None:
    """The error that answers a line, or None where the line is a message.

    The answer bears the id of a request that has one, and none where a text or whole number cannot be made out: what looks
    like a faulty answer has the id of a request of ours.
    """
    try:
        message = pydantic_core.from_json(line)
    except ValueError as error:
        return _refused(wire.PARSE_ERROR, f"the line is no JSON: {error}; a message is one line of JSON in UTF-8")
    if isinstance(message, list):
        return _refused(
            wire.INVALID_REQUEST, "the line is an array; batches are not taken, send each message by itself"
        )
    if not isinstance(message, dict):
        return _refused(wire.INVALID_REQUEST, f"a message is an object, not {type(message).__name__}")
    given = message.get("id")
    known = isinstance(given, str) or type(given) is int
    told = ""
    if message.get("jsonrpc") != "2.0":
        told = 'jsonrpc must be "2.0"'
    elif not {"method", "result", "error"} & set(message):
        told = "method is missing"
    elif "method" in message and not isinstance(message["method"], str):
        told = "method must be a text"
    elif "method" in message and "id" in message and not known:
        told = "id must be a text or a whole number; a notification has none"
    elif "method" in message and not isinstance(message.get("params"), dict | None):
        told = "params must be an object"
    else:
        try:
            wire.jsonrpc_message_adapter.validate_json(line, by_name=False)
        except pydantic.ValidationError:
            told = "it is no request, notification or answer of JSON-RPC 2.0"
    asked = known and not {"result", "error"} & set(message)
    return _refused(wire.INVALID_REQUEST, told, given if asked else None) if told else None


def too_long(most: int) -> Refusal:
    """What answers a line of more than ``most`` bytes."""
    return _refused(wire.INVALID_REQUEST, f"the line has more than {most:,} bytes and was not read")


def _refused(code: int, told: str, answered: str | int | None = None) -> Refusal:
    return wire.JSONRPCError(jsonrpc="2.0", id=answered, error=wire.ErrorData(code=code, message=told[:500]))
