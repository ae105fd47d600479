"""Runs the choices of a request on the engine: admitted or refused, recorded, counted, cancelled on disconnect."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import cast

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.engine_interface import Engine
from llmops_tui.inference.engine_wire import FILTERED, Call, Event, Generated
from llmops_tui.inference.server.admission import AHEAD, Admission, QueueFullError, Ticket, Turns
from llmops_tui.inference.server.callers import Caller
from llmops_tui.inference.server.choice import Choice
from llmops_tui.inference.server.connection import refused_status
from llmops_tui.inference.server.guarding import Guarded, passed, refused_early
from llmops_tui.inference.server.metrics import ServerMetrics
from llmops_tui.inference.server.records import EventWriter, Record
from llmops_tui.inference.server.spending import Spending
from llmops_tui.inference.wire import Warned

_EMBEDDING = 32
_ENDS = {"done", "error"}
Messages = list[Event]


def warnings_of(choices: Sequence[Choice]) -> list[Warned]:
    """What is told beside several answers of one request."""
    if len(choices) == 1:
        return choices[0].warnings
    own: list[Warned] = [{**one, "choice": choice.index} for choice in choices for one in choice.problems]
    return choices[0].warned + own


class Generator:
    """Passes choices to the engine, at most as many requests at a time as run and may wait."""

    def __init__(
        self, engine: Engine, writer: EventWriter, metrics: ServerMetrics, parallel: int, *, model: str = ""
    ) -> None:
        self._engine = engine
        self._writer = writer
        self._metrics = metrics
        self._parallel = parallel
        self._admission = Admission(parallel)
        self._turns = Turns(parallel * AHEAD)
        # Texts of many requests share the steps of embedding, which is done beside all generating.
        self._embedding = Turns(_EMBEDDING)
        self._spending = Spending(engine, model)
        self.last_used = time.monotonic()
        # What answers in place of the engine where a recording is replayed.
        self.held_answers: Callable[[Choice], AsyncGenerator[Messages]] | None = None

    @property
    def active(self) -> int:
        """How many requests are let in."""
        return self._admission.active

    @property
    def batched(self) -> int:
        """How many of them are of jobs that answer files."""
        return self._admission.batched

    @property
    def queued(self) -> int:
        """How many requests wait, as far as can be told from outside the engine."""
        return self._admission.queued

    @contextlib.asynccontextmanager
    async def admitted(self, caller: Caller, work: Sequence[Choice] | Call) -> AsyncGenerator[Ticket]:
        """Hold a place for one request, and what it could use of its key's limits; all that the engine evaluates comes by here.

        One that is turned away from its place, now or before it began, is recorded as such.

        Raises:
            QueueFullError: too many requests wait already.
            LlmopsError: ``not_replayable``: no model is asked, and it is nothing that a recording answers.
            LimitReachedError: as :meth:`.Spending.held`.
        """
        choices: Sequence[Choice] = () if isinstance(work, dict) else work
        if caller.replayed and isinstance(work, dict):
            told = f"the recording {caller.replayed!r} is replayed here, and no model is asked for anything else"
            raise LlmopsError("not_replayable", told, "Ask a server without --replay.")
        try:
            with self._admission.let_in(caller.client) as ticket:
                async with self._spending.held(caller.grant, work, ticket, free=caller.shadow):
                    for choice in choices:
                        choice.ticket = ticket
                    yield ticket
        except QueueFullError as error:
            for choice in choices:
                choice.note_verdicts()
                choice.record.refuse(refused_status(error.code))
                ended = choice.record.ended({"finish_reason": "error", "error": f"turned away: {error.message}"})
                self._writer.enqueue(choice.record.id, ended)
            raise
        finally:
            self.last_used = time.monotonic()

    def guard(self, choices: list[Choice], guarded: Guarded | None, param: str, caller: Caller) -> None:
        """Have guards look at the answers; or refuse, with a trace, what they refused of the request."""
        if guarded is None:
            return
        # What is reserved of a key's tokens is for one answer.
        may_retry = caller.grant is None or not caller.grant.limits_tokens
        for choice in choices:
            choice.guard(guarded, may_retry=may_retry)
        if param:
            error = guarded.refusal(param)
            self.refuse(choices, error.message)
            raise error

    def refuse(self, choices: Sequence[Choice], why: str) -> None:
        """Record choices that a guard refuses before anything is evaluated."""
        for choice in choices:
            choice.note_verdicts()
            ended = choice.record.ended({"finish_reason": FILTERED, "error": why})
            self._writer.enqueue(choice.record.id, ended)

    async def close(self) -> None:
        """Settle what requests that were left used."""
        await self._spending.close()

    def embedding_turn(self, ticket: Ticket) -> contextlib.AbstractAsyncContextManager[None]:
        """Hold one of the places for embedding, when it is the request's turn; see :meth:`Turns.turn`."""
        return self._embedding.turn(ticket)

    async def run_all(self, choices: list[Choice]) -> None:
        """Run choices to their ends, no more at once than the engine runs; raises the first error."""
        places = asyncio.Semaphore(self._parallel)

        async def one(choice: Choice) -> None:
            async with places:
                async for _ in self.run(choice):
                    pass

        if len(choices) == 1:
            await one(choices[0])
            return
        try:
            async with asyncio.TaskGroup() as group:
                for choice in choices:
                    group.create_task(one(choice))
        except* LlmopsError as errors:
            raise errors.exceptions[0] from None

    async def stream_all(self, choices: list[Choice]) -> AsyncGenerator[tuple[Choice, Messages]]:
        """The messages of all choices as they come."""
        if len(choices) == 1:
            async with contextlib.aclosing(self.run(choices[0])) as run:
                async for messages in run:
                    yield choices[0], messages
            return
        queue: asyncio.Queue[tuple[Choice, Messages | LlmopsError | None]] = asyncio.Queue()
        places = asyncio.Semaphore(self._parallel)

        async def one(choice: Choice) -> None:
            try:
                async with places:
                    async for messages in self.run(choice):
                        queue.put_nowait((choice, messages))
            except LlmopsError as error:
                queue.put_nowait((choice, error))
            queue.put_nowait((choice, None))

        tasks = [asyncio.create_task(one(c)) for c in choices]
        try:
            left = len(tasks)
            while left:
                choice, item = await queue.get()
                if item is None:
                    left -= 1
                elif isinstance(item, LlmopsError):
                    raise item
                else:
                    yield choice, item
        finally:
            for task in tasks:
                task.cancel()

    async def run(self, choice: Choice) -> AsyncGenerator[Messages]:
        """Run one choice; what became of it is in the event log before its last message is passed on.

        Leaving the iteration early cancels the work.
        """
        assert choice.ticket is not None
        try:
            async with contextlib.aclosing(self._run(choice)) as run:
                async for messages in run:
                    yield messages
        finally:
            if not choice.kept and choice.begun and choice.metered:
                choice.over = self._told_of(choice.call["id"])
            if not choice.kept and choice.ticket.refused is None:
                # Nobody waits for this answer any more; whoever left is not kept for the disk either. What guards said of the
                # request is told all the same, and which of them refused what came of the answer.
                choice.note_verdicts()
                ended = choice.record.ended({"finish_reason": "cancelled"})
                self._metrics.ended(ended)
                self._writer.enqueue(choice.record.id, ended)

    def _told_of(self, request_id: str) -> asyncio.Future[Generated | None]:
        """What comes of a generation that was left before its end."""
        over: asyncio.Future[Generated | None] = asyncio.get_running_loop().create_future()
        self._engine.when_over(request_id, lambda result: None if over.done() else over.set_result(result))
        return over

    async def _run(self, choice: Choice) -> AsyncGenerator[Messages]:
        while True:
            tries = choice.tries
            async with contextlib.aclosing(self._try(choice)) as run:
                async for messages in run:
                    yield messages
            if choice.tries == tries:
                return

    async def _try(self, choice: Choice) -> AsyncGenerator[Messages]:
        assert choice.ticket is not None
        over: asyncio.Future[Generated | None] | None = None
        last: Messages = []
        held = self.held_answers if choice.again_of is not None else None
        answering = self._engine.call(choice.call) if held is None else held(choice)
        async with self._turns.turn(choice.ticket), contextlib.aclosing(answering) as calls:
            choice.begun = True
            async for told in calls:
                self.last_used = time.monotonic()
                if told[-1]["event"] in _ENDS:
                    last = told
                    break
                messages = told if choice.held is None else await passed(choice.held, told)
                self._take(choice, messages)
                if messages:
                    yield messages
                if choice.refused:
                    over = self._told_of(choice.call["id"])
                    break
        # Its place is free for others: a guard that looks at the whole may ask this same model.
        if last:
            messages = last if choice.held is None else await passed(choice.held, last)
            self._take(choice, messages)
            # Its text is not kept waiting for the disk; that it is whole is told after the record is.
            if some := messages[:-1]:
                yield some
            async for end in self._over(choice, messages[-1]):
                yield end
        elif over is not None and choice.held is not None:
            await choice.held.finish()
            # The engine is left; what it came to until then is what the client is told, and pays for.
            told_of = refused_early(await over)
            async for end in self._over(choice, {"id": choice.call["id"], "event": "done", "result": told_of}):
                yield end

    async def _over(self, choice: Choice, last: Event) -> AsyncGenerator[Messages]:
        """The end of an answer, once it is in the event log; nothing where it is asked again."""
        if last["event"] == "error":
            error = choice.failure = LlmopsError(**last["error"])
            choice.kept = True
            choice.note_verdicts()
            choice.record.refuse(refused_status(error.code))
            await self._keep(choice.record, {"finish_reason": "error", "error": error.message})
            raise error
        assert last["event"] == "done"
        result = cast("Generated", last["result"])
        if choice.again(result):
            return
        choice.result = result
        if choice.spent:
            # What was asked again took tokens, too.
            choice.result["completion_tokens"] = (result["completion_tokens"] or 0) + choice.spent
        self._count_thinking(choice)
        choice.note_verdicts()
        choice.kept = True
        await self._keep(choice.record, choice.result)
        yield [last]

    @staticmethod
    def _count_thinking(choice: Choice) -> None:
        if choice.reader is not None:
            written = "".join(choice.record.text)
            choice.reasoning_tokens = choice.reader.apart(written).tokens(written, choice.sizes)
            choice.result["reasoning_tokens"] = choice.reasoning_tokens

    def _take(self, choice: Choice, messages: Messages) -> None:
        record = choice.record
        for message in messages:
            if message["event"] == "text":
                record.first_at = record.first_at or time.monotonic()
                record.text.append(message["text"])
                choice.tokens += message.get("tokens", ())
                choice.sizes += message.get("sizes", ())
            elif message["event"] == "scored":
                choice.given += message["tokens"]

    async def _keep(self, record: Record, result: Generated) -> None:
        ended = record.ended(result)
        self._metrics.ended(ended)
        await self._writer.write(record.id, ended)
