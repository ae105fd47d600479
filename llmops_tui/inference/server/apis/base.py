"""What an API is made of: its request as a chat completion, and a teller that puts the answer into its form."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from starlette.requests import Request
from starlette.responses import Response

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.server.choice import Choice
from llmops_tui.inference.server.gaps import Gap
from llmops_tui.inference.server.generation import Messages
from llmops_tui.inference.server.schemas import ChatRequest, CompletionRequest
from llmops_tui.inference.server.served_format import ServedFormat
from llmops_tui.inference.wire import Warned

EVENTS = "text/event-stream"


class Teller(Protocol):
    """Puts one answer into the form of an API, while it comes or as a whole. It is asked for one of both."""

    media_type: ClassVar[str]
    """What a stream is; a whole answer is always JSON."""

    def opened(self, messages: Messages, /) -> bytes:
        """What a stream begins with, once the engine told something; may be nothing. ``messages`` are told next."""

    def stream(self, choice: Choice, messages: Messages) -> bytes:
        """What some of the engine's messages are in a stream; may be nothing. The last one is ``done``, alone."""

    def closed(self, choices: list[Choice], /) -> bytes:
        """What a stream ends with after all choices are done; may be nothing."""

    def failed(self, error: LlmopsError) -> bytes:
        """What a stream ends with that broke off."""

    def whole(self, choices: list[Choice]) -> Mapping[str, object]:
        """The answer to a request that does not stream; its choices are done."""


@dataclass(frozen=True)
class Asked:
    """One request of an API.

    Attributes:
        chat: the chat completion that it is; whatever holds for those holds for it.
        stream: whether the answer is told while it comes.
        teller: makes what tells the answer, of the choices that were made and the name of the model.
        called: what the API calls a field of the chat completion, by its path, for refusals that name one.
        warnings: what of the request could not be done as asked, to be told beside the answer.
    """

    chat: ChatRequest
    stream: bool
    teller: Callable[[list[Choice], str], Teller]
    called: Callable[[str], str] = str
    warnings: Sequence[Warned] = ()


@dataclass(frozen=True)
class AskedText:
    """One request of an API that is a text completion; as :class:`Asked`. With a ``gap`` its prompts are filled in."""

    text: CompletionRequest
    stream: bool
    teller: Callable[[list[Choice], str], Teller]
    called: Callable[[str], str] = str
    gap: Gap | None = None


FormatOf = Callable[[Request, str], Awaitable[ServedFormat]]
"""The format of the answers of the model that a request asks for by its name, which may name an adapter."""
Complete = Callable[[Request, AskedText], Awaitable[Response]]
"""Answers a text completion, as :data:`Answer` a chat's."""
Answer = Callable[[Request, Asked], Awaitable[Response]]
"""Answers a request by the one path that all take: constraints, admission, records, streams, and clients that leave."""
