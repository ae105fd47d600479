"""Answers in a chat: what the model says becomes a turn, as far as it came."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference.wire import ChatMessage
from llmops_tui.prompts.chats.store import Chats
from llmops_tui.prompts.chats.tree import ASSISTANT, USER, Chat, Turn, new_turn

if TYPE_CHECKING:
    from llmops_tui.inference.sampling import SamplingParameters
    from llmops_tui.models.registry import Model
    from llmops_tui.prompts.runs import PromptRunner, RunProgress
    from llmops_tui.prompts.tool_rounds import ToolRounds

STOPPED, FAILED = "stopped", "error"


@dataclass(frozen=True)
class ChatStep:
    """A step of an answer; with the last one the ``chat`` as it is kept now."""

    progress: RunProgress | None = None
    chat: Chat | None = None


@dataclass
class _Answer:
    """What came of an answer so far."""

    text: str
    thinking: str = ""
    run: str = ""
    ended: str = ""
    rounds: list[ChatMessage] = field(default_factory=list)

    def see(self, step: RunProgress) -> None:
        self.run = step.run_id or self.run
        if step.stage == "text":
            self.text += step.text
        elif step.stage == "thinking":
            self.thinking += step.text
        elif step.stage == "round":
            # What was said beside the calls is a message of its own, and stands in it.
            self.rounds += cast("list[ChatMessage]", [dict(turn) for turn in step.turns])
            self.text, self.thinking = "", ""
        elif step.end is not None:
            self.ended = step.end.finish_reason

    def more_than(self, begun: str) -> bool:
        return self.text != begun or bool(self.thinking) or bool(self.rounds)

    def as_turn(self, parent: str, model: str) -> Turn:
        made = new_turn(parent, ASSISTANT, self.text)
        return replace(
            made, thinking=self.thinking, rounds=tuple(self.rounds), model=model, run=self.run, ended=self.ended
        )


async def answer(
    chats: Chats,
    runner: PromptRunner,
    chat: Chat,
    parent: str,
    model: Model,
    parameters: SamplingParameters,
    *,
    begun: str = "",
    tools: ToolRounds | None = None,
) -> AsyncGenerator[ChatStep, None]:
    """Have a model answer a turn; the answer stands beside those that the turn has already.

    ``begun`` is how it begins: the model goes on from there. Leaving the iteration early stops the answer; what came of it
    is kept, as it is where it fails.

    Raises:
        InputRefusedError: ``nothing_to_answer``: the turn is none of a person; ``chat_full``; ``answer_unkept``: what is
            answered was deleted meanwhile. LlmopsError: whatever went wrong.
    """
    branch = chat.branch(parent)
    if not branch or branch[-1].role != USER:
        raise InputRefusedError(
            "nothing_to_answer", "there is nothing here that a model could answer", "Say something first."
        )
    chat.check_room()  # before it is asked for, and not when it came
    messages = chat.as_messages(parent)
    if begun:
        messages.append({"role": ASSISTANT, "content": begun})
    made = _Answer(begun)
    try:
        async with contextlib.aclosing(runner.converse(messages, parameters, model, tools)) as steps:
            async for step in steps:
                made.see(step)
                yield ChatStep(step)
    except LlmopsError:
        made.ended = FAILED
        raise
    finally:
        kept = None
        if made.ended not in {"", FAILED} or made.more_than(begun):
            turn = replace(made.as_turn(parent, model.name), ended=made.ended or STOPPED)
            # It is kept also where whoever asked has gone.
            work = asyncio.to_thread(chats.add_answer, chat.name, turn)
            kept = await asyncio.shield(asyncio.ensure_future(work))
    yield ChatStep(chat=kept)


def said(chats: Chats, chat: Chat, parent: str, text: str) -> Chat:
    """Say something as a person, and show it; durable when this returns.

    What was said before and has no answer yet is not answered by it: it is another way of saying that.

    Raises:
        InputRefusedError: ``nothing_said``; ``bad_text``; ``chat_full``: there is no room for it and an answer.
    """
    check_said(text)
    if (branch := chat.branch(parent)) and branch[-1].role == USER:
        parent = branch[-1].parent
    turn = new_turn(parent, USER, text)

    def work(now: Chat) -> Chat:
        made = now.with_turn(turn)
        made.check_room()
        return made

    return chats.change(chat.name, work)


def check_said(text: str) -> None:
    """Refuse a message without words, and one that no model could be sent.

    Raises:
        InputRefusedError: ``nothing_said``, or ``bad_text``.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        # As of an argument on the command line whose bytes are no UTF-8.
        told = f"the message has half of a character, {text[error.start]!a}, behind {error.start:,} others"
        raise InputRefusedError("bad_text", told, "Write it in UTF-8.") from error
    if not text.strip():
        raise InputRefusedError("nothing_said", "the message is empty", "Write something.")


def rewritten(chats: Chats, chat: Chat, turn: Turn, text: str) -> Chat:
    """Say a turn in another way, beside the first; what was said on the first stays with it.

    Raises:
        InputRefusedError: ``nothing_said``, ``bad_text``, or ``same_text``.
    """
    check_said(text)
    if text == turn.text:
        raise InputRefusedError("same_text", "the text is the same", "Change it, or ask for another answer.")
    # What a person wrote in the model's place is no answer of the model: it has no run and no thinking.
    made = new_turn(turn.parent, turn.role, text)
    return chats.change(chat.name, lambda now: now.with_turn(made))
