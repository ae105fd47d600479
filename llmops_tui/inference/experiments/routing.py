"""Which model answers a request that is part of an experiment: kept before it is asked, with what came of it."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import time
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass

from llmops_tui.errors import LlmopsError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.experiments.records import Arm, Experiment
from llmops_tui.inference.experiments.store import ExperimentStore
from llmops_tui.inference.experiments.traced import EXPERIMENT
from llmops_tui.inference.experiments.units import placed, unit_of
from llmops_tui.workspace.events import TracedExperiment
from llmops_tui.workspace.ids import new_id
from llmops_tui.workspace.notices import write_notice

# Experiments are begun and ended by other processes; they are not looked for more often than this.
_FRESH_SECONDS = 1.0
_REMEMBERED = 100_000
# Requests that make an answer; others on the same name go to the same model, and are no part of an experiment.
_ANSWERING = {
    "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/api/chat", "/api/generate", "/infill",
}  # fmt: skip
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Assigned:
    """Who answers a request: ``unit`` is empty where it is no part of the experiment."""

    experiment: Experiment
    arm: Arm
    unit: str = ""
    pair: str = ""

    @property
    def model(self) -> str:
        """The served name that is asked."""
        return self.experiment.model_of(self.arm)

    def header(self) -> tuple[bytes, bytes] | None:
        """What its model's server is told, for the trace."""
        if not self.unit:
            return None
        told: TracedExperiment = {"id": self.experiment.id, "arm": self.arm, "unit": self.unit}
        if self.pair:
            told["pair"] = self.pair
        return EXPERIMENT, json.dumps(told).encode()

    def of_b(self) -> Assigned:
        """The same request asked of B, too."""
        return Assigned(self.experiment, "b", self.unit, self.pair)


class ExperimentRouting:
    """The experiments of a workspace as its one address follows them; for one event loop."""

    def __init__(self, store: ExperimentStore) -> None:
        self._store = store
        self._in_force: dict[str, Experiment] = {}
        self._read_at = -_FRESH_SECONDS
        self._reading = asyncio.Lock()
        # The arms of units that are kept already, so that each is written once.
        self._kept: OrderedDict[tuple[str, str], Arm] = OrderedDict()
        # Whose response it is that a client may go on from by its id alone.
        self._made: OrderedDict[str, Assigned] = OrderedDict()
        # Failures that are not kept yet. Where they cannot be, their B is not asked until they are: nothing would stop it.
        self._unkept: deque[Assigned] = deque()
        self._stuck = False
        self._keeping = asyncio.Lock()

    async def assigned(
        self, asked: str, path: str, headers: Mapping[str, str], key: str, given: JsonObject
    ) -> Assigned | None:
        """Who answers a request for the name ``asked``; none where there is no experiment on it.

        A workspace that cannot keep the assignment has A answer, and the request is no part of the experiment: to serve goes
        before to measure.
        """
        try:
            found = (await self._experiments()).get(_plain(asked))
            return None if found is None else await self._placed(found, path, headers, key, given)
        except (LlmopsError, sqlite3.Error) as error:
            _log.warning("an experiment on %r is left out: %s", asked, error)
            found = self._in_force.get(_plain(asked))
            return None if found is None else Assigned(found, "a")

    async def on(self, asked: str) -> Experiment | None:
        """The experiment on a name, as far as it is known."""
        try:
            return (await self._experiments()).get(_plain(asked))
        except (LlmopsError, sqlite3.Error):
            return self._in_force.get(_plain(asked))

    async def _placed(
        self, found: Experiment, path: str, headers: Mapping[str, str], key: str, given: JsonObject
    ) -> Assigned:
        stuck = self._stuck and any(one.experiment.id == found.id for one in self._unkept)
        if found.state != "running" or stuck:
            return Assigned(found, "a")
        before = given.get("previous_response_id")
        if isinstance(before, str) and (earlier := self._made.get(before)) and earlier.experiment.id == found.id:
            return Assigned(found, earlier.arm, earlier.unit, new_id("pair") if earlier.pair else "")
        said = unit_of(found.settings["by"], headers, key, given)
        if not said:
            if path in _ANSWERING:
                await asyncio.to_thread(self._store.count_without, found.id)
            return Assigned(found, "a")
        unit, arm = placed(found, said)
        if found.kind == "shadow":
            arm = "a"
        if path not in _ANSWERING:
            return Assigned(found, arm)
        arm = await self._keep(found, unit, arm)
        return Assigned(found, arm, unit, new_id("pair") if found.kind == "shadow" else "")

    async def _keep(self, found: Experiment, unit: str, arm: Arm) -> Arm:
        place = (found.id, unit)
        if place not in self._kept:
            self._kept[place] = await asyncio.to_thread(self._store.assign, found.id, unit, arm)
            if len(self._kept) > _REMEMBERED:
                self._kept.popitem(last=False)
        return self._kept[place]

    def remember(self, made: str, assigned: Assigned) -> None:
        """Note the id of a response: whoever goes on from it is in the same conversation."""
        self._made[made] = assigned
        if len(self._made) > _REMEMBERED:
            self._made.popitem(last=False)

    async def failed(self, assigned: Assigned) -> None:
        """Keep that an answer failed; B is stopped here where that is one too many."""
        if assigned.unit:
            self._unkept.append(assigned)
            await self._keep_failures()

    async def _keep_failures(self) -> None:
        async with self._keeping:
            while self._unkept:
                assigned = self._unkept[0]
                try:
                    why = await asyncio.to_thread(self._store.fail, assigned.experiment, assigned.unit, assigned.arm)
                except (LlmopsError, sqlite3.Error) as error:
                    _log.warning("a failure in %s is not kept yet: %s", assigned.experiment.id, error)
                    # Of A only the measure suffers.
                    self._unkept = deque(one for one in self._unkept if one.arm == "b")
                    self._stuck = True
                    return
                self._unkept.popleft()
                if why:
                    await self._went_back(assigned.experiment, why)
            self._stuck = False

    async def _went_back(self, found: Experiment, why: str) -> None:
        try:
            # At once, and not when the experiments are read again.
            await self._read(anew=True)
        except (LlmopsError, sqlite3.Error) as error:
            _log.warning("%s went back, and is read again at the next request: %s", found.id, error)
            self._read_at = -_FRESH_SECONDS
        told = f"The experiment {found.id} on {found.name!r} went back to {found.model_of('a')!r}: {why}."
        try:
            await asyncio.to_thread(write_notice, self._store.event_log.workspace, told)
        except (LlmopsError, OSError) as error:
            _log.warning("a notice of %s is not written: %s", found.id, error)

    async def _experiments(self) -> dict[str, Experiment]:
        if time.monotonic() - self._read_at >= _FRESH_SECONDS:
            await self._read()
            if self._unkept:
                await self._keep_failures()
        return self._in_force

    async def _read(self, *, anew: bool = False) -> None:
        async with self._reading:
            if not anew and time.monotonic() - self._read_at < _FRESH_SECONDS:
                # Another request read them while this one waited.
                return
            found = await asyncio.to_thread(self._store.in_force)
            self._in_force = {_plain(one.name): one for one in found}
            self._read_at = time.monotonic()


def _plain(name: str) -> str:
    return name.casefold().removesuffix(":latest")
