"""The scores that a model's classification head gives to pairs of texts, or to texts: asked by the endpoints that tell them."""

from __future__ import annotations

import asyncio
import base64
import struct
from pathlib import Path

from starlette.requests import Request

from llmops_tui.inference.engine_interface import Engine
from llmops_tui.inference.engine_wire import Call, Embedded, EngineInfo
from llmops_tui.inference.server.callers import Caller
from llmops_tui.inference.server.connection import while_connected
from llmops_tui.inference.server.fields import FieldRefusedError
from llmops_tui.inference.server.generation import Generator
from llmops_tui.inference.server.texts import Texts
from llmops_tui.models.gguf import read_header

WITHOUT_HEAD = "Convert it again with its classification head."


class HeadScores:
    """Asks the head of one model; ``path`` is the model's file."""

    def __init__(self, path: Path, engine: Engine, generator: Generator, texts: Texts) -> None:
        self._path = path
        self._engine = engine
        self._generator = generator
        self._texts = texts

    async def facts(self) -> EngineInfo:
        """What the engine says of the model."""
        return await self._engine.facts()

    async def require_head(self, does: str, code: str) -> None:
        """Refuse a file that says what its model ``does``, and has nothing that would make scores.

        Raises:
            FieldRefusedError: with this code.
        """
        if not (await asyncio.to_thread(read_header, self._path)).has_classifier:
            told = f"this model's file says that it {does}, and has no classifier that would make scores"
            raise FieldRefusedError("model", told, WITHOUT_HEAD, code)

    async def of(self, request: Request, caller: Caller, call: Call) -> tuple[list[tuple[float, ...]], Embedded]:
        """All values of each of a call's inputs, at the caller's expense; of an embedding they are its vector."""
        async with self._generator.admitted(caller, call) as ticket:
            packed, result = await while_connected(request, self._texts.vectors(call, ticket))
        return [_floats(one) for one in packed], result


def _floats(packed: str) -> tuple[float, ...]:
    raw = base64.b64decode(packed)
    return struct.unpack(f"<{len(raw) // 4}f", raw)
