"""Rows that a model writes from a version, or that noise makes of it: asked, priced, confirmed, written, and looked at."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmops_tui.counts import counted
from screens.datasets.apply_operation import apply_operation
from screens.datasets.funnel_screen import FunnelScreen
from screens.datasets.operation import Operation, Synthesis
from screens.datasets.synthesis_form import (
    MOST_ROWS,
    NoiseAsked,
    RowsAsked,
    SynthesisDialog,
    WordsAsked,
    name_of_made,
)
from screens.datasets.topics_screen import TopicsScreen
from screens.shell.job_progress import follow_job
from screens.widgets.dialogs import Choice, ChoiceDialog, ConfirmDialog, LineDialog

if TYPE_CHECKING:
    from llmops_tui.datasets.version import DatasetVersion
    from llmops_tui.foreign_text import JsonObject
    from llmops_tui.synthesis.prepared import Prepared
    from screens.shell.shell import Shell
    from screens.widgets.panel import Panel

WAYS = (
    Choice("rows", "New rows like these", "a model is shown some, and writes others; each row keeps its parents"),
    Choice("topics", "New rows by topics", "a model proposes a tree of topics, you edit it, then rows are written"),
    Choice("paraphrase", "Paraphrase", "the same in other words; labels and answers come along"),
    Choice("back-translation", "Back-translation", "into another language and back, where the model can"),
    Choice("noise", "Noise", "typing mistakes, other case, other blanks; no model"),
)
_SHOWN_SAMPLES = 3


async def synthesise_rows(shell: Shell, progress: Panel, wanted: Synthesis) -> DatasetVersion | None:
    """Ask how, show what it takes, and write; the version that was made, none where that was left.

    Raises:
        LlmopsError: it was refused, or a job failed.
    """
    version = wanted.version
    way = await shell.ask(ChoiceDialog(f"More rows from {version.ref}", list(WAYS)))
    if way is None:
        return None
    if way == "noise":
        return await _noise(shell, progress, version)
    models = [m.name for m in await asyncio.to_thread(shell.services.models.runnable)]
    model = await shell.ask(
        ChoiceDialog("Written by", [Choice(name, name, "", "model") for name in models], "No model is registered.")
    )
    if not model:
        return None
    asked = await _ask(shell, progress, way, model, version, tuple(models))
    return await _write(shell, progress, *asked) if asked is not None else None


async def _noise(shell: Shell, progress: Panel, version: DatasetVersion) -> DatasetVersion | None:
    asked = await shell.ask(
        SynthesisDialog(f"Noise in {version.ref}", NoiseAsked(name=name_of_made(version.dataset, "noise")))
    )
    if asked is None:
        return None
    return await apply_operation(shell, progress, Operation(version, "noise", asked.parameters(), (), asked.name))


async def _ask(
    shell: Shell, progress: Panel, way: str, model: str, version: DatasetVersion, models: tuple[str, ...]
) -> tuple[JsonObject, str] | None:
    """The plan, and the name of the dataset."""
    title = f"{next(c.label for c in WAYS if c.value == way)}: {version.ref} by {model}"
    name = name_of_made(version.dataset, "synthetic" if way in {"rows", "topics"} else way)
    if way in {"rows", "topics"}:
        topics: list[JsonObject] = []
        if way == "topics":
            found = await _topics(shell, progress, model)
            if found is None:
                return None
            topics = found
        rows = await shell.ask(SynthesisDialog(title, RowsAsked(name=name), models))
        return (await asyncio.to_thread(rows.plan, model, version.ref, topics), rows.name) if rows is not None else None
    count = max(1, min(version.rows, MOST_ROWS))
    words = await shell.ask(SynthesisDialog(title, WordsAsked(name=name, rows=count), models))
    return (words.plan(way, model, version.ref), words.name) if words is not None else None


async def _topics(shell: Shell, progress: Panel, model: str) -> list[JsonObject] | None:
    """A tree that the model proposes and the user edits."""
    from llmops_tui.synthesis.propose import PROPOSAL_ENTRY
    from llmops_tui.synthesis.topics import read_topics

    subject = await shell.ask(LineDialog("Topics of", "what the rows are about, in your own words"))
    if not subject:
        return None
    arguments = {"model": model, "subject": subject, "first": 8, "second": 4}
    found = await _job(shell, progress, "topics", f"topics of {subject[:40]}", PROPOSAL_ENTRY, arguments)
    topics = await shell.ask(TopicsScreen(shell, read_topics(found["topics"]), subject))
    return [topic.as_dict() for topic in topics] if topics is not None else None


async def _write(shell: Shell, progress: Panel, body: JsonObject, name: str) -> DatasetVersion | None:
    """Show the budget, and write once it is confirmed."""
    from llmops_tui.synthesis.budget import BUDGET_ENTRY, budget_text
    from llmops_tui.synthesis.funnel import fallen_of
    from llmops_tui.synthesis.job import ENTRY, KIND, start_arguments
    from llmops_tui.synthesis.plan import check_plan
    from llmops_tui.synthesis.prepared import prepare

    services = shell.services
    plan = check_plan(body)
    prepared: Prepared = await asyncio.to_thread(prepare, services.catalog, plan)
    record = {"plan": prepared.plan.as_record()}
    budget = await _job(shell, progress, "budget", f"budget of {name}", BUDGET_ENTRY, record)
    told = [budget_text(budget), *budget["told"], *_samples(budget["samples"])]  # type: ignore[arg-type]  # as the entry says
    if not await shell.ask(ConfirmDialog(f"Write {counted(plan.rows, 'row')} into {name}?", "\n".join(told))):
        return None
    made = await _job(shell, progress, KIND, f"write {name}", ENTRY, start_arguments(prepared, name))
    version = await asyncio.to_thread(services.datasets.get, f"{made['dataset']}@{made['version']}")
    fallen = await asyncio.to_thread(fallen_of, services.workspace, version)
    await shell.ask(FunnelScreen(version, fallen))
    return version


def _samples(samples: Sequence[JsonObject]) -> list[str]:
    from llmops_tui.datasets.origins import COLUMN

    shown = [{key: value for key, value in sample.items() if key != COLUMN} for sample in samples[:_SHOWN_SAMPLES]]
    return [json.dumps(sample, ensure_ascii=False)[:200] for sample in shown]


async def _job(
    shell: Shell, progress: Panel, kind: str, title: str, entry: str, arguments: JsonObject
) -> dict[str, Any]:
    job = await asyncio.to_thread(
        lambda: shell.services.jobs.start(kind=kind, title=title, entry=entry, arguments=arguments)
    )
    return await follow_job(shell.services, progress, job)
