"""Begin an improvement: asked step by step, priced, confirmed, and started as a job."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from screens.shell.job_progress import follow_job
from screens.widgets.dialogs import Choice, ChoiceDialog, ConfirmDialog
from screens.widgets.form_dialog import FormDialog

if TYPE_CHECKING:
    from llmops_tui.evaluation.suite import Suite
    from llmops_tui.foreign_text import JsonObject
    from llmops_tui.improvement.records import EstimateRecord
    from screens.services import Services
    from screens.shell.shell import Shell
    from screens.widgets.panel import Panel

_SUITE, _DATA = "suite:", "data:"
_METRICS = ("exact", "normalised", "contains", "numeric", "token-f1", "rouge")


class ImprovementAsked(BaseModel):
    """What else there is to say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    turns: Annotated[int, Field(ge=1, le=200, description="Number of candidates to propose.")] = 12
    by: Annotated[
        Literal["both", "instructions", "examples"],
        Field(description="What is proposed: instructions, examples, both."),
    ] = "both"
    reflector: Annotated[str, Field(description="The model that writes instructions; empty: the same.")] = ""
    calls: Annotated[int, Field(ge=0, description="The most calls of the model; 0: no limit.")] = 0
    minutes: Annotated[float, Field(ge=0, description="The most minutes; 0: no limit.")] = 0
    watt_hours: Annotated[float, Field(ge=0, description="The most energy, where it is measured; 0: no limit.")] = 0
    rows: Annotated[int, Field(ge=0, description="Use so many rows at the most; 0: all.")] = 0
    sealed_data: Annotated[str, Field(description="A dataset of another source; its rows are the sealed ones.")] = ""
    embedder: Annotated[str, Field(description="The model that tells how diverse examples are; empty: words.")] = ""
    most_words: Annotated[int, Field(ge=5, description="The longest instruction, in words.")] = 300
    seed: Annotated[int, Field(ge=0, description="Decides what is drawn, but not which rows are sealed.")] = 1
    look_again: Annotated[bool, Field(description="Look at sealed rows once more; the interval is wider.")] = False

    def plan(self) -> JsonObject:
        """These parts of the plan."""
        body = self.model_dump(exclude={"by", "calls", "minutes", "watt_hours"})
        limits = {name: getattr(self, name) or None for name in ("calls", "minutes", "watt_hours")}
        ways = ["instructions", "examples"] if self.by == "both" else [self.by]
        return {**body, **limits, "ways": ways}


async def start_improvement(shell: Shell, progress: Panel, prompt: str) -> str | None:
    """Ask what is improved by what, show what it takes, and start; the id, or none where that was left.

    Raises:
        LlmopsError: it was refused, or the estimate failed.
    """
    services = shell.services
    prompt = (
        prompt
        or await _chosen(shell, "Improve", [p.name for p in await asyncio.to_thread(services.prompts.summaries)])
        or ""
    )
    if not prompt:
        return None
    suite = await _suite(shell, prompt)
    if suite is None:
        return None
    metric = await _chosen(shell, "What is improved", [one.called for one in suite.made_metrics()])
    models = [model.name for model in await asyncio.to_thread(services.models.runnable)]
    model = (
        await _chosen(shell, "The model that the prompt is for", models, "No model is registered.") if metric else None
    )
    if not metric or not model:
        return None
    asked = await shell.ask(
        FormDialog(
            f"Improve {prompt} by {metric}", ImprovementAsked(), takes="go on: what it takes is shown next",
            suggestions={"reflector": tuple(models), "embedder": tuple(models)},
        )
    )  # fmt: skip
    if asked is None:
        return None
    body = {"prompt": prompt, "suite": suite.body, "metric": metric, "model": model, **asked.plan()}
    return await _start(shell, progress, body)


