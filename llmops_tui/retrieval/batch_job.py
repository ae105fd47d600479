"""The job that answers a file of requests, those of served prompts with what they retrieve."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from llmops_tui.inference.batch import job
from llmops_tui.inference.batch.prompts import PromptLines
from llmops_tui.retrieval.served_prompts import retrieving_prompts

if TYPE_CHECKING:
    from llmops_tui.inference.filed.batches import BatchDone
    from llmops_tui.jobs.worker import JobContext
    from llmops_tui.workspace.layout import Workspace


def prompt_lines(workspace: Workspace) -> PromptLines:
    """What makes requests of the lines that name a prompt of a workspace; whoever asks for it closes it."""
    return PromptLines(retrieving_prompts(workspace))


def run(
    context: JobContext, requests: str, output: str, model: str, endpoint: str = "", only: str = "", key: str = ""
) -> BatchDone:
    """As :func:`llmops_tui.inference.batch.job.run`."""
    with contextlib.closing(prompt_lines(context.workspace)) as prompts:
        return job.run(context, requests, output, model, endpoint, only, key, prompts=prompts)
