"""Records have types: entries of jobs say what their functions return, and what a newer version adds survives a round trip."""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmops_tui.datasets.store import DatasetStore
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.inference.content import as_kept
from llmops_tui.inference.engine.parameters import EngineOptions
from llmops_tui.inference.engine_wire import EngineStart, SamplingRecord
from llmops_tui.inference.options import AskedRecord, RouterOptions, ServingRecord, ServingSettings
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.server.__main__ import noted
from llmops_tui.inference.server.options import ServerOptions
from llmops_tui.inference.server.records import Record
from llmops_tui.inference.server_record import ServedRecord
from llmops_tui.jobs.store import JobStore
from llmops_tui.jobs.worker import _entry
from llmops_tui.models.engine_settings import EngineSettings, SettingsRecord
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.training.export.proof_store import keep_proof, read_proof
from llmops_tui.training.recipe import Recipe
from llmops_tui.training.runs import RunStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tools.count_untyped import named, untyped

ROOT = Path(__file__).parents[2]
# How often ``dict[str, Any]`` may stand in the engine's signatures. It may fall; where it has to rise, a type is missing.
UNTYPED = 46
# What is any JSON by its nature has one of these names: the fields are a user's, a client's or another program's.
NAMES_OF_ANY_JSON = {"JsonObject", "Schema", "Variables", "Row", "Message", "MetricEntry", "Turn", "Arguments"}


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


def test_a_name_for_any_json_is_counted_by_itself(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(
        "Row = dict[str, Any]\nLine = Row\nKnown = dict[str, int]\ndef f(a: Row, b: list[Line]) -> Known: ...\n"
    )
    assert named(tmp_path) == {"Row": 1, "Line": 1}


@pytest.mark.slow
def test_any_json_goes_by_few_names() -> None:
    assert set(named(ROOT / "llmops_tui")) == NAMES_OF_ANY_JSON


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        (SettingsRecord, EngineSettings),
        (ServingRecord, ServingSettings),
        (AskedRecord, RouterOptions),
        (ServedRecord, ServerOptions),
        (EngineStart, EngineOptions),
    ],
)
def test_options_as_json_have_the_fields_of_the_options(record: Any, kind: Any) -> None:
    assert set(record.__annotations__) == {field.name for field in dataclasses.fields(kind)}


def test_sampling_parameters_as_json_have_their_fields() -> None:
    assert set(SamplingRecord.__annotations__) == set(SamplingParameters.model_fields)


def test_every_entry_that_the_code_names_is_a_function_of_a_job() -> None:
    named = {found for text in sources() for found in re.findall(r'"(llmops_tui\.(?!cli\.)[\w.]+:\w+)"', text)}
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


_texts = st.text('aZ 0ü"\\\n漢', max_size=6)
# Fields that no version has yet, with any JSON in them.
unknown_fields = st.dictionaries(
    _texts.map("later {}".format),
    st.recursive(
        st.none() | st.booleans() | st.integers() | _texts,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_texts, inner, max_size=2),
        max_leaves=4,
    ),
    max_size=3,
)
LATER: dict[str, Any] = {"of a later version": {"deep": [1, None, "ü"]}}


def test_what_a_newer_version_says_of_a_job_goes_on_with_it(sample: Workspace) -> None:
    store = JobStore(EventLog(sample))
    spec: Any = {"entry": "llmops_tui.models.tasks:verify", "arguments": {"name": "x"} | LATER} | LATER
    job = store.add(kind="verify", title="verify", spec=spec)
    store.update(job.id, state="done", result=json.dumps({"model": "x"} | LATER))
    assert store.get(job.id).result == {"model": "x"} | LATER
    assert store.add_resumed(store.get(job.id)).spec == spec


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(unknown=unknown_fields, options=unknown_fields)
def test_what_a_newer_version_says_of_a_server_stays_in_its_record(
    tmp_path_factory: pytest.TempPathFactory, unknown: dict[str, Any], options: dict[str, Any]
) -> None:
    state = tmp_path_factory.mktemp("server") / "state.json"
    written = {**unknown, "pid": 0, "started": 0, "options": {**options, "model": "m"}, "asked": options}
    state.write_text(json.dumps(written))
    # The process notes which one it is, and writes the record again.
    found = noted(state)
    assert json.loads(state.read_text()) == found == written | {"pid": os.getpid(), "started": found["started"]}


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(unknown=unknown_fields)
def test_what_a_newer_engine_says_of_a_request_is_kept_with_it(unknown: dict[str, Any]) -> None:
    known: Any = {"finish_reason": "stop", "total_ms": 3.0}
    body: Any = {**unknown, "model": "m"}
    record = Record("run_1", body).ended({**unknown, **known})
    assert record == {**unknown, "model": "m", **known, "output": ""}
    assert as_kept(record, "keep") == record


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
    figure |= {"better": 0, "unit": "", "type": "", "too_few": False, "needed": ""}
    costs = {"prompt_tokens": 0, "completion_tokens": 0, "seconds": 0.0}
    counts = {"cases": 1, "answers": 1, "cached": 0, "errors": 0, "costs": costs, "variations": []}
    counts |= {"of": 1, "gaps": [], "agreement": None}
    summary: Any = counts | {"metrics": {"exact": figure | LATER}} | LATER
    store.finish(run.name, manifest, summary, "d" * 64)
    kept = store.get(run.name)
    assert (kept.manifest, kept.summary) == (manifest, summary)
    shown = store.state(kept).as_dict()
    assert (shown["manifest"], shown["metrics"]) == (manifest, summary["metrics"])
