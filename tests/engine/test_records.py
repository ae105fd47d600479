"""Records have types: entries of jobs say what their functions return, and what a newer version adds survives a round trip."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.datasets.store import DatasetStore
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.jobs.store import JobStore
from llmops_tui.jobs.worker import _entry
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.training.export.proof_store import keep_proof, read_proof
from llmops_tui.training.recipe import Recipe
from llmops_tui.training.runs import RunStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tools.count_untyped import untyped

ROOT = Path(__file__).parents[2]
# How often ``dict[str, Any]`` may stand in the engine's signatures. It may fall; where it has to rise, a type is missing.
UNTYPED = 297


def sources() -> list[str]:
    return [p.read_text(encoding="utf-8") for wing in ("llmops_tui", "screens") for p in (ROOT / wing).rglob("*.py")]


def test_records_without_a_type_only_get_fewer() -> None:
    assert sum(count for *_, count in untyped(ROOT / "llmops_tui")) <= UNTYPED


def test_the_counter_counts_arguments_and_results(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(
        "async def f(a: dict[str, Any], *b: int, **c: list[dict[str, Any]]) -> dict[str, Any] | None:\n"
        "    d: dict[str, Any] = {}\n    def g(e: dict[str, int]) -> None: ...\n"
    )
    assert [(name, count) for _, _, name, count in untyped(tmp_path)] == [("f", 3)]


def test_every_entry_that_the_code_names_is_a_function_of_a_job() -> None:
    named = {found for text in sources() for found in re.findall(r'"(llmops_tui\.[\w.]+:\w+)"', text)}
    assert len(named) > 10
    for name in named:
        assert callable(_entry(name)), name


def test_an_entry_says_what_its_function_returns() -> None:
    told = {
        name: kind
        for text in sources()
        for kind, name in re.findall(r'^\w+: JobEntry\[(\w+)\] = JobEntry\("([\w.:]+)"\)$', text, re.MULTILINE)
    }
    assert len(told) > 8
    for name, kind in told.items():
        module, _, function = name.partition(":")
        tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8"))
        found = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == function)
        assert found.returns is not None, name
        assert ast.unparse(found.returns) == kind, name


LATER: dict[str, Any] = {"of a later version": {"deep": [1, None, "ü"]}}


def test_what_a_newer_version_says_of_a_job_goes_on_with_it(sample: Workspace) -> None:
    store = JobStore(EventLog(sample))
    spec: Any = {"entry": "llmops_tui.models.tasks:verify", "arguments": {"name": "x"} | LATER} | LATER
    job = store.add(kind="verify", title="verify", spec=spec)
    store.update(job.id, state="done", result=json.dumps({"model": "x"} | LATER))
    assert store.get(job.id).result == {"model": "x"} | LATER
    assert store.add_resumed(store.get(job.id)).spec == spec


def test_what_a_newer_version_says_of_a_model_is_kept_and_shown(sample: Workspace) -> None:
    catalog = Catalog(sample)
    registry = ModelRegistry(catalog)
    model = registry.get("support-base")
    header = json.dumps({**model.header, **LATER})
    catalog.write(
        lambda connection: connection.execute("UPDATE models SET header = ? WHERE name = ?", [header, model.name])
    )
    # Verifying writes the row again.
    again = registry.verify(model.name)
    assert {**again.header} == {**model.header, **LATER}
    assert registry.get(model.name).as_dict().items() >= LATER.items()


def test_what_a_newer_version_says_of_data_runs_and_proofs_is_read_as_it_was_written(sample: Workspace) -> None:
    catalog, later = Catalog(sample), LATER | {"problems": [{"rows": 3} | LATER]}
    datasets = DatasetStore(catalog)
    datasets.keep_report("a" * 64, "checks", later)
    assert datasets.report("a" * 64, "checks") == later
    view: Any = {"filter": "x", "sort": "", "descending": False} | LATER
    datasets.save_view("triage", "mine", view)
    assert datasets.views("triage") == {"mine": view}
    step: Any = {"name": "F16", "good": True} | LATER
    keep_proof(catalog, "b" * 64, [step])
    assert read_proof(catalog, "b" * 64) == [step]


def test_what_a_newer_version_says_of_a_training_run_is_shown(
    sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmops_tui.training.runs._launch", lambda *_: None)
    store = RunStore(sample)
    recipe: Recipe = store.recipe("triage-qlora")
    run = store.start(recipe)
    result: Any = {"model": "made", "steps": 3} | LATER
    store.keep_result(run, result)
    assert store.get(run.name).result == result
    assert store.state(store.get(run.name)).as_dict()["result"] == result


def test_what_a_newer_version_says_of_an_evaluation_is_shown(
    sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmops_tui.evaluation.store._launch", lambda *_: None)
    store = EvaluationStore(sample)
    version = store.suite("triage")
    (run,) = store.start(version, store.columns(version.suite, ["support-base"]))[:1]
    manifest: Any = {"model_sha256": "c" * 64} | LATER
    figure = {"mean": 1.0, "low": 0.5, "high": 1.0, "n": 1, "unusable": 0, "method": "wilson", "binary": True}
    counts = {"cases": 1, "answers": 1, "cached": 0, "errors": 0, "costs": {}, "variations": []}
    summary: Any = counts | {"metrics": {"exact": figure | LATER}} | LATER
    store.finish(run.name, manifest, summary, "d" * 64)
    kept = store.get(run.name)
    assert (kept.manifest, kept.summary) == (manifest, summary)
    shown = store.state(kept).as_dict()
    assert (shown["manifest"], shown["metrics"]) == (manifest, summary["metrics"])
