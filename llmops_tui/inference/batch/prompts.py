"""Lines of a file of requests that name a served prompt: checked before anything is asked, made into requests when they are."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.router.prompts import PREFIX, MadeRequest, ServedPrompt, ServedPrompts

if TYPE_CHECKING:
    from llmops_tui.foreign_text import JsonObject


class MeantRecord(TypedDict):
    """The version that a name meant, and the label that it was asked by, empty for a number."""

    ref: str
    sha256: str
    label: str


class PromptLines:
    """The prompts of a workspace, for files. A name is looked up once for a whole file, so all of its lines get one version.

    Whoever goes on with a file later has them mean what they meant then (:meth:`hold`).
    """

    def __init__(self, prompts: ServedPrompts) -> None:
        self._prompts = prompts
        self._loop: asyncio.Runner | None = None
        self._meant: dict[str, ServedPrompt] = {}
        self._held: Mapping[str, MeantRecord] = {}

    def hold(self, names: Mapping[str, MeantRecord]) -> None:
        """From here on these names mean what they meant before, wherever their labels are by now."""
        self._held = names

    def names(self) -> dict[str, MeantRecord]:
        """What the names mean that were looked up."""
        return {
            name: {"ref": one.version.ref, "sha256": one.version.sha256, "label": one.label}
            for name, one in self._meant.items()
        }

    def meant(self, asked: str) -> ServedPrompt:
        """The version that a name means. To be called outside of event loops.

        Raises:
            LlmopsError: ``model_not_found``. InputRefusedError: ``input_changed``: a version that is held to has another text.
        """
        if asked not in self._meant:
            held = self._held.get(asked)
            found = self._run().run(self._prompts.meant(asked if held is None else f"{PREFIX}{held['ref']}"))
            if held is not None:
                if found.version.sha256 != held["sha256"]:
                    told = f"{held['ref']} is not the text that this batch began with"
                    raise InputRefusedError("input_changed", told, "Start a new batch.")
                found = replace(found, label=held["label"])
            self._meant[asked] = found
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
