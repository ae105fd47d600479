"""The models that are loaded: each on its first request, unloaded when another needs the room.

Which model makes way: the least recently used one that is at rest. Where all are at work, the one whose last request began
first takes no new ones until it is at rest; they wait, so that a model in constant use does not keep all others out.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.server_record import ServerHandle
from llmops_tui.inference.socket_transport import async_socket_transport
from llmops_tui.jobs.leases import MemoryShortError
from llmops_tui.models.registry import Model

if TYPE_CHECKING:
    import httpx

_LOOK_SECONDS = 0.25


class Servers(Protocol):
    """The model servers of a workspace, as the pool needs them; all methods block."""

    def running(self) -> list[ServerHandle]:
        """Those that live."""

    def ensure(self, model: Model) -> ServerHandle:
        """A model's server, loaded where it was not."""

    def stop(self, model: str) -> bool:
        """Unload a model."""

    def busy(self, handle: ServerHandle) -> bool:
        """Whether a server answers anybody now."""

    def note(self, handle: ServerHandle) -> None:
        """Remember that a server was loaded from here, also for whoever serves all models next."""

    def noted(self, handle: ServerHandle) -> bool:
        """Whether it was; by one that ended without unloading it, too."""

    def room_of(self, handles: list[ServerHandle], device: str) -> int:
        """Bytes of a device that these servers hold."""


class Upstream:
    """A loaded model's server, and the connections to it; closed when nobody uses them any more."""

    def __init__(self, handle: ServerHandle, sha256: str) -> None:
        """``sha256`` is that of the file that was to be loaded."""
        import httpx

        self.handle = handle
        self.sha256 = sha256
        self.users = 0
        self._retired = False
        self.http: httpx.AsyncClient = httpx.AsyncClient(
            transport=async_socket_transport(handle.socket),
            base_url="http://localhost",
            headers={"Authorization": f"Bearer {handle.key}"},
            # A long prompt may take minutes before its first token; the death of the server is noticed at once all the same.
            timeout=httpx.Timeout(10.0, read=None, write=None, pool=None),
            follow_redirects=False,
        )

    async def retire(self) -> None:
        """Open no more connections here; those that are in use go on."""
        self._retired = True
        await self.close_unused()

    async def close_unused(self) -> None:
        """Close what nobody uses, where it is retired."""
        if self._retired and not self.users:
            await self.http.aclose()


@dataclass
class _Slot:
    """What is known of one model here."""

    name: str
    upstream: Upstream | None = None
    # Requests that are being answered, and those that wait for the model.
    active: int = 0
    wanted: int = 0
    # Of those that wait, for whom a load is under way or has just ended: it serves them, whatever is wanted meanwhile.
    sharing: int = 0
    last_used: float = 0.0
    loading: asyncio.Task[Upstream] | None = None
    # It waits for room, and nothing of it is loaded yet.
    seeking: bool = False
    # It takes no new requests until it is unloaded, or somebody else made room.
    leaving: bool = False

    @property
    def is_loading(self) -> bool:
        """Whether a load is under way; one that was given up before it ran is none."""
        return self.loading is not None and not self.loading.done()


class Counted(Protocol):
    """What the pool did, for whoever counts."""

    def loaded(self, model: str, outcome: str, seconds: float) -> None:
        """A load ended: ``ok``, ``failed``, or ``given_up`` before it began."""

    def unloaded(self, model: str) -> None:
        """A model made way."""


