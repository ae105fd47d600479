"""What a request of an access key may use of its limits: reserved before the engine is asked, settled when it is over."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.access.gate import Grant
from llmops_tui.inference.access.limiter import Used
from llmops_tui.inference.engine_interface import Engine
from llmops_tui.inference.engine_wire import Call, Generated
from llmops_tui.inference.server.admission import Ticket
from llmops_tui.inference.server.choice import Choice
from llmops_tui.inference.server.connection import refused_status
from llmops_tui.inference.server.fields import FieldRefusedError
from llmops_tui.inference.server.short_calls import ask


@dataclass
class _Planned:
    """The most that a request can use: tokens of each of its prompts, and of each choice's answer."""

    prompts: dict[int, int] = field(default_factory=dict)
    answers: list[int] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        return sum(self.prompts.values()) + sum(self.answers)


class Spending:
    """Reserves and settles for the requests of one model's server; ``model`` is what is told of those without choices."""

    def __init__(self, engine: Engine, model: str) -> None:
        self._engine = engine
        self._model = model
        self._settling: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def held(
        self, grant: Grant | None, work: Sequence[Choice] | Call, ticket: Ticket, *, free: bool = False
    ) -> AsyncGenerator[None]:
        """Reserve what the work could use at most, and give back what it did not; a client that left pays what was used.

        Answers are made no longer than the key's scope and limits have room for. What is ``free`` is held to that, too, and
        takes nothing of the limits: nobody with the key asked for it.

        Raises:
            LimitReachedError: not now.
            FieldRefusedError: ``context_length_exceeded`` or ``request_over_limit``: never with this key.
        """
        if grant is None:
            yield
            return
        if isinstance(work, dict):
            planned = _Planned({0: await self._counted(grant, work)})
        else:
            planned = await self._plan(grant, work)
            for choice in work:
                choice.metered = not free
        if free:
            yield
            return
        reservation = await self._reserved(grant, planned.tokens) if grant.limits_tokens else ""
        begun = time.monotonic()
        whole = False
        try:
            yield
            whole = True
        finally:
            settling = self._start(self._settle(grant, reservation, work, planned, ticket, begun))
            if whole:
                # Whoever reads the end of an answer and asks again finds what this one gave back.
                await asyncio.shield(settling)

    async def close(self) -> None:
        """Settle what is due."""
        if self._settling:
            await asyncio.wait(self._settling, timeout=5)

    async def _reserved(self, grant: Grant, tokens: int) -> str:
        """Reserve; where the client leaves meanwhile, what is reserved for it is given back."""
        reserving = asyncio.ensure_future(grant.reserve(tokens))
        try:
            return await asyncio.shield(reserving)
        except asyncio.CancelledError:
            self._start(self._give_back(grant, reserving))
            raise

    async def _give_back(self, grant: Grant, reserving: asyncio.Future[str]) -> None:
        with contextlib.suppress(LlmopsError):
            await grant.settle(await reserving, self._model, Used())

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        return task

    # ── before ──

    async def _plan(self, grant: Grant, choices: Sequence[Choice]) -> _Planned:
        planned = _Planned()
        most, longest = grant.most_tokens, grant.key.scope.max_context
        if most is None and longest is None:
            return planned
        context = (await self._engine.facts())["n_ctx"]
        for choice in choices:
            if choice.prompt not in planned.prompts:
                # All of it: how much is cut away follows from how long the answer may be, which is not known before.
                told = await ask(self._engine, {**choice.call, "op": "count", "of": "generate", "truncate": ""})
                planned.prompts[choice.prompt] = int(told["count"])
            prompt = planned.prompts[choice.prompt]
            parameters = choice.call["parameters"]
            if longest is not None:
                if prompt + min(1, parameters["max_tokens"]) > longest:
                    raise _too_long(grant, "prompt" if choice.reader is None else "messages", prompt, longest)
                parameters["max_tokens"] = min(parameters["max_tokens"], longest - prompt)
            # One that is too long for the model is cut there, or refused.
            room = context if choice.call.get("truncate") else max(0, context - prompt)
            planned.prompts[choice.prompt] = min(prompt, context)
            planned.answers.append(min(parameters["max_tokens"], room))
        if most is not None and planned.tokens > most:
            self._shorten(grant, choices, planned, most)
        return planned

    def _shorten(self, grant: Grant, choices: Sequence[Choice], planned: _Planned, most: int) -> None:
        """Share what a limit could ever let in among the answers that may be as long as possible."""
        unbounded = [n for n, choice in enumerate(choices) if choice.unbounded]
        fixed = planned.tokens - sum(planned.answers[n] for n in unbounded)
        share = (most - fixed) // len(unbounded) if unbounded else 0
        if share < 1:
            told = f"may use {planned.tokens:,} tokens, and the key {grant.key.name!r} has {most:,} at once"
            raise FieldRefusedError(
                "max_tokens", told, "Shorten the prompt, or ask for fewer tokens.", "request_over_limit"
            )
        for n in unbounded:
            planned.answers[n] = min(planned.answers[n], share)
            choices[n].call["parameters"]["max_tokens"] = planned.answers[n]

    async def _counted(self, grant: Grant, call: Call) -> int:
        """How many tokens texts have that are to be embedded, ranked or classified."""
        most, longest = grant.most_tokens, grant.key.scope.max_context
        if most is None and longest is None:
            return 0
        of = call["op"]
        assert of in {"embed", "rank", "classify"}
        told = await ask(self._engine, {**call, "op": "count", "of": of})
        param = "documents" if of == "rank" else "input"
        if longest is not None and int(told["longest"]) > longest:
            raise _too_long(grant, param, int(told["longest"]), longest)
        count = int(told["count"])
        if most is not None and count > most:
            said = f"has {count:,} tokens, and the key {grant.key.name!r} has {most:,} at once"
            raise FieldRefusedError(param, said, "Send it in parts.", "request_over_limit")
        return count

    # ── after ──

    async def _settle(
        self,
        grant: Grant,
        reservation: str,
        work: Sequence[Choice] | Call,
        planned: _Planned,
        ticket: Ticket,
        begun: float,
    ) -> None:
        if isinstance(work, dict):
            adapter, whole = work.get("adapter"), planned.tokens if ticket.begun else 0
            seconds = time.monotonic() - begun if ticket.begun else 0.0
            used = Used(ticket.used if ticket.used is not None else whole, 0, seconds)
            model = f"{self._model}+{adapter}" if adapter else self._model
        else:
            used = await _used(work, planned)
            model = work[0].record.body["model"]
        with contextlib.suppress(LlmopsError):
            # A disk that takes nothing leaves it taken, and the requests that follow are told why.
            await grant.settle(reservation, model, used)


