"""What is asked by a model's name at the one address and is no model: chains, which are above this package."""

from __future__ import annotations

from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.router.listings import ModelEntry
from llmops_tui.inference.server.callers import Caller


class Others(Protocol):
    """Answers requests for names of its own."""

    def owns(self, name: str) -> bool:
        """Whether a name is one of these, whether it is there or not."""

    async def entries(self, caller: Caller) -> list[ModelEntry]:
        """The names that a caller may ask for, as ``/v1/models`` lists them."""

    async def answer(self, request: Request, given: JsonObject) -> Response:
        """The answer to a request whose body, ``given``, names one.

        Raises:
            LlmopsError: it is refused.
        """

    async def close(self) -> None:
        """Let go of what was opened for it."""


class NoOthers:
    """Models alone."""

    def owns(self, name: str) -> bool:
        """None."""
        del name
        return False

    async def entries(self, caller: Caller) -> list[ModelEntry]:
        """None."""
        del caller
        return []

    async def answer(self, request: Request, given: JsonObject) -> Response:
        """Nothing is asked of it."""
        raise NotImplementedError

    async def close(self) -> None:
        """Nothing was opened."""
