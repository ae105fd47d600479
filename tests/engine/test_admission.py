"""Places at the engine by client: counted, not timed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_tui.inference.server.admission import AHEAD, MAX_WAITING, Admission, QueueFullError, Ticket, Turns
from llmops_tui.inference.server.callers import Caller, key_name
from llmops_tui.inference.server.choice import Choice
from llmops_tui.inference.server.generation import Generator
from llmops_tui.inference.server.guard import Guard
from llmops_tui.inference.server.options import ServerOptions
from llmops_tui.inference.server.records import Record

OWN = "the-own-key-of-the-workspace"


class Crowd:
    """Requests that hold their places until they are told to end; ``begun`` names their clients in order."""

    def __init__(self, parallel: int) -> None:
        self.admission = Admission(parallel)
        self.turns = Turns(parallel * AHEAD)
        self.begun: list[str] = []
        self.ends: dict[asyncio.Task[None], asyncio.Event] = {}
        self.refused: Counter[str] = Counter()

    def ask(self, client: str, count: int) -> list[asyncio.Task[None]]:
        made = []
        for _ in range(count):
            end = asyncio.Event()
            task = asyncio.create_task(self._one(client, end))
            self.ends[task] = end
            made.append(task)
        return made

    async def _one(self, client: str, end: asyncio.Event) -> None:
        try:
            with self.admission.let_in(client) as ticket:
                async with self.turns.turn(ticket):
                    self.begun.append(client)
                    await end.wait()
        except QueueFullError:
            self.refused[client] += 1

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def end_all(self) -> None:
        """End one request after the other, in the order in which they began."""
        for end in self.ends.values():
            end.set()
        await asyncio.gather(*self.ends, return_exceptions=True)


async def test_who_comes_later_is_not_behind_all_that_one_client_sent() -> None:
    crowd = Crowd(2)
    crowd.ask("many", 40)
    await crowd.settle()
    crowd.ask("few", 5)
    await crowd.settle()
    # Four places are at the engine already; from then on each second one is theirs.
    await crowd.end_all()
    assert crowd.begun[:4] == ["many"] * 4
    assert crowd.begun[4 : 4 + 10].count("few") == 5
    assert Counter(crowd.begun) == {"many": 40, "few": 5}
    assert crowd.admission.active == 0


async def test_a_client_that_fills_the_queue_gives_way_down_to_equal_shares() -> None:
    crowd = Crowd(1)
    crowd.ask("many", 200)
    await crowd.settle()
    assert crowd.refused == {"many": 200 - MAX_WAITING - 1}
    crowd.ask("few", 10)
    await crowd.settle()
    assert crowd.refused["few"] == 0
    assert crowd.refused["many"] == 200 - MAX_WAITING - 1 + 10
    crowd.ask("other", 200)
    await crowd.settle()
    held = Counter(ticket.client for ticket in crowd.admission._tickets)
    assert held["few"] == 10
    assert abs(held["many"] - held["other"]) <= 1
    assert crowd.admission.queued == MAX_WAITING
    await crowd.end_all()
    assert Counter(crowd.begun) == held


async def test_one_client_alone_has_all_of_it() -> None:
    crowd = Crowd(4)
    crowd.ask("one", 4 + MAX_WAITING)
    await crowd.settle()
    assert not crowd.refused
    await crowd.end_all()
    assert len(crowd.begun) == 4 + MAX_WAITING


async def test_whoever_leaves_frees_its_place_waiting_or_not() -> None:
    crowd = Crowd(1)
    tasks = crowd.ask("a", 6)
    await crowd.settle()
    for task in (tasks[4], tasks[0], tasks[5]):
        task.cancel()
    await crowd.settle()
    assert len(crowd.begun) == 3
    # Given up at the very moment in which its turn comes.
    crowd.ends[tasks[1]].set()
    crowd.ends[tasks[2]].set()
    tasks[3].cancel()
    await crowd.settle()
    await crowd.end_all()
    assert crowd.admission.active == 0
    crowd.ask("b", 2)
    await crowd.settle()
    assert crowd.begun[-2:] == ["b", "b"]
    await crowd.end_all()


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 30)), max_size=8), st.integers(1, 3))
def test_nothing_is_lost_or_held_twice(asked: list[tuple[str, int]], parallel: int) -> None:
    async def work() -> None:
        crowd = Crowd(parallel)
        for client, count in asked:
            crowd.ask(client, count)
            await crowd.settle()
            assert crowd.admission.queued <= MAX_WAITING
        await crowd.end_all()
        sent = sum((Counter({client: count}) for client, count in asked), Counter[str]())
        assert Counter(crowd.begun) + crowd.refused == sent
        assert crowd.admission.active == 0
        assert crowd.turns._free == parallel * AHEAD
        assert not crowd.turns._waiting
        assert not crowd.turns._held

    asyncio.run(work())


async def test_a_request_that_gave_way_is_told_so_for_each_of_its_answers() -> None:
    turns = Turns(1)
    ticket = Ticket("a")
    ticket.give_way(QueueFullError("queue_full", "x"))
    with pytest.raises(QueueFullError):
        async with turns.turn(ticket):
            raise AssertionError


async def clients_of(keys: tuple[str, ...], given: str, *, own: bool = False) -> set[str]:
    """As whom a guard lets two addresses in that have the same key."""
    found = set()

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        found.add(scope["caller"].client)

    guard = Guard(app, ServerOptions("", "m", "", "", "", OWN, None, host="127.0.0.1", port=1, keys=keys))
    for address in ("10.0.0.1", "10.0.0.2"):
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/v1/models",
            "query_string": b"",
            "client": (address, 1),
            "server": ("/a/socket", None) if own else ("127.0.0.1", 1),
            "headers": [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {given}".encode())],
        }
        await guard(scope, None, None)  # type: ignore[arg-type]
    return found


async def test_a_client_is_a_key_where_there_are_several_else_an_address() -> None:
    one, other = "one-key-of-sixteen-characters", "another-key-of-sixteen"
    assert await clients_of((one,), one) == {"10.0.0.1", "10.0.0.2"}
    assert await clients_of((one, other), one) == {key_name(one)}
    assert await clients_of((one, other), OWN, own=True) == {"own"}


class StandIn:
    """An engine that answers when it is told to, and what is kept of its requests."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.kept: dict[str, dict[str, Any]] = {}

    async def call(self, call: dict[str, Any]) -> AsyncGenerator[list[dict[str, Any]]]:
        await self.go_on.wait()
        yield [{"id": call["id"], "event": "done", "result": {"finish_reason": "stop"}}]

    async def write(self, key: str, body: dict[str, Any]) -> None:
        self.kept[key] = body

    def enqueue(self, key: str, body: dict[str, Any]) -> None:
        self.kept[key] = body

    def ended(self, _record: dict[str, Any]) -> None:
        pass


