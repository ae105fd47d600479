"""Open a case of a run in the playground: the prompt version, the values, the model that it was asked with."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from screens.navigation import PromptPlace
from screens.shell.shell import Shell

if TYPE_CHECKING:
    from llmops_tui.evaluation.run import EvalRun
    from llmops_tui.evaluation.runner.results import Result
    from screens.services import Services


async def try_case(shell: Shell, run: EvalRun, result: Result) -> None:
    """Open the case; of a run without a prompt of its own, or whose prompt is gone, a prompt is made of what was sent."""
    services = shell.services
    name, told = await asyncio.to_thread(_prepare, services, run, result)
    known = {model.name for model in await asyncio.to_thread(lambda: services.models.runnable())}
    model = run.asked.model if run.asked.model in known else ""
    shell.open_place(PromptPlace(name, model))
    if not model:
        told = f"{run.asked.model} cannot be asked here. {told}".rstrip()
    if told:
        shell.say(told, severity="warning")


def _prepare(services: Services, run: EvalRun, result: Result) -> tuple[str, str]:
    """The prompt to open, and what of the case is not in it."""
    from llmops_tui.errors import NotFoundError
    from llmops_tui.evaluation.metrics.model_graded import conversation_of
    from llmops_tui.prompts.asked_before import draft_of_messages, draft_of_version

    store, drafts = services.prompts, services.drafts
    note = "draft saved when a case was opened"
    later = "The case goes on after its first message; the playground asks the first." if result.case.script else ""
    if run.asked.prompt:
        try:
            version = store.get(run.asked.prompt)
        except NotFoundError:
            pass
        else:
            return draft_of_version(store, drafts, version, result.case.variables, note), later
    messages = conversation_of(result.case, result.answer)
    name = f"{run.name}-case-{result.case.index}"[:100]
    made = draft_of_messages(store, drafts, name, messages, f"case {result.case.index} of {run.name}")
    turns = sum(message.get("role") != "system" for message in messages)
    return made, "Of the conversation this is the last message." if turns > 1 else later