class ModelPool:
    """Hands out the servers of models, and loads and unloads them; for one event loop.

    ``max_loaded`` models are loaded at a time, 0 for as many as fit; those that somebody serves at an address of their own
    are neither counted nor unloaded. With ``wait`` a model that does not fit waits for memory.
    """

    def __init__(
        self, servers: Servers, *, max_loaded: int = 0, wait: bool = False, counts: Counted | None = None
    ) -> None:
        self._servers = servers
        self._max = max_loaded
        self._wait = wait
        self._counts = counts
        self._slots: dict[str, _Slot] = {}
        # Room is made for one model at a time.
        self._room = asyncio.Lock()
        self._changed = asyncio.Event()
        self._closing: set[asyncio.Task[None]] = set()
        # Those that were loaded for this pool, and go with it.
        self._own: set[str] = set()

    @contextlib.asynccontextmanager
    async def use(self, model: Model) -> AsyncIterator[Upstream]:
        """A model's server, for as long as one request lasts; it is loaded first where it has to be.

        Requests for one model wait for one load. Leaving while it loads ends the wait; the load goes on, unless it still
        waits for room and nobody else wants it.

        Raises:
            LlmopsError: it cannot be loaded, with the server's reason.
        """
        slot = self._slots.setdefault(model.name, _Slot(model.name))
        slot.wanted += 1
        try:
            upstream = await self._ready(slot, model)
            # Without waiting in between: whoever looks for a model at rest sees one of both.
            slot.active += 1
            upstream.users += 1
            slot.last_used = time.monotonic()
        finally:
            slot.wanted -= 1
            if not slot.wanted and slot.seeking and slot.loading is not None:
                slot.loading.cancel()
        try:
            yield upstream
        finally:
            slot.active -= 1
            upstream.users -= 1
            self._changed.set()
            await upstream.close_unused()

    def lost(self, upstream: Upstream) -> None:
        """Note that a server cannot be reached: the next request looks for it, or loads it, anew."""
        for slot in self._slots.values():
            if slot.upstream is upstream:
                self._forget(slot)

    def loading(self) -> set[str]:
        """The models that are being loaded."""
        return {slot.name for slot in self._slots.values() if slot.is_loading}

    def counts(self) -> dict[str, tuple[int, int]]:
        """By model: how many requests are being answered, and how many wait for it to be loaded."""
        return {slot.name: (slot.active, slot.wanted) for slot in self._slots.values()}

    async def loaded(self) -> list[ServerHandle]:
        """The servers that live, whoever started them."""
        return await asyncio.to_thread(self._servers.running)

    def known(self) -> list[Upstream]:
        """The servers that were reached from here and not lost."""
        return [slot.upstream for slot in self._slots.values() if slot.upstream is not None]

    async def close(self) -> None:
        """Unload what was loaded here and answers nobody else."""
        loads = [slot.loading for slot in self._slots.values() if slot.loading is not None]
        for load in loads:
            load.cancel()
        await asyncio.gather(*loads, return_exceptions=True)
        own = [handle for handle in await self.loaded() if handle.private and await self._is_own(handle)]
        # At once: whoever ends this process does not wait for ever.
        await asyncio.gather(*(self._stop_at_rest(handle) for handle in own))
        for slot in self._slots.values():
            self._forget(slot)
        await asyncio.gather(*self._closing)

    async def _is_own(self, handle: ServerHandle) -> bool:
        return handle.model in self._own or await asyncio.to_thread(self._servers.noted, handle)

    async def _stop_at_rest(self, handle: ServerHandle) -> None:
        if not await asyncio.to_thread(self._servers.busy, handle):
            await asyncio.to_thread(self._servers.stop, handle.model)

    # ── loading ──

    async def _ready(self, slot: _Slot, model: Model) -> Upstream:
        while True:
            if slot.leaving:
                await self._until_changed()
            elif slot.upstream is not None and slot.upstream.sha256 == model.sha256:
                return slot.upstream
            else:
                if slot.loading is None or slot.loading.done():
                    # From now on, before it has run at all: whoever wants it may leave in the same moment.
                    slot.seeking = True
                    slot.loading = asyncio.create_task(self._load(slot, model))
                slot.sharing += 1
                try:
                    await self._share(slot.loading)
                finally:
                    slot.sharing -= 1
                if slot.upstream is not None and slot.upstream.sha256 == model.sha256:
                    return slot.upstream

    async def _share(self, load: asyncio.Task[Upstream]) -> None:
        """Wait for a load that others may wait for, too: whoever leaves does not take it along."""
        try:
            await asyncio.shield(load)
        except asyncio.CancelledError:
            # It was given up as nobody wanted it, and now somebody does; or it is we who leave.
            me = asyncio.current_task()
            if not load.cancelled() or (me is not None and me.cancelling()):
                raise

    async def _load(self, slot: _Slot, model: Model) -> Upstream:
        began = time.monotonic()
        outcome = "failed"
        try:
            handle = await self._loaded_in_room(slot, model)
            outcome = "ok"
        except asyncio.CancelledError:
            outcome = "given_up"
            raise
        finally:
            slot.loading, slot.seeking = None, False
            if self._counts is not None:
                self._counts.loaded(slot.name, outcome, time.monotonic() - began)
            self._changed.set()
        self._forget(slot)
        slot.upstream = Upstream(handle, model.sha256)
        # One that nobody used yet makes way last.
        slot.last_used = time.monotonic()
        return slot.upstream

    async def _loaded_in_room(self, slot: _Slot, model: Model) -> ServerHandle:
        running = await self.loaded()
        there = any(handle.model == slot.name for handle in running)
        if not there:
            self._own.add(slot.name)
            async with self._room:
                await self._make_place(slot)
                # Within the room: it counts as loaded before another looks for a place.
                slot.seeking = False
        while True:
            slot.seeking = False
            try:
                handle = await asyncio.to_thread(self._servers.ensure, model)
            except MemoryShortError as error:
                slot.seeking = True
                async with self._room:
                    made = await self._could_fit(slot, error) and await self._unload_one(slot)
                if not made:
                    if not self._wait:
                        raise
                    await asyncio.sleep(_LOOK_SECONDS)
            else:
                if not there:
                    await asyncio.to_thread(self._servers.note, handle)
                return handle

    async def _make_place(self, slot: _Slot) -> None:
        """Unload until so few models are loaded that this one may be, too."""
        while self._max:
            names = {handle.model for handle in await self.loaded() if handle.private}
            names |= {s.name for s in self._slots.values() if s.is_loading and not s.seeking}
            if len(names - {slot.name}) < self._max:
                return
            if not await self._unload_one(slot):
                # What holds the places is being loaded itself.
                await self._until_changed()

    async def _could_fit(self, slot: _Slot, error: MemoryShortError) -> bool:
        """Whether it would fit beside no other of ours: nothing makes way for what cannot be loaded anyway."""
        others = await self._evictable(slot)
        held = await asyncio.to_thread(self._servers.room_of, others, error.device)
        return error.wanted <= error.available + held

    async def _evictable(self, slot: _Slot) -> list[ServerHandle]:
        return [h for h in await self.loaded() if h.private and h.model != slot.name and not self._is_loading(h.model)]

    def _is_loading(self, name: str) -> bool:
        return name in self._slots and self._slots[name].is_loading

    # ── unloading ──

    async def unload(self, name: str) -> None:
        """Unload a model where it is loaded.

        Raises:
            InputRefusedError: ``model_busy``: it answers somebody; ``model_served``: it has an address of its own.
        """
        handle = next((handle for handle in await self.loaded() if handle.model == name), None)
        if handle is not None and not handle.private:
            told = f"{name!r} is served at an address of its own, and is not unloaded from here"
            raise InputRefusedError("model_served", told, f"llmops model stop {name} unloads it.")
        if self._is_loading(name) or (handle is not None and not await self._rests(handle)):
            told = f"{name!r} is loading or at work for somebody, and is not unloaded meanwhile"
            raise InputRefusedError("model_busy", told, "Try again when it is at rest.")
        if handle is not None:
            await self._unload(handle)

    async def _unload_one(self, slot: _Slot) -> bool:
        """Unload the model that is to make way, when it is at rest; false where there is none that could."""
        marked: _Slot | None = None
        try:
            while True:
                others = await self._evictable(slot)
                if not others:
                    return False
                others.sort(key=self._last_used)
                for handle in others:
                    if await self._rests(handle):
                        await self._unload(handle)
                        return True
                if marked is None:
                    marked = self._slots.setdefault(others[0].model, _Slot(others[0].model))
                    marked.leaving = True
                await self._until_changed()
        finally:
            if marked is not None:
                marked.leaving = False
            self._changed.set()

    async def _unload(self, handle: ServerHandle) -> None:
        slot = self._slots.setdefault(handle.model, _Slot(handle.model))
        before, slot.leaving = slot.leaving, True
        try:
            self._forget(slot)
            await asyncio.to_thread(self._servers.stop, handle.model)
            if self._counts is not None:
                self._counts.unloaded(handle.model)
        finally:
            slot.leaving = before
            self._changed.set()

    async def _rests(self, handle: ServerHandle) -> bool:
        if not self._at_rest(handle.model) or await asyncio.to_thread(self._servers.busy, handle):
            return False
        # It may have been asked for meanwhile.
        return self._at_rest(handle.model)

    def _at_rest(self, name: str) -> bool:
        slot = self._slots.get(name)
        if slot is None:
            return True
        return not (slot.active or slot.sharing or slot.is_loading) and (not slot.wanted or slot.leaving)

    def _last_used(self, handle: ServerHandle) -> float:
        slot = self._slots.get(handle.model)
        return slot.last_used if slot is not None else 0.0

    def _forget(self, slot: _Slot) -> None:
        if slot.upstream is not None:
            upstream, slot.upstream = slot.upstream, None
            closing = asyncio.create_task(upstream.retire())
            # Nothing else refers to it while it runs.
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def _until_changed(self) -> None:
        """Wait until something ended here, or others' servers may have changed."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                await self._changed.wait()
