"""``/v1/keys``: keys that an access key makes within itself, lists and revokes; the owner's key makes any."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, ClassVar

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from llmops_tui.errors import NotFoundError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.access.gate import KeyRefusedError
from llmops_tui.inference.access.keys import AccessKey, Scope
from llmops_tui.inference.access.store import KeyStore
from llmops_tui.inference.server.callers import Caller
from llmops_tui.inference.server.connection import read_body
from llmops_tui.inference.server.fields import Checked, Rules

_Name = Annotated[str, Field(min_length=1, max_length=400)]
_Names = Annotated[list[_Name], Field(max_length=100)]
_Number = Annotated[int, Field(ge=1, le=10**12)]


class KeyRequest(Checked):
    """Body of ``POST /v1/keys``. What it does not say is as the access key has it that it is asked with."""

    rules: ClassVar[Rules] = Rules()

    name: Annotated[str, Field(min_length=1, max_length=60)]
    owner: Annotated[str, Field(max_length=200)] = ""
    models: _Names | None = None
    adapters: _Names | None = None
    endpoints: _Names | None = None
    prompts: _Names | None = None
    max_context: _Number | None = None
    max_output: _Number | None = None
    requests_per_minute: _Number | None = None
    requests_per_day: _Number | None = None
    tokens_per_minute: _Number | None = None
    tokens_per_day: _Number | None = None
    # Seconds since 1970.
    expires_at: Annotated[int, Field(ge=0, le=10**11)] | None = None

    @property
    def scope(self) -> Scope:
        """What the key is asked to be for."""
        return Scope(
            None if self.models is None else tuple(self.models),
            None if self.adapters is None else tuple(self.adapters),
            None if self.endpoints is None else tuple(self.endpoints),
            self.max_context,
            self.max_output,
            self.requests_per_minute,
            self.requests_per_day,
            self.tokens_per_minute,
            self.tokens_per_day,
            None if self.prompts is None else tuple(self.prompts),
        )


class KeysApi:
    """The endpoints, over the keys of a workspace."""

    def __init__(self, store: KeyStore) -> None:
        self._store = store

    def routes(self) -> list[Route]:
        """Its addresses."""
        return [
            Route("/v1/keys", self.create, methods=["POST"]),
            Route("/v1/keys", self.keys),
            Route("/v1/keys/{id}", self.revoke, methods=["DELETE"]),
        ]

    async def create(self, request: Request) -> Response:
        """``POST /v1/keys``."""
        mine = _parent(request)
        body = await read_body(request, KeyRequest)
        ends = None if body.expires_at is None else float(body.expires_at)
        made = await asyncio.to_thread(
            self._store.create, body.name, body.scope, owner=body.owner, expires_at=ends, parent=mine
        )
        return JSONResponse({**_told(made.key), "key": made.secret})

    async def keys(self, request: Request) -> Response:
        """``GET /v1/keys``: those that were made with this one; all for the owner."""
        found = await asyncio.to_thread(self._store.children, _parent(request))
        return JSONResponse({"object": "list", "data": [_told(one) for one in found]})

    async def revoke(self, request: Request) -> Response:
        """``DELETE /v1/keys/{id}``."""
        mine, wanted = _parent(request), request.path_params["id"]
        children = await asyncio.to_thread(self._store.children, mine)
        found = next((one for one in children if one.id == wanted), None)
        if found is None:
            raise NotFoundError("key", wanted[:100], "A key revokes those that were made with it.")
        await asyncio.to_thread(self._store.revoke, found)
        return JSONResponse({"id": found.id, "object": "key", "deleted": True})


def _parent(request: Request) -> AccessKey | None:
    """The key that others are made within; none for the owner, whose key may do all."""
    caller: Caller = request.scope["caller"]
    if caller.grant is not None:
        return caller.grant.key
    if not (caller.own or caller.key):
        hint = "llmops key create makes one, with --endpoint keys one that makes others."
        raise KeyRefusedError("key_scope", "who needs no key makes none", hint)
    return None


def _told(key: AccessKey) -> JsonObject:
    ends = None if key.expires_at is None else int(key.expires_at)
    return {
        "id": key.id,
        "object": "key",
        "name": key.name,
        "owner": key.owner,
        "begins": key.begins,
        "state": key.state(time.time()),
        "created_at": int(key.created_at),
        "expires_at": ends,
        **key.scope.as_record(),
    }
