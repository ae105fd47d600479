"""The bench and the reflector of a real improvement: they ask the models of the workspace, each question once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from llmops_tui.errors import LlmopsError
from llmops_tui.evaluation.measures import ready
from llmops_tui.evaluation.metrics.base import Answer, Case
from llmops_tui.evaluation.runner.model_calls import kept_answer, read_answer
from llmops_tui.evaluation.runner.rendering import CHAT, Samplings, render_each, request_of
from llmops_tui.evaluation.runner.retrieved import RetrievedPassages
from llmops_tui.evaluation.runner.scoring import Item, Scorer
from llmops_tui.improvement.call_log import Asked, CallLog, Proposed
from llmops_tui.improvement.candidates import Candidate, asked_text
from llmops_tui.improvement.prepared import Prepared
from llmops_tui.improvement.reflection import PARAMETERS, Shown, messages_for, read_instruction
from llmops_tui.inference.asking.asker import Asker, Request
from llmops_tui.inference.asking.cache import AnswerCache
from llmops_tui.inference.endpoints import open_endpoint
from llmops_tui.inference.options import options_from
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.inference.wire import ChatMessage
from llmops_tui.prompts.store import PromptVersion
from llmops_tui.retrieval.in_prompts import PromptRetrieval
from llmops_tui.settings import load_settings
from llmops_tui.workspace.catalog import Catalog

# Failures that are none of an answer: nothing more can be asked, or kept.
ENDS = {"model_gone", "results_failed", "cache_failed"}


class ModelBench:
    """Asks candidates rows through the batching engine, scores the answers, and keeps both."""

    def __init__(
        self,
        prepared: Prepared,
        asker: Asker,
        scorer: Scorer,
        renderer: TemplateRenderer,
        log: CallLog,
        check: Callable[[], None],
        at_once: int,
    ) -> None:
        """``check`` raises where the job was asked to stop."""
        self._prepared, self._asker, self._scorer, self._renderer = prepared, asker, scorer, renderer
        self._log, self._check, self._at_once = log, check, at_once
        self._metrics = [ready(metric, prepared.store.prompts) for metric in prepared.metrics]
        self._parameters = Samplings(prepared.suite.parameter_sets()[0], prepared.seed.settings).of(0)[0]

    async def score(self, candidate: Candidate, rows: Sequence[str]) -> list[float | None]:
        """As :class:`~llmops_tui.improvement.search.Bench` has it.

        Raises:
            LlmopsError: the model is gone, or what was answered cannot be kept.
        """
        digest = candidate.sha256
        left = [row for row in dict.fromkeys(rows) if (digest, row) not in self._log.answers]
        if left:
            cases = [self._prepared.cases[row] for row in left]
            version = _as_version(candidate, self._prepared.seed)
            passages = RetrievedPassages()
            rendered, unfit = await asyncio.to_thread(
                passages.rendered, render_each, cases, version, self._renderer, least=0
            )
            # A row whose own values are at fault is answered by that, and its model is asked nothing.
            for case in cases:
                if case.index in unfit:
                    self._log.add(await self._scored(digest, case, _failed(unfit[case.index])))
            waiting = ((case, one) for case, one in zip(cases, rendered, strict=True) if case.index not in unfit)
            if self._asker.unknown(self._prepared.plan.model):
                # What a remote model is, its first answer tells; only then is it known which answers are its own.
                for case, messages in waiting:
                    self._log.add(await self._asked(digest, case, messages, passages))
                    break

            async def work() -> None:
                for case, messages in waiting:
                    self._check()
                    self._log.add(await self._asked(digest, case, messages, passages))

            tasks = [asyncio.create_task(work()) for _ in range(min(len(left), self._at_once))]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
            self._asker.cache.flush()
        return [self._log.answers[digest, row].value for row in rows]

    async def _asked(self, digest: str, case: Case, messages: list[ChatMessage], passages: RetrievedPassages) -> Asked:
        return await self._scored(digest, case, passages.beside(case, await self._answer(messages)))

    async def _scored(self, digest: str, case: Case, answer: Answer) -> Asked:
        (scores,) = await self._scorer.score([Item(case, answer, self._metrics)], self._asker)
        score = scores[self._prepared.metric.called]
        # An answer that fails is the worst there is; a metric without a worst score cannot say, and the row is left out.
        value = score.value if score.value is not None else self._prepared.worst
        text, tokens = answer.text, (answer.prompt_tokens, answer.completion_tokens)
        return Asked(digest, case.key, value, score.reason or answer.error, text, *tokens, answer.cached)

    async def _answer(self, messages: list[ChatMessage]) -> Answer:
        name, asker = self._prepared.plan.model, self._asker
        settings = self._prepared.seed.settings
        request = request_of(self._prepared.suite, messages, self._parameters, logprobs=False, settings=settings)
        # As an evaluation keeps it, whose answers count here, too.
        sampled = {**request.body, "sampling": self._parameters.model_dump(mode="json", exclude_none=True)}
        try:
            return await ask(asker, name, request, sampled)
        except LlmopsError as error:
            if error.code in ENDS:
                raise
            return _failed(error)


def _failed(error: LlmopsError) -> Answer:
    return Answer(error=f"{error.code}: {error.message}")


async def ask(asker: Asker, name: str, request: Request, sampled: dict[str, object]) -> Answer:
    """An answer, from the cache where the same was asked before.

    Raises:
        LlmopsError: the request was refused, or the model is gone.
    """
    if not asker.unknown(name):
        key = asker.key(asker.identity(name), request.path, sampled)
        known = asker.cache.find([key])
        if key in known:
            return kept_answer(known[key])
    reply, trace = await asker.answer(name, request, sampled)
    return read_answer(reply, trace=trace)


def _as_version(candidate: Candidate, seed: PromptVersion) -> PromptVersion:
    """A candidate as it would be kept: it holds beside its texts what the seed holds."""
    return replace(seed, sha256=candidate.sha256, system=candidate.system, template=candidate.template)


class ModelReflector:
    """Has a model write instructions; each try has a seed of its own."""

    def __init__(self, prepared: Prepared, asker: Asker, log: CallLog, check: Callable[[], None]) -> None:
        self._prepared, self._asker, self._log, self._check = prepared, asker, log, check

    async def propose(self, number: int, parent: Candidate, wrong: Sequence[str], right: Sequence[str]) -> str:
        """As :class:`~llmops_tui.improvement.search.Reflector` has it.

        Raises:
            LlmopsError: the reflector is gone, or what it wrote cannot be kept.
        """
        if number not in self._log.proposals:
            self._check()
            self._log.add(await self._proposed(number, parent, wrong, right))
            self._asker.cache.flush()
        return self._log.proposals[number].text

    async def _proposed(self, number: int, parent: Candidate, wrong: Sequence[str], right: Sequence[str]) -> Proposed:
        plan = self._prepared.plan
        failed, fine = ([self._shown(parent, row) for row in rows] for rows in (wrong, right))
        messages = messages_for(parent.instruction, failed, fine, plan.most_words)
        parameters = PARAMETERS.model_copy(update={"seed": plan.seed + number})
        body = {"messages": messages}
        sampled: dict[str, object] = {**body, "sampling": parameters.model_dump(mode="json", exclude_none=True)}
        try:
            answer = await ask(self._asker, plan.writer, Request(CHAT, body, parameters), sampled)
        except LlmopsError as error:
            if error.code in ENDS:
                raise
            return Proposed(number, "", f"{error.code}: {error.message}"[:500])
        return Proposed(number, read_instruction(answer.text), "")

    def _shown(self, parent: Candidate, row: str) -> Shown:
        case, asked = self._prepared.cases[row], self._log.answers[parent.sha256, row]
        expected = case.expected_text if case.expected is not None else ""
        return Shown(asked_text(case.variables), asked.text, expected, asked.why)


@asynccontextmanager
async def opened(
    catalog: Catalog,
    prepared: Prepared,
    within: str,
    log: CallLog,
    check: Callable[[], None],
    retrieval: PromptRetrieval | None = None,
) -> AsyncIterator[tuple[ModelBench, ModelReflector]]:
    """What asks, ready; ``within`` is for what the answers of a remote model without a fingerprint are kept.

    ``retrieval`` searches for prompts; without it each search is in the newest version of an index.

    Raises:
        LlmopsError: ``model_gone``.
    """
    workspace = catalog.workspace
    supervisor, options = ServerSupervisor(workspace), options_from(load_settings()[0])
    renderer = TemplateRenderer(retrieve=retrieval or PromptRetrieval(catalog))
    cache, scorer = AnswerCache(workspace), Scorer()
    asker = Asker(
        prepared.store.registry,
        cache,
        lambda model: open_endpoint(supervisor, model, options),
        options=options,
        renderer=renderer,
        within=within,
        work={"kind": "improvement", "name": prepared.seed.ref},
    )
    try:
        yield (
            ModelBench(prepared, asker, scorer, renderer, log, check, 2 * options.parallel),
            ModelReflector(prepared, asker, log, check),
        )
    except LlmopsError as error:
        if error.code != "model_gone":
            raise
        hint = "What was answered is kept; llmops job resume continues."
        raise LlmopsError(error.code, error.message, hint) from error
    finally:
        scorer.close()
        try:
            await asker.close()
        finally:
            cache.close()
            renderer.close()
