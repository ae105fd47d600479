"""Self-check of llama.cpp on this machine: an engine is started on a small model."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.engine_launch import launch
from llmops_tui.inference.engine_wire import EngineStart
from llmops_tui.inference.fallback import rebuild_command
from llmops_tui.sample_files import check_model

_HANG_SECONDS = 60.0
_ALL_LAYERS = 999
_LAST_REMEDY = f"Build llama.cpp again on this machine: {rebuild_command()}"


@dataclass(frozen=True)
class SelfCheck:
    """How the trial went.

    Attributes:
        works: whether tokens were evaluated.
        told: the safer way it had to run in, in words; empty where nothing was left out.
        cause: why the ways before that one did not work, or why none did.
        remedy: what fixes it.
    """

    works: bool
    told: str = ""
    cause: str = ""
    remedy: str = ""


def check_engine(*, gpu: bool) -> SelfCheck:
    """Load the sample's smallest model and evaluate a few of its tokens, on the GPU where there is one, in its own process."""
    options: EngineStart = {
        "path": str(check_model()),
        "context": 256,
        "parallel": 1,
        "gpu_layers": _ALL_LAYERS if gpu else 0,
    }

    async def trial() -> SelfCheck:
        with tempfile.TemporaryDirectory(prefix="llmops-check-") as scratch:
            try:
                engine = await launch(options, Path(scratch) / "log", hang_seconds=_HANG_SECONDS)
            except LlmopsError as error:
                # The log is gone when this is read.
                cause = error.message.replace(str(scratch), "")
                return SelfCheck(works=False, cause=cause, remedy=_LAST_REMEDY)
            engine.process.kill()
            await engine.process.wait()
            return SelfCheck(works=True, told=engine.rung.told, cause=engine.cause, remedy=engine.rung.remedy)

    return asyncio.run(trial())
