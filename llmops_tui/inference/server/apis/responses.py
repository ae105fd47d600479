"""``/v1/responses``: answers that may be kept, looked at again and gone on from."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.server.apis import response_teller
from llmops_tui.inference.server.apis.base import Answer, Asked
from llmops_tui.inference.server.apis.response_items import Item, ReferenceItem, item_said
from llmops_tui.inference.server.apis.response_request import ResponsesRequest
from llmops_tui.inference.server.apis.response_store import Kept, ResponseStore, size_of
from llmops_tui.inference.server.apis.response_teller import ResponseTeller
from llmops_tui.inference.server.choice import Choice
from llmops_tui.inference.server.connection import read_body
from llmops_tui.inference.server.fields import FieldRefusedError


class ResponsesApi:
    """The endpoints; ``answer`` answers what is a chat completion."""

    def __init__(self, answer: Answer, store: ResponseStore) -> None:
        self._answer = answer
        self._store = store

    async def create(self, request: Request) -> Response:
        """``POST /v1/responses``."""
        body = await read_body(request, ResponsesRequest)
        client = request.scope["caller"].client
        before = self._before(client, body.previous_response_id)
        given = [self._found(client, item, f"input[{n}]") for n, item in enumerate(body.input)]
        if before is None and not given:
            raise FieldRefusedError("input", "there is nothing to answer", "Give a text, or a list of items.")
        said = before.items if before is not None else ()
        chat, called = body.as_chat(said, given)

        def keep(response: response_teller.Response) -> None:
            if not body.store:
                self._store.leave(client, response["id"])
                return
            new = [*given, *(item_said(item) for item in response["output"])]
            size = (before.size if before is not None else 0) + size_of(new)
            self._store.keep(client, response, [*said, *new], size)

        def teller(choices: list[Choice], model: str) -> ResponseTeller:
            return ResponseTeller(choices[0].record.id.replace("run_", "resp_"), model, body.echoed(), keep)

        return await self._answer(request, Asked(chat, body.stream, teller, called))

    async def get(self, request: Request) -> Response:
        """``GET /v1/responses/{id}``."""
        return JSONResponse(self._store.get(request.scope["caller"].client, request.path_params["id"]).response)

    async def delete(self, request: Request) -> Response:
        """``DELETE /v1/responses/{id}``."""
        name = request.path_params["id"]
        self._store.delete(request.scope["caller"].client, name)
        return JSONResponse({"id": name, "object": "response", "deleted": True})

    def _before(self, client: str, response_id: str) -> Kept | None:
        if not response_id:
            return None
        try:
            return self._store.get(client, response_id)
        except LlmopsError as error:
            raise FieldRefusedError("previous_response_id", error.message, error.hint, error.code) from error

    def _found(self, client: str, item: Item, place: str) -> Item:
        """An item, looked up where it is a reference to one."""
        if not isinstance(item, ReferenceItem):
            return item
        found = self._store.item(client, item.id)
        if found is None:
            told = f"no answer that is kept here has a part {item.id[:100]!r}"
            raise FieldRefusedError(f"{place}.id", told, "Send the item itself.", "response_not_found")
        return found
