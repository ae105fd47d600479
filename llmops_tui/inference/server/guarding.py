"""The guards of a model's server: requests are looked at before they are rendered, answers while they come."""

from __future__ import annotations

import asyncio
import bisect
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.engine_wire import FILTERED, Event, FileRecord, Generated, TextEvent
from llmops_tui.inference.guardrails.checks import Found, Prepared, acting
from llmops_tui.inference.guardrails.detectors import Place
from llmops_tui.inference.guardrails.guard_file import Side
from llmops_tui.inference.guardrails.held_back import HeldBack
from llmops_tui.inference.guardrails.peers import Peers
from llmops_tui.inference.guardrails.redaction import redacted
from llmops_tui.inference.guardrails.store import GuardStore
from llmops_tui.inference.prompt_traced import was_cut
from llmops_tui.inference.server.callers import Caller
from llmops_tui.inference.server.fields import FieldRefusedError
from llmops_tui.inference.server.gaps import Gap
from llmops_tui.inference.server.messages import Message
from llmops_tui.inference.server.schemas import ChatRequest, CompletionRequest
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.events import GuardVerdict, TracedPrompt

# They are put in force by other processes; they are not looked for more often than this.
_FRESH_SECONDS = 1.0
_APPLICATION = {"system", "developer"}
_LEAST_TOKENS = 2


class Guarded:
    """What the guards of one request said so far, and the set that looks at its answers.

    ``prompt`` is the served prompt that it was made of, with the values of its variables.
    """

    def __init__(self, prepared: Prepared, prompt: TracedPrompt | None = None) -> None:
        self.prepared = prepared
        self.prompt = prompt
        self.verdicts: list[GuardVerdict] = []
        self.refused: Found | None = None
        self.found: list[Found] = []

    def note(self, found: Sequence[Found], side: Side) -> None:
        """Keep what guards said."""
        self.verdicts += [one.told(self.prepared.ref, side) for one in found]

    def refusal(self, param: str) -> FieldRefusedError:
        """The error of a request that is refused; it names the guard, and nothing of what it looks for."""
        assert self.refused is not None
        guard = self.refused.guard.name
        if self.refused.verdict == "error":
            told = f"the guard {guard!r} could not look at it, and lets nothing through then"
            return FieldRefusedError(param, told, "Try again later.", FILTERED)
        return FieldRefusedError(param, f"the guard {guard!r} refuses it", "Say it in another way.", FILTERED)


