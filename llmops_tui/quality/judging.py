"""The job that has kept judges grade answers in use: as many as it may cost, one at a time, when nobody else is answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.asking.asker import Asker
from llmops_tui.inference.asking.cache import AnswerCache
from llmops_tui.inference.endpoints import open_endpoint
from llmops_tui.inference.options import options_from
from llmops_tui.inference.supervisor import ServerSupervisor, health
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.jobs.entries import JobEntry
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.quality.estimates import QualityRecord, found_of, order_of
from llmops_tui.quality.judges import JudgeStore, KeptJudge
from llmops_tui.quality.labels import LabelStore
from llmops_tui.quality.sampling import draw, read_exchanges
from llmops_tui.settings import load_settings
from llmops_tui.traces.store import TraceFilter
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.ingest import ingest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmops_tui.inference.wire import Reply
    from llmops_tui.jobs.worker import JobContext
    from llmops_tui.quality.checks import Exchange

MOST, SECONDS = 100, 300.0
"""How many answers are drawn for a judge, and for how many seconds it is asked, unless somebody says otherwise."""
_LOOK_SECONDS = 1.0
_READ_AT_ONCE = 50


class JudgingCost(TypedDict):
    """What judging cost: questions ``asked``, those whose answer was ``kept`` from before, tokens read and written, and seconds.

    ``waited`` are seconds in which others were answered first; ``unusable`` counts grades that were none.
    """

    asked: int
    kept: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    waited: float
    unusable: int


class JudgedRecord(QualityRecord, JudgingCost):
    """What a judge found, and what it cost. ``sentence`` is that in words."""

    model: str
    sentence: str


class JudgingDone(TypedDict):
    """What a job came to: of ``answers`` in all a sample was judged; ``damaged`` traces could not be read."""

    answers: int
    without_content: int
    damaged: list[str]
    judges: list[JudgedRecord]


ENTRY: JobEntry[JudgingDone] = JobEntry("llmops_tui.quality.judging:run")


def run(
    context: JobContext,
    names: list[str],
    begin: float,
    end: float,
    said: str = "",
    most: int = MOST,
    seconds: float = SECONDS,
    when_idle: bool = True,
) -> JudgingDone:
    """The job. What was graded before is not asked again, so one that was cancelled goes on where it was.

    Raises:
        NotFoundError: there is no such judge, or no such model. LlmopsError: the model cannot be asked.
    """
    event_log, catalog = EventLog(context.workspace), Catalog(context.workspace)
    judges = [JudgeStore(event_log).get(name) for name in names]
    for one in judges:
        ModelRegistry(catalog).writing(one.metric.model)
    ingest(catalog, event_log)
    wanted = TraceFilter.parse(said, end)
    labels = LabelStore(event_log)
    told: list[JudgedRecord] = []
    everything = draw(catalog, wanted, begin, end, most)
    damaged: dict[str, LlmopsError] = {}
    for number, one in enumerate(judges):
        given = labels.of(one.name)
        # Labelled answers are judged first, for they correct the judge; there are no more of them than of the others, which are
        # drawn beside them, for both are in the order of chance.
        labelled = [trace for trace in everything.stream if trace in given][:most]
        sample = draw(catalog, wanted, begin, end, most + len(labelled))
        # Any beginning of it is a fair sample.
        order = order_of(sample, labelled)[: most + len(labelled)]
        judged = _Judging(context, catalog, one, (number, len(judges)), seconds, when_idle)
        values = asyncio.run(judged.run(order))
        damaged |= judged.damaged
        found = found_of(one, sample, values, given, judged.cost["seconds"])
        sentence = f"{found.told}; {cost_told(judged.cost)}"
        told.append({**found.as_dict(), **judged.cost, "model": one.metric.model, "sentence": sentence})
    return {
        "answers": everything.size,
        "without_content": everything.without_content,
        "damaged": sorted(damaged),
        "judges": told,
    }


def cost_told(cost: JudgingCost) -> str:
    """What judging cost, in words."""
    kept = f", {cost['kept']:,} known from before" if cost["kept"] else ""
    waited = f", {cost['waited']:.0f} s waited for others" if cost["waited"] >= 1 else ""
    wrong = f", {cost['unusable']:,} grades of no use" if cost["unusable"] else ""
    tokens = cost["prompt_tokens"] + cost["completion_tokens"]
    return f"{cost['asked']:,} questions, {tokens:,} tokens, {cost['seconds']:.1f} s{kept}{waited}{wrong}"


@dataclass
class _Judging:
    """One judge over a sample."""

    context: JobContext
    catalog: Catalog
    judge: KeptJudge
    place: tuple[int, int]
    seconds: float
    when_idle: bool
    damaged: dict[str, LlmopsError] = field(default_factory=dict)
    cost: JudgingCost = field(
        default_factory=lambda: JudgingCost(
            asked=0, kept=0, prompt_tokens=0, completion_tokens=0, seconds=0.0, waited=0.0, unusable=0
        )
    )

    async def run(self, order: Sequence[str]) -> dict[str, float | None]:
        """The grades by trace; what was not reached in time has none."""
        options = options_from(load_settings()[0])
        self._supervisor = ServerSupervisor(self.catalog.workspace)
        renderer, cache = TemplateRenderer(), AnswerCache(self.catalog.workspace)
        asker = Asker(
            ModelRegistry(self.catalog),
            cache,
            lambda model: open_endpoint(self._supervisor, model, options),
            options=options,
            renderer=renderer,
            within=self.context.job_id,
            work={"kind": "judge", "name": self.judge.name},
        )
        counted, found = _Counted(asker, self.cost), dict[str, float | None]()
        try:
            for start in range(0, len(order), _READ_AT_ONCE):
                exchanges = read_exchanges(self.catalog, order[start : start + _READ_AT_ONCE])
                self.damaged |= exchanges.damaged
                for trace in order[start : start + _READ_AT_ONCE]:
                    if self.cost["seconds"] >= self.seconds:
                        return found
                    if (exchange := exchanges.found.get(trace)) is not None:
                        found[trace] = await self._graded(exchange, counted)
                    self._tell((start, len(found), len(order)))
                cache.flush()
            return found
        finally:
            await asker.close()
            cache.close()
            renderer.close()

    async def _graded(self, exchange: Exchange, counted: _Counted) -> float | None:
        if self.when_idle:
            await self._wait()
        began = time.monotonic()
        try:
            value = await self.judge.judge(exchange, counted)
        finally:
            self.cost["seconds"] += time.monotonic() - began
        self.cost["unusable"] += value is None
        return value

    async def _wait(self) -> None:
        """Wait as long as a server of the workspace answers somebody, or somebody waits there."""
        while await asyncio.to_thread(self._others_at_work):
            self.context.report(self._share(0), f"{self.judge.name} waits: others are answered")
            await asyncio.sleep(_LOOK_SECONDS)
            self.cost["waited"] += _LOOK_SECONDS

    def _others_at_work(self) -> bool:
        facts = [health(handle) for handle in self._supervisor.running()]
        return any(one.get("active") or one.get("waiting") for one in facts)

    def _tell(self, done: tuple[int, int, int]) -> None:
        _, judged, of = done
        told = f"{self.judge.name}: {judged:,} of {of:,} graded, {cost_told(self.cost)}"
        self.context.report(self._share(judged / max(1, of)), told)

    def _share(self, share: float) -> float:
        return min(0.99, (self.place[0] + share) / self.place[1])


class _Counted:
    """Asks, and counts what that costs."""

    def __init__(self, asker: Asker, cost: JudgingCost) -> None:
        self._asker, self._cost = asker, cost

    async def reply(self, model: str, path: str, body: Mapping[str, object], prompt: str = "") -> Reply:
        """What a model answers, from the cache where it is known."""
        key = self._asker.key(self._asker.identity(model), path, body)
        known = bool(self._asker.cache.find([key]))
        reply = await self._asker.reply(model, path, body, prompt)
        if known:
            self._cost["kept"] += 1
            return reply
        usage = reply.get("usage") or {}
        self._cost["asked"] += 1
        self._cost["prompt_tokens"] += usage.get("prompt_tokens") or 0
        self._cost["completion_tokens"] += usage.get("completion_tokens") or 0
        return reply

    async def render(self, template: str, variables: Mapping[str, object]) -> str:
        """A template with its values."""
        return await self._asker.render(template, variables)

    def supports_grammar(self, model: str) -> bool:
        """Whether a model is held to a grammar."""
        return self._asker.supports_grammar(model)
