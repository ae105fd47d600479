"""What the actions of the evaluation screen do: run, write suites, hold to rules, export, steer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError, LlmopsError
from screens.evaluation import views
from screens.navigation import ModelInPlayground, PromptPlace
from screens.shell import outside_editor
from screens.shell.job_progress import follow_job
from screens.widgets.dialogs import Choice, ChoiceDialog, ConfirmDialog, LineDialog
from screens.widgets.panel import Panel

if TYPE_CHECKING:
    from llmops_tui.evaluation.suite import Suite
    from screens.evaluation.screen import EvaluationScreen

_TEMPLATE = """# A suite: what is asked, of what, and how the answers are measured. llmops eval metrics lists all metrics.
description:
cases: {dataset}          # a dataset version, or a list such as [{{question: "…", expected: "…"}}]
variables:
  message: "messages[1].content"
expected: "messages[2].content"
prompt: {prompt}
parameters: {{temperature: 0, max_tokens: 128}}
metrics:
  - {{type: exact}}
rules:
  - exact not worse than baseline by > 1 point
"""


def run(screen: EvaluationScreen) -> None:
    """Ask which model, where the suite names none, and start."""
    kept = screen.suite
    if kept is None:
        screen.app.say("There is no suite yet: n writes one.", severity="warning")
        return
    if kept.suite.models:
        screen.act("run", _run, screen, kept.suite, None)
    else:
        screen.act("run", _ask_model, screen, kept.suite)


async def _ask_model(screen: EvaluationScreen, suite: Suite) -> None:
    models = await asyncio.to_thread(lambda: screen.services.models.runnable())
    choices = [Choice(m.name, m.name, m.quantization) for m in models]

    def chosen(name: str | None) -> None:
        if name is not None:
            screen.act("run", _run, screen, suite, [name])

    screen.app.push_screen(ChoiceDialog(f"Ask {suite.name} of …", choices, "No models yet."), chosen)


async def _run(screen: EvaluationScreen, suite: Suite, models: list[str] | None) -> None:
    store = screen.services.evaluation

    def start() -> list[str]:
        version = store.save_suite(suite)
        return [r.name for r in store.start(version, store.columns(version.suite, models))]

    names = await asyncio.to_thread(start)
    screen.app.say(f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} started; it goes on without this app.")
    await screen.refresh_all(names[0])


# ── suites ──


def new_suite(screen: EvaluationScreen) -> None:
    """Write a suite in the editor."""
    screen.act("new", _new, screen)


async def _new(screen: EvaluationScreen) -> None:
    datasets = await asyncio.to_thread(lambda: screen.services.datasets.all())
    prompts = await asyncio.to_thread(lambda: screen.services.prompts.summaries())
    text = _TEMPLATE.format(
        dataset=datasets[0].dataset if datasets else "DATASET", prompt=prompts[0].name if prompts else "PROMPT"
    )  # fmt: skip
    _edit(screen, text, "suite.yaml", "")


def edit_suite(screen: EvaluationScreen) -> None:
    """Change the suite in the editor."""
    kept = screen.suite
    if kept is not None:
        _edit(screen, kept.suite.to_yaml(), f"{kept.suite.name}.yaml", kept.suite.name)


def _edit(screen: EvaluationScreen, text: str, file: str, name: str) -> None:
    from llmops_tui.evaluation.suite import parse_suite

    changed = outside_editor.edit_outside(screen.app, text, file)
    if changed is None or changed == text:
        return

    def keep(called: str | None) -> None:
        if not called:
            return
        try:
            screen.act("keep", _keep, screen, parse_suite(changed, called))
        except LlmopsError as error:
            screen.app.report(error)

    if name or "\nname:" in f"\n{changed}":
        keep(name or "suite")
    else:
        screen.app.push_screen(LineDialog("Name of the suite", "letters, digits and . _ -"), keep)


async def _keep(screen: EvaluationScreen, suite: Suite) -> None:
    version = await asyncio.to_thread(screen.services.evaluation.save_suite, suite)
    screen.app.say(f"{version.ref} is kept.")
    await screen.refresh_all()


# ── runs ──


def gate(screen: EvaluationScreen) -> None:
    """Hold the run to its suite's rules."""
    if screen.opened is None:
        screen.app.say("Choose a run first.", severity="warning")
        return
    screen.act("gate", _gate, screen)


