"""Pairwise judging of two answers in both orders, which cancels position bias."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from llmops_tui.errors import LlmopsError
from llmops_tui.evaluation.comparison import Pair, pairs_of
from llmops_tui.evaluation.fact_records import MeanRecord
from llmops_tui.evaluation.judges import PREFIX, Question, ask_judge
from llmops_tui.evaluation.metrics.model_graded import (
    Asking,
    conversation_of,
    conversation_text,
    grade_masses,
    names_something,
)
from llmops_tui.evaluation.records import Judged, Preference
from llmops_tui.evaluation.run import EvalRun
from llmops_tui.evaluation.run_comparison import results_of
from llmops_tui.evaluation.runner.rendering import render_each
from llmops_tui.evaluation.runner.results import Result
from llmops_tui.evaluation.runner.summary import ScoredCases
from llmops_tui.evaluation.statistics.clusters import numbered
from llmops_tui.evaluation.statistics.intervals import mean_interval
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.inference.asking.asker import Asker
from llmops_tui.inference.asking.cache import AnswerCache
from llmops_tui.inference.endpoints import open_endpoint
from llmops_tui.inference.options import options_from
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.inference.wire import Reply
from llmops_tui.jobs.entries import JobEntry
from llmops_tui.jobs.worker import JobContext
from llmops_tui.settings import load_settings

ENTRY: JobEntry[Judged] = JobEntry("llmops_tui.evaluation.pairwise:run")
SYSTEM = "You compare two answers. You reply with 1 or 2 and nothing else."
TEMPLATE = """Which of the two answers is better by this rubric?
{{ rubric }}

{% if first_question == second_question %}Conversation:
{{ first_question }}

{% else %}Conversation of answer 1:
{{ first_question }}

Conversation of answer 2:
{{ second_question }}

{% endif %}Answer 1:
{{ first }}

Answer 2:
{{ second }}

The better answer is number"""


@dataclass(frozen=True)
class Decision:
    """What the judge says of one case: the probability that the candidate is better, when it is shown first and second.

    None of both where a grade could not be used.
    """

    first: float | None
    second: float | None

    @property
    def preference(self) -> float | None:
        """The mean over both orders."""
        return None if self.first is None or self.second is None else (self.first + self.second) / 2

    @property
    def verdict(self) -> str:
        """Win or loss where both orders agree, tie where they do not, unusable."""
        if self.first is None or self.second is None:
            return "unusable"
        if self.first > 0.5 and self.second > 0.5:
            return "win"
        return "loss" if self.first < 0.5 and self.second < 0.5 else "tie"


async def decide(pair: Pair, rubric: str, model: str, asking: Asking) -> Decision:
    """Ask the judge about one case, in both orders: it sees the conversations as the models got them, and the rubric.

    What a case has beside is sent where the rubric names it: its variables, ``{{ expected }}`` and ``{{ context }}``.

    Zheng et al., "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena", 2023, section 3.4, on both orders.
    """
    if pair.baseline.answer.error or pair.candidate.answer.error:
        # There is no answer to decide about.
        return Decision(None, None)
    case = pair.candidate.case
    expected = case.expected_text if case.expected is not None else ""
    asked_old, asked_new = (
        conversation_text(conversation_of(result.case, result.answer)) for result in (pair.baseline, pair.candidate)
    )
    named = {**case.variables, "context": case.context, "expected": expected}
    rubric = await asking.render(rubric, named) if names_something(rubric) else rubric
    old, new = pair.baseline.answer.text, pair.candidate.answer.text
    question = Question(rubric, asked_new, expected)
    if model.startswith(PREFIX):
        when_first = await asyncio.to_thread(ask_judge, model, question, new, old)
        when_second = await asyncio.to_thread(ask_judge, model, question, old, new)
        return Decision(when_first, None if when_second is None else 1 - when_second)
    found = []
    newer, older = (new, asked_new), (old, asked_old)
    for (first, first_asked), (second, second_asked), wanted in ((newer, older, "1"), (older, newer, "2")):
        questions = {"first_question": first_asked, "second_question": second_asked}
        text = await asking.render(TEMPLATE, {"rubric": rubric, "first": first, "second": second, **questions})
        body: dict[str, Any] = {
            "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}],
            "temperature": 0.0,
            "max_tokens": 2,
            "seed": 1,
            "logprobs": True,
            "top_logprobs": 20,
        }
        if asking.supports_grammar(model):
            body["grammar"] = 'root ::= "1" | "2"'
        found.append(_share(await asking.reply(model, "/v1/chat/completions", body), wanted))
    return Decision(*found)


def _share(reply: Reply, wanted: str) -> float | None:
    try:
        masses = grade_masses(reply, ("1", "2"))
    except LlmopsError:
        return None
    if masses is not None:
        return masses[wanted] / sum(masses.values())
    said = str((reply["choices"][0].get("message") or {}).get("content") or "").strip()[:1]
    return float(said == wanted) if said in {"1", "2"} else None


def summary(pairs: Sequence[Pair], decisions: Sequence[Decision], model: str) -> Preference:
    """Wins, ties and losses of the candidate, its preference with an interval, and the judge's bias for the first place."""
    usable = [(p, d) for p, d in zip(pairs, decisions, strict=True) if d.preference is not None]
    verdicts = [d.verdict for d in decisions]
    result: Preference = {
        "judge": model,
        "n": len(usable),
        "unusable": verdicts.count("unusable"),
        "wins": verdicts.count("win"),
        "ties": verdicts.count("tie"),
        "losses": verdicts.count("loss"),
    }
    if usable:
        clusters = numbered([p.candidate.case.group for p, _ in usable])
        values = np.array([d.preference for _, d in usable], np.float64)
        # Above 0: whatever stands first is preferred.
        bias = np.array([((d.first or 0.0) + 1 - (d.second or 0.0)) / 2 - 0.5 for _, d in usable])
        result["preference"], result["position_bias"] = _mean(values, clusters), _mean(bias, clusters)
    result["cases"] = [
        {"case": p.candidate.case.index, "verdict": d.verdict, "preference": d.preference}
        for p, d in zip(pairs, decisions, strict=True)
    ]
    return result


