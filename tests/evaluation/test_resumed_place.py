"""Where a run goes on that ended early: on the cluster that was to answer it, or here where somebody says so."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.evaluation import store as evaluation_store
from llmops_tui.evaluation.metrics.base import Answer
from llmops_tui.evaluation.run import EvalRun
from llmops_tui.evaluation.runner import job as runner
from llmops_tui.evaluation.runner.results import Result
from llmops_tui.evaluation.runner.summary import summarise
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import check_suite
from llmops_tui.jobs.launcher import JobLauncher
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops
from tests.engine.engines import MODEL
from tests.evaluation.conftest import EXACT, case, results

CLUSTER = "ray:10.0.0.5:6379"


@pytest.fixture
def store(workspace: Workspace) -> EvaluationStore:
    ModelRegistry(Catalog(workspace)).add(MODEL, "m")
    return EvaluationStore(workspace)


def _never_began(store: EvaluationStore, monkeypatch: pytest.MonkeyPatch, target: str) -> EvalRun:
    """A run whose job was noted, and could not be started."""

    def refused(*_: Any, **__: Any) -> None:
        raise LlmopsError("job_not_started", "no process could be started")

    version = store.save_suite(
        check_suite({"cases": [{"q": "a", "expected": "b"}], "prompt": "p", "metrics": ["exact"]}, "s")
    )
    with monkeypatch.context() as patched:
        patched.setattr(JobLauncher, "start", refused)
        with pytest.raises(LlmopsError, match="no process"):
            store.start(version, store.columns(version.suite, ["m"]), target)
    return store.get("s-1")


@pytest.mark.parametrize(
    ("target", "here", "goes_on"), [(CLUSTER, False, CLUSTER), (CLUSTER, True, ""), ("", False, "")]
)
def test_a_job_that_never_began_is_started_where_it_was_to_be(
    store: EvaluationStore, monkeypatch: pytest.MonkeyPatch, target: str, here: bool, goes_on: str
) -> None:
    store.prompts.save("p", template="{{ q }}")
    run = _never_began(store, monkeypatch, target)
    assert (run.target, store.state(run).as_dict()["target"]) == (target, target)
    launched: list[str] = []
    monkeypatch.setattr(
        evaluation_store,
        "_launch",
        lambda _launcher, _suite, names, _place, target="": launched.extend([*names, target]),
    )
    store.resume(run.name, here=here)
    assert launched == ["s-1", goes_on]
    assert store.get("s-1").target == goes_on


def test_the_record_says_where_and_not_what_the_job_was_started_with(
    store: EvaluationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.prompts.save("p", template="{{ q }}")
    run = _never_began(store, monkeypatch, CLUSTER)
    where: list[str] = []

    class Runner:
        def __init__(self, *given: Any) -> None:
            where.append(given[-1])

        async def run(self) -> None: ...

    monkeypatch.setattr(runner, "_Runner", Runner)
    context: Any = SimpleNamespace(workspace=store.workspace)
    runner.run(context, [run.name], CLUSTER)
    monkeypatch.setattr(evaluation_store, "_launch", lambda *_: None)
    store.resume(run.name, here=True)
    runner.run(context, [run.name], CLUSTER)
    # A run of an earlier version says nothing of it; its job does.
    store.catalog.write(
        lambda connection: connection.execute(
            "UPDATE evaluation_runs SET asked = json_merge_patch(asked, '{\"target\": null}')"
        )
    )
    assert store.get(run.name).target is None
    runner.run(context, [run.name], CLUSTER)
    assert where == [CLUSTER, "", CLUSTER]


def test_what_some_columns_measured_stays_with_a_job_of_which_another_got_no_answer(
    store: EvaluationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.prompts.save("p", template="{{ q }}")
    _never_began(store, monkeypatch, "")
    _never_began(store, monkeypatch, "")
    failed = [Result(case(0), 0, Answer(error="server_error: it is gone"), {})]
    for name, answers in (("s-1", results([1])), ("s-2", failed)):
        summary = json.dumps(summarise(answers, [EXACT], 1.0))
        store.catalog.write(
            lambda connection, row=(summary, name): connection.execute(
                "UPDATE evaluation_runs SET summary = ? WHERE name = ?", row
            )
        )
    kept: list[str] = []
    context: Any = SimpleNamespace(workspace=store.workspace, record=lambda result: kept.append(result))
    with pytest.raises(LlmopsError, match="s-2 got no answer"):
        runner.run(context, ["s-1", "s-2"])
    assert [[one["run"] for one in json.loads(result)["runs"]] for result in kept] == [["s-1", "s-2"]]
    with pytest.raises(LlmopsError, match="s-2 got no answer"):
        runner.run(context, ["s-2"])
    assert len(kept) == 1


def test_what_is_answered_here_is_not_moved_here(store: EvaluationStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.prompts.save("p", template="{{ q }}")
    run = _never_began(store, monkeypatch, "")
    with pytest.raises(InputRefusedError, match="answered on this machine anyway"):
        store.resume(run.name, here=True)
    refused = Llmops(store.workspace).run("eval", "resume", run.name, "--here", code=3)
    assert refused["error"]["code"] == "bad_option"
