"""Begin and end an experiment on served traffic."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from llmops_tui.errors import LlmopsError
from llmops_tui.safe_text import safe_line
from screens.shell.shell import Shell
from screens.widgets.dialogs import ConfirmDialog
from screens.widgets.form_dialog import FormDialog

if TYPE_CHECKING:
    from llmops_tui.experiments.beginning import NewExperiment
    from llmops_tui.inference.experiments.records import Experiment, ExperimentRecord

_TOLD = (
    "The server of all models (llmops serve --all) follows it within a second. Fields left empty follow from the kind."
)


async def begin_experiment(shell: Shell) -> None:
    """Ask what is compared, and begin; the form comes again with what was filled in as long as something is refused."""
    from llmops_tui.experiments.beginning import NewExperiment
    from llmops_tui.models.aliases import AliasBook

    services = shell.services
    away = (await asyncio.to_thread(services.archive.by_kind)).get("model", frozenset())
    known = await asyncio.to_thread(services.models.all)
    models = tuple(m.name for m in known if m.kind == "gguf" and m.name not in away)
    aliases = await asyncio.to_thread(lambda: tuple(AliasBook(services.catalog).all()))
    names = (*models, *aliases)
    asked = NewExperiment(name=names[0] if len(names) == 1 else "")
    while True:
        given = await shell.ask(
            FormDialog(
                "Compare two models on served traffic",
                asked,
                told=_TOLD,
                takes="begin",
                suggestions={"name": names, "a": names, "b": names},
            )
        )
        if given is None:
            return
        asked = given
        try:
            made = await asyncio.to_thread(_begin, shell, asked)
        except LlmopsError as error:
            shell.report(error)
        else:
            shell.say(f"{made.id} has begun on {safe_line(made.name)}.")
            return


def _begin(shell: Shell, asked: NewExperiment) -> Experiment:
    from llmops_tui.experiments.beginning import begin

    return begin(shell.services.catalog, shell.services.experiments, asked)


async def stop_experiment(shell: Shell, experiment: ExperimentRecord) -> None:
    """End an experiment, after asking."""
    name = safe_line(experiment["name"])
    question = f"End {experiment['experiment']}?"
    if await shell.ask(ConfirmDialog(question, f"{name} means again what it meant; what was found stays.")):
        await asyncio.to_thread(shell.services.experiments.stop, experiment["experiment"], "stopped by hand")
        shell.say(f"{experiment['experiment']} is stopped.")
