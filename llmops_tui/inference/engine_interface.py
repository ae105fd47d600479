"""What a model's server asks of its engine, whether that is one process or several."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Protocol

from llmops_tui.inference.engine_wire import Call, EngineInfo, Event, Generated, Standing


class Engine(Protocol):
    """One process (:class:`llmops_tui.inference.worker_client.EngineProcess`), or several.

    Those are a :class:`llmops_tui.inference.engine_pool.EnginePool`. ``lost`` is told of each death, ``loading`` is how far a
    start is, and ``info`` is empty before it was ready once.
    """

    lost: Callable[[], None]
    hang_seconds: float

    @property
    def loading(self) -> tuple[str, float]:
        """The phase of a start, and how far it is, from 0 to 1."""

    @property
    def info(self) -> EngineInfo:
        """What it says of the model."""

    @property
    def last_failure(self) -> str:
        """Why it died the last time."""

    @property
    def pid(self) -> int | None:
        """A live process of it."""

    @property
    def state(self) -> str:
        """``loading``, ``ok``, ``restarting`` or ``failing``."""

    @property
    def silent_for(self) -> float:
        """Seconds since it said anything, where it owes an answer."""

    @property
    def works(self) -> bool:
        """Whether it has anything to do but to say how it is."""

    @property
    def retry_in(self) -> float:
        """Seconds until it is started again; 0 where that is not waited for."""

    @property
    def fallback(self) -> dict[str, str]:
        """The safer way it runs in; empty where nothing is left out."""

    @property
    def standings(self) -> list[Standing]:
        """Each process of it."""

    async def start(self) -> None:
        """Make sure that it runs.

        Raises:
            LlmopsError: it cannot.
        """

    async def facts(self) -> EngineInfo:
        """What it says of the model; waits for it.

        Raises:
            LlmopsError: as :meth:`start`.
        """

    async def stop(self) -> None:
        """End it."""

    def call(self, request: Call) -> AsyncGenerator[list[Event]]:
        """Send one request; yields its messages, the last being ``done`` or ``error``."""

    def when_over(self, request_id: str, tell: Callable[[Generated | None], None]) -> None:
        """Have it told what a generation that was left early came to; none where that is not known any more."""