async def _chosen(shell: Shell, title: str, names: list[str], empty: str = "There is none.") -> str | None:
    """One of these; one that is alone is not asked for."""
    if len(names) == 1:
        return names[0]
    return await shell.ask(ChoiceDialog(title, [Choice(name, name) for name in names], empty))


async def _suite(shell: Shell, prompt: str) -> Suite | None:
    services = shell.services
    suites, datasets = await asyncio.to_thread(_sources, services)
    choices = [Choice(_SUITE + ref, ref, "a suite: it says the data, the paths and the metrics") for ref in suites]
    choices += [Choice(_DATA + ref, ref, "a dataset: the metric is asked next") for ref in datasets]
    chosen = await shell.ask(ChoiceDialog(f"Improve {prompt} by", choices, "Import a dataset first."))
    if chosen is None:
        return None
    if chosen.startswith(_SUITE):
        return await asyncio.to_thread(_kept_suite, services, chosen.removeprefix(_SUITE))
    ref = chosen.removeprefix(_DATA)
    metric = await _chosen(shell, "Score answers by", list(_METRICS))
    if metric is None:
        return None
    columns = await asyncio.to_thread(_answer_columns, services, ref)
    expected = await _chosen(shell, "The right answer is in", columns) if columns else ""
    if expected is None:
        return None
    return await asyncio.to_thread(_made_suite, services, prompt, ref, metric, expected)


def _sources(services: Services) -> tuple[list[str], list[str]]:
    from llmops_tui.evaluation.store import EvaluationStore

    newest = {version.suite.name: version for version in reversed(EvaluationStore(services.workspace).suites())}
    with_data = [version.ref for version in newest.values() if isinstance(version.suite.cases, str)]
    return with_data, [log[0].ref for log in services.datasets.logs().values()]


def _kept_suite(services: Services, ref: str) -> Suite:
    from llmops_tui.evaluation.store import EvaluationStore

    return EvaluationStore(services.workspace).suite(ref).suite


def _answer_columns(services: Services, ref: str) -> list[str]:
    """The columns that may hold the right answer; none where the rows say which it is."""
    version = services.datasets.get(ref)
    return [column.name for column in version.columns] if version.kind in {"tabular", "text"} else []


def _made_suite(services: Services, prompt: str, ref: str, metric: str, expected: str) -> Suite:
    from llmops_tui.improvement.asked import suite_of_data

    version = services.prompts.get(prompt)
    variables = services.renderer.variables(f"{version.system}\n{version.template}")
    data, held = services.datasets.get(ref), version.settings
    return suite_of_data(prompt, variables, data, {"type": metric}, paths={}, expected=expected, settings=held)


async def _start(shell: Shell, progress: Panel, body: JsonObject) -> str | None:
    from llmops_tui.improvement.estimate import ESTIMATE_ENTRY, estimate_text
    from llmops_tui.improvement.job import ENTRY, KIND, start_arguments
    from llmops_tui.improvement.plan import check_plan
    from llmops_tui.improvement.prepared import prepare

    services = shell.services
    prepared = await asyncio.to_thread(prepare, services.catalog, check_plan(body))
    arguments = {"plan": prepared.plan.as_record()}
    title = f"estimate of improving {prepared.seed.prompt}"
    job = await asyncio.to_thread(
        lambda: services.jobs.start(kind="estimate", title=title, entry=ESTIMATE_ENTRY, arguments=arguments)
    )
    estimate: EstimateRecord = await follow_job(services, progress, job)  # type: ignore[assignment]  # as the entry says
    told = "\n".join([estimate_text(estimate), *estimate["told"]])
    if not await shell.ask(ConfirmDialog(f"Improve {prepared.seed.ref}?", told)):
        return None
    started = await asyncio.to_thread(
        lambda: services.jobs.start(
            kind=KIND, title=f"improve {prepared.seed.ref}", entry=ENTRY, arguments=start_arguments(prepared)
        )
    )
    shell.say("Begun; it goes on when this app ends.")
    return started.id
