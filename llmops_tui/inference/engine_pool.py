"""Several engine processes of one model behind one server: which of them answers, and what becomes of it when one dies.

A request goes to the engine that has evaluated most of its beginning before, as long as that one has a free place, and else
to the one with the least to do; SGLang's router weighs the same two (https://docs.sglang.io, cache-aware load balancing). An
engine that is dead, starting or silent gets none. What one that dies was telling fails; what it had told nothing of yet is
asked of another one, and nobody notices.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.engine_wire import Call, EngineInfo, EngineState, Event, Generated, Standing
from llmops_tui.inference.prompt_pieces import pieces_of
from llmops_tui.inference.worker_client import EngineProcess
from llmops_tui.workspace.ids import new_id

# How many pieces are remembered of what an engine evaluated; one takes some hundred bytes.
_REMEMBERED = 20_000
# An engine at rest that says nothing for so long hangs, or is stopped.
_REST_SECONDS = 3.0
# Whoever asks how the engines are waits no longer than this for one of them.
_STATE_SECONDS = 0.5
_DIED = {"engine_died", "engine_hung"}
# What the states of engines say of how full they are now; all else counts since they started.
_GAUGES = {"running", "waiting", "slots", "cached_tokens", "cache_capacity", "snapshots", "snapshot_bytes"}


@dataclass
class _Member:
    """One engine of several: how many requests it has, which beginnings it knows, and which adapters it has loaded."""

    engine: EngineProcess
    number: int
    active: int = 0
    asked: int = 0
    known: OrderedDict[bytes, None] = field(default_factory=OrderedDict)
    adapters: set[tuple[int | None, str]] = field(default_factory=set)
    told: EngineState = field(default_factory=EngineState)

    @property
    def healthy(self) -> bool:
        """Whether it would answer now: one that says nothing is as good as dead, whatever its process."""
        engine = self.engine
        limit = engine.hang_seconds if engine.works else _REST_SECONDS
        return engine.state == "ok" and engine.silent_for <= limit

    def matched(self, pieces: Sequence[bytes]) -> int:
        """How many of a text's pieces it has evaluated, from the first on."""
        return next((n for n, piece in enumerate(pieces) if piece not in self.known), len(pieces))

    @contextlib.contextmanager
    def at_work(self, pieces: Sequence[bytes]) -> Iterator[None]:
        """Count a request, and remember what it evaluates."""
        self.active += 1
        self.asked += 1
        self._remember(pieces)
        try:
            yield
        finally:
            self.active -= 1

    def _remember(self, pieces: Sequence[bytes]) -> None:
        # The last first: what is dropped is the end of a beginning, which is of use without it.
        for piece in reversed(pieces):
            self.known[piece] = None
            self.known.move_to_end(piece)
        while len(self.known) > _REMEMBERED:
            self.known.popitem(last=False)