async def _gate(screen: EvaluationScreen) -> None:
    from llmops_tui.evaluation.comparing import gate as ask
    from llmops_tui.evaluation.gates import passes

    opened = screen.opened
    assert opened is not None
    baseline = opened.baseline.name if opened.baseline is not None else None
    found = await asyncio.to_thread(ask, screen.services.evaluation, opened.run.name, baseline, [])
    screen.show_figures("Gate", views.rulings(found, opens=passes(found)))


def judge(screen: EvaluationScreen) -> None:
    """Ask which model is the judge, and have it decide between the run and its baseline."""
    opened = screen.opened
    if opened is None or not opened.comparable:
        screen.app.say("Choose a finished run, and another as its baseline with space.", severity="warning")
        return
    screen.act("judge", _ask_judge, screen)


async def _ask_judge(screen: EvaluationScreen) -> None:
    models = await asyncio.to_thread(lambda: screen.services.models.runnable())
    choices = [Choice(m.name, m.name, m.quantization) for m in models]

    def chosen(name: str | None) -> None:
        if name is not None:
            screen.app.push_screen(
                LineDialog("Rubric", "by what the judge decides", "Which answer is more correct and more helpful?"),
                lambda rubric: screen.act("judge", _judge, screen, name, rubric) if rubric else None,
            )

    screen.app.push_screen(ChoiceDialog("The judge is …", choices, "No models yet."), chosen)


async def _judge(screen: EvaluationScreen, model: str, rubric: str) -> None:
    from llmops_tui.evaluation.pairwise import ENTRY

    opened = screen.opened
    assert opened is not None
    assert opened.baseline is not None
    arguments = {"baseline": opened.baseline.name, "candidate": opened.run.name, "model": model, "rubric": rubric}
    job = await asyncio.to_thread(
        lambda: screen.services.jobs.start(
            kind="judge", title=f"judge {opened.run.name}", entry=ENTRY, arguments=arguments
        )
    )
    found = await follow_job(screen.services, screen.query_one("#evaluation-figures", Panel), job)
    screen.show_figures("Judged", views.judged(found))


def stop(screen: EvaluationScreen) -> None:
    """Ask, then stop the run."""
    state = screen.state
    if state is None or state.job is None or state.job.state.final:
        screen.app.say("This run is not running.", severity="warning")
        return
    job = state.job.id

    def answered(yes: bool | None) -> None:
        if yes:
            screen.act("steer", _stop, screen, job)

    screen.app.push_screen(ConfirmDialog(f"Stop {state.run.name}?", "What was answered is kept; R goes on."), answered)


async def _stop(screen: EvaluationScreen, job: str) -> None:
    await asyncio.to_thread(screen.services.jobs.cancel, job)
    await screen.refresh_all()


def resume(screen: EvaluationScreen) -> None:
    """Go on with the run."""
    if screen.state is not None:
        screen.act("steer", _resume, screen, screen.state.run.name)


async def _resume(screen: EvaluationScreen, name: str) -> None:
    await asyncio.to_thread(screen.services.evaluation.resume, name)
    screen.app.say(f"{name} goes on; what was answered is not asked again.")
    await screen.refresh_all(name)


def export(screen: EvaluationScreen) -> None:
    """Ask for a file, and write the run to it."""
    opened = screen.opened
    if opened is None:
        return

    def answered(text: str | None) -> None:
        if text:
            screen.act("export", _export, screen, Path(text).expanduser())

    hint = ".json as lm-eval writes it, .jsonl samples, .csv, .parquet, .md, .xml for JUnit"
    screen.app.push_screen(LineDialog(f"Write {opened.run.name} to", hint, f"{opened.run.name}.json"), answered)


async def _export(screen: EvaluationScreen, target: Path) -> None:
    from llmops_tui.evaluation.reports import export as write

    opened = screen.opened
    assert opened is not None
    if await asyncio.to_thread(target.exists):
        raise InputRefusedError("file_exists", f"{target} is there already", "Choose another name.")
    await asyncio.to_thread(write, opened.run, target)
    screen.app.say(f"{target} is written.")


def use(screen: EvaluationScreen) -> None:
    """Open the prompt of the run in the playground, with its model."""
    opened = screen.opened
    if opened is None:
        return
    prompt, model = opened.run.asked.prompt.partition("@")[0], opened.run.asked.model
    screen.app.open_place(PromptPlace(prompt, model) if prompt else ModelInPlayground(model))
