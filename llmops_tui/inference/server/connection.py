"""Work for a client that may disconnect at any moment, and its responses for refusals and failures."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import pydantic
import pydantic_core
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.access.gate import KEY_STATUS, whole_seconds
from llmops_tui.inference.access.limiter import LimitReachedError
from llmops_tui.inference.server.answers import error_body
from llmops_tui.inference.server.duplicate_keys import duplicate_key
from llmops_tui.inference.server.error_shapes import shaped
from llmops_tui.inference.server.fields import FieldRefusedError
from llmops_tui.inference.server.refusals import RefusedError

# What may be read as a number that is not finite; most bodies have neither and need not be searched for it.
_ODD_NUMBER = re.compile(rb"NaN|Infinity|[eE]\+?\d{3}")
# A body of more bytes is looked through in a thread, so that no stream waits for it.
_LARGE = 64 * 1024
# What a validator adds to a location: the kind of a union that it tried, and that a key is wrong.
_KIND_TRIED = re.compile(r"bool|str|int|float|constrained-\w+|.*\[.*\]", re.DOTALL)
_INPUT = "Input should be "
_OBJECT = re.compile(r"^Input should be a valid dictionary(?: or object to extract fields from| or instance of \w+)?$")
_COUNTED = re.compile(
    r"^\w+ should have (at (?:most|least) \d+ items?) after validation, not (?:more|(?:more than )?\d+)$"
)
# How it tried to read a value.
_TRIED = re.compile(r", unable to (?:interpret input|parse string as an? \w+)$")
_Body = TypeVar("_Body", bound=pydantic.BaseModel)
_Result = TypeVar("_Result")

# Refusals that the engine makes come over its pipe without their type.
STATUS = {
    "queue_full": 429, "form_queue_full": 429, "model_not_found": 404, "adapter_not_found": 404, "response_not_found": 404,
    "trace_not_found": 404, "file_not_found": 404, "not_recorded": 404, "not_replayable": 409,
    **KEY_STATUS, "guards_unreadable": 503, "retrieval_failed": 503, "rate_limit_exceeded": 429,
    "batch_not_found": 404, "key_not_found": 404, "key_beyond": 403, "key_parent": 403,
    "file_too_large": 413, "batch_over": 409, "file_in_use": 409,
    # Of all models at one address.
    "model_ambiguous": 404, "model_not_served": 404, "server_died": 502,
    # There is no engine to ask, now or with these options.
    **dict.fromkeys(
        (
            "engine_keeps_dying", "engine_died", "engine_hung", "engine_crashes", "engine_unusable", "engine_start_failed",
            "helper_unusable",
            "model_load_failed", "context_failed", "bad_draft", "too_many_gpus",
        ),
        503,
    ),
    # The engine lives, and failed at this.
    **dict.fromkeys(("engine_failed", "decode_failed", "embed_failed", "adapter_failed"), 500),
    **dict.fromkeys(
        (
            "context_length_exceeded", "empty_prompt", "empty_input", "bad_token", "invalid_request", "grammar_invalid",
            "grammar_too_costly", "grammar_unsupported", "schema_invalid", "bad_response_format", "adapter_load_failed",
            "adapter_misfit", "tokenize_failed", "no_embeddings", "no_rank", "no_labels", "no_head", "no_generation",
            "bad_dimensions", "infill_unsupported", "answer_ended", "request_over_limit",
        ),
        400,
    ),
}  # fmt: skip
_CLIENT_FAULTS = range(400, 500)
# Refusals that are always about one field, wherever they are made.
_FIELDS = dict.fromkeys(("model_not_found", "model_ambiguous", "model_not_served"), "model") | {
    "bad_dimensions": "dimensions"
}
_KINDS = {
    401: "authentication_error", 403: "permission_error", 429: "rate_limit_error",
    500: "server_error", 502: "server_error", 503: "server_error",
}  # fmt: skip


async def read_object(request: Request) -> tuple[bytes, JsonObject]:
    """The body of a request as it came, and the object that it is.

    Raises:
        InputRefusedError: ``invalid_request``: it is no JSON, or no object; ``client_gone``.
    """
    try:
        raw = await request.body()
    except ClientDisconnect as error:
        # Nobody reads this, but a client that leaves early is no fault of the server's.
        raise InputRefusedError("client_gone", "the client left before its request was complete") from error
    try:
        given = pydantic_core.from_json(raw)
    except ValueError as error:
        if "recursion limit" in str(error):
            told = "the body nests deeper than JSON is read here"
            raise InputRefusedError(
                "invalid_request", told, "About 200 objects and lists in one another are read."
            ) from error
        raise InputRefusedError("invalid_request", f"the body is no JSON: {error}"[:500]) from error
    if not isinstance(given, dict):
        raise InputRefusedError("invalid_request", f"the body must be an object, not {type(given).__name__}")
    return raw, given


async def read_body(request: Request, model: type[_Body]) -> _Body:
    """The checked body of a request.

    Raises:
        FieldRefusedError: ``invalid_request`` and others; it names the first field that is wrong.
    """
    raw, given = await read_object(request)
    if len(raw) > _LARGE:
        await asyncio.to_thread(_check_as_written, raw, given)
    else:
        _check_as_written(raw, given)
    try:
        return model.model_validate(given)
    except pydantic.ValidationError as error:
        raise invalid(error) from error


def translated(model: type[_Body], given: JsonObject, called: Callable[[str], str]) -> _Body:
    """A request of another API as one of ours; ``called`` is what that API calls a field of ours.

    Raises:
        FieldRefusedError: as :func:`read_body`.
    """
    try:
        return model.model_validate(given)
    except pydantic.ValidationError as error:
        refusal = invalid(error)
        raise refusal.renamed(called(refusal.param)) from error


def _check_as_written(raw: bytes, given: JsonObject) -> None:
    """Refuse what a parser passes over, or takes though it is no JSON."""
    if twice := duplicate_key(raw, given):
        raise FieldRefusedError(twice, "stands twice in one object", "Leave one out.")
    if _ODD_NUMBER.search(raw) and (place := _not_finite(given)):
        raise FieldRefusedError(place.removeprefix("."), "NaN and Infinity are no numbers here", "Give a number.")


def invalid(error: pydantic.ValidationError) -> FieldRefusedError:
    """The refusal of a field, by its path in the body."""
    found = error.errors(include_url=False, include_input=False)
    first = found[0]
    told: dict[str, Any] = first.get("ctx", {}) if first["type"] == "refused" else {}
    place = _place(first["loc"])
    message = first["msg"]
    if not told:
        # A field that may be of several kinds fails at each of them.
        here = dict.fromkeys(
            _in_words(one["msg"]) for one in found if _place(one["loc"]) == place and one["type"] != "refused"
        )
        message = ", or ".join([*list(here)[:1], *(one.removeprefix(_INPUT) for one in list(here)[1:])])
    param = told.get("param", "")
    place += param if param.startswith("[") or not param else f".{param}"
    return FieldRefusedError(
        place.removeprefix("."), message, told.get("hint", ""), told.get("code", "invalid_request")
    )


def _place(location: tuple[int | str, ...]) -> str:
    """A validator's location as a path in the body, without the kinds that it tried."""
    parts = [part for part in location if isinstance(part, int) or not _KIND_TRIED.fullmatch(part)]
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part[:60]}" for part in parts[:8])


