"""What is at work is not removed: whatever runs with a dataset, a prompt or a model is named, and what it needs stays."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from llmops_tui.datasets import held as held_module
from llmops_tui.datasets.held import held
from llmops_tui.datasets.labelling import Labelling, Task
from llmops_tui.datasets.operations import base as operations
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.evaluation.run import Asked
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import Suite
from llmops_tui.inference.experiments.records import RATING, Settings
from llmops_tui.inference.experiments.store import ExperimentStore
from llmops_tui.jobs.launcher import JobLauncher
from llmops_tui.maintenance import record_removal
from llmops_tui.maintenance.archiving import Kept
from llmops_tui.maintenance.in_use import means
from llmops_tui.maintenance.model_removal import plan_removal, remove_model
from llmops_tui.maintenance.record_removal import plan_record_removal, remove_record
from llmops_tui.models.aliases import AliasBook
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.training.recipe import check
from llmops_tui.training.runs import RunStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops
from tests.fakes import end_processes, start_no_processes

RECIPE = {"name": "mine", "base": "support-base-hf", "data": ["triage"], "trackers": []}


@pytest.fixture(autouse=True)
def no_processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Jobs stay as they were started until the test's end."""
    start_no_processes(monkeypatch)
    yield
    end_processes()


def in_the_way(workspace: Workspace, kind: str, name: str) -> tuple[str, ...]:
    if kind == "model":
        return plan_removal(workspace, name).in_the_way
    return plan_record_removal(workspace, Kept(kind), name).in_the_way


def remove(workspace: Workspace, kind: str, name: str) -> None:
    if kind == "model":
        remove_model(workspace, name, force=True)
    else:
        remove_record(workspace, Kept(kind), name, force=True)


def started(workspace: Workspace, kind: str, arguments: dict[str, object]) -> str:
    return JobLauncher(workspace).start(kind=kind, title=f"{kind} it", entry="llmops_tui.x:y", arguments=arguments).id


def evaluation(workspace: Workspace) -> str:
    store = EvaluationStore(workspace)
    prompt = store.prompts.get("triage").ref
    return store.start(store.suite("triage"), [Asked(prompt, "support-base")])[0].job


def judging(workspace: Workspace) -> str:
    run = EvaluationStore(workspace).get("triage-1")
    JobLauncher(workspace).store.update(run.job, state="lost")
    return started(workspace, "judge", {"baseline": run.name, "candidate": "gone-1", "model": "support-base"})


def training(workspace: Workspace) -> str:
    return RunStore(workspace).start(check(RECIPE)).job


def export(workspace: Workspace) -> str:
    run = RunStore(workspace).start(check(RECIPE))
    RunStore(workspace).jobs.update(run.job, state="done")
    return started(workspace, "export", {"run_name": run.name, "merge": True})


def plan(workspace: Workspace) -> str:
    return started(workspace, "plan", {"recipe": check(RECIPE).model_dump(), "dry_run": False})


def importing(workspace: Workspace) -> str:
    return started(workspace, "import", {"paths": ["/x.jsonl"], "name": "triage", "form": "messages"})


@pytest.mark.parametrize(
    ("start", "used"),
    [
        (evaluation, {"dataset": ["triage-test", "triage-test@1"], "prompt": ["triage"], "model": ["support-base"]}),
        (training, {"dataset": ["triage", "triage@1"], "model": ["support-base-hf"]}),
        pytest.param(export, {"dataset": ["triage"], "model": ["support-base-hf"]}, marks=pytest.mark.slow),
        (plan, {"dataset": ["triage", "triage@1"], "model": ["support-base-hf"]}),
        pytest.param(importing, {"dataset": ["triage", "triage@1"]}, marks=pytest.mark.slow),
    ],
    ids=lambda given: given.__name__ if callable(given) else "",
)
def test_what_a_job_works_with_is_told_by_the_jobs_name_and_stays(
    sample: Workspace, start: Callable[[Workspace], str], used: dict[str, list[str]]
) -> None:
    job = start(sample)
    for kind, names in used.items():
        for name in names:
            assert [told.split()[0] for told in in_the_way(sample, kind, name)] == [job], (kind, name)
    # Of the others, nothing is in the way.
    assert in_the_way(sample, "dataset", "triage" if start is evaluation else "triage-test") == ()
    assert in_the_way(sample, "prompt", "support") == ()
    for kind, names in used.items():
        with pytest.raises(InputRefusedError, match=job):
            remove(sample, kind, names[0])
    JobLauncher(sample).store.update(job, state="done")
    assert in_the_way(sample, "dataset", used["dataset"][0]) == ()


def test_a_judge_works_with_what_its_runs_were_asked(sample: Workspace) -> None:
    evaluation(sample)
    job = judging(sample)
    for kind, name in (("dataset", "triage-test"), ("prompt", "triage"), ("model", "support-base")):
        assert [told.split()[0] for told in in_the_way(sample, kind, name)] == [job]


