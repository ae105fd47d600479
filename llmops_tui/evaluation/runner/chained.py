"""A chain, or one step of it, as what a run asks: its answers to cases, and what of it goes into the manifest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from llmops_tui.chains.asking import AskedModels, StepAnswer, StepRequest, Told
from llmops_tui.chains.conversation import inputs_of
from llmops_tui.chains.executor import FATAL, ChainRun, as_text
from llmops_tui.chains.resolution import Resolved, names_in, part_of, resolve
from llmops_tui.chains.spans import MemoryJournal
from llmops_tui.chains.store import ChainStore, is_chain, split_step
from llmops_tui.chains.tools import ChainTools
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.evaluation.metrics.base import Answer, Case
from llmops_tui.inference.asking.asker import Asker
from llmops_tui.inference.template_renderer import TemplateRenderer, Variables
from llmops_tui.inference.wire import ChatMessage

if TYPE_CHECKING:
    from llmops_tui.evaluation.store import EvaluationStore


class ChainAnswers:
    """Answers cases with a chain."""

    def __init__(
        self, store: EvaluationStore, ref: str, model: str, renderer: TemplateRenderer | None, parallel: int
    ) -> None:
        name, self.step = split_step(ref)
        self.version = ChainStore(store.catalog).get(name)
        self._tools = ChainTools(store.catalog, renderer)
        self._resolved: Resolved = resolve(self.version.chain, self._tools, model=model)
        self._parallel = parallel

    def close(self) -> None:
        """End what evaluates its expressions."""
        self._tools.close()

    def asked(self, case: Case) -> list[ChatMessage]:
        """What a case asks, as one turn: the inputs.

        Raises:
            InputRefusedError: ``bad_conversation``.
        """
        return [{"role": "user", "content": json.dumps(self._inputs(case), sort_keys=True)}]

    def asked_each(self, cases: Sequence[Case]) -> list[list[ChatMessage] | InputRefusedError]:
        """What each of many cases asks, or what is wrong with it."""
        found: list[list[ChatMessage] | InputRefusedError] = []
        for case in cases:
            try:
                found.append(self.asked(case))
            except InputRefusedError as error:
                found.append(error)
        return found

    def _inputs(self, case: Case) -> Variables:
        chain = self.version.chain
        known = set(chain.inputs)
        if self.step:
            # Also what steps inside of it use.
            known = names_in(self._resolved, part_of(chain, self.step))
        given = {name: value for name, value in case.variables.items() if name in known}
        return given if given or not case.messages or self.step else inputs_of(chain, case.messages)

    async def answer(self, case: Case, repeat: int, asker: Asker) -> Answer:
        """The chain's output for a case; where a step fails, an answer that says so.

        Raises:
            LlmopsError: a model is gone, or nothing can be kept.
        """
        models = _Repeated(AskedModels(asker, self._parallel, self._ref), repeat)
        run = ChainRun(self._resolved, self._tools, models, MemoryJournal())
        asked = tuple(self.asked(case))
        try:
            inputs = self._inputs(case)
            value = await (run.run_step(self.step, inputs) if self.step else run.run(inputs))
        except LlmopsError as error:
            if error.code in FATAL:
                raise
            return Answer(error=f"{error.code}: {error.message}", asked=asked)
        counts, last = run.counts, run.last
        return Answer(
            text=as_text(value),
            finish_reason=last.stopped if last is not None else "stop",
            prompt_tokens=counts.prompt_tokens,
            completion_tokens=counts.completion_tokens,
            total_ms=run.model_seconds * 1000,
            trace=last.trace if last is not None else "",
            cached=counts.requests == counts.cached,
            asked=asked,
        )

    def prompts(self) -> list[tuple[str, str]]:
        """The chain and the prompts that it uses, by name and hash."""
        return [(self._ref, self.version.sha256), *((one.ref, one.sha256) for one in self._resolved.prompts)]

    @property
    def _ref(self) -> str:
        return self.version.served + (f":{self.step}" if self.step else "")

    def parts(self) -> dict[str, str]:
        """What else decides its output: models, indexes and functions, by hash or version."""
        found = {f"model {name}": self._tools.registry.get(name).sha256 for name in self._resolved.models}
        found |= {f"index {one.ref}": one.record["sha256"] for one in self._resolved.indexes}
        found |= {
            f"dataset {one.dataset.ref}": one.dataset.sha256
            for one in self._resolved.steps.values()
            if one.dataset is not None
        }
        found |= {f"step {one.step.name}": one.code for one in self._resolved.steps.values() if one.code}
        return found | ({"only step": self.step} if self.step else {})


def chain_answers(
    store: EvaluationStore, ref: str, model: str, renderer: TemplateRenderer, parallel: int
) -> ChainAnswers | None:
    """What answers the cases of a run, where that is a chain."""
    return ChainAnswers(store, ref, model, renderer, parallel) if is_chain(ref) else None


def decided_by(store: EvaluationStore, ref: str, model: str) -> tuple[dict[str, str], dict[str, str]]:
    """What decides the output of a chain as all that it names is now: its prompts and its other parts, each by name and hash.

    Raises:
        ChainRefusedError, NotFoundError: something that it uses is not there.
    """
    answers = ChainAnswers(store, ref, model, None, 1)
    try:
        return dict(answers.prompts()), answers.parts()
    finally:
        answers.close()


class _Repeated:
    """Models that are asked with the seeds of a repeat, as a prompt's are."""

    def __init__(self, models: AskedModels, repeat: int) -> None:
        self._models, self._repeat = models, repeat
        self.parallel = models.parallel

    def key(self, asked: StepRequest) -> str:
        return self._models.key(self._seeded(asked))

    async def answer(self, asked: StepRequest, key: str, told: Told | None = None) -> StepAnswer:
        return await self._models.answer(self._seeded(asked), key, told)

    def _seeded(self, asked: StepRequest) -> StepRequest:
        seed = asked.parameters.seed + self._repeat
        return replace(asked, parameters=asked.parameters.model_copy(update={"seed": seed}))
