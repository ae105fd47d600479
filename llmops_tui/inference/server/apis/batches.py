"""``/v1/files`` and ``/v1/batches``: files of requests that clients send, and the jobs that answer them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TypeVar

import pydantic
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.filed.batch_records import BatchRecord, Problem
from llmops_tui.inference.filed.batches import BatchStore, Standing
from llmops_tui.inference.filed.files import FileRecord
from llmops_tui.inference.server.apis.batch_request import BatchRequest, FileForm, FilePage, Page, form_fields
from llmops_tui.inference.server.callers import Caller
from llmops_tui.inference.server.connection import invalid, read_body
from llmops_tui.inference.server.fields import FieldRefusedError

_Body = TypeVar("_Body", bound=pydantic.BaseModel)
_Record = TypeVar("_Record", FileRecord, BatchRecord)
# A form has one file, a few fields beside it, and each of these is short.
_FIELDS, _FIELD_BYTES = 10, 10_000


class BatchesApi:
    """The endpoints, over the store of a workspace; ``endpoints`` are those that a batch may be for."""

    def __init__(self, store: BatchStore, endpoints: Sequence[str]) -> None:
        self._store = store
        self._endpoints = endpoints

    def routes(self) -> list[Route]:
        """Its addresses."""
        return [
            Route("/v1/files", self.upload, methods=["POST"]),
            Route("/v1/files", self.files),
            Route("/v1/files/{id}", self.file),
            Route("/v1/files/{id}", self.delete, methods=["DELETE"]),
            Route("/v1/files/{id}/content", self.content),
            Route("/v1/batches", self.create, methods=["POST"]),
            Route("/v1/batches", self.batches),
            Route("/v1/batches/{id}", self.batch),
            Route("/v1/batches/{id}/cancel", self.cancel, methods=["POST"]),
        ]

    async def go_on(self) -> None:
        """Start again the batches that were killed together with the machine."""
        await asyncio.to_thread(self._store.go_on)

    # ── files ──

    async def upload(self, request: Request) -> Response:
        """``POST /v1/files``."""
        _refuse_other_charsets(request)
        try:
            async with request.form(max_files=1, max_fields=_FIELDS, max_part_size=_FIELD_BYTES) as form:
                sent = [(name, value) for name, value in form.multi_items() if isinstance(value, UploadFile)]
                fields = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
                asked = _checked(FileForm, form_fields(_once(fields)))
                if [name for name, _ in sent] != ["file"]:
                    raise FieldRefusedError(
                        "file", "the form has no file of this name", "Send one, as multipart/form-data."
                    )
                file = sent[0][1]
                record = await asyncio.to_thread(
                    self._store.files.add, _owner(request), file.filename or "", file.file, seconds=asked.seconds
                )
        except HTTPException as error:
            raise InputRefusedError("invalid_request", f"the form cannot be read: {error.detail}"[:500]) from error
        except ClientDisconnect as error:
            raise InputRefusedError("client_gone", "the client left before its request was complete") from error
        return JSONResponse(_as_file(record))

    async def files(self, request: Request) -> Response:
        """``GET /v1/files``."""
        page = _checked(FilePage, _once(request.query_params.multi_items()))
        found = await asyncio.to_thread(self._store.files.all, _owner(request))
        wanted = [one for one in found if page.purpose in {None, one["purpose"]}]
        if page.order == "desc":
            wanted.reverse()
        part, more = _part(wanted, page)
        return _listed([_as_file(one) for one in part], more=more)

    async def file(self, request: Request) -> Response:
        """``GET /v1/files/{id}``."""
        return JSONResponse(_as_file(await self._file(request, request.path_params["id"])))

    async def delete(self, request: Request) -> Response:
        """``DELETE /v1/files/{id}``."""
        name = request.path_params["id"]
        await asyncio.to_thread(self._store.files.delete, _owner(request), name)
        return JSONResponse({"id": name, "object": "file", "deleted": True})

    async def content(self, request: Request) -> Response:
        """``GET /v1/files/{id}/content``."""
        record = await self._file(request, request.path_params["id"])
        return FileResponse(self._store.files.path(record), media_type="application/jsonl")

    async def _file(self, request: Request, name: str) -> FileRecord:
        return await asyncio.to_thread(self._store.files.get, _owner(request), name)

    # ── batches ──

    async def create(self, request: Request) -> Response:
        """``POST /v1/batches``."""
        body = await read_body(request, BatchRequest)
        caller: Caller = request.scope["caller"]
        if name := caller.recording or caller.replayed:
            told = f"a job answers files, which is no part of the recording {name!r} that this address is for"
            raise InputRefusedError("not_replayable", told, "Send it to a server without --record and --replay.")
        if body.endpoint not in self._endpoints:
            hint = f"There are: {', '.join(self._endpoints)}."
            raise FieldRefusedError("endpoint", f"{body.endpoint!r} takes no requests that name a model", hint)
        try:
            source = await self._file(request, body.input_file_id)
        except LlmopsError as error:
            raise FieldRefusedError("input_file_id", error.message, error.hint, error.code) from error
        if source["purpose"] != "batch":
            raise FieldRefusedError("input_file_id", "is what another batch came to", "Send a file of requests.")
        found = await asyncio.to_thread(
            self._store.create, _owner(request), source, body.endpoint, body.metadata, body.seconds
        )
        return JSONResponse(_as_batch(found))

    async def batches(self, request: Request) -> Response:
        """``GET /v1/batches``."""
        page = _checked(Page, _once(request.query_params.multi_items()))

        def read() -> Response:
            part, more = _part(self._store.all(_owner(request)), page)
            return _listed([_as_batch(self._store.shown(record)) for record in part], more=more)

        return await asyncio.to_thread(read)

    async def batch(self, request: Request) -> Response:
        """``GET /v1/batches/{id}``."""
        found = await asyncio.to_thread(self._store.get, _owner(request), request.path_params["id"])
        return JSONResponse(_as_batch(found))

    async def cancel(self, request: Request) -> Response:
        """``POST /v1/batches/{id}/cancel``."""
        found = await asyncio.to_thread(self._store.cancel, _owner(request), request.path_params["id"])
        return JSONResponse(_as_batch(found))


def _owner(request: Request) -> str:
    caller: Caller = request.scope["caller"]
    return caller.owner


def _checked(model: type[_Body], given: Mapping[str, object]) -> _Body:
    try:
        return model.model_validate(given)
    except pydantic.ValidationError as error:
        raise invalid(error) from error


def _once(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Fields of a form or an address, by name; of two values of one, neither would be ignored."""
    names = [name for name, _ in pairs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise FieldRefusedError(twice[0][:60], "is given twice", "Give it once.")
    return dict(pairs)


def _refuse_other_charsets(request: Request) -> None:
    """Some encodings make text that is none, which no answer could tell."""
    _, options = parse_options_header(request.headers["content-type"])
    charset = options.get(b"charset", b"utf-8").decode("latin-1")
    if charset.lower() not in {"utf-8", "utf8"}:
        raise InputRefusedError("invalid_request", f"the form is in {charset[:40]!r}", "Send it in UTF-8.")


def _part(entries: list[_Record], page: Page) -> tuple[list[_Record], bool]:
    """The part of a list that is asked for, and whether there is more behind it."""
    names = [entry["id"] for entry in entries]
    if page.after and page.after not in names:
        raise FieldRefusedError("after", f"{page.after!r} is not in the list", "Give the id of the last one you have.")
    start = names.index(page.after) + 1 if page.after else 0
    return entries[start : start + page.limit], len(entries) > start + page.limit


def _listed(part: list[JsonObject], *, more: bool) -> Response:
    """A part of a list, as OpenAI's clients go through it."""
    ends: JsonObject = {"first_id": part[0]["id"] if part else None, "last_id": part[-1]["id"] if part else None}
    return JSONResponse({"object": "list", "data": part, **ends, "has_more": more})


def _as_file(record: FileRecord) -> JsonObject:
    kept = {name: value for name, value in record.items() if name != "owner"}
    return {"object": "file", **kept, "status": "processed", "status_details": None}


def _as_batch(found: Standing) -> JsonObject:
    record, status = found.record, found.status
    over = record.get("ended")
    problems = record.get("problems")
    total = found.total if found.total is not None else found.answered
    return {
        "id": record["id"],
        "object": "batch",
        "endpoint": record["endpoint"],
        "errors": {"object": "list", "data": [_as_error(one) for one in problems]} if problems else None,
        "input_file_id": record["input"],
        "completion_window": "24h",
        "status": status,
        "output_file_id": record.get("output"),
        "error_file_id": record.get("errors"),
        "created_at": record["created_at"],
        "in_progress_at": record["created_at"] if status not in {"validating", "failed"} else None,
        # A batch goes on until it is done.
        "expires_at": None,
        "finalizing_at": over if status == "completed" else None,
        "completed_at": over if status == "completed" else None,
        "failed_at": over if status == "failed" else None,
        "expired_at": None,
        "cancelling_at": record.get("stopped"),
        "cancelled_at": over if status == "cancelled" else None,
        "request_counts": {"total": total, "completed": found.answered - found.bad, "failed": found.bad},
        "metadata": record["metadata"] or None,
    }


def _as_error(problem: Problem) -> JsonObject:
    line = problem["line"] or None
    return {
        "code": "invalid_request" if line else "batch_failed",
        "line": line,
        "message": problem["message"],
        "param": None,
    }
