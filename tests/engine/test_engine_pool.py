"""Several engines behind one server: which of them is asked, and what becomes of a request whose engine dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncGenerator, Callable
from typing import Any

import httpx
import pytest

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.engine_pool import EnginePool
from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.prompt_pieces import pieces_of
from llmops_tui.inference.server_record import ServerHandle
from llmops_tui.inference.socket_transport import async_socket_transport
from llmops_tui.inference.supervisor import ServerSupervisor, health
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from tests.waiting import wait_for

LONG = "You answer for a shop that sells kettles, rugs and lamps. " * 12


class Process:
    """What the pool needs of an engine's process; ``hold`` keeps its answers back, ``dies`` ends them at once."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.pid: int | None = number
        self.state, self.silent_for, self.works, self.retry_in = "ok", 0.0, False, 0.0
        self.hang_seconds, self.last_failure = 300.0, ""
        self.loading, self.info, self.fallback = ("ready", 1.0), {"n_ctx": 256}, {}
        self.lost: Callable[[], None] = lambda: None
        self.asked: list[dict[str, Any]] = []
        self.hold: asyncio.Event | None = None
        self.dies_after: int | None = None
        self.starts: list[LlmopsError | None] = []
        self.revived = 0
        self.counts = {"prompt_tokens": 10 * number, "slots": 4}

    @property
    def standings(self) -> list[dict[str, Any]]:
        return [{"pid": self.pid, "state": self.state, "last_failure": self.last_failure}]

    def owes(self, request_id: str) -> bool:
        return any(one["id"] == request_id for one in self.asked)

    def when_over(self, request_id: str, tell: Callable[[Any], None]) -> None:
        tell({"finish_reason": "cancelled", "by": self.number})

    def revive(self) -> None:
        self.revived += 1

    async def start(self) -> None:
        error = self.starts.pop(0) if self.starts else None
        if error is not None:
            raise error
        self.state, self.pid = "ok", self.number

    async def stop(self) -> None:
        self.state = "stopped"

    async def call(self, request: dict[str, Any]) -> AsyncGenerator[list[dict[str, Any]]]:
        self.asked.append(request)
        told = {"id": request["id"]}
        if request["op"] == "state":
            yield [told | {"event": "done", "result": dict(self.counts)}]
            return
        for n in range(2):
            if self.dies_after == n:
                self.state, self.pid = "restarting", None
                self.lost()
                yield [told | {"event": "error", "error": {"code": "engine_died", "message": "x", "hint": ""}}]
                return
            if self.hold is not None:
                await self.hold.wait()
            yield [told | {"event": "text", "text": str(self.number)}]
        yield [told | {"event": "done", "result": {"finish_reason": "stop"}}]


def pool_of(count: int, places: int = 2) -> tuple[EnginePool, list[Process]]:
    processes = [Process(number) for number in range(1, count + 1)]
    return EnginePool(processes, places), processes  # type: ignore[arg-type]


async def ask(pool: EnginePool, text: str, **more: Any) -> list[dict[str, Any]]:
    call: Any = {"op": "generate", "id": f"r{id(text)}", "text": text} | more
    return [dict(event) async for batch in pool.call(call) for event in batch]


def by(events: list[dict[str, Any]]) -> str:
    return "".join(event.get("text", "") for event in events)


async def test_a_conversation_stays_where_its_beginning_is_as_long_as_there_is_a_place() -> None:
    pool, (one, _) = pool_of(2)
    assert by(await ask(pool, LONG + "first")) == "11"
    # Nothing of it is known: the one that has evaluated less.
    assert by(await ask(pool, "Something else. " * 20)) == "22"
    assert by(await ask(pool, LONG + "first, and what followed it")) == "11"
    # As another adapter evaluates it, it is another text.
    assert not set(pieces_of({"op": "generate", "text": LONG})) & set(
        pieces_of({"op": "generate", "text": LONG, "adapter": "a"})
    )
    one.hold = asyncio.Event()
    under_way = [asyncio.create_task(ask(pool, LONG + str(n))) for n in range(2)]
    while pool.standings[0]["active"] < 2:
        await asyncio.sleep(0)
    assert by(await ask(pool, LONG + "a third")) == "22"
    one.hold.set()
    assert [by(await task) for task in under_way] == ["11", "11"]
    assert [standing["asked"] for standing in pool.standings] == [4, 2]


async def test_least_loaded_first_and_none_for_who_is_dead_or_silent() -> None:
    pool, processes = pool_of(3)
    for process in processes:
        process.hold = asyncio.Event()
    under_way = [asyncio.create_task(ask(pool, f"{n}")) for n in range(3)]
    while sum(standing["active"] for standing in pool.standings) < 3:
        await asyncio.sleep(0)
    for process in processes:
        assert process.hold is not None
        process.hold.set()
        process.hold = None
    assert sorted([by(await task) for task in under_way]) == ["11", "22", "33"]
    processes[0].state = "restarting"
    processes[1].silent_for = 5.0
    assert {by(await ask(pool, f"again {n}")) for n in range(4)} == {"33"}
    assert [standing["state"] for standing in pool.standings] == ["restarting", "silent", "ok"]
    assert (pool.state, pool.silent_for) == ("ok", 0.0)


