"""Rate the answer of a run."""

from __future__ import annotations

import asyncio
from functools import partial

from llmops_tui.traces.feedback import give
from screens.shell.shell import Shell


async def give_thumb(shell: Shell, run: str, score: str) -> None:
    """Keep a thumb, ``up`` or ``down``, with the trace of a run."""
    await asyncio.to_thread(partial(give, shell.services.traces, run, score=score))
    shell.say(f"Thumb {score} kept. A correction or a comment: traces, {run}.")
