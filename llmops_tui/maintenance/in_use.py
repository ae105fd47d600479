"""Who is at work with a dataset, a prompt or a model: jobs by what they were told, and runs by what they were started with."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from llmops_tui.errors import NotFoundError
from llmops_tui.evaluation.metrics.model_graded import AskingMetric, Judge
from llmops_tui.evaluation.run import EvalRun
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.jobs.store import Job, JobStore
from llmops_tui.training.runs import Run, RunStore
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace

# The arguments of jobs that name runs: such a job works with all that its runs were started with.
_RUNS = ("runs", "run_name", "baseline", "candidate")


class Thing(StrEnum):
    """What can be in use."""

    DATASET = "dataset"
    PROMPT = "prompt"
    MODEL = "model"


@dataclass(frozen=True)
class Uses:
    """Somebody at work, in words, and what it works with: by kind where that is known, else whatever its job was told."""

    told: str
    named: dict[Thing, set[str]] = field(default_factory=dict)
    said: frozenset[str] = frozenset()

    def of(self, thing: Thing) -> Iterator[str]:
        """The names under which it may work with something of a kind; a model with an adapter is said as both."""
        for name in {*self.said, *self.named.get(thing, ())}:
            yield name
            if thing is Thing.MODEL:
                yield from name.split("+")


def users_of(workspace: Workspace, thing: Thing, names: Iterable[str]) -> tuple[str, ...]:
    """In words who is at work with something that has these names.

    A version is named as ``name@3``, and so ``name`` alone, or with a tag or label, may mean it too.
    """
    wanted = set(names)

    def meant(said: str) -> bool:
        return said in wanted if thing is Thing.MODEL else means(said, wanted)

    return tuple(each.told for each in at_work(workspace) if any(meant(said) for said in each.of(thing)))


def means(said: str, names: Collection[str]) -> bool:
    """Whether a reference may mean a dataset or a prompt, or a version of it, that has these names.

    One without a number, as with a tag or a label, may mean any version.
    """
    stem, _, version = said.partition("@")
    return said in names or (not version.isdecimal() and stem in {name.partition("@")[0] for name in names})


def at_work(workspace: Workspace) -> list[Uses]:
    """Everybody at work in a workspace: its unfinished jobs, and runs whose job is about to be recorded."""
    event_log = EventLog(workspace)
    try:
        jobs = JobStore(event_log).all(100_000)
    finally:
        event_log.close()
    runs = _Runs(workspace, jobs)
    return [*(runs.uses(job) for job in jobs if not job.state.final), *runs.starting()]


def mentions(value: Any, name: str) -> bool:
    """Whether a name is said anywhere in what a job was told; a model with an adapter is said as both."""
    return any(name in {said, *said.split("+")} for said in _texts(value))


def _texts(value: Any) -> Iterator[str]:
    """All texts in JSON, but for the names of members."""
    if isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


class _Runs:
    """The runs of a workspace; only those that somebody is at work on are read."""

    def __init__(self, workspace: Workspace, jobs: list[Job]) -> None:
        self._evaluation, self._training = EvaluationStore(workspace), RunStore(workspace)
        self._recorded = {job.resumes or job.id for job in jobs}

    def uses(self, job: Job) -> Uses:
        """What an unfinished job works with."""
        arguments: Mapping[str, Any] = job.spec.get("arguments") or {}
        named: dict[Thing, set[str]] = {}
        for run in (name for key in _RUNS if key in arguments for name in _texts(arguments[key])):
            for thing, names in self._with(run).items():
                named.setdefault(thing, set()).update(names)
        return Uses(f"{job.id} is using it ({job.title})", named, frozenset(_texts(arguments)))

    def starting(self) -> Iterator[Uses]:
        """The runs whose job has no record yet: whoever starts them is about to write it."""
        rows = self._evaluation.catalog.read(
            lambda connection: connection.execute(
                "SELECT name, job FROM evaluation_runs WHERE summary IS NULL AND job IS NOT NULL "
                "UNION SELECT name, job FROM training_runs WHERE result IS NULL AND job IS NOT NULL"
            ).fetchall()
        )
        for name, job in rows:
            if job not in self._recorded and self._evaluation.jobs.at_work(job):
                yield Uses(f"run {name} is starting", self._with(name))

    def _with(self, name: str) -> dict[Thing, set[str]]:
        """What a run was started with; a training run and an evaluation run may have one name, and either may be gone."""
        found: dict[Thing, set[str]] = {thing: set() for thing in Thing}
        with contextlib.suppress(NotFoundError):
            self._add_evaluation(self._evaluation.get(name), found)
        with contextlib.suppress(NotFoundError):
            _add_training(self._training.get(name), found)
        return found

    def _add_evaluation(self, run: EvalRun, found: dict[Thing, set[str]]) -> None:
        suite = self._evaluation.suite(run.suite_ref).suite
        if isinstance(suite.cases, str):
            found[Thing.DATASET].add(suite.cases)
        judges = [metric for metric in suite.all_metrics() if isinstance(metric, AskingMetric)]
        graded_by = [judge.prompt for judge in judges if isinstance(judge, Judge)]
        found[Thing.PROMPT] |= {run.asked.prompt, *(step.prompt for step in suite.chain), *graded_by}
        found[Thing.MODEL] |= {run.asked.model, *(judge.model for judge in judges)}


def _add_training(run: Run, found: dict[Thing, set[str]]) -> None:
    found[Thing.DATASET] |= {ref for ref, _ in (*run.data, *run.measured)}
    found[Thing.MODEL].add(run.recipe.base)
