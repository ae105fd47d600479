"""Have a judge decide between two runs, case by case and in both orders."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from llmops_tui.safe_text import safe_line
from screens.evaluation.run_suite import choose_model
from screens.shell.job_progress import wait_for_job
from screens.shell.shell import Shell
from screens.widgets.dialogs import Choice, LineDialog

_RUBRIC = "Which answer is more correct and more helpful?"


async def judge_runs(
    shell: Shell, baseline: str, candidate: str, told: Callable[[str], object], *, fresh: bool = False
) -> dict[str, Any] | None:
    """Ask which model, or judge of a package, decides, and by what; it does so as a job, whose progress is told.

    A ``fresh`` one takes no judgement from the cache.

    Returns what it decided; none where it was left.
    """
    from llmops_tui.evaluation.judges import PLUGINS, PREFIX
    from llmops_tui.evaluation.pairwise import ENTRY

    theirs = await asyncio.to_thread(PLUGINS.listed)
    choices = [Choice(PREFIX + p.name, p.name, f"judge of {safe_line(p.package)}") for p in theirs if not p.problem]
    model = await choose_model(shell, "The judge is …", choices)
    if model is None:
        return None
    rubric = await shell.ask(LineDialog("Rubric", "the criterion of the judge", _RUBRIC))
    if not rubric:
        return None
    since = time.time() if fresh else None
    arguments = {"baseline": baseline, "candidate": candidate, "model": model, "rubric": rubric, "since": since}
    job = await asyncio.to_thread(
        lambda: shell.services.jobs.start(kind="judge", title=f"judge {candidate}", entry=ENTRY, arguments=arguments)
    )
    return await wait_for_job(shell.services, job, told)