class Guarding:
    """The guard set that is in force for a model; for one event loop."""

    def __init__(self, workspace: Path, model: str, event_log: EventLog) -> None:
        self._store = GuardStore(event_log)
        self._model = model
        self._peers = Peers(workspace)
        self._prepared: Prepared | None = None
        self._known = ("", 0.0)
        self._read_at = -_FRESH_SECONDS
        self._reading = asyncio.Lock()

    async def begin(self, caller: Caller) -> Guarded | None:
        """The guards of one request; none where none are in force, or a program of the workspace asks.

        Raises:
            LimitReachedError: the caller's key has no tokens left.
        """
        if caller.own:
            return None
        prepared = await self._in_force()
        if prepared is not None and caller.grant is not None and not caller.shadow:
            # A key that has nothing left has no judge asked for it: a prompt has a token at least, and so has an answer.
            await caller.grant.refuse_spent(_LEAST_TOKENS)
        return Guarded(prepared, caller.prompt) if prepared is not None else None

    async def chat(self, guarded: Guarded, body: ChatRequest) -> str:
        """Look at what the user and tools said in a conversation; what stands together is looked at as one text.

        Clients send all of it again each time, so what stands before the last answer is looked at, too, by the guards that
        act. Personal data is taken out of it where a guard says so. Returns the field that a guard refuses, empty where none
        does; the verdicts are in ``guarded``.
        """
        self._check_logprobs(guarded, "logprobs" if body.logprobs else "")
        if body.answer_token_ids:
            self._refuse_tokens(guarded, "answer_token_ids")
        runs = _said(body.messages)
        if guarded.prompt is not None and not await self._values(guarded, guarded.prompt, body.messages):
            return "variables"
        for number, run in enumerate(runs):
            param = await self._run(guarded, body.messages, run, earlier=number < len(runs) - 1)
            if param:
                return param
        return ""

    async def _values(self, guarded: Guarded, prompt: TracedPrompt, messages: list[Message]) -> bool:
        """Look at what a served prompt has of its variables in its system message; false where it is refused.

        The rest of that message is the owner's own, and what is in the user's is looked at there.
        """
        own = [one for one in messages if one.role in _APPLICATION and one.content]
        said = [_text(one) for one in messages if one.role not in _APPLICATION]
        values = [one for one in _leaves(prompt["variables"]) if one.strip() and not any(one in text for text in said)]
        if not own or not values:
            return True
        if any(was_cut(one) for one in values):
            # The header has not all of it; the message does.
            values = [one.content or "" for one in own]
        for value in dict.fromkeys(values):
            said_now = await self._looked_at(guarded, value)
            if guarded.refused is not None:
                return False
            if said_now == value:
                continue
            if not any(value in (one.content or "") for one in own):
                # A template made something else of it, in which its places are not known.
                guarded.refused = next(one for one in guarded.found if one.acts and one.places)
                return False
            for one in own:
                one.content = (one.content or "").replace(value, said_now)
        return True

    async def _run(self, guarded: Guarded, messages: list[Message], run: list[int], *, earlier: bool) -> str:
        texts = [_text(messages[number]) for number in run]
        text = "\n".join(texts)
        found = await (guarded.prepared.checked_again(text) if earlier else guarded.prepared.check(text, "input"))
        guarded.note(found, "input")
        begins = list(itertools.accumulate((len(one) + 1 for one in texts), initial=0))
        guarded.refused = acting(found, "block")
        if guarded.refused is not None:
            last = guarded.refused.places[0].start if guarded.refused.places else len(text)
            at = max(0, bisect.bisect_right(begins[:-1], last) - 1)
            return f"messages[{run[at]}].content"
        places = _taken_out(found)
        for number, begin, said in zip(run, begins, texts, strict=False):
            messages[number].content = redacted(said, _within(places, begin, begin + len(said)))
        return ""

    async def text(self, guarded: Guarded | None, body: CompletionRequest, gap: Gap | None) -> tuple[str, Gap | None]:
        """Look at the prompts of a text completion, and at what stands around its gap; as :meth:`chat`, with the gap."""
        if guarded is None:
            return "", gap
        self._check_logprobs(guarded, "logprobs" if body.logprobs is not None else "")
        for number, prompt in enumerate(body.prompt):
            param = f"prompt[{number}]" if len(body.prompt) > 1 else "prompt"
            if not isinstance(prompt, str):
                self._refuse_tokens(guarded, param)
                continue
            body.prompt[number] = await self._looked_at(guarded, prompt)
            if guarded.refused is not None:
                return param, gap
        if gap is None:
            return "", None
        suffix = await self._looked_at(guarded, gap.suffix) if gap.suffix else ""
        if guarded.refused is not None:
            return "suffix", gap
        files: list[FileRecord] = []
        for number, file in enumerate(gap.files):
            seen = await self._looked_at(guarded, file["text"]) if file["text"] else ""
            files.append({"filename": file["filename"], "text": seen})
            if guarded.refused is not None:
                return f"input_extra[{number}].text", gap
        return "", replace(gap, suffix=suffix, files=files)

    async def _looked_at(self, guarded: Guarded, text: str) -> str:
        found = guarded.found = await guarded.prepared.check(text, "input")
        guarded.note(found, "input")
        guarded.refused = acting(found, "block")
        return redacted(text, _taken_out(found))

    @staticmethod
    def _refuse_tokens(guarded: Guarded, param: str) -> None:
        """Refuse token ids where a guard acts on the input."""
        if acts := [one for one in guarded.prepared.guards.of("input") if one.mode == "on"]:
            told = f"token ids cannot be looked at by the guard {acts[0].name!r}"
            raise FieldRefusedError(param, told, "Send a text.", FILTERED)

    @staticmethod
    def _check_logprobs(guarded: Guarded, param: str) -> None:
        """Refuse to tell the tokens of an answer that may be held back."""
        if param and HeldBack(guarded.prepared).holds:
            told = "tells each token, and a guard holds answers back here"
            raise FieldRefusedError(param, told, "Leave it out.", "unsupported_parameter")

    async def _in_force(self) -> Prepared | None:
        if time.monotonic() - self._read_at < _FRESH_SECONDS:
            return self._prepared
        async with self._reading:
            if time.monotonic() - self._read_at >= _FRESH_SECONDS:
                known = await asyncio.to_thread(self._store.ref_for, self._model)
                # A set is read where another one is in force, or a head was trained anew.
                if known != self._known:
                    self._prepared = await asyncio.to_thread(self._prepare, known[0]) if known[0] else None
                    self._known = known
                self._read_at = time.monotonic()
        return self._prepared

    def _prepare(self, ref: str) -> Prepared:
        try:
            version = self._store.get(ref)
        except LlmopsError as error:
            told = "the guards of this model cannot be read, and nothing is answered without them"
            raise LlmopsError("guards_unreadable", told, "The owner of the server: llmops guard list") from error
        return Prepared(version.ref, version.guards, self._store.head, self._peers.says, self._peers.vectors)


