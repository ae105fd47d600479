"""``POST /v1/feedback``: what somebody says of an answer, kept in the workspace's event log."""

from __future__ import annotations

import asyncio
import re

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.access.gate import Grant
from llmops_tui.inference.content import SAID, feedback_as_kept
from llmops_tui.inference.server import schemas
from llmops_tui.inference.server.callers import Caller
from llmops_tui.inference.server.connection import read_body
from llmops_tui.inference.server.fields import FieldRefusedError
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.ids import new_id


class Feedback:
    """Takes feedback on the answers of a workspace, whichever of its models gave them."""

    def __init__(self, event_log: EventLog, trace_content: str) -> None:
        self._event_log = event_log
        self._catalog = Catalog(event_log.workspace)
        self._trace_content = trace_content

    async def take(self, request: Request) -> Response:
        """Keep what is said.

        Raises:
            FieldRefusedError: ``trace_not_found``: it is of no answer that is kept here.
            InputRefusedError: ``content_off``: it consists of texts alone, and none are kept.
        """
        body = await read_body(request, schemas.FeedbackRequest)
        # An answer's id is its trace's, by the name that an API has for it.
        trace = re.sub("^(resp|msg)_", "run_", body.id)
        caller: Caller = request.scope["caller"]
        if not await asyncio.to_thread(self._knows, trace):
            told, hint = f"no answer {body.id!r} is kept here", "Give the id of a finished answer, as it came with it."
            raise FieldRefusedError("id", told, hint, "trace_not_found")
        if caller.grant is not None and not await asyncio.to_thread(self._is_of, trace, caller.grant):
            told = f"no answer {body.id!r} to this key is kept here"
            hint = (
                "A key rates what it asked, or a key within it; llmops key create --within makes one that rates for it."
            )
            raise FieldRefusedError("id", told, hint, "trace_not_found")
        said = body.as_entry(trace, caller.source(body.user))
        entry = await asyncio.to_thread(feedback_as_kept, said, self._trace_content)
        left_out = [name for name in SAID if said[name] and not entry[name]]
        if left_out and entry["score"] is None:
            raise InputRefusedError(
                "content_off",
                f"this server keeps no texts, so {' and '.join(left_out)} cannot be kept",
                "Give a score.",
            )
        key = new_id("fb")
        await asyncio.to_thread(self._event_log.append, "feedback", key, entry)
        return JSONResponse({"id": key, "object": "feedback", "trace": trace, "left_out": left_out})

    def _knows(self, trace: str) -> bool:
        """Whether an answer is kept; the catalog, which may be busy, is asked for older ones alone."""
        if self._event_log.knows_request(trace):
            return True
        asked = "SELECT 1 FROM requests WHERE id = ?"
        return self._catalog.read(lambda catalog: catalog.execute(asked, [trace]).fetchone()) is not None

    def _is_of(self, trace: str, grant: Grant) -> bool:
        """Whether an answer was made with a key, with one that it is within, or with one within it."""
        asked_with = self._event_log.key_of_request(trace)
        if asked_with is None:
            query = "SELECT client->>'key' FROM requests WHERE id = ?"
            row = self._catalog.read(lambda catalog: catalog.execute(query, [trace]).fetchone())
            asked_with = row[0] if row is not None else None
        return bool(asked_with) and grant.is_family(str(asked_with))
