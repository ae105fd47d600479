"""Run a standard task of another harness on a model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError
from screens.shell.job_progress import wait_for_job
from screens.shell.shell import Shell
from screens.widgets.form_dialog import FormDialog

if TYPE_CHECKING:
    from llmops_tui.evaluation.tasks.asking import TaskAsked


async def run_task(shell: Shell, told: Callable[[str], object], started: Callable[[], object]) -> str | None:
    """Ask for a task, run it as a job, and wait for it; the name of its run, none where it was left.

    ``told`` gets the job's progress; ``started`` is called when the job is there, which goes on without the app.

    Raises:
        LlmopsError: ``job_failed``.
    """
    asked = await _ask(shell)
    if asked is None:
        return None
    from llmops_tui.evaluation.tasks.asking import arguments_of
    from llmops_tui.evaluation.tasks.job import ENTRY

    arguments = {"arguments": await asyncio.to_thread(arguments_of, asked)}
    title = f"{asked.task} on {asked.model}"
    job = await asyncio.to_thread(
        lambda: shell.services.jobs.start(kind="task", title=title, entry=ENTRY, arguments=arguments)
    )
    shell.say(f"{title} is started; the job continues without this app.")
    started()
    found = await wait_for_job(shell.services, job, told)
    return str(found["runs"][0]["run"]) if found.get("runs") else None


async def _ask(shell: Shell) -> TaskAsked | None:
    """What is to run; the form comes again with what was filled in as long as something in it is refused."""
    from llmops_tui.evaluation.tasks.asking import TaskAsked, installed

    there = await asyncio.to_thread(installed)
    models = await asyncio.to_thread(lambda: tuple(m.name for m in shell.services.models.runnable()))
    asked = TaskAsked(model=models[0] if len(models) == 1 else "")
    told = "\n".join(f"{name}: {state}" for name, state in there.items())
    while True:
        given = await shell.ask(
            FormDialog(
                "Run a standard task, scored by its own harness",
                asked,
                told=told,
                takes="start",
                suggestions={"model": models, "harness": tuple(there)},
            )
        )
        if given is None:
            return None
        asked = given
        try:
            await asyncio.to_thread(_check, shell, asked)
        except InputRefusedError as error:
            shell.report(error)
        else:
            return asked


def _check(shell: Shell, asked: TaskAsked) -> None:
    from llmops_tui.evaluation.tasks.asking import arguments_of

    arguments = arguments_of(asked)
    shell.services.models.get(arguments["model"])
