"""Point a label at a version, at once or where a suite's rules allow it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from screens.shell.shell import Shell
from screens.widgets.dialogs import Choice, ChoiceDialog, ConfirmDialog, LineDialog

if TYPE_CHECKING:
    from llmops_tui.evaluation.run_search import NotEvaluatedError
    from llmops_tui.inference.stages import Stage
    from llmops_tui.prompts.store import PromptVersion

_AT_ONCE = "."
_BY_POLICY = ".policy"


async def move_label(shell: Shell, version: PromptVersion) -> bool:
    """Ask for a label and point it at the version; whether it was moved. Where suites have rules for the prompt, one may decide.

    Raises:
        LlmopsError: ``gate_closed``: the rules of the chosen suite do not allow it.
    """
    hint = "The label moves from its current version to this one; z undoes."
    name = await shell.ask(LineDialog(f"Label for {version.ref}", hint, "production"))
    if not name:
        return False
    moving = shell.services.promotions
    stage = await asyncio.to_thread(moving.stages.get, version.prompt, name)
    if stage is not None and stage.suites:
        return await _by_policy(shell, version, stage)
    held = await asyncio.to_thread(moving.held, version.prompt, name)
    told = await allowed_by(shell, version.prompt, version.ref, name)
    if told is None:
        return False
    if held == version.number:
        shell.say(f"{name} is {version.ref} already.")
        return False
    # Of what the user saw: somebody else may have moved it while the dialogs were open.
    await asyncio.to_thread(lambda: moving.promote(version.ref, name, expected=held))
    shell.say(f"{name} is now {version.ref}{told}; z undoes.")
    return True


async def allowed_by(shell: Shell, prompt: str, ref: str, label: str) -> str | None:
    """What the suite says that may decide about a label of a prompt, or of ``chain/NAME``; empty where none has to.

    None where it was left, or a run is missing, which may be started then.

    Raises:
        LlmopsError: ``gate_closed``: the rules of the chosen suite do not allow it.
    """
    from llmops_tui.evaluation.promotion import suites_for

    suites = await asyncio.to_thread(suites_for, shell.services.evaluation, prompt)
    if not suites:
        return ""
    choices = [
        *(Choice(kept.ref, f"If {kept.ref} allows it", "; ".join(kept.suite.rules), "suite") for kept in suites),
        Choice(_AT_ONCE, "At once", "whatever was measured"),
    ]
    chosen = await shell.ask(ChoiceDialog(f"{label} moves to {ref} …", choices))
    if chosen is None:
        return None
    if chosen == _AT_ONCE:
        return ""
    found = await _allowed(shell, ref, label, chosen)
    return None if found is None else f": {found}"


async def roll_back(shell: Shell, version: PromptVersion) -> bool:
    """Move the label of a version back to where it was before; whether it was."""
    moving = shell.services.promotions
    if not version.labels:
        shell.say("This version has no label; put the cursor on the one that has it.", severity="warning")
        return False
    label = version.labels[0]
    if len(version.labels) > 1:
        choices = [Choice(one, one, f"of {version.prompt}") for one in version.labels]
        chosen = await shell.ask(ChoiceDialog(f"Which label of {version.ref} goes back?", choices))
        if chosen is None:
            return False
        label = chosen
    moved = await asyncio.to_thread(moving.roll_back, version.prompt, label)
    shell.say(f"{label} is {moved.version.ref} again, which was before {version.ref}; z undoes.")
    return True


async def _by_policy(shell: Shell, version: PromptVersion, stage: Stage) -> bool:
    """Move a stage to the version where its policy lets it in, or whatever that says, with a reason."""
    from llmops_tui.evaluation.run_search import NotEvaluatedError

    moving = shell.services.promotions
    held = await asyncio.to_thread(moving.held, stage.prompt, stage.label)
    choices = [
        Choice(_BY_POLICY, "If its policy allows it", "; ".join([*stage.suites, *stage.rules])),
        Choice(_AT_ONCE, "Whatever the policy says", "with a reason, which the audit keeps"),
    ]
    chosen = await shell.ask(ChoiceDialog(f"{stage.label} moves to {version.ref} …", choices))
    if chosen is None:
        return False
    force = chosen == _AT_ONCE
    reason = await shell.ask(LineDialog(f"Why does {stage.label} move to {version.ref}?", "Kept with the move.")) or ""
    if force and not reason:
        return False
    try:
        await asyncio.to_thread(
            lambda: moving.promote(version.ref, stage.label, reason=reason, expected=held, force=force)
        )
    except NotEvaluatedError as error:
        await _offer_run(shell, stage.suites[0], error)
        return False
    shell.say(f"{stage.label} is now {version.ref}; z undoes, B rolls back.")
    return True


async def _allowed(shell: Shell, ref: str, label: str, suite: str) -> str | None:
    """What the rules of a suite say, where they allow it; none where a run is missing, which may be started then."""
    from llmops_tui.errors import LlmopsError
    from llmops_tui.evaluation.gates import passes
    from llmops_tui.evaluation.promotion import promotion
    from llmops_tui.evaluation.run_search import NotEvaluatedError

    try:
        rulings = await asyncio.to_thread(promotion, shell.services.evaluation, ref, label, suite)
    except NotEvaluatedError as error:
        await _offer_run(shell, suite, error)
        return None
    if not passes(rulings):
        failed = "; ".join(ruling.why for ruling in rulings if ruling.outcome == "fail")
        raise LlmopsError("gate_closed", f"{label} stays where it is: {failed}", "The evaluation screen has the cases.")
    return ", ".join(f"{ruling.rule} {ruling.outcome}" for ruling in rulings)


async def _offer_run(shell: Shell, suite: str, missing: NotEvaluatedError) -> None:
    """Say which run is missing, and start it where that is wanted."""
    if not await shell.ask(
        ConfirmDialog(f"{missing.message}. Run it now?", f"It is the suite {suite} on {missing.prompt}.")
    ):
        return
    model = missing.model
    if not model:
        models = await asyncio.to_thread(lambda: shell.services.models.runnable())
        choices = [Choice(one.name, one.name, one.quantization, "model") for one in models]
        chosen = await shell.ask(ChoiceDialog(f"Run {suite} on …", choices, "No models yet."))
        model = chosen or ""
    if not model:
        return
    store = shell.services.evaluation

    def start() -> str:
        kept = store.suite(suite)
        return ", ".join(run.name for run in store.start(kept, store.columns(kept.suite, [model], [missing.prompt])))

    names = await asyncio.to_thread(start)
    shell.say(f"{names}: started. When it has ended, l moves the label.")
