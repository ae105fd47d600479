"""Operations of the engine that generate nothing: their parts as they come, or put together."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, cast

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.engine_interface import Engine
from llmops_tui.inference.engine_wire import Call, Told
from llmops_tui.workspace.ids import new_id


async def ask(engine: Engine, call: Call) -> Told:
    """One short operation of the engine; parts of its answer are put together."""
    whole: dict[str, Any] = {}
    async with aclosing(parts_of(engine, call)) as parts:
        async for part in parts:
            for name, value in part.items():
                whole[name] = whole[name] + value if name in whole else value
    return cast("Told", whole)


async def parts_of(engine: Engine, call: Call) -> AsyncGenerator[Told]:
    """What the engine tells of one operation, the last being its result."""
    async with aclosing(engine.call({**call, "id": new_id("ask")})) as batches:
        async for batch in batches:
            for message in batch:
                if message["event"] == "error":
                    raise LlmopsError(**message["error"])
                if message["event"] == "done":
                    yield cast("Told", message["result"])
                    return
                yield cast("Told", {n: value for n, value in message.items() if n not in {"id", "event"}})
    raise LlmopsError("engine_died", "the engine gave no answer")
