"""A workspace in which there is something of everything that a workspace can have, made by the command line itself."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.jobs.store import JobStore
from llmops_tui.monitoring.alerts import Alert
from llmops_tui.monitoring.history import History
from llmops_tui.monitoring.rules import load_rules, save_rules
from llmops_tui.prompts.compare.boards import Board, Boards
from llmops_tui.prompts.compare.columns import Column
from llmops_tui.sample_files import sample_folder
from llmops_tui.training.history import Recorder
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops
from tests.maintenance.conftest import fill_traces

PERSON = "mallory.quux@example.com"
CRITERION = ("--criterion", "taste", "--scale", "1-5")
RULE = "- {name: errors, series: 'errors.*', above: 0.5, for_seconds: 2, severity: error}\n"


@dataclass(frozen=True)
class Whole:
    """The workspace, and the names of what is in it."""

    root: Path
    job: str
    dataset_sha256: str


def _rows(count: int, begin: int = 0) -> str:
    lines = (sample_folder() / "datasets" / "triage-train.jsonl").read_text(encoding="utf-8").splitlines()
    return "\n".join(itertools.islice(lines, begin, begin + count)) + "\n"


def make_whole(folder: Path) -> Whole:
    """Make it below a folder, at rest: no server runs, and nothing waits in the event log."""
    workspace, cli = Workspace(folder / "ws"), Llmops(Workspace(folder / "ws"))
    cli.run("init")
    small, more = folder / "small.jsonl", folder / "more.jsonl"
    small.write_text(_rows(60) + "this is no row\n", encoding="utf-8")
    more.write_text(_rows(12, 60), encoding="utf-8")
    models = sample_folder() / "models"
    shutil.copy(models / "support-base-Q4_K_M.gguf", workspace.models)
    shutil.copytree(models / "support-base", workspace.models / "base-hf")
    cli.run("model", "add", str(workspace.models / "support-base-Q4_K_M.gguf"), "--name", "base")
    cli.run("model", "add", str(workspace.models / "base-hf"), "--name", "base-hf")
    cli.run("data", "import", str(small), "--name", "small", "--yes")
    cli.run("data", "import", str(more), "--name", "more", "--yes")
    cli.run("data", "filter", "small", "--where", "_row < 50")
    cli.run("data", "tag", "small@1", "gold")
    cli.run("prompt", "save", "p", "--text", "say {{ what }}")
    cli.run("prompt", "save", "p", "--text", "tell {{ what }}")
    cli.run("prompt", "tag", "p@1", "production")
    suite = {
        "cases": [{"vars": {"what": "hi"}, "expected": "hi"}],
        "prompt": "p",
        "metrics": ["exact"],
        "parameters": {"max_tokens": 2},
    }
    (folder / "tiny.yaml").write_text(json.dumps(suite), encoding="utf-8")
    for _ in range(2):
        cli.run("eval", "run", str(folder / "tiny.yaml"), "--model", "base")
    cli.run("model", "stop", "base")
    cli.run("train", "new", "mine", "--base", "base-hf", "--data", "more", "--preset", "tiny")
    job = _trained(workspace)
    fill_traces(workspace, 20)
    cli.run("traces", "list")
    cli.run("traces", "feedback", "run_000003", "--score", "up", "--comment", "good")
    cli.run("traces", "list")
    _watched(workspace)
    _said(workspace, cli, folder)
    (workspace.root / "api-key").write_text("a-key-of-forty-characters-to-be-let-in-00\n", encoding="utf-8")
    (workspace.root / "api-key").chmod(0o600)
    shutil.copy(workspace.catalog, workspace.backups / "workspace-schema6-20260101-000000.duckdb")
    cli.run("check", "--accept")
    digest = Catalog(workspace).read(
        lambda connection: connection.execute(
            "SELECT sha256 FROM dataset_versions WHERE dataset = 'small' AND number = 1"
        ).fetchall()
    )[0][0]
    return Whole(workspace.root, job, str(digest))


def _trained(workspace: Workspace) -> str:
    """A training run as one that ended leaves it, without the hour that training takes."""
    from llmops_tui.training.runs import RunStore

    store = RunStore(workspace)
    recipe = next(recipe for name, _, recipe, *_ in store.recipes() if name == "mine")
    jobs = JobStore(EventLog(workspace))
    job = jobs.add(kind="train", title="train mine-1", spec={"arguments": {"run_name": "mine-1"}})
    jobs.update(job.id, state="done", result="{}", started_at=1_795_000_000.0, finished_at=1_795_000_100.0, exit_code=0)
    store.catalog.write(
        lambda connection: connection.execute(
            "INSERT INTO training_runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                "mine-1",
                recipe.model_dump_json(),
                job.id,
                "0" * 64,
                json.dumps([["more@1", "0" * 64]]),
                json.dumps({"beside": False, "make_room": False, "force": False}),
                json.dumps({"model": None}),
                1_795_000_000.0,
                1_795_000_100.0,
            ],
        )
    )
    folder = store.get("mine-1").folder
    folder.mkdir(parents=True)
    recorder = Recorder(folder)
    recorder.write("start", 0, total=3)
    for step in (1, 2, 3):
        recorder.write("step", step, loss=1 / step, learning_rate=0.001, tokens_per_s=100.0, seconds=0.1)
    recorder.close()
    (folder / "adapter").mkdir()
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(os.urandom(1000))
    (folder / "adapter" / "adapter_config.json").write_text('{"r": 4}', encoding="utf-8")
    (folder / "output.log").write_text("what it printed\n" * 20, encoding="utf-8")
    return job.id


def _said(workspace: Workspace, cli: Llmops, folder: Path) -> None:
    """What people say and ask for: a board, grades, rows that a model wrote, a person who was forgotten."""
    board = Boards(EventLog(workspace))
    column = Column("p", 1, "", "say {{ what }}", "base", SamplingParameters())
    board.save(Board("tastes", (column, column)).asked(["run_000003", "run_000004"]).voted(0, "ann", blind=True))
    listed = cli.run("eval", "grade", "tiny-1", *CRITERION, "--grader", "ann", "--list")
    cli.run("eval", "grade", "tiny-1", *CRITERION, "--grader", "ann", "--say", f"{listed['items'][0]['item']}=4")
    people, made = folder / "people.jsonl", folder / "made.jsonl"
    people.write_text(json.dumps({"text": f"Write to {PERSON}."}) + '\n{"text": "Nobody."}\n', encoding="utf-8")
    written = {"text": "by a model", "synthetic": {"by": "model", "way": "rows", "model": "base", "parents": []}}
    made.write_text(json.dumps(written) + "\n", encoding="utf-8")
    for file in (people, made):
        cli.run("data", "import", str(file), "--name", file.stem, "--yes")
    cli.run("privacy", "forget", PERSON, "--yes")


def _watched(workspace: Workspace) -> None:
    history = History(workspace.history)
    for second in range(120):
        history.add(1_795_000_000 + second, {"host.cpu": float(second)})
    save_rules(workspace.alert_rules, RULE)
    rule = load_rules(workspace.alert_rules)[0]
    history.keep_alert(Alert(rule, "errors.base", 1_795_000_050.0, 3.0, cleared_at=1_795_000_090.0))
    history.close()
