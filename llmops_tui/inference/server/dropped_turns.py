"""Conversations that are too long: their oldest turns dropped until they fit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from llmops_tui.inference.server.conversation import Prompt
from llmops_tui.inference.wire import ChatMessage


async def drop_oldest(
    turns: list[ChatMessage],
    prompt: Prompt,
    again: Callable[[], Awaitable[Prompt]],
    count: Callable[[Prompt], Awaitable[int]],
    context: int,
    wanted: int,
) -> tuple[Prompt, int]:
    """Drop the oldest turns after the system's until the prompt and a quarter of the context fit; tells how many.

    ``again`` renders the turns that are left, ``count`` how many tokens they have; ``wanted`` is how many the answer may have.
    """
    kept = 1 if turns and turns[0]["role"] == "system" else 0
    dropped = 0
    room = context - min(wanted, context // 4)
    while len(turns) > kept + 1:
        counted = await count(prompt)
        if counted <= room:
            break
        # Halving keeps the number of renderings small; the rest goes turn by turn.
        excess = counted / max(1, room)
        going = max(1, int((len(turns) - kept - 1) * (1 - 1 / excess) / 2))
        del turns[kept : kept + going]
        dropped += going
        prompt = await again()
    return prompt, dropped
