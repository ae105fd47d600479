"""What a synthesis will take, measured before it is started: a few of its rows are written, and the rest is projected.

The rows that were written to measure are among those of the job, which does not ask for them again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.jobs.entries import JobEntry
from llmops_tui.jobs.worker import JobContext
from llmops_tui.synthesis.attempts import Attempt
from llmops_tui.synthesis.filters import Candidate
from llmops_tui.synthesis.languages import LEAST_ALIKE, alike, nearer_to
from llmops_tui.synthesis.plan import check_plan
from llmops_tui.synthesis.prepared import Prepared, opened, prepare
from llmops_tui.synthesis.records import BudgetRecord
from llmops_tui.synthesis.tasks import Task
from llmops_tui.synthesis.writer import text_in
from llmops_tui.workspace.catalog import Catalog

BUDGET_ENTRY: JobEntry[BudgetRecord] = JobEntry("llmops_tui.synthesis.budget:run_budget")
_SAMPLES = 4
# So many texts are translated before a model is taken for one that can, and at least so many of them have to be.
_TRANSLATED, _LEAST_TRANSLATED = 6, 0.5
# A judge reads a row with its rubric, and answers with one token or two.
_JUDGE_PROMPT, _JUDGE_ANSWER = 200, 2


def budget_text(found: BudgetRecord) -> str:
    """The budget in one line."""
    judged = f" and {found['judge_calls']:,} of the judge" if found["judge_calls"] else ""
    tokens = found["prompt_tokens"] + found["completion_tokens"]
    minutes = "time not known" if found["seconds"] is None else f"about {max(1, round(found['seconds'] / 60)):,} min"
    return (
        f"{counted(found['rows'], 'row')}: {counted(found['calls'], 'call')}{judged}, about {tokens:,} tokens "
        f"({found['completion_tokens']:,} written, {found['most_completion_tokens']:,} at the most), {minutes}"
    )


def run_budget(context: JobContext, plan: JsonObject) -> BudgetRecord:
    """The job: write some of the rows of a plan, and project what all of them will take.

    Raises:
        InputRefusedError: ``cannot_translate``: the model does not translate there and back; ``cannot_write``.
        LlmopsError: the model is gone.
    """
    catalog = Catalog(context.workspace)
    prepared = prepare(catalog, check_plan(plan))
    context.report(0.0, f"starting {prepared.model.name}")
    return asyncio.run(_measure(context, catalog, prepared))


async def _measure(context: JobContext, catalog: Catalog, prepared: Prepared) -> BudgetRecord:
    count = _TRANSLATED if prepared.plan.way == "back-translation" else _SAMPLES
    # Evenly over all, so that long and short seeds are among them.
    tasks = [prepared.tasks[i * len(prepared.tasks) // count] for i in range(min(count, len(prepared.tasks)))]
    async with opened(catalog, prepared, "synthesis") as (writer, asker):
        # The first one waits for the model to be loaded, and does not count for the speed.
        began, attempts = 0.0, []
        attempts.append(await writer.attempt(tasks[0]))
        context.report(0.5, f"writing the first of {counted(len(prepared.tasks), 'row')}")
        began = time.monotonic()
        attempts += await asyncio.gather(*(writer.attempt(task) for task in tasks[1:]))
        seconds = time.monotonic() - began
        asker.cache.flush()
    failed = next((a.error for a in attempts if a.error), "")
    if failed and all(a.error for a in attempts):
        raise InputRefusedError("cannot_write", f"{prepared.model.name} answered none of the first rows: {failed}")
    if prepared.plan.way == "back-translation":
        refuse_untranslated(prepared, tasks, attempts)
    return _projected(prepared, tasks, attempts, seconds)


def _projected(prepared: Prepared, tasks: list[Task], attempts: list[Attempt], seconds: float) -> BudgetRecord:
    rows, plan = len(prepared.tasks), prepared.plan
    each = rows / len(attempts)
    judged = rows if plan.filters.judge else 0
    # What was in the cache already says nothing of the speed.
    timed = len(attempts) - 1
    speed = seconds / timed if timed and seconds > 0.05 * timed else None
    sieve = prepared.sieve
    found = sieve.sort(tasks, {a.task: a for a in attempts})
    samples = [_sample(one) for one in found.kept]
    return {
        "rows": rows,
        "calls": rows * prepared.calls_a_row,
        "judge_calls": judged,
        "prompt_tokens": round(each * sum(a.prompt_tokens for a in attempts)) + judged * _JUDGE_PROMPT,
        "completion_tokens": round(each * sum(a.completion_tokens for a in attempts)) + judged * _JUDGE_ANSWER,
        "most_completion_tokens": rows * prepared.calls_a_row * plan.parameters.max_tokens + judged * _JUDGE_ANSWER,
        "seconds": None if speed is None else speed * (rows + judged / 4),
        "samples": samples,
        "told": [*prepared.told, *(f"of the first rows one fell: {one.stage}: {one.reason}" for one in found.fallen)],
    }


def _sample(one: Candidate) -> dict[str, object]:
    return dict(one.row)


def refuse_untranslated(prepared: Prepared, tasks: Sequence[Task], attempts: Sequence[Attempt]) -> None:
    """Refuse a model that does not translate: what comes back is another text, or was never in the other language.

    Raises:
        InputRefusedError: ``cannot_translate``.
    """
    wanted, own = prepared.plan.language, prepared.language
    sources = [task.base.answer[prepared.shape.write[0]] if task.base is not None else "" for task in tasks]
    there = sum(
        nearer_to(a.between, wanted, own) is True and alike(source, text_in(a.text)) >= LEAST_ALIKE
        for source, a in zip(sources, attempts, strict=True)
    )
    if there < _LEAST_TRANSLATED * len(attempts):
        raise InputRefusedError(
            "cannot_translate",
            f"{prepared.model.name} translated {there} of {counted(len(attempts), 'text')} into {wanted} and back: it cannot be "
            "used for back-translation",
            "Use a larger model, another --language, or paraphrase.",
        )