async def test_what_an_engine_died_before_it_said_anything_is_asked_of_another() -> None:
    pool, (one, two) = pool_of(2)
    deaths = []
    pool.lost = lambda: deaths.append(1)
    one.dies_after = 0
    assert by(await ask(pool, LONG)) == "22"
    assert (deaths, pool.pid) == ([1], 2)
    one.state, one.pid, one.dies_after = "ok", 1, 1
    # What was told already is not told again from the beginning.
    assert by(await ask(pool, LONG)) == "22"
    two.state, two.dies_after = "restarting", None
    told = await ask(pool, "Another text")
    assert (by(told), told[-1]["error"]["code"]) == ("1", "engine_died")


async def test_counters_go_on_beyond_a_death_and_begin_anew_as_those_of_one_engine_do() -> None:
    pool, (one, two) = pool_of(2)

    async def state() -> dict[str, Any]:
        return (await ask(pool, "", op="state"))[-1]["result"]  # type: ignore[no-any-return]

    assert await state() == {"prompt_tokens": 30, "slots": 8}
    one.state = "restarting"
    one.lost()
    two.counts["prompt_tokens"] = 25
    assert await state() == {"prompt_tokens": 5, "slots": 4}
    one.state, one.counts["prompt_tokens"] = "ok", 3
    assert await state() == {"prompt_tokens": 8, "slots": 8}


async def test_an_adapter_is_loaded_by_who_is_asked_for_it() -> None:
    pool, (one, two) = pool_of(2)
    assert (await ask(pool, "", op="adapter", name="a", path="/a"))[-1]["event"] == "done"
    assert [len(process.asked) for process in (one, two)] == [1, 0]
    one.state = "restarting"
    await ask(pool, "Hi", adapter="a")
    await ask(pool, "Hi", adapter="a")
    assert [call["op"] for call in two.asked] == ["adapter", "generate", "generate"]
    two.pid = 7
    await ask(pool, "Hi", adapter="a")
    assert [call["op"] for call in two.asked[3:]] == ["adapter", "generate"]


async def test_one_that_runs_is_enough_to_start() -> None:
    pool, (one, two) = pool_of(2)
    for process in (one, two):
        process.state, process.pid = "loading", None
    one.starts = [LlmopsError("engine_died", "it cannot")]
    await pool.start()
    assert (one.revived, two.state, pool.state) == (1, "ok", "ok")
    for process in (one, two):
        process.state, process.starts = "failing", [LlmopsError("engine_died", f"cannot {process.number}")]
    with pytest.raises(LlmopsError, match="cannot"):
        await ask(pool, "Hi")
    seen: list[Any] = []
    pool.when_over("nobody's", seen.append)
    assert seen == [None]
    await pool.stop()


def _client(handle: ServerHandle) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=async_socket_transport(handle.socket),
        base_url="http://localhost",
        timeout=300,
        headers={"Authorization": f"Bearer {handle.key}"},
    )


@pytest.mark.slow
def test_of_two_engines_one_is_killed_mid_stream_and_the_others_go_on(sample: Workspace) -> None:
    supervisor = ServerSupervisor(sample)
    model = ModelRegistry(Catalog(sample)).get("support-base")
    handle = supervisor.ensure(model, LoadOptions(threads=1, parallel=2, context=512, engines=2))
    wait_for(lambda: [one["state"] for one in health(handle)["engines"]] == ["ok", "ok"])
    pids = [one["pid"] for one in health(handle)["engines"]]
    assert len(set(pids)) == 2

    async def stream(http: httpx.AsyncClient, number: int, begun: asyncio.Event) -> tuple[int, str, str]:
        body = {
            "prompt": f"{number} questions of the shop", "max_tokens": 300, "ignore_eos": True, "stream": True, "seed": 1,
        }  # fmt: skip
        pieces, end = 0, ""
        async with http.stream("POST", "/v1/completions", json=body) as answer:
            async for line in answer.aiter_lines():
                if not line.startswith("data: ") or line == "data: [DONE]":
                    continue
                told = json.loads(line.removeprefix("data: "))
                if "error" in told:
                    return pieces, told["error"]["code"], told["error"]["message"]
                pieces += 1
                end = told["choices"][0]["finish_reason"] or end
                begun.set()
        return pieces, end, ""

    async def go() -> tuple[list[tuple[int, str, str]], list[tuple[int, str, str]]]:
        async with _client(handle) as http:
            begun = [asyncio.Event() for _ in range(4)]
            streams = [asyncio.create_task(stream(http, n, begun[n])) for n in range(4)]
            await asyncio.gather(*(one.wait() for one in begun))
            facts = (await http.get("/health")).json()["engines"]
            assert [one["active"] for one in facts] == [2, 2]
            os.kill(facts[0]["pid"], signal.SIGKILL)
            # Asked while one is dead.
            after = [stream(http, 10 + n, asyncio.Event()) for n in range(3)]
            return await asyncio.gather(*streams), await asyncio.gather(*after)

    try:
        during, after = asyncio.run(go())
        assert sorted(end for _, end, _ in during) == ["engine_died", "engine_died", "length", "length"]
        assert all(pieces >= 1 for pieces, _, _ in during)
        assert [end for _, end, _ in after] == ["length"] * 3
        assert any("SIGKILL" in why for _, end, why in during if end == "engine_died")
        wait_for(lambda: [one["state"] for one in health(handle)["engines"]] == ["ok", "ok"])
        assert health(handle)["engines"][0]["pid"] not in pids
    finally:
        with contextlib.suppress(LlmopsError):
            supervisor.stop("support-base")
