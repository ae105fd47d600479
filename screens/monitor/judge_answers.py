"""Have a model grade answers in use, judge those that are others, and say of single answers whether a check is right."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from llmops_tui.errors import LlmopsError
from llmops_tui.names import as_name
from llmops_tui.safe_text import safe_line
from screens.evaluation.run_suite import choose_model
from screens.shell.job_progress import wait_for_job
from screens.shell.shell import Shell
from screens.widgets.dialogs import Choice, ChoiceDialog, LineDialog, VerdictDialog

if TYPE_CHECKING:
    from llmops_tui.quality.judges import KeptJudge
    from screens.services import Services

_WEEK = 7 * 86_400.0
_NEW = " new"
_LONGEST = 1200
Told = Callable[[str], object]


async def look_at_probabilities(shell: Shell, runs: tuple[str, str], told: Told) -> None:
    """Hold the probabilities of recorded answers against what was recorded; as a job."""
    from llmops_tui.drift.probabilities import ENTRY

    first, newest = runs
    arguments = {"first": first, "newest": newest}
    job = await asyncio.to_thread(
        lambda: shell.services.jobs.start(
            kind="drift", title=f"probabilities of {newest} beside {first}", entry=ENTRY, arguments=arguments
        )
    )
    await wait_for_job(shell.services, job, told)


async def judge_others(shell: Shell, runs: tuple[str, str], told: Told) -> None:
    """Ask which model judges the answers that are others, and by what; as a job."""
    from llmops_tui.drift.judged import ENTRY, RUBRIC
    from llmops_tui.evaluation.judges import PLUGINS, PREFIX

    theirs = await asyncio.to_thread(PLUGINS.listed)
    choices = [Choice(PREFIX + p.name, p.name, f"judge of {safe_line(p.package)}") for p in theirs if not p.problem]
    model = await choose_model(shell, "The judge is …", choices)
    rubric = model and await shell.ask(LineDialog("Rubric", "the criterion of the judge", RUBRIC))
    if not model or not rubric:
        return
    first, newest = runs
    arguments = {"first": first, "newest": newest, "model": model, "rubric": rubric}
    job = await asyncio.to_thread(
        lambda: shell.services.jobs.start(
            kind="drift", title=f"judge {newest} beside {first}", entry=ENTRY, arguments=arguments
        )
    )
    await wait_for_job(shell.services, job, told)


async def judge_answers(shell: Shell, told: Told) -> None:
    """Ask a kept judge, or a new one, of the answers of the last week, when nobody else is answered; as a job."""
    from llmops_tui.quality.judging import ENTRY

    judge = await _which(shell)
    if judge is None:
        return
    now = time.time()
    arguments = {"names": [judge.name], "begin": now - _WEEK, "end": now}
    job = await asyncio.to_thread(
        lambda: shell.services.jobs.start(
            kind="quality", title=f"judge answers in use by {judge.name}", entry=ENTRY, arguments=arguments
        )
    )
    await wait_for_job(shell.services, job, told)


async def _which(shell: Shell) -> KeptJudge | None:
    from llmops_tui.quality.judges import JudgeStore

    store = JudgeStore(shell.services.event_log)
    kept = {one.name: one for one in await asyncio.to_thread(store.all)}
    if kept:
        choices = [Choice(name, name, safe_line(one.metric.rubric, 60)) for name, one in kept.items()]
        chosen = await shell.ask(ChoiceDialog("Which judge?", [*choices, Choice(_NEW, "a new one …")]))
        if chosen != _NEW:
            return kept.get(chosen or "")
    name = await shell.ask(LineDialog("Name of the judge", "what it and its labels are called", "kind"))
    model = name and await choose_model(shell, "The judge is …")
    rubric = model and await shell.ask(
        LineDialog("Rubric", "what it grades by, from 1 to 5", "Is the answer helpful and kind?")
    )
    if not name or not model or not rubric:
        return None
    return await asyncio.to_thread(store.keep, as_name(name), model, rubric)


async def label_answers(shell: Shell, check: str) -> int:
    """Show the next answers that were drawn by chance, and keep what is said of each, until that ends; how many were labelled."""
    labelled = 0
    while (shown := await asyncio.to_thread(_next, shell.services, check)) is not None:
        trace, text, give = shown
        said = await shell.ask(VerdictDialog(f"Is it what {check} looks for?", text))
        if said is None:
            return labelled
        try:
            await asyncio.to_thread(give, trace, float(said))
        except LlmopsError as error:
            shell.report(error)
            return labelled
        labelled += 1
    shell.say(f"{check}: no further answer of the last week was drawn.")
    return labelled


def _next(services: Services, check: str) -> tuple[str, str, Callable[[str, float], None]] | None:
    from llmops_tui.quality.estimates import to_label
    from llmops_tui.quality.labels import LabelStore
    from llmops_tui.quality.sampling import draw, read_exchanges
    from llmops_tui.traces.store import TraceFilter

    now, labels = time.time(), LabelStore(services.event_log)
    sample = draw(services.catalog, TraceFilter(), now - _WEEK, now, 10)
    # One that is damaged cannot be read, so the next one is shown; the screen names it.
    asked = to_label(sample, labels, check, 20)
    found = read_exchanges(services.catalog, asked).found
    trace = next((one for one in asked if one in found), None)
    if trace is None:
        return None
    one = found[trace]
    text = f"{safe_line(one.question, _LONGEST // 2)}\n→ {safe_line(one.output, _LONGEST)}"
    return trace, text, lambda key, label: labels.give(key, check, label, sample.stream)
