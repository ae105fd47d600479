"""``/v1/messages``: Anthropic's API, and how many tokens a request of it has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from llmops_tui.inference.server.apis.anthropic_request import CountRequest, MessagesRequest
from llmops_tui.inference.server.apis.anthropic_teller import MessageTeller
from llmops_tui.inference.server.apis.base import Answer, Asked, FormatOf
from llmops_tui.inference.server.choice import Choice
from llmops_tui.inference.server.connection import read_body, while_connected
from llmops_tui.inference.server.fields import FieldRefusedError
from llmops_tui.inference.server.schemas import ChatRequest


class AnthropicApi:
    """The endpoints; ``answer`` answers what is a chat completion, ``count`` counts the tokens of its prompt."""

    def __init__(
        self, answer: Answer, count: Callable[[Request, ChatRequest], Awaitable[int]], format_of: FormatOf
    ) -> None:
        self._answer = answer
        self._count = count
        self._format_of = format_of

    async def create(self, request: Request) -> Response:
        """``POST /v1/messages``."""
        body = await read_body(request, MessagesRequest)
        chat = body.as_chat(await self._format_of(request, body.model))
        shows = body.thinking is None or body.thinking.display != "omitted"

        def teller(choices: list[Choice], model: str) -> MessageTeller:
            name = choices[0].record.id.replace("run_", "msg_")
            return MessageTeller(name, model, choices[0].warned, shows_thinking=shows)

        return await self._answer(request, Asked(chat.request, body.stream, teller, chat.called, chat.warnings))

    async def count_tokens(self, request: Request) -> Response:
        """``POST /v1/messages/count_tokens``."""
        body = await read_body(request, CountRequest)
        chat = body.as_chat(await self._format_of(request, body.model))
        try:
            found = await while_connected(request, self._count(request, chat.request))
        except FieldRefusedError as error:
            raise error.renamed(chat.called(error.param)) from error
        return JSONResponse({"input_tokens": found})