def _mean(values: npt.NDArray[np.float64], clusters: npt.NDArray[np.int64] | None) -> MeanRecord:
    interval = mean_interval(values, clusters)
    return {
        "mean": interval.value,
        "low": interval.low if math.isfinite(interval.low) else None,
        "high": interval.high if math.isfinite(interval.high) else None,
    }


def _told_what_was_asked(
    store: EvaluationStore, run: EvalRun, results: list[Result], renderer: TemplateRenderer
) -> list[Result]:
    """Results with the conversations that they answer; runs of earlier versions do not have them, so they are made again."""
    left = [r for r in results if not r.answer.asked and not r.case.messages]
    if not left or not run.asked.prompt:
        return results
    # What could not be rendered was not asked.
    rendered, _ = render_each([r.case for r in left], store.prompts.get(run.asked.prompt), renderer, least=0)
    known = {id(r): tuple(messages) for r, messages in zip(left, rendered, strict=True)}
    return [replace(r, answer=replace(r.answer, asked=known[id(r)])) if id(r) in known else r for r in results]


def run(
    context: JobContext, baseline: str, candidate: str, model: str, rubric: str, since: float | None = None
) -> Judged:
    """The job: judge every case that two runs have in common; with ``since``, by no verdict that was given before."""
    store = EvaluationStore(context.workspace)
    a, b = store.get(baseline), store.get(candidate)
    renderer = TemplateRenderer()
    try:
        pairs = paired(store, a, b, renderer)
        decisions = asyncio.run(decide_all(context, store, pairs, model, rubric, renderer, since))
    finally:
        renderer.close()
    return {"baseline": baseline, "candidate": candidate, **summary(pairs, decisions, model)}


def paired(store: EvaluationStore, a: EvalRun, b: EvalRun, renderer: TemplateRenderer) -> list[Pair]:
    """The cases that two runs have in common, with the conversations as they were asked.

    Raises:
        LlmopsError: ``not_comparable``: there is none; ``results_damaged``. InputRefusedError: ``run_unfinished``.
    """
    left, right = (_told_what_was_asked(store, one, results_of(one), renderer) for one in (a, b))
    pairs = pairs_of(ScoredCases(left), ScoredCases(right), "", 1)
    if not pairs:
        raise LlmopsError("not_comparable", f"{a.name} and {b.name} have no case in common")
    return pairs


async def decide_all(
    context: JobContext,
    store: EvaluationStore,
    pairs: Sequence[Pair],
    model: str,
    rubric: str,
    renderer: TemplateRenderer,
    since: float | None,
) -> list[Decision]:
    """What a judge says of each pair, in their order; with ``since`` by no verdict that was given before."""
    options = options_from(load_settings()[0])
    supervisor = ServerSupervisor(context.workspace)
    cache = AnswerCache(context.workspace, since)
    asker = Asker(
        store.registry,
        cache,
        lambda m: open_endpoint(supervisor, m, options),
        options=options,
        renderer=renderer,
        within=context.job_id,
        work={"kind": "judge", "name": context.job_id},
    )
    done = 0

    async def one(pair: Pair) -> Decision:
        nonlocal done
        decision = await decide(pair, rubric, model, asker)
        done += 1
        cache.flush()
        context.report(done / len(pairs), f"{done}/{len(pairs)} judged")
        return decision

    try:
        found = []
        for start in range(0, len(pairs), options.parallel):
            found += await asyncio.gather(*(one(pair) for pair in pairs[start : start + options.parallel]))
        return found
    finally:
        await asker.close()
        cache.close()