def _said(messages: Sequence[Message]) -> list[list[int]]:
    """The numbers of messages that the application did not write, those together that no answer stands between."""
    runs: list[list[int]] = [[]]
    for number, message in enumerate(messages):
        if message.role == "assistant":
            runs.append([])
        elif message.role not in _APPLICATION and _text(message):
            runs[-1].append(number)
    return [run for run in runs if run]


def _text(message: Message) -> str:
    """What a template shows of a message."""
    return message.content if message.content is not None else message.refusal or ""


def _leaves(value: object) -> Iterator[str]:
    """The texts and numbers of a value."""
    if isinstance(value, Mapping):
        for one in value.values():
            yield from _leaves(one)
    elif isinstance(value, list):
        for one in value:
            yield from _leaves(one)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield str(value)


def _taken_out(found: Sequence[Found]) -> list[Place]:
    return [place for one in found if one.acts and one.guard.action == "redact" for place in one.places]


def _within(places: Sequence[Place], begin: int, end: int) -> list[Place]:
    """What of these places is in a part of the text, counted from its beginning."""
    return [
        Place(max(one.start, begin) - begin, min(one.end, end) - begin, one.mark)
        for one in places
        if one.start < end and one.end > begin
    ]


async def passed(held: HeldBack, messages: Sequence[Event]) -> list[Event]:
    """The engine's messages as they are told: text that is held back comes later, and what is refused never.

    At the end of an answer that a guard refused, the reason is :data:`FILTERED`.
    """
    out: list[Event] = []
    text, sizes = "", []
    first: TextEvent | None = None
    for message in messages:
        if message["event"] == "text":
            first = first or message
            text += held.feed(message["text"])
            sizes += message.get("sizes", [])
        elif message["event"] == "done":
            text += await held.finish()
            result = cast("Generated", message["result"])
            ended: Generated = {**result, "finish_reason": FILTERED} if held.blocked is not None else result
            out.append({"id": message["id"], "event": "done", "result": ended})
        else:
            out.append(message)
    if held.holds and (text or (first is not None and "prompt_tokens" in first)):
        told: TextEvent = {"id": messages[0]["id"], "event": "text", "text": text, "sizes": sizes}
        if first is not None:
            told = {**first, **told}
        return [cast("Event", told), *out]
    if held.holds:
        return out
    return [*(one for one in messages if one["event"] != "done"), *(one for one in out if one["event"] == "done")]


def refused_early(told: Generated | None) -> Generated:
    """The result of an answer that was cut off in the middle; ``told`` is what the engine says that it came to."""
    unknown: Generated = {
        "finish_reason": FILTERED,
        "prompt_tokens": None,
        "completion_tokens": None,
        "reused_tokens": None,
    }
    return unknown if told is None else {**unknown, **told, "finish_reason": FILTERED}
