"""The job that improves a prompt: proposes, ranks, and looks at the sealed rows once. Killed, it goes on where it was."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from llmops_tui.counts import counted
from llmops_tui.embeddings.embedder import embedder_spec
from llmops_tui.embeddings.opened import opened_embedder
from llmops_tui.errors import LlmopsError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.hardware.energy_counters import difference, read_counters
from llmops_tui.improvement.bench import opened
from llmops_tui.improvement.budget import Budget, Spent
from llmops_tui.improvement.call_log import FILE, Begun, CallLog
from llmops_tui.improvement.candidates import Candidate, Example, asked_text
from llmops_tui.improvement.examples import Vectors, diverse, usable, word_vectors
from llmops_tui.improvement.plan import check_plan
from llmops_tui.improvement.prepared import Prepared, prepare
from llmops_tui.improvement.records import ImprovedRecord
from llmops_tui.improvement.refusals import CopyCheck
from llmops_tui.improvement.search import Found, Rows, Search, Settings
from llmops_tui.improvement.store import ImprovementStore
from llmops_tui.improvement.summary import record_of
from llmops_tui.jobs.entries import JobEntry
from llmops_tui.jobs.worker import JobContext
from llmops_tui.retrieval.held_versions import hold_versions
from llmops_tui.retrieval.in_prompts import PromptRetrieval
from llmops_tui.workspace.catalog import Catalog

ENTRY: JobEntry[ImprovedRecord] = JobEntry("llmops_tui.improvement.job:run_improvement")
KIND = "improvement"


def start_arguments(prepared: Prepared) -> JsonObject:
    """The arguments of the job; models are named with their hashes, so that others of their names are noticed."""
    return {"plan": prepared.plan.as_record(), "models": _hashes(prepared)}


def _hashes(prepared: Prepared) -> dict[str, str]:
    return {model.name: model.sha256 for model in (prepared.model, prepared.reflector)}


def run_improvement(context: JobContext, plan: JsonObject, models: dict[str, str]) -> ImprovedRecord:
    """The job. Its id, that of the first where it is resumed, is that of the improvement."""
    catalog, own = Catalog(context.workspace), context.folder.name
    store = ImprovementStore(catalog)
    prepared = prepare(catalog, check_plan(plan), own)
    if _hashes(prepared) != models:
        raise LlmopsError(
            "model_changed",
            "the model or the reflector is another one now than when this was started",
            "Start it anew.",
        )
    store.note(own, prepared.seed.prompt, prepared.seed.number, prepared.plan)
    parts = prepared.parts
    store.note_parts(
        own, {"reflect": sorted(parts.reflect), "select": sorted(parts.select), "sealed": sorted(parts.sealed)}
    )
    log = CallLog(context.folder / FILE)
    try:
        found = asyncio.run(_Run(context, catalog, prepared, store, log).run())
    finally:
        log.close()
    store.finish(own, found)
    return found


class _Run:
    """One improvement at work; it is the search's listener."""

    def __init__(
        self, context: JobContext, catalog: Catalog, prepared: Prepared, store: ImprovementStore, log: CallLog
    ) -> None:
        self._context, self._catalog, self._prepared, self._store, self._log = context, catalog, prepared, store, log
        self._own = context.folder.name
        self._before = log.taken_before
        self._began, self._counters = time.monotonic(), read_counters()
        self._versions: dict[int, int] = {0: prepared.seed.number}
        self._step = "starting"
        self._vectors: Vectors | None = None
        self._shots: list[Example] = []
        self.budget = Budget(prepared.plan.limits, Spent(calls=log.calls), self._taken)

    def _taken(self) -> tuple[float, float | None]:
        """Seconds and joules so far; the calls are counted, too."""
        seconds, joules = self._before
        self.budget.spent.calls = self._log.calls
        measured = difference(self._counters, read_counters()).joules if self._counters else None
        if measured is not None:
            joules = (joules or 0.0) + measured
        return seconds + time.monotonic() - self._began, joules

    # ── the listener ──

    def begun(self, step: str) -> bool:
        """Whether a step was begun, now or by a process that was killed."""
        return step in self._log.steps

    def begin(self, step: str) -> None:
        """Note that a step begins."""
        self._log.add(Begun(step, *self._taken()))
        self._step = step

    def changed(self, found: Found) -> None:
        """Keep new candidates as versions, and what is known so far, for whoever watches."""
        for one in found.standings:
            if one.candidate.number not in self._versions:
                self._versions[one.candidate.number] = self._kept(one.candidate)
        self._store.keep_so_far(self._own, self._record(found, done=False))
        turns = self._prepared.plan.turns
        share = (len(found.standings) + len(found.refused)) / (turns + 1)
        told = f"{counted(len(found.standings) - 1, 'candidate')}, {counted(self._log.calls, 'call')}"
        self._context.report(min(0.5, 0.5 * share) if found.race is None else 0.75, f"{self._step}: {told}")

    def _kept(self, candidate: Candidate) -> int:
        version, _ = self._prepared.store.prompts.save(
            self._prepared.seed.prompt,
            template=candidate.template,
            system=candidate.system,
            note=f"{candidate.kind}, proposed by an improvement",
            parent=self._versions[candidate.parent],
            candidate_of=self._own,
            settings=self._prepared.seed.settings,
        )
        return version.number

    def _record(self, found: Found, *, done: bool) -> ImprovedRecord:
        self.budget.refresh()
        return record_of(
            self._own, self._prepared, found, self._log, self.budget.spent, self._versions, step=self._step, done=done
        )

    # ── the work ──

    async def run(self) -> ImprovedRecord:
        """All of it."""
        prepared = self._prepared
        await self._embed()
        retrieval, work = PromptRetrieval(self._catalog), f"the improvement of {prepared.seed.ref}"
        hold_versions(retrieval, self._catalog, self._context.folder, work, "Start it anew.")
        of = (self._catalog, prepared, self._own, self._log, self._context.check, retrieval)
        async with opened(*of) as (bench, reflector):
            search = Search(
                prepared.frame,
                prepared.candidate,
                Rows(prepared.parts.reflect, prepared.parts.select, prepared.parts.sealed, prepared.parts.groups),
                Settings(
                    prepared.plan.turns,
                    prepared.plan.ways,
                    prepared.better,
                    prepared.best,
                    prepared.plan.most_words,
                    prepared.plan.seed,
                ),
                bench=bench,
                reflector=reflector,
                shots=self._draw,
                copies=copy_check(prepared),
                budget=self.budget,
                listener=self,
            )
            self.changed(search.found)
            await search.propose()
            await search.rank()
            if search.found.opens:
                winner = search.found.winner
                assert winner is not None
                # Before any is asked, so that a look that was killed is one all the same.
                most = None if prepared.plan.look_again else prepared.look
                looked = self._store.note_look(self._own, self._versions[winner.number], most)
                if looked is None:
                    search.found.closed = "another improvement looked at the sealed rows since this one was begun"
                else:
                    self._step = "sealed rows"
                    self._context.report(0.9, f"{counted(len(prepared.parts.sealed), 'sealed row')}, asked once")
                    await search.judge(looked["look"])
        self._step = "done"
        found = self._record(search.found, done=True)
        self._store.keep_so_far(self._own, found)
        return found

    async def _embed(self) -> None:
        """Find the rows that may be examples, and how far they are from each other."""
        prepared = self._prepared
        if "examples" not in prepared.plan.ways:
            return
        self._shots = usable(
            [
                Example(key, asked_text(case.variables), case.expected_text)
                for key in sorted(prepared.parts.reflect)
                if (case := prepared.cases[key]).expected is not None
            ]
        )
        texts = [example.asked for example in self._shots]
        if not prepared.plan.embedder:
            self._vectors = word_vectors(texts)
            return
        spec = embedder_spec(prepared.store.registry, prepared.plan.embedder)
        async with opened_embedder(self._catalog, spec) as embedder:
            self._vectors = await embedder.rows(texts)

    def _draw(self, count: int, draw: int) -> Sequence[Example]:
        if self._vectors is None:
            return []
        # What is shown is no row to try a candidate on.
        count = min(count, max(1, len(self._prepared.parts.reflect) // 3))
        return [self._shots[n] for n in diverse(self._vectors, count, draw, self._prepared.plan.seed)]


def copy_check(prepared: Prepared) -> CopyCheck:
    """What finds words of rows in instructions: of all parts, since the reflector may know rows that it was not shown."""
    names: dict[str, str] = {}
    for part in ("reflect", "select", "sealed"):
        for key in getattr(prepared.parts, part):
            case = prepared.cases[key]
            expected = case.expected_text if case.expected is not None else ""
            where = f"row {case.row}" if case.row is not None else f"case {case.index}"
            names[f"{where} of the {part} part"] = f"{asked_text(case.variables)}\n{expected}"
    return CopyCheck(names, f"{prepared.seed.system}\n{prepared.seed.template}")
