"""The job that has a judge say whether a model's other answers are worse: in pairs with those of before, in both orders."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from llmops_tui.drift.recorded import JudgedRecord, note_found
from llmops_tui.evaluation.pairwise import Decision, decide_all, paired, summary
from llmops_tui.evaluation.statistics.intervals import z_of
from llmops_tui.evaluation.statistics.power import LEVEL, POWER
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.jobs.entries import JobEntry
from llmops_tui.workspace.files import sha256_text

if TYPE_CHECKING:
    from llmops_tui.evaluation.comparison import Pair
    from llmops_tui.evaluation.fact_records import MeanRecord
    from llmops_tui.jobs.worker import JobContext

MOST = 50
"""How many cases are looked at unless somebody says otherwise; each that is answered otherwise is two questions to the judge."""
RUBRIC = "Which answer is more correct and more helpful?"
_SAME = Decision(0.5, 0.5)

ENTRY: JobEntry[JudgedRecord] = JobEntry("llmops_tui.drift.judged:run")


def run(
    context: JobContext, first: str, newest: str, model: str, rubric: str = RUBRIC, most: int = MOST
) -> JudgedRecord:
    """The job: judge the cases that two runs have in common, a chance sample of ``most``; what is the same is a tie unasked.

    Raises:
        LlmopsError: as :func:`llmops_tui.evaluation.pairwise.paired`; the judge cannot be asked.
    """
    store = EvaluationStore(context.workspace)
    renderer = TemplateRenderer()
    began = time.monotonic()
    try:
        every = paired(store, store.get(first), store.get(newest), renderer)
        # The same ones whenever it is asked, whatever their scores are.
        pairs = sorted(every, key=lambda one: sha256_text(f"judge {one.candidate.case.key}"))[:most]
        others = [one for one in pairs if not _same(one)]
        decided = dict(
            zip(
                map(id, others),
                asyncio.run(decide_all(context, store, others, model, rubric, renderer, None)),
                strict=True,
            )
        )
    finally:
        renderer.close()
    told = summary(pairs, [decided.get(id(one), _SAME) for one in pairs], model)
    told.pop("cases", None)
    preference = told.get("preference")
    smallest = None
    if preference is not None and preference["low"] is not None and preference["high"] is not None:
        # Half of an interval of 95 % is 1.96 errors; 2.8 of them are seen in four of five cases.
        half = (preference["high"] - preference["low"]) / 2
        smallest = half * (1 + z_of(2 * POWER - 1) / z_of(LEVEL))
    record: JudgedRecord = {
        **told,
        "asked": 2 * len(others),
        "left_out": len(every) - len(pairs),
        "seconds": time.monotonic() - began,
        "smallest": smallest,
        "changed": _changed(told.get("preference")),
    }
    note_found(store.get(newest), first, {"judge": record})
    return record


def _same(pair: Pair) -> bool:
    return pair.baseline.answer.text == pair.candidate.answer.text


def _changed(preference: MeanRecord | None) -> str:
    """Whether the newer answers are surely worse or better; empty where neither was seen."""
    if preference is None or preference["low"] is None or preference["high"] is None:
        return ""
    return "worse" if preference["high"] < 0.5 else "better" if preference["low"] > 0.5 else ""


def told_of(one: JudgedRecord) -> str:
    """What a judge says, in a sentence."""
    cost = f"{one['asked']:,} questions to {one['judge']}, {one['seconds']:.1f} s"
    if not one["asked"]:
        return f"judge: all of {one['n']:,} answers are the same, so {one['judge']} was asked nothing"
    preference = one.get("preference")
    if one["n"] and one["ties"] == one["n"]:
        # The rule of three: what was seen in none of n is, in 19 of 20 cases, in fewer than 3 / n of all.
        most = min(1.0, 3 / one["n"])
        return (
            f"judge: no answer of {one['n']:,} is better or worse than before; one on more than {most:.0%} of all answers "
            f"would have been seen in 19 of 20 cases; {cost}"
        )
    if preference is None or preference["low"] is None:
        return f"judge: too few to say ({one['wins']} better, {one['losses']} worse, {one['ties']} even; {cost})"
    figures = (
        f"preferred with {preference['mean']:.2f} ({preference['low']:.2f} to {preference['high']:.2f}) of {one['n']:,}"
    )
    if one["changed"]:
        return f"judge: the newer answers are {one['changed']}, {figures}; {cost}"
    seen = f"; a preference that is off by {one['smallest']:.2f} would have been seen in four of five cases"
    return f"judge: neither better nor worse was seen, {figures}{seen}; {cost}"