async def test_each_request_is_recorded_once_answered_turned_away_or_given_up() -> None:
    engine = StandIn()
    generator = Generator(engine, engine, engine, 1)  # type: ignore[arg-type]

    async def ask(name: str, client: str, answers: int = 1) -> None:
        choices = [Choice(n, Record(f"{name}.{n}", {}), {"id": f"{name}.{n}"}) for n in range(answers)]
        async with generator.admitted(Caller(own=False, client=client), choices):
            await generator.run_all(choices)

    many = [asyncio.create_task(ask(f"many{n}", "many", 2)) for n in range(1 + MAX_WAITING)]
    await asyncio.sleep(0.0)
    for _ in range(5):
        await asyncio.sleep(0)
    with pytest.raises(QueueFullError):
        await ask("one more", "many")
    few = asyncio.create_task(ask("few", "few"))
    for _ in range(5):
        await asyncio.sleep(0)
    many[10].cancel()
    engine.go_on.set()
    ended = await asyncio.gather(*many, few, return_exceptions=True)
    assert [type(one) for one in ended].count(QueueFullError) == 1
    assert isinstance(ended[MAX_WAITING], QueueFullError), "the newest one gives way"
    told = Counter(
        (key.rstrip("0123456789.").strip(), body["finish_reason"], str(body.get("error", ""))[:11])
        for key, body in engine.kept.items()
    )
    assert told[("few", "stop", "")] == 1
    assert told[("one more", "error", "turned away")] == 1
    assert told[("many", "error", "turned away")] == 2
    assert told[("many", "cancelled", "")] == 1
    assert told[("many", "stop", "")] == 2 * (MAX_WAITING - 1)
    assert generator.active == 0