def _in_words(message: str) -> str:
    """What a validator says, without the names of types that it has for itself."""
    message = _OBJECT.sub(f"{_INPUT}an object", _TRIED.sub("", message))
    return _COUNTED.sub(r"must have \1", message)


def _not_finite(value: Any) -> str | None:
    """The place of the first number that is not finite; it is written for that alone, all else is only looked at."""
    if isinstance(value, float):
        return None if math.isfinite(value) else ""
    if isinstance(value, dict):
        for name, one in value.items():
            if (place := _not_finite(one)) is not None:
                return f".{name[:60]}{place}"
    elif isinstance(value, list):
        for n, one in enumerate(value):
            if (place := _not_finite(one)) is not None:
                return f"[{n}]{place}"
    return None


async def while_connected(request: Request, work: Awaitable[_Result]) -> _Result:
    """Await work for as long as its client is there; then cancel it.

    Raises:
        LlmopsError: ``client_left``.
    """

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    task = asyncio.ensure_future(work)
    leaving = asyncio.create_task(gone())
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise LlmopsError("client_left", "the client left")
        result: _Result = task.result()
        return result
    finally:
        leaving.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """``first``, and then the rest."""
    yield first
    async for part in rest:
        yield part


def refused_status(code: str) -> int | None:
    """The status of a refusal that is a client's own doing, 400 to 499; none where the fault is the server's."""
    status = STATUS.get(code, 500)
    return status if status in _CLIENT_FAULTS else None


def error_answer(error: LlmopsError, path: str = "", status: int | None = None) -> JSONResponse:
    """A failure as the API of an address tells it; its status follows from its code, unless another is given."""
    status = status or STATUS.get(error.code, 400 if isinstance(error, InputRefusedError) else 500)
    after = whole_seconds(error.retry_after) if isinstance(error, LimitReachedError) else 1
    headers = {"Retry-After": str(after)} if status == 429 else None
    kind = _KINDS.get(status, "invalid_request_error")
    param = error.param if isinstance(error, FieldRefusedError) else _FIELDS.get(error.code)
    body = error_body(error.code, error.message, error.hint, kind, param)
    return JSONResponse(shaped(path, body, status), status, headers=headers)


async def refused(request: Request, error: Exception) -> Response:
    """A body that was turned away while it was read."""
    assert isinstance(error, RefusedError)
    return JSONResponse(
        shaped(request.url.path, error.body, error.status), error.status, headers={"Connection": "close"}
    )


async def plain_error(request: Request, error: Exception) -> Response:
    """What there is no page or method for."""
    status = int(getattr(error, "status_code", 500))
    message = {404: "there is nothing here", 405: "this method is not for this path"}.get(status, "refused")
    headers: Any = getattr(error, "headers", None)
    body = error_body("not_found" if status == 404 else "method_not_allowed", message)
    return JSONResponse(shaped(request.url.path, body, status), status, headers)


async def unexpected(request: Request, _error: Exception) -> Response:
    """A fault of ours. The traceback is in the server's log; what is inside it is nobody's business outside."""
    body = error_body("internal_error", "the server failed", kind="server_error")
    return JSONResponse(shaped(request.url.path, body, 500), 500)
