"""An answer in a chat on the command line: it streams to stdout, and calls of tools are told beside it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from llmops_tui.cli.output import Session
from llmops_tui.cli.tool_calls import Offer, called
from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError

if TYPE_CHECKING:
    from llmops_tui.inference.client import StreamEnd
    from llmops_tui.prompts.chats.tree import Chat


def have_answered(session: Session, chat: Chat, parent: str, begun: str, offer: Offer) -> None:
    """Have a turn answered, beginning so; the answer streams to stdout.

    Raises:
        InputRefusedError: ``no_model``. LlmopsError: whatever went wrong; what came before is kept.
    """
    from llmops_tui.cli.serve import opener
    from llmops_tui.inference.template_renderer import TemplateRenderer
    from llmops_tui.models.registry import ModelRegistry
    from llmops_tui.prompts.runs import PromptRunner

    if not chat.model:
        raise InputRefusedError("no_model", f"{chat.name} has no model", "Add --model NAME.")
    model = ModelRegistry(session.catalog).writing(chat.model)
    renderer = TemplateRenderer()
    try:
        runner = PromptRunner(session.catalog, session.event_log, renderer, opener(session))

        async def talk() -> tuple[Chat | None, StreamEnd | None]:
            from llmops_tui.prompts.chats.answers import answer
            from llmops_tui.prompts.chats.store import Chats

            kept = end = None
            async with offer as tools:
                chats = Chats(session.event_log)
                steps = answer(chats, runner, chat, parent, model, chat.parameters, begun=begun, tools=tools)
                async with aclosing(steps):
                    async for step in steps:
                        kept, progress = step.chat or kept, step.progress
                        if progress is None:
                            continue
                        end = progress.end or end
                        if progress.call is not None:
                            called(session, progress.call)
                        elif progress.stage == "text" and not session.options.json:
                            session.stream(progress.text)
            return kept, end

        kept, end = asyncio.run(talk())
    finally:
        renderer.close()
    assert kept is not None
    assert end is not None
    turn = kept.branch()[-1]
    if session.options.json:
        session.emit_line({"chat": kept.name, "number": len(kept.branch()), **turn.as_dict()})
    else:
        session.stream("\n")
    for warning in end.warnings:
        session.say(f"{warning['param']}: {warning['message']}")
    made = end.timings.get("completion_tokens")
    length = "no token count" if made is None else counted(made, "token")
    session.say(f"turn {len(kept.branch())} of {kept.name}, {model.name}: {length}, {turn.ended}")
