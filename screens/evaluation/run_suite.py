"""Run every case of a suite, on its models or on a chosen one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from screens.shell.shell import Shell
from screens.widgets.dialogs import Choice, ChoiceDialog

if TYPE_CHECKING:
    from llmops_tui.evaluation.plan_records import PlanRecord
    from llmops_tui.evaluation.suite import Suite


async def run_suite(shell: Shell, suite: Suite, *, fresh: bool = False) -> str | None:
    """Start the runs of a suite; the name of the first, none where it was left. ``fresh`` ones take no answer from the cache."""
    models: list[str] | None = None
    if not suite.models:
        name = await choose_model(shell, f"Run {suite.name} on …")
        if name is None:
            return None
        models = [name]
    store = shell.services.evaluation

    def start() -> list[str]:
        version = store.save_suite(suite)
        return [r.name for r in store.start(version, store.columns(version.suite, models, fresh=fresh))]

    names = await asyncio.to_thread(start)
    how = ", and everything is asked again" if fresh else ""
    shell.say(
        f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} started{how}; the run continues without this app."
    )
    return names[0]


async def plan_suite(shell: Shell, suite: Suite) -> PlanRecord | None:
    """What is known before a run of a suite on its model, or on a chosen one; none where none was chosen."""
    from llmops_tui.evaluation.planning import plan

    model = suite.models[0] if suite.models else await choose_model(shell, f"Before {suite.name} runs on …")
    if model is None:
        return None
    store = shell.services.evaluation
    return await asyncio.to_thread(lambda: plan(store, store.save_suite(suite), model))


async def make_attacks(shell: Shell) -> str:
    """Make the suite of attacks from the seeds that ship; its reference."""
    from llmops_tui.evaluation.redteam.making import choose, make_suite
    from llmops_tui.evaluation.redteam.seeds import read_seeds

    store = shell.services.evaluation
    version = await asyncio.to_thread(
        lambda: store.save_suite(make_suite(choose(read_seeds(), [])), "attacks made from seeds")
    )
    await asyncio.to_thread(shell.services.undo.note_suite, version)
    return version.ref


async def choose_model(shell: Shell, title: str, others: Sequence[Choice] = ()) -> str | None:
    """One of the models that can answer, or of ``others``."""
    models = await asyncio.to_thread(lambda: shell.services.models.runnable())
    choices = [*(Choice(m.name, m.name, m.quantization, "model") for m in models), *others]
    return await shell.ask(ChoiceDialog(title, choices, "No models yet."))
