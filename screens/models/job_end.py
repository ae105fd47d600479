"""Show how a job of a model ended."""

from __future__ import annotations

from dataclasses import dataclass

from llmops_tui.errors import LlmopsError
from llmops_tui.jobs.store import Job
from screens.actions import screen_place
from screens.shell.job_progress import wait_for_job
from screens.shell.shell import Shell


@dataclass(frozen=True)
class Begun:
    """A job that a flow began, and what is said when it ended well."""

    job: Job
    done: str


async def tell_end(shell: Shell, begun: Begun) -> None:
    """Wait for a job's end and say how it ended."""
    shell.say(f"{begun.job.title} continues in the background; {screen_place('jobs')} shows it.")
    try:
        result = await wait_for_job(shell.services, begun.job, lambda _progress: None)
    except LlmopsError as error:
        shell.report(error)
    else:
        shell.say(" ".join([begun.done, *result.get("notes", [])]))
