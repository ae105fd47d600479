"""The evaluation job: runs and scores every case of every run; resumable after a kill."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.evaluation.asked_prompts import asked_prompts
from llmops_tui.evaluation.cases import CaseSet, build_cases
from llmops_tui.evaluation.measures import CaseMetrics, case_metrics_sha256, sources
from llmops_tui.evaluation.metrics.base import Answer, Case, Metric, Score
from llmops_tui.evaluation.metrics.built_in import ALWAYS
from llmops_tui.evaluation.records import Evaluated
from llmops_tui.evaluation.run import EvalRun
from llmops_tui.evaluation.runner.began import hold_to_beginning
from llmops_tui.evaluation.runner.chained import chain_answers
from llmops_tui.evaluation.runner.choosing import choose
from llmops_tui.evaluation.runner.contamination import overlap_of
from llmops_tui.evaluation.runner.conversing import Turns, converse
from llmops_tui.evaluation.runner.early_stopping import note_sequence, sequence_of
from llmops_tui.evaluation.runner.failing import FailingAlike, require_answers
from llmops_tui.evaluation.runner.manifest import manifest_of
from llmops_tui.evaluation.runner.model_calls import kept_answer, read_answer
from llmops_tui.evaluation.runner.on_cluster import have_answered
from llmops_tui.evaluation.runner.prepared import prepared
from llmops_tui.evaluation.runner.rendering import (
    Samplings,
    asked_beyond,
    render_each,
    render_one,
    request_of,
    with_asked,
    without_unfit,
)
from llmops_tui.evaluation.runner.results import Result, ResultLog, read_results
from llmops_tui.evaluation.runner.retrieved import RetrievedPassages
from llmops_tui.evaluation.runner.scoring import BATCH, Item, Scorer
from llmops_tui.evaluation.runner.summary import RunningMeans, summarise
from llmops_tui.evaluation.scripted.script import read_script
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import Suite
from llmops_tui.foreign_text import JsonObject
from llmops_tui.hardware.energy_counters import EnergyMeter
from llmops_tui.inference.asking.asker import Asker, Request
from llmops_tui.inference.asking.cache import AnswerCache
from llmops_tui.inference.endpoints import open_endpoint
from llmops_tui.inference.options import options_from
from llmops_tui.inference.retrieval_asked import passages_noted
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.inference.wire import ChatMessage
from llmops_tui.jobs.worker import JobContext
from llmops_tui.retrieval.in_prompts import PromptRetrieval
from llmops_tui.settings import load_settings
from llmops_tui.workspace.files import sha256_file

_LOOK_EVERY = 25
_FLUSH_SECONDS = 0.5


def run(context: JobContext, runs: list[str], target: str = "") -> Evaluated:
    """Do the runs one after another; what is done stays. ``target`` is for runs of earlier versions, which do not say it."""
    # Nearly all that is made here lives as long as the run: looking for garbage among it takes half of the time.
    gc.set_threshold(200_000, 50, 100)
    store = EvaluationStore(context.workspace)
    retrieval = PromptRetrieval(store.catalog)
    renderer = TemplateRenderer(retrieve=retrieval)
    try:
        found: list[EvalRun] = []
        known = {entry.name for entry in store.all()}
        if removed := [name for name in runs if name not in known]:
            sys.stderr.write(f"removed in the meantime and skipped: {', '.join(removed)}\n")
        runs = [name for name in runs if name in known]
        for number, name in enumerate(runs):
            entry = store.get(name)
            if entry.summary is None:
                where = target if entry.target is None else entry.target
                asyncio.run(_Runner(context, store, entry, renderer, (number, len(runs)), retrieval, where).run())
            found.append(store.get(name))
        result: Evaluated = {
            "runs": [{"run": one.name, "metrics": (one.summary or {}).get("metrics", {})} for one in found]
        }
        if len({bool(run.unanswered) for run in found}) > 1:
            # What the other columns measured stays with the job.
            context.record(result=json.dumps(result))
        require_answers(found)
        return result
    finally:
        renderer.close()


class _Runner:
    """One run."""

    def __init__(
        self,
        context: JobContext,
        store: EvaluationStore,
        entry: EvalRun,
        renderer: TemplateRenderer,
        place: tuple[int, int],
        retrieval: PromptRetrieval,
        target: str = "",
    ) -> None:
        self._context, self._store, self._entry, self._renderer, self._place = context, store, entry, renderer, place
        self._suite: Suite = store.suite(entry.suite_ref).suite
        self._scorer, self._of_case = Scorer(), CaseMetrics(lambda metric: prepared(metric, store.prompts))
        self._metrics: list[Metric] = [prepared(metric, store.prompts) for metric in self._suite.made_metrics()]
        self._metrics += [m for m in ALWAYS if m.called not in {given.called for given in self._metrics}]
        self._choosing = any(metric.needs_choices for metric in self._metrics)
        self._logprobs = any(metric.needs_logprob for metric in self._metrics) and not self._choosing
        self._options = options_from(load_settings()[0])
        if entry.asked.parallel:
            self._options = replace(self._options, parallel=entry.asked.parallel)
        self._results, self._retrieval, self._target = entry.results, retrieval, target
        self._began, self._energy = time.monotonic(), EnergyMeter()
        self._before: set[tuple[int, int]] = set()
        # The catalog is asked once, not for every case.
        self._prompts = asked_prompts(store.prompts, self._suite, entry.asked.prompt)
        self._settings = self._prompts[0].settings if self._prompts else None
        asked = entry.asked
        self._asked_chain = chain_answers(store, asked.prompt, asked.model, renderer, self._options.parallel)
        self._samplings = Samplings(entry.asked.parameters, self._settings)
        self._means = RunningMeans(metric.called for metric in self._metrics[:2] if not metric.whole_set)
        self._flushed, self._enough, self._alike = 0.0, False, FailingAlike(answered=False)
        self._unfit: dict[int, InputRefusedError] = {}
        self._passages = RetrievedPassages()

    async def run(self) -> None:
        """Everything from the cases to the summary."""
        supervisor = ServerSupervisor(self._store.workspace)
        cache = AnswerCache(self._store.workspace, self._entry.created_at if self._entry.asked.fresh else None)
        log = ResultLog(self._results)
        self._before = set(log.done)
        self._alike = FailingAlike(answered=any(not known.answer.error for known in log.done.values()))
        for known in log.done.values():
            self._means.add(known)
        asker = Asker(
            self._store.registry,
            cache,
            lambda model: open_endpoint(supervisor, model, self._options),
            options=self._options,
            renderer=self._renderer,
            within=self._entry.name,
            work={"kind": "evaluation", "name": self._entry.name},
        )
        try:
            self._context.report(self._share(0), "reading cases")
            limit = self._entry.asked.limit
            cases = await asyncio.to_thread(build_cases, self._suite, self._store.datasets, limit)
            of = (self._store, self._entry, cases, self._metrics, self._asked_chain, self._retrieval)
            await asyncio.to_thread(hold_to_beginning, *of, answered=bool(log.done))
            rendered = await self._rendered(cases)
            await self._ask_all(cases, rendered, asker, log)
        finally:
            self._scorer.close()
            await asker.close()
            if self._asked_chain is not None:
                self._asked_chain.close()
            try:
                cache.close()
            finally:
                log.close()
        await asyncio.to_thread(self._finish, cases, rendered, asker.fingerprints)

    async def _rendered(self, cases: CaseSet) -> list[list[ChatMessage]]:
        """The messages of each case; of prompts one after the other, those of the first; of a chain its inputs."""
        if self._asked_chain is not None:
            found, self._unfit = without_unfit(cases.cases, self._asked_chain.asked_each(cases.cases))
            return found
        prompt = self._prompts[0] if self._prompts else None
        render = self._passages.rendered
        found, self._unfit = await asyncio.to_thread(render, render_each, cases.cases, prompt, self._renderer)
        return found

    # ── asking ──

    async def _ask_all(self, cases: CaseSet, rendered: list[list[ChatMessage]], asker: Asker, log: ResultLog) -> None:
        left = [
            (case, messages, repeat)
            for repeat in range(self._suite.repeats)
            for case, messages in zip(cases.cases, rendered, strict=True)
            if (case.index, repeat) not in log.done
        ]
        total = len(cases.cases) * self._suite.repeats
        for one in [one for one in left if one[0].index in self._unfit]:
            await self._ask_one(*one, asker, log, total)
        left = [one for one in left if one[0].index not in self._unfit]
        if left and asker.unknown(self._entry.asked.model):
            # What a remote model is, its first answer tells; only then is it known which answers are its own.
            await self._ask_one(*left.pop(0), asker, log, total)
        simple = self._is_simple(cases)
        if self._target:
            requests = [self._request(messages, repeat) for _, messages, repeat in left] if simple else None
            have_answered(self._context, self._entry, self._target, asker, requests)
        rest = await self._from_cache(left, asker, log, total) if simple else left
        await self._ask_left(rest, asker, log, total)

    async def _ask_left(self, left: list[Any], asker: Asker, log: ResultLog, total: int) -> None:
        waiting = iter(left)
        first_error: list[LlmopsError] = []

        async def work() -> None:
            for case, messages, repeat in waiting:
                if first_error or self._enough or self._alike.hopeless:
                    return
                try:
                    await self._ask_one(case, messages, repeat, asker, log, total)
                except LlmopsError as error:
                    first_error.append(error)

        # A worker a slot and as many that wait: more would only be more objects.
        count = max(1, min(len(left), self._options.parallel * 2))
        workers = [asyncio.create_task(work()) for _ in range(count)]
        try:
            await asyncio.gather(*workers)
        finally:
            for task in workers:
                task.cancel()
        if first_error:
            raise first_error[0]

    def _is_simple(self, cases: CaseSet) -> bool:
        """Whether each case is one request, which is known before any is asked."""
        other = self._choosing or self._suite.chain or self._asked_chain is not None
        return not other and not any(case.script for case in cases.cases)

    async def _ask_one(
        self, case: Case, messages: list[ChatMessage], repeat: int, asker: Asker, log: ResultLog, total: int
    ) -> None:
        with passages_noted() as later:
            answer = await self._answer(case, messages, repeat, asker)
        one = [(case, repeat, self._passages.beside(case, answer, later))]
        self._keep(one, await self._scored(one, asker), asker, log, total)

    async def _from_cache(self, left: list[Any], asker: Asker, log: ResultLog, total: int) -> list[Any]:
        """Score what was answered before; returns what is still to be asked."""
        identity = asker.identity(self._entry.asked.model)
        keys = [asker.key(identity, *self._request(messages, repeat)[1:]) for _, messages, repeat in left]
        known = asker.cache.find(keys)
        rest = [one for one, key in zip(left, keys, strict=True) if key not in known]
        there = [(one, known[key]) for one, key in zip(left, keys, strict=True) if key in known]
        known_answers = [
            (case, repeat, self._passages.beside(case, kept_answer(kept, asked=asked_beyond(case, messages))))
            for (case, messages, repeat), kept in there
        ]
        parts = [known_answers[start : start + BATCH] for start in range(0, len(known_answers), BATCH)]
        if not parts:
            return rest
        # While answers are kept, the next ones are scored.
        scoring: asyncio.Task[list[dict[str, Score]]] | None = asyncio.create_task(self._scored(parts[0], asker))
        try:
            for part, following in zip(parts, [*parts[1:], None], strict=True):
                assert scoring is not None
                scores = await scoring
                scoring = asyncio.create_task(self._scored(following, asker)) if following else None
                await asyncio.sleep(0)
                self._keep(part, scores, asker, log, total)
                if self._enough:
                    break
        finally:
            if scoring is not None:
                scoring.cancel()
        return rest

    def _request(
        self, messages: list[ChatMessage], repeat: int, tools: Sequence[JsonObject] = (), prompt: str = ""
    ) -> tuple[Request, str, Mapping[str, object]]:
        """The request of a case, its path, and its body with the sampling, by which its answer is kept."""
        parameters, sampled = self._samplings.of(repeat)
        request = request_of(
            self._suite, messages, parameters, logprobs=self._logprobs, settings=self._settings, tools=tools
        )
        request = replace(request, prompt=prompt or (self._prompts[0].ref if self._prompts else ""))
        return request, request.path, {**request.body, "sampling": sampled}

    async def _answer(self, case: Case, messages: list[ChatMessage], repeat: int, asker: Asker) -> Answer:
        """The answer to a case; a request that is refused is an answer with an error.

        Raises:
            LlmopsError: the model is gone, or the results cannot be kept.
        """
        try:
            if case.index in self._unfit:
                raise self._unfit[case.index]
            if self._asked_chain is not None:
                return await self._asked_chain.answer(case, repeat, asker)
            if self._choosing:
                prompt = self._prompts[0].ref if self._prompts else ""
                return await choose(asker, self._entry.asked.model, case, messages, raw=self._suite.raw, prompt=prompt)
            if case.script:
                return await self._converse(case, messages, repeat, asker)
            return await self._chained(case, messages, repeat, asker)
        except LlmopsError as error:
            if error.code in {"model_gone", "results_failed", "cache_failed"}:
                raise
            return with_asked(Answer(error=f"{error.code}: {error.message}"), case, messages)

    async def _chained(self, case: Case, messages: list[ChatMessage], repeat: int, asker: Asker) -> Answer:
        """The answer, or of a chain the last one, each step given the answers before it."""
        answer = await self._generate(messages, repeat, asker)
        variables = dict(case.variables)
        for before, prompt in zip(self._suite.chain, self._prompts[1:], strict=False):
            variables[before.save] = answer.text
            following = replace(case, variables=variables)
            messages = await asyncio.to_thread(render_one, following, prompt, self._renderer)
            answer = await self._generate(messages, repeat, asker, prompt.ref)
        return with_asked(answer, case, messages)

    async def _generate(self, messages: list[ChatMessage], repeat: int, asker: Asker, prompt: str = "") -> Answer:
        name = self._entry.asked.model
        request, path, sampled = self._request(messages, repeat, prompt=prompt)
        if self._suite.chain:
            # Without one, known answers were taken before any was asked.
            key = asker.key(asker.identity(name), path, sampled)
            if (known := asker.cache.find([key]).get(key)) is not None:
                return kept_answer(known)
        reply, trace = await asker.answer(name, request, sampled)
        return read_answer(reply, trace=trace)

    async def _converse(self, case: Case, messages: list[ChatMessage], repeat: int, asker: Asker) -> Answer:
        """The answer of a case of several turns."""
        script = read_script(case.script, f"case {case.index}")
        turns = Turns(asker, self._entry.asked.model, lambda talk, tools: self._request(talk, repeat, tools))
        return await converse(messages, script, self._suite.steps, turns.ask, turns.play)

    # ── scoring ──

    async def _scored(self, answers: list[tuple[Case, int, Answer]], asker: Asker) -> list[dict[str, Score]]:
        items = [Item(case, answer, [*self._metrics, *self._of_case(case)]) for case, _, answer in answers]
        return await self._scorer.score(items, asker)

    def _keep(
        self,
        answers: list[tuple[Case, int, Answer]],
        scored: list[dict[str, Score]],
        asker: Asker,
        log: ResultLog,
        total: int,
    ) -> None:
        for (case, repeat, answer), scores in zip(answers, scored, strict=True):
            log.add(result := Result(case, repeat, answer, scores))
            if case.index not in self._unfit:
                self._alike.note(answer)
            self._means.add(result)
            self._tell(log, total, asker.cache)

    # ── progress ──

    def _share(self, share: float) -> float:
        return (self._place[0] + share) / self._place[1]

    def _tell(self, log: ResultLog, total: int, cache: AnswerCache) -> None:
        """Progress, and now and then the running figures; keeps what waits in the cache."""
        done = len(log.done)
        now = time.monotonic()
        if done % _LOOK_EVERY == 0:
            self._inspect(log)
        if now - self._flushed < _FLUSH_SECONDS and done < total:
            return
        self._flushed = now
        cache.flush()
        told = " · ".join([f"{done}/{total}", *self._means.told()])
        self._context.report(self._share(done / max(1, total)), told)

    def _inspect(self, log: ResultLog) -> None:
        if (until := self._suite.until) is None or len(log.done) < until.at_least:
            return
        self._enough = sequence_of(self._metrics, list(log.done.values()), until).half_width <= until.half_width

    def _finish(self, cases: CaseSet, rendered: list[list[ChatMessage]], fingerprints: Mapping[str, list[str]]) -> None:
        """Summarise, and record the run as done."""
        results = read_results(self._results)
        seconds = time.monotonic() - self._began
        swaps = [list(v.groups) for v in self._suite.vary if v.kind == "swap"]
        summary = summarise(results, self._metrics, seconds, swaps)
        summary |= {"of": cases.plain, "stopped_early": self._enough, "gave_up": self._alike.hopeless}
        asked = sum(not r.answer.cached and (r.case.index, r.repeat) not in self._before for r in results)
        summary["costs"] |= {"asked": asked, "joules": (energy := self._energy.stop()).joules, "energy": energy.note}
        if self._suite.until is not None:
            note_sequence(summary, self._metrics, results, self._suite.until)
        self._context.report(self._share(0.99), "comparing the cases with the model's training data")
        summary["overlap"] = overlap_of(self._store, self._entry, cases, results, self._metrics)
        run = (self._store, self._suite, self._entry, cases, rendered, self._metrics, self._options, self._asked_chain)
        manifest = manifest_of(*run) | {
            "case_metrics_sha256": case_metrics_sha256(cases.cases, self._of_case),
            "metric_sources": sources([*self._metrics, *self._of_case.made], self._store.registry),
            "fingerprints": {name: found for name, found in fingerprints.items() if found},
        }
        manifest |= {"indexes": used} if (used := self._retrieval.take_used()) else {}
        self._store.finish(self._entry.name, manifest, summary, sha256_file(self._results))
