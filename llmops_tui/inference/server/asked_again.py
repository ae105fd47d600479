"""What a request asks of an answer that a recording has: such as its form, which a replay cannot change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.sampling import LONGEST
from llmops_tui.inference.server.fields import FieldRefusedError

if TYPE_CHECKING:
    from llmops_tui.inference.schema_keywords import Schema
    from llmops_tui.inference.server import schemas
    from llmops_tui.inference.server.choice import Choice

Problems = Callable[["Schema", str], Awaitable[list[str]]]


@dataclass(frozen=True)
class AskedAgain:
    """What is asked of a ``recording``.

    Attributes:
        recording: its name.
        form: what the answer is held to, as a trace has it.
        demanded: the tool that has to be called; empty for any, none where that is free.
    """

    recording: str
    form: Mapping[str, object]
    demanded: str | None


@dataclass(frozen=True)
class Held:
    """An answer of a recording: its text as the model wrote it, why it ended, its tokens, and what was asked of it."""

    trace: str
    text: str
    reason: str
    prompt_tokens: int | None
    completion_tokens: int | None
    parameters: Mapping[str, object]


def asked_again(
    body: schemas.ChatRequest | schemas.CompletionRequest, recording: str, logprobs: int | None
) -> AskedAgain | None:
    """What a request asks of a recording; none where its model is asked.

    Raises:
        FieldRefusedError: ``not_replayable``: log-probabilities, which no recording has.
    """
    if not recording:
        return None
    if logprobs is not None:
        told = f"are not kept, and the recording {recording!r} is replayed here"
        raise FieldRefusedError("logprobs", told, "Leave it out, or ask a server without --replay.", "not_replayable")
    return AskedAgain(recording, body.held_to(), body.demanded)


async def misfit(choice: Choice, asked: AskedAgain, held: Held, problems: Problems) -> str:
    """In what an answer is not as it is asked for now; empty where it is."""
    parameters = choice.call["parameters"]
    found = next((one for one in parameters.get("stop") or () if one in held.text), None)
    if found is not None:
        return f"it has the text {found[:60]!r}, which is to stop it"
    most, count = parameters["max_tokens"], held.completion_tokens
    if count is not None and count > most:
        return f"it has {count:,} tokens, and up to {most:,} are asked for"
    if held.reason == "length" and count is not None and held.parameters.get("max_tokens") != most and count < most:
        more = "as many as there is room for" if most >= LONGEST else f"up to {most:,}"
        return f"it was cut off after {count:,} tokens, and {more} are asked for"
    return await _misshapen(choice, asked, held, problems)


async def _misshapen(choice: Choice, asked: AskedAgain, held: Held, problems: Problems) -> str:
    read = choice.reader.whole(held.text) if choice.reader is not None else None
    calls = [call["function"]["name"] for call in read.tool_calls] if read is not None else []
    if asked.demanded is not None and (not calls or (asked.demanded and {*calls} != {asked.demanded})):
        wanted = f"a call of {asked.demanded!r}" if asked.demanded else "a call of a tool"
        return f"it is no {wanted.removeprefix('a ')}, which tool_choice asks for"
    if not asked.form or calls or all(held.parameters.get(name) == form for name, form in asked.form.items()):
        return ""
    if choice.form.answer is None:
        return "it was not written by this grammar, as far as is known"
    text = held.text if read is None else read.content
    try:
        found = await problems(choice.form.answer, text)
    except LlmopsError as error:
        return f"it cannot be held against response_format: {error.told}"
    return f"it is not as response_format says, at {found[0]}" if found else ""