async def _used(choices: Sequence[Choice], planned: _Planned) -> Used:
    """What choices used, as the engine told it; of one that it can tell nothing of, all that was reserved."""
    prompts: dict[int, int] = {}
    made, seconds = 0, 0.0
    for n, choice in enumerate(choices):
        if not choice.begun:
            continue
        if choice.failure is not None and refused_status(choice.failure.code):
            # It was refused before anything was evaluated.
            continue
        result: Generated | None = choice.result if choice.result["finish_reason"] else await _over(choice)
        if result is None:
            prompt, answer = planned.prompts.get(choice.prompt, 0), planned.answers[n] if planned.answers else 0
        else:
            prompt, answer = result.get("prompt_tokens") or 0, result.get("completion_tokens") or 0
            seconds += (result.get("total_ms") or 0.0) / 1000
        prompts[choice.prompt] = max(prompt, prompts.get(choice.prompt, 0))
        made += answer
    return Used(sum(prompts.values()), made, seconds)


async def _over(choice: Choice) -> Generated | None:
    return None if choice.over is None else await choice.over


def _too_long(grant: Grant, param: str, tokens: int, longest: int) -> FieldRefusedError:
    told = f"has {tokens:,} tokens, and the key {grant.key.name!r} is for contexts of {longest:,}"
    return FieldRefusedError(param, told, "Shorten it.", "context_length_exceeded")
