"""Lines of a file of requests that name a served prompt: checked before anything is asked, made into requests when they are."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from llmops_tui.inference.router.prompts import MadeRequest, ServedPrompt, ServedPrompts

if TYPE_CHECKING:
    from llmops_tui.foreign_text import JsonObject


class PromptLines:
    """The prompts of a workspace, for files. A name is looked up once for a whole file, so all of its lines get one version."""

    def __init__(self, prompts: ServedPrompts) -> None:
        self._prompts = prompts
        self._loop: asyncio.Runner | None = None
        self._meant: dict[str, ServedPrompt] = {}

    def meant(self, asked: str) -> ServedPrompt:
        """The version that a name means. To be called outside of event loops.

        Raises:
            LlmopsError: ``model_not_found``.
        """
        if asked not in self._meant:
            self._meant[asked] = self._run().run(self._prompts.meant(asked))
        return self._meant[asked]

    def outline(self, served: ServedPrompt, path: str, body: JsonObject) -> JsonObject:
        """A line's request with the prompt's templates as they are in it, so that its other fields can be checked.

        Raises:
            FieldRefusedError: as :meth:`ServedPrompts.made`.
        """
        return self._run().run(self._prompts.outline(served, path, _raw(body), body))

    async def made(self, served: ServedPrompt, model: str, path: str, body: JsonObject) -> MadeRequest:
        """A line's request with the prompt in it, for a model by the name that its server knows.

        Raises:
            LlmopsError: as :meth:`ServedPrompts.made`.
        """
        return await self._prompts.made(served, model, path, _raw(body), body)

    def _run(self) -> asyncio.Runner:
        self._loop = self._loop or asyncio.Runner()
        return self._loop

    def close(self) -> None:
        """End the process that renders."""
        if self._loop is not None:
            self._loop.close()
        self._prompts.close()


def _raw(body: JsonObject) -> bytes:
    # That no name stands twice in an object was looked at when the line was read.
    return json.dumps(body).encode()