def test_a_run_whose_job_is_not_recorded_yet_is_in_the_way(sample: Workspace) -> None:
    run = RunStore(sample).start(check(RECIPE))
    with RunStore(sample).jobs.event_log.transaction() as connection:
        connection.execute("DELETE FROM jobs")
    assert in_the_way(sample, "dataset", "triage@1") == (f"run {run.name} is starting",)
    end_processes()
    # Nobody is at work; what cannot be gone on with without it is told.
    planned = plan_record_removal(sample, Kept.DATASET, "triage@1")
    assert planned.in_the_way == ()
    assert f"training run {run.name} is not finished and learns from it" in planned.uses


def test_a_model_is_known_by_its_alias_and_beside_an_adapter(sample: Workspace) -> None:
    AliasBook(Catalog(sample)).add("support-base", "gpt-4")
    job = started(sample, "batch", {"model": "gpt-4", "requests": "x", "output": "y"})
    assert [told.split()[0] for told in in_the_way(sample, "model", "support-base")] == [job]
    assert ModelRegistry(Catalog(sample)).get("support-base").present
    shown = Llmops(sample).run("model", "remove", "support-base", "--yes", "--force", code=3)
    assert job in shown["error"]["message"]


def test_a_suite_that_asks_it_is_told(sample: Workspace) -> None:
    assert any(use.startswith("suite triage@") for use in plan_record_removal(sample, Kept.DATASET, "triage-test").uses)
    assert any(use.startswith("suite triage@") for use in plan_record_removal(sample, Kept.PROMPT, "triage").uses)


def test_a_suite_asks_what_it_names_and_not_what_is_called_as_it_is() -> None:
    judge = {"type": "judge", "model": "m", "rubric": "Is it right?", "prompt": "grade@1"}
    given = {"name": "faq", "cases": "rows@gold", "prompt": ["faq-short@2"], "metrics": [judge], "description": "other"}
    rows, prompts = (
        set(record_removal._asked(Suite.model_validate(given), kind)) for kind in (Kept.DATASET, Kept.PROMPT)
    )
    for name in ("rows", "rows@1"):
        assert any(means(said, {name}) for said in rows)
        assert not any(means(said, {name}) for said in prompts)
    for name in ("faq-short@2", "grade@1"):
        assert any(means(said, {name}) for said in prompts)
        assert not any(means(said, {name}) for said in rows)
    assert not any(means(said, {"faq", "other", "judge", "faq-short@1"}) for said in rows | prompts)


def test_rows_that_are_labelled_or_worked_on_stay(sample: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DatasetStore(Catalog(sample))
    version = store.get("triage@1")

    def refused(*_rest: object) -> None:
        with pytest.raises(InputRefusedError, match="reads or labels its rows") as caught:
            remove_record(sample, Kept.DATASET, "triage", force=True)
        assert caught.value.code == "in_the_way"
        assert version.folder.is_dir()
        raise InterruptedError

    with pytest.raises(InterruptedError), held([version]):
        refused()
    monkeypatch.setattr(operations, "_function", lambda _name: refused)
    with pytest.raises(InterruptedError):
        operations.apply(store, "sample", ["triage@1"], {"rows": 3})
    assert plan_record_removal(sample, Kept.DATASET, "triage").in_the_way == ()


def test_another_process_is_named_and_its_end_frees_the_rows(sample: Workspace) -> None:
    folder = DatasetStore(Catalog(sample)).get("triage@1").folder
    code = "import fcntl, os, sys; f = os.open(sys.argv[1], os.O_RDONLY); fcntl.flock(f, fcntl.LOCK_SH); print(1, flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-S", "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert f"process {other.pid} reads or labels" in in_the_way(sample, "dataset", "triage")[0]
        other.kill()
    assert in_the_way(sample, "dataset", "triage") == ()


def test_what_is_being_removed_or_is_gone_takes_no_labels(sample: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_module, "_WAIT_SECONDS", 0.0)
    store = DatasetStore(Catalog(sample))
    version = store.get("triage@1")
    work = Labelling(store, version, Task.make("mood", "classify", ("good", "bad")), "anna")
    with held_module.alone_with([version.folder]), pytest.raises(InputRefusedError, match="is being removed"):
        held([version]).__enter__()
    remove_record(sample, Kept.DATASET, "triage", force=True)
    with pytest.raises(NotFoundError, match="no dataset version"):
        work.say(1, "good")


def test_a_model_that_an_experiment_sends_requests_to_stays(sample: Workspace) -> None:
    store = ExperimentStore(EventLog(sample))
    settings: Settings = {
        "a": "support-base", "b": "support-base-q4", "share": 0.5, "by": "key", "metric": RATING, "budget": None,
        "alpha": 0.05, "slower": 1.2,
    }  # fmt: skip
    begun = store.start("support-base", "ab", settings)
    (told,) = in_the_way(sample, "model", "support-base-q4")
    assert told == f"it is B of an experiment on support-base (llmops experiment stop {begun.id})"
    assert in_the_way(sample, "model", "support-base")[0].startswith("it is A of")
    store.stop(begun.id, "enough")
    assert in_the_way(sample, "model", "support-base-q4") == ()
