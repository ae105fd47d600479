"""Recordings of agents: what a server is asked under a name, and a server that answers as one was answered.

A request is known by its conversation alone: roles, texts, and calls of tools by name and arguments. Ids of calls are other
ones each time, and so may be how the answer is to be chosen.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from llmops_tui.errors import ExitCode, LlmopsError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.engine_wire import Event, Generated, TextEvent
from llmops_tui.inference.sampling import LONGEST
from llmops_tui.inference.server.answer_forms import Problems
from llmops_tui.inference.server.asked_again import AskedAgain
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.ingest import ingest
from llmops_tui.workspace.json_columns import kept

if TYPE_CHECKING:
    import duckdb

    from llmops_tui.inference.server.choice import Choice

_SELECT = (
    "SELECT id, messages, output, thinking, finish_reason, prompt_tokens, completion_tokens, content, parameters "
    "FROM requests "
    "WHERE json_extract_string(client, '$.recording') = ? AND finish_reason NOT IN ('error', 'cancelled') "
    "ORDER BY started_at, id"
)

_NAMES = (
    "SELECT DISTINCT json_extract_string(client, '$.recording') AS name FROM requests "
    "WHERE name IS NOT NULL AND finish_reason NOT IN ('error', 'cancelled') ORDER BY name"
)
# As many recordings are named where one is missed.
_TOLD = 10


@dataclass(frozen=True)
class Held:
    """An answer of a recording: its text as the model wrote it, why it ended, its tokens, and what was asked of it."""

    trace: str
    text: str
    reason: str
    prompt_tokens: int | None
    completion_tokens: int | None
    parameters: Mapping[str, object]


def conversation_key(messages: Sequence[Mapping[str, object]]) -> str:
    """The SHA-256 of what was said in a conversation."""
    said = [
        [
            one.get("role"),
            one.get("content") or "",
            [
                [(call.get("function") or {}).get(part) for part in ("name", "arguments")]
                for call in cast("Sequence[JsonObject]", one.get("tool_calls") or ())
            ],
        ]
        for one in messages
    ]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


@dataclass
class _Told:
    """The answers to one conversation in their order, and which is the next."""

    answers: list[Held] = field(default_factory=list)
    next: int = 0


class HeldAnswers:
    """The answers of recordings.

    The same request again gets the next one that was given to it, and after the last the first: an agent that runs again is
    answered as it was the first time. Of those that are not as the request asks none is given.
    """

    def __init__(self, event_log: EventLog, problems: Problems) -> None:
        """``problems`` tells what a text in JSON does not keep of a schema."""
        self._event_log = event_log
        self._problems = problems
        self._read_of: dict[str, dict[str, _Told]] = {}
        self._reading = asyncio.Lock()

    async def call(self, choice: Choice) -> AsyncGenerator[list[Event]]:
        """What an engine would tell, of the answer that the recording has.

        Its errors: ``not_recorded``, where it has none, or none as it is asked for; ``not_replayable``.
        """
        try:
            held = await self._held(choice)
        except LlmopsError as error:
            # As an engine tells it, so that its trace has why, and is not that of a client who left.
            yield [{"id": choice.call["id"], "event": "error", "error": error.as_dict()}]
            return
        told: TextEvent = {"id": choice.call["id"], "event": "text", "text": held.text, "reused_tokens": 0}
        if held.prompt_tokens is not None:
            told["prompt_tokens"] = held.prompt_tokens
        yield [told]
        result: Generated = {
            "finish_reason": held.reason,
            "prompt_tokens": held.prompt_tokens,
            "completion_tokens": held.completion_tokens,
            "reused_tokens": 0,
        }
        yield [{"id": choice.call["id"], "event": "done", "result": result}]

    async def _held(self, choice: Choice) -> Held:
        asked = choice.again_of
        assert asked is not None
        async with self._reading:
            if asked.recording not in self._read_of:
                self._read_of[asked.recording] = await asyncio.to_thread(self._read, asked.recording)
            found = self._read_of[asked.recording].get(conversation_key(choice.record.body["messages"]))
            why = ""
            count = len(found.answers) if found is not None else 0
            for place in range(count):
                assert found is not None
                number = (found.next + place) % count
                wrong = await _misfit(choice, asked, found.answers[number], self._problems)
                if not wrong:
                    found.next = (number + 1) % count
                    return found.answers[number]
                why = why or f" as it is asked for: {wrong}"
        told = f"the recording {asked.recording!r} has no answer to this conversation{why}"
        raise LlmopsError("not_recorded", told, "Ask what was asked when it was made, or serve without --replay.")

    def _read(self, name: str) -> dict[str, _Told]:
        """A recording's answers by their conversations.

        Raises:
            LlmopsError: ``not_recorded``: there is nothing of it; ``not_replayable``: its texts were not kept as they were, or
                a model thought, whose marks were not kept.
        """
        catalog = Catalog(self._event_log.workspace)
        ingest(catalog, self._event_log)

        def work(connection: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
            return connection.execute(_SELECT, [name]).fetchall()

        found: dict[str, _Told] = {}
        for trace, messages, output, thinking, reason, prompt, completion, content, parameters in catalog.read(work):
            if content or thinking:
                why = "its texts were not kept as they were" if content else "its model thought, which is kept apart"
                raise LlmopsError("not_replayable", f"the answer {trace} of {name!r} cannot be told again: {why}")
            said = kept("requests", "messages", trace, messages) or []
            asked = kept("requests", "parameters", trace, parameters) or {}
            held = Held(trace, output or "", str(reason), prompt, completion, asked)
            found.setdefault(conversation_key(said), _Told()).answers.append(held)
        if not found:
            raise _missing(name, recordings(catalog, self._event_log))
        return found


async def _misfit(choice: Choice, asked: AskedAgain, held: Held, problems: Problems) -> str:
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


def recordings(catalog: Catalog, event_log: EventLog) -> list[str]:
    """The names of all recordings that have an answer, by name."""
    ingest(catalog, event_log)
    rows = catalog.read(lambda connection: connection.execute(_NAMES).fetchall())
    return [str(row[0]) for row in rows]


def require_recording(catalog: Catalog, event_log: EventLog, name: str) -> None:
    """Refuse a recording that there is not.

    Raises:
        LlmopsError: ``not_recorded``: there is none of that name; which there are is said.
    """
    if name not in (there := recordings(catalog, event_log)):
        raise _missing(name, there)


def _missing(name: str, there: Sequence[str]) -> LlmopsError:
    known = (
        f"There are: {', '.join(there[:_TOLD])}{', …' if len(there) > _TOLD else ''}." if there else "There is none."
    )
    return LlmopsError(
        "not_recorded",
        f"there is no recording {name!r}",
        f"{known} llmops serve --record NAME makes one.",
        ExitCode.REFUSED,
    )
