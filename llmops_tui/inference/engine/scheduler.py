"""Continuous batching: requests join and leave between steps, prompts are evaluated in chunks next to streams."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.engine.batch_composition import BatchComposer, Part
from llmops_tui.inference.engine.draft_model import DraftModel, ModelDraft
from llmops_tui.inference.engine.evaluation import DecodeAbortedError
from llmops_tui.inference.engine.native import NativeModel
from llmops_tui.inference.engine.parameters import EngineOptions
from llmops_tui.inference.engine.placement import Placement
from llmops_tui.inference.engine.prefix_cache import PrefixCache
from llmops_tui.inference.engine.prompt_lookup import Draft, NgramDraft
from llmops_tui.inference.engine.sequence import Request, Running, Slot
from llmops_tui.inference.engine_wire import EngineState, Event

Emit = Callable[[Event], None]


@dataclass
class Counters:
    """What the engine did since it started."""

    requests: int = 0
    prompt_tokens: int = 0
    reused_tokens: int = 0
    generated_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    steps: int = 0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0


class Scheduler:
    """Runs requests on one :class:`NativeModel`; everything but :meth:`cancel_soon` belongs to one thread."""

    def __init__(
        self,
        options: EngineOptions,
        emit: Emit,
        clock: Callable[[], float] = time.perf_counter,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        self.native = NativeModel(options, progress)
        self.counters = Counters()
        self._emit = emit
        self._clock = clock
        self._drafts = self._guessing(options)
        self._slots = [Slot(n) for n in range(options.parallel)]
        self.cache = PrefixCache(options.cache_bytes)
        self._shelf = Placement(self.native, self._slots, self.cache)
        self._waiting: deque[Running] = deque()
        self._sharing = BatchComposer(self.native.batch)

    def _guessing(self, options: EngineOptions) -> Callable[[], Draft] | None:
        """What makes a request's guesser, where tokens are guessed at all: a small model, or the text itself."""
        if not self.native.can_trim:
            return None
        if options.draft:
            model = DraftModel(options, self.native)
            return lambda: ModelDraft(model)
        return NgramDraft if options.speculate else None

    @property
    def busy(self) -> bool:
        """Whether any request runs or waits."""
        return bool(self._waiting) or any(s.running for s in self._slots)

    def state(self) -> EngineState:
        """How full the engine is now, beside its counters."""
        return {
            "running": sum(s.running is not None for s in self._slots),
            "waiting": len(self._waiting),
            "slots": len(self._slots),
            "cached_tokens": sum(s.evaluated for s in self._slots),
            "cache_capacity": self.native.n_ctx * len(self._slots),
            "snapshots": len(self.cache),
            "snapshot_bytes": self.cache.used_bytes,
            **cast("EngineState", vars(self.counters)),
        }

    def submit(self, request: Request) -> None:
        """Take a request in; it is run by the following steps.

        Raises:
            InputRefusedError: it cannot be run; see :class:`Running`.
        """
        running = Running(request, self.native, self._clock(), self._drafts)
        self._waiting.append(running)
        self.counters.requests += 1

    def cancel(self, request_id: str) -> None:
        """End a request that runs or waits; what it made so far is told."""
        for running in list(self._waiting):
            if running.request.id == request_id:
                self._waiting.remove(running)
                self._finish(running, "cancelled")
        for slot in self._slots:
            if slot.running is not None and slot.running.request.id == request_id:
                self._finish(slot.running, "cancelled")
        self.native.abort(on=False)

    def cancel_soon(self, request_id: str) -> None:
        """From another thread: break off the step that runs now where it is for this request alone."""
        busy = [s.running.request.id for s in self._slots if s.running is not None]
        if busy == [request_id]:
            self.native.abort(on=True)

    def step(self) -> None:
        """Admit what waits and evaluate one batch."""
        self._admit()
        busy = [s.running for s in self._slots if s.running is not None]
        if not busy:
            return
        streams_alone = len({r.request.adapter for r in busy}) == 1 and all(
            len(r.tokens) - r.slot.evaluated == 1 and r.made and r.draft is None for r in busy if r.slot is not None
        )
        parts = [Part(r, r.tokens[-1:], [1]) for r in busy] if streams_alone else self._sharing.compose(busy)
        started = self._clock()
        try:
            if streams_alone:
                self._extend(busy)
            else:
                self._evaluate(parts)
        except DecodeAbortedError:
            self._roll_back(parts)
        except LlmopsError as error:
            for part in parts:
                self._fail(part.running, error)
        else:
            self._account(parts, self._clock() - started)

    # Admission

    def _admit(self) -> None:
        if not self._waiting or all(s.running for s in self._slots):
            self._shelf.close_ranks()
            return
        postponed: deque[Running] = deque()
        while self._waiting and (free := [s for s in self._slots if s.running is None]):
            running = self._waiting.popleft()
            if self._shelf.will_be_shared(running):
                postponed.append(running)
            else:
                self._shelf.place(running, free)
                self.counters.prompt_tokens += running.prompt_length
                self.counters.reused_tokens += running.reused
        postponed.extend(self._waiting)
        self._waiting = postponed

    # One step

    def _extend(self, streams: list[Running]) -> None:
        """The common step, kept lean: every request adds one token, nothing else happens."""
        slots = [r.slot for r in streams if r.slot is not None]
        self.native.use_adapter(streams[0].request.adapter)
        tokens = [r.tokens[-1] for r in streams]
        self.native.decode(tokens, [s.evaluated for s in slots], [s.id for s in slots], [1] * len(slots))
        rows = self.native.logits(len(slots))
        now = self._clock()
        # All plain greedy choices at once: one pass over the rows instead of one call a request.
        likeliest = rows.argmax(axis=1).tolist() if any(r.plain for r in streams) else [0] * len(slots)
        for at, running in enumerate(streams):
            slots[at].evaluated += 1
            reason = running.take(rows[at], likeliest[at] if running.plain else None, now)
            if reason is not None or running.due(now):
                self._deliver(running, reason, now)

    def _evaluate(self, parts: list[Part]) -> None:
        tokens: list[int] = []
        positions: list[int] = []
        sequences: list[int] = []
        outputs: list[int] = []
        for part in parts:
            slot = part.running.slot
            assert slot is not None
            count = len(part.tokens)
            tokens += part.tokens
            positions += range(slot.evaluated, slot.evaluated + count)
            sequences += [slot.id] * count
            outputs += part.outputs
        self.native.use_adapter(parts[0].running.request.adapter)
        self.native.decode(tokens, positions, sequences, outputs)
        rows = self.native.logits(sum(outputs))
        now = self._clock()
        likeliest = rows.argmax(axis=1).tolist() if rows.size else []
        at = 0
        for part in parts:
            count = sum(part.outputs)
            self._advance(part, rows[at : at + count], likeliest[at : at + count], now)
            at += count

    def _advance(self, part: Part, rows: Any, likeliest: list[int], now: float) -> None:
        """Take over what one request's rows say."""
        running, slot = part.running, part.running.slot
        assert slot is not None
        if running.missing > 1 or running.made == 0:
            start, slot.evaluated = slot.evaluated, slot.evaluated + len(part.tokens)
            running.score(start, part.outputs, rows)
            for event in running.scored_events():
                self._emit(event)
            if running.missing > 0 or slot.evaluated < running.prompt_length:
                return
            if running.left == 0:
                self._deliver(running, "length", now)
                return
            rows, likeliest = rows[-1:], likeliest[-1:]
            reason = running.take(rows[0], likeliest[0] if running.plain else None, now)
            self._deliver(running, reason, now)
            if reason is None:
                self._shelf.mark(running)
            return
        slot.evaluated += 1
        reason = running.take(rows[0], likeliest[0] if running.plain else None, now)
        accepted = 0
        while reason is None and accepted < part.drafted and part.tokens[accepted + 1] == running.tokens[-1]:
            accepted += 1
            slot.evaluated += 1
            reason = running.take(rows[accepted], likeliest[accepted] if running.plain else None, now)
        if part.drafted:
            assert running.draft is not None
            running.draft.learn(part.drafted, accepted)
            self.counters.drafted_tokens += part.drafted
            self.counters.accepted_tokens += accepted
            if not self.native.trim(slot.id, slot.evaluated):
                slot.evaluated = 0
        self._deliver(running, reason, now)

    def _deliver(self, running: Running, reason: str | None, now: float) -> None:
        if running.failure is not None:
            self._fail(running, running.failure)
            return
        for event in running.flush(now, ended=reason is not None):
            self._emit(event)
        if reason is not None:
            self._finish(running, reason)

    def _finish(self, running: Running, reason: str) -> None:
        for event in running.finish(reason, self._clock()):
            self._emit(event)
        self.counters.generated_tokens += running.made
        self._release(running)

    def _fail(self, running: Running, error: LlmopsError) -> None:
        for event in running.flush(self._clock(), ended=True):
            self._emit(event)
        self._emit({"id": running.request.id, "event": "error", "error": error.as_dict()})
        slot = running.slot
        self._release(running)
        if slot is not None:
            self.native.trim(slot.id, 0)
            slot.evaluated = 0

    def _release(self, running: Running) -> None:
        running.close()
        if running.slot is not None:
            running.slot.running = None
            running.slot = None

    def _roll_back(self, parts: list[Part]) -> None:
        """After a step that was broken off: nothing of it counts."""
        for part in parts:
            slot = part.running.slot
            assert slot is not None
            if not self.native.trim(slot.id, slot.evaluated):
                slot.evaluated = 0
        self.native.abort(on=False)

    def _account(self, parts: list[Part], seconds: float) -> None:
        counters = self.counters
        counters.steps += 1
        evaluated = sum(len(p.tokens) for p in parts)
        if evaluated > len(parts) * 2:
            counters.prefill_seconds += seconds
            self._sharing.learn(evaluated, seconds)
        else:
            counters.decode_seconds += seconds
