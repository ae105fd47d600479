"""Things of a workspace by their names, for the palette and for completing commands; and texts in which words are looked for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmops_tui.counts import counted
from llmops_tui.errors import LlmopsError
from llmops_tui.safe_text import safe_line
from screens.navigation import (
    DatasetPlace,
    Destination,
    EvaluationPlace,
    JobPlace,
    ModelPlace,
    PromptPlace,
    RunPlace,
    ScreenPlace,
    TracePlace,
)
from screens.widgets import units

if TYPE_CHECKING:
    from screens.services import Services

# Of one kind; and runs whose cases are searched.
_MOST = 300
# The most traces, and the most cases, that are found by their texts.
MOST_TEXTS = 100
_SEARCHED = 3
_TITLE, _NOTE = 120, 160


@dataclass(frozen=True)
class Thing:
    """Something that has a name, or a text, and a place in the app.

    Attributes:
        command: what the command line calls it.
        archived: whether it is put away.
    """

    kind: str
    title: str
    note: str
    place: Destination
    command: str = ""
    archived: bool = False


# What the archive calls the kinds of things that have another name here.
_ARCHIVED_AS = {"version": "prompt", "run": "training"}


def read_things(services: Services) -> list[Thing]:
    """All that has a name. What cannot be read is left out: whoever goes there is told why. Blocks; for a thread."""
    found: list[Thing] = []
    for read in (_prompts, _datasets, _models, _training, _evaluation, _jobs):
        with contextlib.suppress(LlmopsError, OSError):
            found += read(services)
    away: dict[str, frozenset[str]] = {}
    with contextlib.suppress(LlmopsError, OSError):
        away = services.archive.by_kind()
    return [replace(thing, archived=_is_away(thing, away)) for thing in found]


def _is_away(thing: Thing, away: dict[str, frozenset[str]]) -> bool:
    names = away.get(_ARCHIVED_AS.get(thing.kind, thing.kind), frozenset())
    return thing.command in names or thing.command.partition("@")[0] in names


def _prompts(services: Services) -> Iterator[Thing]:
    for summary in services.prompts.summaries():
        yield _thing("prompt", summary.name, counted(summary.versions, "version"), PromptPlace(summary.name))
        for version in services.prompts.versions(summary.name)[:_MOST]:
            note = ", ".join([*version.labels, *([version.note] if version.note else [])])
            text = " ".join(version.template.split())
            yield _thing("version", version.ref, note or text, PromptPlace(summary.name, version=version.number))


def _datasets(services: Services) -> Iterator[Thing]:
    for name, versions in services.datasets.logs().items():
        newest = versions[0]
        yield _thing(
            "dataset",
            name,
            f"{counted(newest.rows, 'row')}, {counted(len(versions), 'version')}",
            DatasetPlace(newest.ref),
        )
        for version in versions[:_MOST]:
            yield _thing(
                "dataset", version.ref, f"{counted(version.rows, 'row')}  {version.note}", DatasetPlace(version.ref)
            )


def _models(services: Services) -> Iterator[Thing]:
    for model in services.models.all():
        note = model.quantization or model.kind
        yield _thing("model", model.name, note, ModelPlace(model.name))


def _training(services: Services) -> Iterator[Thing]:
    for name, number, recipe, note, _ in services.training.recipes()[:_MOST]:
        yield _thing("recipe", f"{name}@{number}", note or f"{recipe.method} of {recipe.base}", ScreenPlace("training"))
    for run in services.training.all()[:_MOST]:
        yield _thing("run", run.name, f"training of {run.recipe.base}", RunPlace(run.name))


def _evaluation(services: Services) -> Iterator[Thing]:
    for suite in services.evaluation.suites()[:_MOST]:
        yield _thing("suite", suite.ref, "evaluation suite", ScreenPlace("evaluation"))
    for run in services.evaluation.all()[:_MOST]:
        yield _thing("evaluation", run.name, run.column, EvaluationPlace(run.name))


def _jobs(services: Services) -> Iterator[Thing]:
    for job in services.jobs.store.all(_MOST):
        yield Thing("job", safe_line(job.title, _TITLE), f"{job.state.value}  {job.id}", JobPlace(job.id), job.id)


def _thing(kind: str, name: str, note: str, place: Destination) -> Thing:
    return Thing(kind, safe_line(name, _TITLE), safe_line(note.strip(), _NOTE), place, name)


def search_texts(services: Services, words: str) -> list[Thing]:
    """Traces and cases with these words in their texts, the newest first. Blocks; for a thread."""
    found: list[Thing] = []
    searches: Iterable[Callable[[Services, str], Iterable[Thing]]] = (_traces_with, _cases_with)
    for search in searches:
        with contextlib.suppress(LlmopsError, OSError):
            found += search(services, words)
    return found


def _traces_with(services: Services, words: str) -> Iterator[Thing]:
    from llmops_tui.traces.store import TraceFilter

    for line in services.traces.page(TraceFilter(text=words), MOST_TEXTS)[0]:
        title = line.question or line.output or line.error or line.id
        yield Thing(
            "trace",
            safe_line(title, _TITLE),
            safe_line(f"{units.moment(line.started_at)[0]}  {line.model}", _NOTE),
            TracePlace(line.id),
            line.id,
        )


def _cases_with(services: Services, words: str) -> Iterator[Thing]:
    from llmops_tui.evaluation.run_comparison import results_of

    wanted, count = words.casefold(), 0
    for run in [run for run in services.evaluation.all() if run.summary is not None][:_SEARCHED]:
        for result in results_of(run):
            text = " ".join([*(str(value) for value in result.case.variables.values()), result.answer.text])
            if wanted in text.casefold():
                place = EvaluationPlace(run.name, result.case.index)
                yield Thing(
                    "case", safe_line(text, _TITLE), safe_line(f"case {result.case.index} of {run.name}", _NOTE), place
                )
                count += 1
                if count == MOST_TEXTS:
                    return
