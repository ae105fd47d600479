"""The state of the model servers: requests, slots, cache, and tokens per second."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypedDict, cast

from llmops_tui.errors import sentences
from llmops_tui.inference.engine_wire import EngineState, Health
from llmops_tui.inference.server_record import ServerHandle
from llmops_tui.inference.socket_transport import socket_transport
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.jobs.process import ProcessIdentity
from llmops_tui.monitoring.records import EngineRecord

if TYPE_CHECKING:
    import httpx

_SECONDS = 2.0
# How long a server may take until it listens: Python and its packages are loaded before, which a busy machine makes long.
_START_SECONDS = 120.0


class Rates(TypedDict):
    """How an engine did since it was last seen to work; see :class:`EngineLoad`."""

    prefix_hits: float | None
    prompt_rate: float | None
    decode_rate: float | None
    steps_rate: float | None


@dataclass(frozen=True)
class EngineLoad:
    """One engine at one moment.

    Attributes:
        process, engine: the server and its engine, each by number and start: a number alone is somebody else's in another
            container, or later.
        state: ``ok``; ``loading``, also before the server listens; ``restarting``, ``failing`` or ``failed`` as its server
            tells; ``silent`` where the server or its engine does not answer; ``dead`` where the server ended without a word.
        running, waiting, slots: requests in the batch, in the queue, and how many fit into the batch.
        cache: share of the cache's cells in use, 0 to 1.
        prefix_hits: share of the prompt tokens since the last look that did not have to be evaluated again.
        prompt_rate: prompt tokens a second of evaluating prompts; decode_rate: tokens generated each second of decoding.
        steps_rate: batches a second of decoding: how often all weights are read.
        weights: bytes of the model's file, all of which one step reads.
        failure: how it ended when it last did.
        processes, answering: how many processes the engine has, and how many of them would answer now.
    """

    model: str
    process: ProcessIdentity
    engine: ProcessIdentity | None = None
    state: str = "ok"
    running: int = 0
    waiting: int = 0
    slots: int = 0
    cache: float | None = None
    prefix_hits: float | None = None
    prompt_rate: float | None = None
    decode_rate: float | None = None
    steps_rate: float | None = None
    weights: int | None = None
    address: str = ""
    failure: str = ""
    processes: int = 1
    answering: int = 1

    def as_dict(self) -> EngineRecord:
        """For JSON; its processes by their numbers."""
        engine_pid = self.engine.pid if self.engine is not None else None
        rest = {name: value for name, value in asdict(self).items() if name not in {"process", "engine"}}
        return cast("EngineRecord", {"pid": self.process.pid, "engine_pid": engine_pid, **rest})

    @property
    def up(self) -> bool:
        """Whether a request would be answered now."""
        return self.state == "ok"

    @property
    def answers(self) -> bool:
        """Whether anything is known of it."""
        return self.state not in {"silent", "dead"}

    @property
    def why_down(self) -> str:
        """Why it is not up, in words; empty where it is."""
        if self.up:
            return ""
        told = {
            "silent": "it does not respond",
            "dead": "its server ended without a message",
            "restarting": "its engine crashed and is restarting",
            "failing": "its engine keeps crashing",
            "failed": "its engine could not be started",
            "loading": "it is loading",
        }.get(self.state, self.state)
        return sentences(told, self.failure) if self.failure else told


class EngineSampler:
    """Asks each live server of a workspace, over its socket; connections are kept."""

    def __init__(self, supervisor: ServerSupervisor) -> None:
        self._supervisor = supervisor
        self._clients: dict[str, httpx.Client] = {}
        # When each server was first seen, until it answered.
        self._starting: dict[ProcessIdentity, float] = {}
        self._heard: set[ProcessIdentity] = set()
        self._before: dict[str, tuple[ProcessIdentity | None, EngineState]] = {}
        self._rates: dict[str, Rates] = {}
        self._loads: list[EngineLoad] = []
        self._due = 0.0

    def inspect(self) -> list[EngineLoad]:
        """All engines; the same again until a look is due."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + _SECONDS
            handles = self._supervisor.running()
            self._forget({handle.socket for handle in handles})
            there = {handle.process for handle in handles}
            self._heard &= there
            self._starting = {process: seen for process, seen in self._starting.items() if process in there}
            fallen = [
                EngineLoad(handle.model, handle.process, state="dead", address=handle.address)
                for handle in self._supervisor.fallen()
            ]
            self._loads = [self._inspect(handle) for handle in handles] + fallen
        return self._loads

    def close(self) -> None:
        """Close the connections."""
        self._forget(set())

    def _forget(self, kept: set[str]) -> None:
        for socket in [s for s in self._clients if s not in kept]:
            self._clients.pop(socket).close()

    def _client(self, handle: ServerHandle) -> httpx.Client:
        if handle.socket not in self._clients:
            import httpx

            self._clients[handle.socket] = httpx.Client(
                transport=socket_transport(handle.socket),
                base_url="http://localhost",
                timeout=1.0,
                headers={"Authorization": f"Bearer {handle.key}"},
            )
        return self._clients[handle.socket]

    def _begins(self, process: ProcessIdentity) -> bool:
        """Whether a server that says nothing may not listen yet: it never answered, and was first seen a short while ago."""
        now = time.monotonic()
        return process not in self._heard and now - self._starting.setdefault(process, now) < _START_SECONDS

    def _inspect(self, handle: ServerHandle) -> EngineLoad:
        import httpx

        try:
            facts: Health = cast("Health", dict(self._client(handle).get("/health").json()))
        except (httpx.TransportError, ValueError):
            with contextlib.suppress(KeyError):
                self._clients.pop(handle.socket).close()
            state_now = "loading" if self._begins(handle.process) else "silent"
            return EngineLoad(handle.model, handle.process, state=state_now, address=handle.address)
        self._heard.add(handle.process)
        state: EngineState = facts.get("state") or {}
        pid, started = facts.get("engine_pid"), facts.get("engine_started")
        engine = ProcessIdentity(int(pid), float(started)) if pid and started is not None else None
        rates = self._rates_of(handle.model, engine, state)
        capacity = state.get("cache_capacity") or 0
        several = facts.get("engines") or []
        return EngineLoad(
            model=handle.model,
            process=handle.process,
            engine=engine,
            state=str(facts.get("status", "silent")),
            running=int(state.get("running", 0)),
            # The server counts all that it passed on beyond the slots, the engine those it took: the same ones.
            waiting=max(int(state.get("waiting", 0)), int(facts.get("waiting") or 0)),
            slots=int(state.get("slots", 0)),
            cache=state.get("cached_tokens", 0) / capacity if capacity else None,
            weights=facts.get("model_bytes"),
            address=handle.address,
            failure=_failure(facts.get("last_failure") or facts.get("error")),
            processes=len(several) or 1,
            answering=sum(one["state"] == "ok" for one in several) if several else int(facts.get("status") == "ok"),
            **rates,
        )

    def _rates_of(self, model: str, engine: ProcessIdentity | None, state: EngineState) -> Rates:
        """Rates since the last look that saw any work; kept while the engine rests."""
        engine_before, before = self._before.get(model, (None, EngineState()))
        self._before[model] = (engine, state)
        rates = self._rates.setdefault(
            model, {"prefix_hits": None, "prompt_rate": None, "decode_rate": None, "steps_rate": None}
        )
        if not state or not before or engine != engine_before:
            return rates

        now, then = cast("Mapping[str, float]", state), cast("Mapping[str, float]", before)

        def more(name: str) -> float:
            return max(0.0, float(now.get(name, 0)) - float(then.get(name, 0)))

        prompt, decoding, prefilling = more("prompt_tokens"), more("decode_seconds"), more("prefill_seconds")
        if prompt:
            rates["prefix_hits"] = more("reused_tokens") / prompt
            rates["prompt_rate"] = (prompt - more("reused_tokens")) / prefilling if prefilling else None
        if decoding and more("generated_tokens"):
            rates["decode_rate"] = more("generated_tokens") / (decoding + prefilling)
            rates["steps_rate"] = more("steps") / (decoding + prefilling)
        return rates


def _failure(told: Any) -> str:
    """What a server tells of its engine's last end, as a sentence."""
    if isinstance(told, dict):
        return str(told.get("message", told))
    return str(told or "")