class EnginePool:
    """Several engines as one; see :class:`llmops_tui.inference.engine_interface.Engine`. ``places`` are those of each."""

    def __init__(self, engines: Sequence[EngineProcess], places: int) -> None:
        self._members = [_Member(engine, number) for number, engine in enumerate(engines, 1)]
        self._places = places
        self.hang_seconds = engines[0].hang_seconds
        self.lost: Callable[[], None] = lambda: None
        # Adapters by their names, as they are loaded.
        self._adapters: dict[str, Call] = {}
        self._loading = asyncio.Lock()
        # Counters of engines that died, and what was told of all when the last of them did: counters begin anew then.
        self._dead: dict[str, float] = {}
        self._told: dict[str, float] = {}
        self._begin: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # Whose process stands for all, as long as it lives.
        self._shown = self._members[0]
        for member in self._members:
            member.engine.lost = functools.partial(self._lost, member)

    # ── how they are ──

    @property
    def loading(self) -> tuple[str, float]:
        """As the first that is ready will be."""
        return max((member.engine.loading for member in self._members), key=lambda one: one[1])

    @property
    def info(self) -> EngineInfo:
        """What one that was ready says of the model."""
        return next((member.engine.info for member in self._members if member.engine.info), EngineInfo())

    @property
    def last_failure(self) -> str:
        """Why one of them died."""
        return next((member.engine.last_failure for member in self._members if member.engine.last_failure), "")

    @property
    def pid(self) -> int | None:
        """One that lives: the same as long as it does, so that no other death looks like a new start."""
        if self._shown.engine.pid is None:
            self._shown = next((member for member in self._members if member.engine.pid is not None), self._shown)
        return self._shown.engine.pid

    @property
    def state(self) -> str:
        """``ok`` where one of them would answer."""
        states = {member.engine.state for member in self._members}
        return next(state for state in ("ok", "restarting", "loading", "failing") if state in states)

    @property
    def silent_for(self) -> float:
        """Of the one that lives and spoke last: one that hangs keeps nobody from the others."""
        found = [member.engine.silent_for for member in self._members if member.engine.state == "ok"]
        return min(found, default=0.0)

    @property
    def works(self) -> bool:
        """Whether all that live have something to do."""
        found = [member.engine.works for member in self._members if member.engine.state == "ok"]
        return bool(found) and all(found)

    @property
    def retry_in(self) -> float:
        """Until the first is started again."""
        return min(member.engine.retry_in for member in self._members)

    @property
    def fallback(self) -> dict[str, str]:
        """The safer way in which one of them runs."""
        return next((member.engine.fallback for member in self._members if member.engine.fallback), {})

    @property
    def standings(self) -> list[Standing]:
        """Each of them."""
        found = []
        for member in self._members:
            (one,) = member.engine.standings
            silent = one["state"] == "ok" and not member.healthy
            state = "silent" if silent else one["state"]
            found.append({**one, "state": state, "active": member.active, "asked": member.asked})
        return cast("list[Standing]", found)

    # ── start and end ──

    async def start(self) -> None:
        """Start all; done when one runs, which is enough to answer.

        Raises:
            LlmopsError: none can be started.
        """
        if self._any_runs():
            return
        starting = [asyncio.create_task(self._start(member)) for member in self._members]
        self._keep(starting)
        left = set(starting)
        while left:
            done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
            if any(task.exception() is None for task in done):
                for task, member in zip(starting, self._members, strict=True):
                    if task.done() and task.exception() is not None:
                        # The others answer meanwhile.
                        member.engine.revive()
                return
        raise cast("BaseException", starting[0].exception())

    async def _start(self, member: _Member) -> None:
        try:
            await member.engine.start()
        except LlmopsError:
            if self._any_runs():
                member.engine.revive()
            raise

    def _any_runs(self) -> bool:
        return any(member.engine.state == "ok" for member in self._members)

    def _keep(self, tasks: Collection[asyncio.Task[None]]) -> None:
        self._tasks.update(tasks)
        for task in tasks:
            task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Each engine keeps why it failed; nobody else may wait for it any more.
            task.exception()

    async def facts(self) -> EngineInfo:
        """What they say of the model; waits for one."""
        if not self.info:
            await self.start()
        return self.info

    async def stop(self) -> None:
        """End all."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(member.engine.stop() for member in self._members))

    def _lost(self, member: _Member) -> None:
        self._dead = _sum(self._dead, _counts(member.told))
        member.told = {}
        member.known.clear()
        # As of one engine, whose counters begin anew when it died.
        self._begin = self._told
        self.lost()

    # ── asking ──

    async def call(self, request: Call) -> AsyncGenerator[list[Event]]:
        """Ask one of them, and another one where that dies before it said anything."""
        asked = {"state": self._tell_state, "adapter": self._take_adapter}.get(request["op"], self._ask)
        async with contextlib.aclosing(asked(request)) as told:
            async for batch in told:
                yield batch

    async def _ask(self, request: Call) -> AsyncGenerator[list[Event]]:
        tried: set[int] = set()
        pieces = pieces_of(request)
        begun = False
        while not begun:
            member = await self._choose(pieces, tried)
            tried.add(member.number)
            with member.at_work(pieces):
                if (failure := await self._adapter_missing(member, request)) is not None:
                    yield [failure]
                    return
                try:
                    async with contextlib.aclosing(member.engine.call(request)) as calls:
                        async for batch in calls:
                            if not begun and self._elsewhere(batch, tried):
                                break
                            begun = True
                            yield batch
                except LlmopsError:
                    # It could not be started, and nothing was asked of it.
                    if begun or not self._others(tried):
                        raise

    def when_over(self, request_id: str, tell: Callable[[Generated | None], None]) -> None:
        """As the one that has it tells."""
        for member in self._members:
            if member.engine.owes(request_id):
                member.engine.when_over(request_id, tell)
                return
        tell(None)

    def _elsewhere(self, batch: list[Event], tried: set[int]) -> bool:
        first = batch[0]
        return first["event"] == "error" and first["error"]["code"] in _DIED and self._others(tried)

    def _others(self, tried: set[int]) -> bool:
        return any(member.healthy and member.number not in tried for member in self._members)

    async def _choose(self, pieces: Sequence[bytes], tried: set[int]) -> _Member:
        """The one that knows at least half of the beginning and has a free place, else the one with the least to do.

        Raises:
            LlmopsError: none lives, and none can be started.
        """
        if not any(member.healthy for member in self._members):
            await self.start()
        live = [member for member in self._members if member.engine.state == "ok"]
        fit = [m for m in live if m.healthy and m.number not in tried] or [m for m in live if m.healthy] or live
        if not fit:
            # It died again meanwhile; asking it says so.
            return self._members[0]
        best = max(fit, key=lambda member: (member.matched(pieces), -member.active))
        if pieces and 2 * best.matched(pieces) >= len(pieces) and best.active < self._places:
            return best
        return min(fit, key=lambda member: (member.active, len(member.known), member.asked))

    # ── adapters ──

    async def _take_adapter(self, request: Call) -> AsyncGenerator[list[Event]]:
        """Load an adapter into one, which says whether it fits; the others load it when they are asked for it."""
        name = request["name"]
        async with self._loading:
            for member in self._members:
                member.adapters = {one for one in member.adapters if one[1] != name}
            if request.get("path"):
                self._adapters[name] = request
            else:
                self._adapters.pop(name, None)
            # What lets go of one lets all of them go.
            members = [await self._choose((), set())]
            if not request.get("path"):
                members = [member for member in self._members if member.healthy] or members
            batch: list[Event] = []
            for member in members:
                batch = [event async for told in member.engine.call(request) for event in told]
                if batch[-1]["event"] == "error":
                    self._adapters.pop(name, None)
                    break
                member.adapters.add((member.engine.pid, name))
        yield batch

    async def _adapter_missing(self, member: _Member, request: Call) -> Event | None:
        """Load the adapter that a request names where this engine has not; the error where that fails."""
        name = request.get("adapter", "")
        if not name or name not in self._adapters or (member.engine.pid, name) in member.adapters:
            return None
        async with self._loading:
            if (member.engine.pid, name) in member.adapters or name not in self._adapters:
                return None
            asked: Call = {**self._adapters[name], "id": f"{request['id']}-adapter"}
            events = [event async for told in member.engine.call(asked) for event in told]
            last = events[-1]
            if last["event"] == "error":
                return {**last, "id": request["id"]}
            member.adapters.add((member.engine.pid, name))
        return None

    # ── what they are doing ──

    async def _tell_state(self, request: Call) -> AsyncGenerator[list[Event]]:
        yield [{"id": request["id"], "event": "done", "result": await self._state()}]

    async def _state(self) -> EngineState:
        """All together: sums, of engines that say nothing as they were told last. Counters go on beyond the death of one."""
        live = [member for member in self._members if member.engine.state == "ok"]
        asking = {asyncio.create_task(self._ask_state(member)) for member in live}
        self._keep(asking)
        if asking:
            # A question that is not answered goes on: that it is owed is how a silent engine is known.
            await asyncio.wait(asking, timeout=_STATE_SECONDS)
        self._told = _sum(self._dead, *(_counts(member.told) for member in live))
        counts = {name: value - self._begin.get(name, 0) for name, value in self._told.items()}
        return cast("EngineState", _sum(counts, *(_gauges(member.told) for member in live)))

    async def _ask_state(self, member: _Member) -> None:
        if member.engine.silent_for > _STATE_SECONDS:
            return
        async for batch in member.engine.call({"op": "state", "id": new_id("ask")}):
            if batch[-1]["event"] == "done":
                member.told = cast("EngineState", batch[-1]["result"])


def _counts(state: EngineState) -> dict[str, float]:
    return {name: cast("float", value) for name, value in state.items() if name not in _GAUGES}


def _gauges(state: EngineState) -> dict[str, float]:
    return {name: cast("float", value) for name, value in state.items() if name in _GAUGES}


def _sum(*parts: dict[str, float]) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            found[name] = found.get(name, 0) + value
    return found
