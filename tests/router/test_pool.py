"""The pool under requests in any order: none is lost, none is unloaded under an answer, and no more are loaded than may be."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.router.pool import ModelPool
from llmops_tui.inference.server.callers import ON_BEHALF, Caller
from llmops_tui.inference.server.guard import Guard
from llmops_tui.inference.server.options import ServerOptions
from tests.router.fakes import KEY, FakeServers, FixedModels, until


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="llmops-p") as made:
        yield Path(made)


class WatchedServers(FakeServers):
    """Servers that see when one is unloaded under an answer, and how many are loaded at once."""

    def __init__(self, folder: Path, memory: int) -> None:
        super().__init__(folder, memory)
        self.answering: Counter[str] = Counter()
        self.most = 0

    def stop(self, model: str) -> bool:
        assert not self.answering[model], f"{model} was unloaded while it answered"
        return super().stop(model)

    def ensure(self, model):  # type: ignore[no-untyped-def]
        found = super().ensure(model)
        self.most = max(self.most, len(self.live))
        return found


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "most", "memory"), [(1, 1, 100), (2, 2, 100), (3, 0, 2), (4, 2, 1), (5, 3, 100)])
async def test_requests_in_any_order_are_all_answered(folder: Path, seed: int, most: int, memory: int) -> None:
    rng = random.Random(seed)
    models = FixedModels("a", "b", "c", "d").found.served
    servers = WatchedServers(folder, memory)
    pool = ModelPool(servers, max_loaded=most, wait=True)
    answered: Counter[str] = Counter()

    async def one(model, pauses: int, leaves: bool) -> None:  # type: ignore[no-untyped-def]
        async with pool.use(model) as upstream:
            assert upstream.handle.model == model.name
            servers.answering[model.name] += 1
            try:
                for _ in range(pauses):
                    await asyncio.sleep(0)
            finally:
                servers.answering[model.name] -= 1
            answered[model.name] += not leaves

    asked: Counter[str] = Counter()
    tasks: list[asyncio.Task[None]] = []
    leaving: list[asyncio.Task[None]] = []
    for _ in range(80):
        model, leaves = rng.choice(models), rng.random() < 0.2
        asked[model.name] += not leaves
        task = asyncio.create_task(one(model, rng.choice([0, 1, 5, 200]), leaves))
        (leaving if leaves else tasks).append(task)
        if rng.random() < 0.3:
            await asyncio.sleep(rng.choice([0, 0.001]))
        if leaving and rng.random() < 0.5:
            leaving.pop().cancel()
    async with asyncio.timeout(600):
        await asyncio.gather(*tasks)
    for task in leaving:
        task.cancel()
    await until(lambda: pool.counts().keys() >= {"a"} and set(pool.counts().values()) == {(0, 0)})
    assert answered == asked
    # A load answers somebody, or was for those who left.
    assert len(servers.loads) <= 80
    assert servers.most <= min(limit for limit in (most or 100, memory))
    await pool.close()
    # What it loaded goes with it.
    assert servers.live == {}


async def test_what_a_killed_pool_loaded_goes_with_the_next(folder: Path) -> None:
    one, two, app = FixedModels("one", "two", "app").found.served[:3]
    servers = FakeServers(folder)
    # Somebody else loaded it.
    await asyncio.to_thread(servers.ensure, app)
    killed, following = ModelPool(servers), ModelPool(servers)
    for pool, models in ((killed, [one, two, app]), (following, [one, app])):
        for model in models:
            async with pool.use(model):
                pass
    # Never used by the following one, or used: both were loaded for all models.
    await following.close()
    assert set(servers.live) == {"app"}
    await killed.close()
    servers.live.pop("app").kill()


async def test_a_model_at_work_is_not_unloaded_when_asked_to(folder: Path) -> None:
    one, public = FixedModels("one", "public").found.served
    servers = FakeServers(folder)
    servers.public.add("public")
    pool = ModelPool(servers)
    # One that is not loaded is as wanted.
    await pool.unload("one")
    async with pool.use(one), pool.use(public):
        with pytest.raises(InputRefusedError, match="at work") as busy:
            await pool.unload("one")
        assert busy.value.code == "model_busy"
    with pytest.raises(InputRefusedError, match="address of its own"):
        await pool.unload("public")
    await pool.unload("one")
    assert set(servers.live) == {"public"}
    async with pool.use(one):
        assert servers.loads == ["one", "public", "one"]
    await pool.close()
    servers.live.pop("public").kill()


@pytest.mark.parametrize("ticks", range(8))
async def test_a_load_that_was_given_up_at_any_moment_begins_anew(folder: Path, ticks: int) -> None:
    (model,) = FixedModels("a").found.served
    servers = FakeServers(folder)
    pool = ModelPool(servers)

    async def one() -> str:
        async with pool.use(model) as upstream:
            return upstream.handle.model

    leaving = asyncio.create_task(one())
    for _ in range(ticks):
        await asyncio.sleep(0)
    leaving.cancel()
    async with asyncio.timeout(600):
        assert await one() == "a"
    assert pool.counts() == {"a": (0, 0)}
    assert not pool.loading()
    await pool.close()


async def test_who_a_request_is_of_is_believed_of_our_own_programs_alone() -> None:
    seen: list[Caller] = []

    async def app(scope, _receive, _send) -> None:  # type: ignore[no-untyped-def]
        seen.append(scope["caller"])

    options = ServerOptions("", "m", "", "", "", "own-key", None, host="127.0.0.1", port=1, keys=(KEY, KEY + "2"))
    guard = Guard(app, options)
    told = Caller(own=False, key="abcd1234", client="abcd1234").passed_on()
    status: list[int] = []

    async def ask(key: str, value: bytes, *, tcp: bool) -> None:
        headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {key}".encode()), (ON_BEHALF, value)]
        scope: dict[str, object] = {
            "type": "http",
            "method": "GET",
            "path": "/v1/models",
            "headers": headers,
            "query_string": b"",
        }
        server, client = (("127.0.0.1", 1), ("127.0.0.1", 9)) if tcp else (("/a.sock", None), None)
        scope = {**scope, "server": server, "client": client}

        async def send(message) -> None:  # type: ignore[no-untyped-def]
            status.append(message.get("status", 0))

        async def receive():  # type: ignore[no-untyped-def]
            return {"type": "http.disconnect"}

        await guard(scope, receive, send)

    await ask("own-key", told, tcp=False)
    assert seen.pop() == Caller(own=False, key="abcd1234", client="abcd1234")
    # Neither a client with a key of its own, nor one that has the workspace's from wherever, speaks for others.
    await ask(KEY, told, tcp=True)
    assert seen.pop().key not in {"", "abcd1234"}
    await ask("own-key", told, tcp=True)
    assert (seen[-1].own, seen[-1].key) == (False, "own")
    seen.clear()
    for wrong in (b"", b"{}", b"[1, 2]", b'["a"]'):
        await ask("own-key", wrong, tcp=False)
    assert not seen
    assert status[::2] == [400] * 4
