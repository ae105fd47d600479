"""Requests that are part of an experiment, on their way through the one address: who answers, and who is asked beside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.experiments.records import Experiment
from llmops_tui.inference.experiments.routing import Assigned, ExperimentRouting
from llmops_tui.inference.experiments.shadows import Shadow, ShadowQueue
from llmops_tui.inference.experiments.store import ExperimentStore
from llmops_tui.inference.router.catalogue import RegisteredModels
from llmops_tui.inference.router.passing import Asked, LoadFailedError, Passed, Told, Watching, pass_on
from llmops_tui.inference.router.pool import ModelPool
from llmops_tui.inference.router.prompts import ServedPrompts
from llmops_tui.inference.router.targets import Ready, Target, Targets

if TYPE_CHECKING:
    from llmops_tui.inference.server.callers import Caller
    from llmops_tui.inference.server_record import ServerHandle

_FAILURE = 400


@dataclass(frozen=True)
class Original:
    """A request as it came: the field that names its model, its body, and what that says."""

    field: str
    raw: bytes
    given: JsonObject


class RoutedExperiments:
    """The experiments of a workspace at its one address."""

    def __init__(
        self, store: ExperimentStore, pool: ModelPool, models: RegisteredModels, prompts: ServedPrompts | None = None
    ) -> None:
        self._routing = ExperimentRouting(store)
        self._pool = pool
        self._targets = Targets(models, prompts)
        self.shadows = ShadowQueue(self._busy, self._loaded, self._routing.failed)

    async def assigned(self, request: Request, asked: str, given: JsonObject) -> Assigned | None:
        """Who answers a request for this name, where there is an experiment on it.

        An access key that is not for both models is no part of it, whoever would have answered: A answers, as far as the
        key is for A. What is answered from a recording says nothing of a model, and is no part of it either.
        """
        caller: Caller = request.scope["caller"]
        if caller.grant is not None or caller.replayed:
            found = await self._routing.on(asked)
            if found is not None and (caller.replayed or not await self._both_allowed(caller, found)):
                return Assigned(found, "a")
        return await self._routing.assigned(asked, request.url.path, request.headers, caller.key, given)

    async def _both_allowed(self, caller: Caller, experiment: Experiment) -> bool:
        for name in (experiment.model_of("a"), experiment.model_of("b")):
            try:
                target = await self._targets.of_arm(name)
            except LlmopsError:
                continue  # that it is gone is told to whoever would be answered by it
            if not target.seen(caller):
                return False
        return True

    async def target(self, assigned: Assigned) -> Target:
        """The model that answers, by a prompt where the arm is one.

        Raises:
            LlmopsError: it is not there any more, which is a failure of its arm.
        """
        try:
            return await self._targets.of_arm(assigned.model)
        except LlmopsError:
            await self._routing.failed(assigned)
            raise

    async def pass_on(
        self, request: Request, assigned: Assigned, target: Target, ready: Ready, original: Original, told: Told | None
    ) -> Passed:
        """The answer, as :func:`llmops_tui.inference.router.passing.pass_on` gives it; what fails counts for its arm.

        Where answers are paired, B is asked the same later.
        """

        async def failed() -> None:
            await self._routing.failed(assigned)

        def made(key: str, maker: ServerHandle) -> None:
            if told is not None:
                told(key, maker)
            self._routing.remember(key, assigned)

        watching = Watching(assigned.header(), failed)
        try:
            learns = None if told is None else made
            passed = await pass_on(
                self._pool, request, target.meant.model, ready.raw, learns, watching, headers=ready.headers
            )
        except LlmopsError as error:
            if isinstance(error, LoadFailedError) or error.code == "server_died":
                await failed()
            raise
        if assigned.pair and passed.status_code < _FAILURE:
            await self._shadow(request, assigned.of_b(), original)
        return passed

    async def _shadow(self, request: Request, assigned: Assigned, original: Original) -> None:
        asked, path = Asked.of(request, original.raw), request.url.path
        header = assigned.header()

        async def ask() -> bool:
            target = await self._targets.of_arm(assigned.model)
            try:
                ready = await self._targets.ready(
                    target, path, original.field, assigned.experiment.name, original.raw, original.given
                )
            except InputRefusedError:
                # What the client asked does not suit B's prompt: no failure, as it is none where B is asked first.
                return False
            more = (*ready.headers, *((header,) if header is not None else ()))
            return await asked.beside(ready.raw, more).ask_unseen(self._pool, target.meant.model)

        self.shadows.add(Shadow(assigned, len(original.raw), ask))

    def _busy(self) -> bool:
        at_work = sum(active + wanted for active, wanted in self._pool.counts().values())
        return at_work > (1 if self.shadows.asking else 0)

    async def _loaded(self, served: str) -> bool:
        try:
            name = (await self._targets.of_arm(served)).meant.model.name
        except LlmopsError:
            return False
        return any(handle.model == name for handle in await self._pool.loaded())
