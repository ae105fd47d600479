"""A small workspace in which one person stands in everything that a workspace can have, in many spellings."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path

import numpy as np

from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.labelling import Labelling, Task
from llmops_tui.datasets.operations.base import apply
from llmops_tui.datasets.search import SearchIndex
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import check_suite
from llmops_tui.inference.asking.cache import AnswerCache
from llmops_tui.inference.filed.files import FileStore
from llmops_tui.jobs.store import JobStore
from llmops_tui.monitoring.history import History
from llmops_tui.privacy.person import Person
from llmops_tui.prompts.store import PromptStore
from llmops_tui.traces.feedback import give
from llmops_tui.traces.store import TraceStore
from llmops_tui.training.history import Recorder
from llmops_tui.training.recipe import check as check_recipe
from llmops_tui.training.runs import RunStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.checksums import record_checksums
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.lineage import record_edges
from llmops_tui.workspace.notices import write_notice

NAME, MAIL, PHONE, ID = "Zoë Ärgerlich", "zoe.aergerlich@kunde.example", "+49 30 8675309", "kd-471188"
GIVEN = [NAME, MAIL, PHONE, ID]
PERSON = Person.read(GIVEN)
# What is looked for in bytes: parts of the identifiers that stand in no other text here.
TRACES = [b"rgerlich", b"RGERLICH", b"aergerlich", b"8675309", b"kd-471188", b"471188"]
ROWS = 12
NAMED = (2, 5, 7)


def rows() -> list[dict[str, object]]:
    """Rows of conversations; those of :data:`NAMED` name the person."""
    made: list[dict[str, object]] = []
    for number in range(ROWS):
        said = {2: f"I am {NAME}.", 5: f"call {PHONE.replace(' ', '-')}", 7: f"mail {MAIL.upper()}"}.get(
            number, "hello"
        )
        calls = [{"type": "function", "function": {"name": "find", "arguments": json.dumps({"who": NAME})}}]
        answer: dict[str, object] = {"role": "assistant", "content": f"answer {number}"}
        if number == NAMED[0]:
            answer["tool_calls"] = calls
        made.append({"messages": [{"role": "user", "content": f"{said} {number}"}, answer], "ticket": 1000 + number})
    return made


def spread(workspace: Workspace, folder: Path) -> None:
    """Put the person into everything."""
    catalog, event_log = Catalog(workspace), EventLog(workspace)
    store = DatasetStore(catalog)
    source = folder / "chats.jsonl"
    lines = [json.dumps(row) for row in rows()]
    source.write_text("\n".join([*lines, f"no row, but {NAME}"]) + "\n", encoding="utf-8")
    first = import_now(store, [source], "chats", "messages")
    assert (first.rows, first.rejected) == (ROWS, 1)
    apply(store, "filter", ["chats@1"], {"where": f"ticket > 1001 -- {NAME}"})
    apply(store, "filter", ["chats@1"], {"where": "ticket > 1009"}, name="without")
    store.save_view("chats", "hers", {"search": NAME})
    store.keep_report(first.sha256, "profile", {"examples": [NAME]})
    store.tag("chats@1", "gold")
    SearchIndex(first).make()
    _labels(store)
    vectors = workspace.datasets / "vectors" / first.sha256 / "model"
    vectors.mkdir(parents=True)
    np.save(vectors / "vectors.npy", np.zeros(4))

    prompts = PromptStore(catalog)
    prompts.save("ask", template=f"You know {NAME}. {{{{ x }}}}")
    prompts.save("ask", template=f"You know {MAIL}. {{{{ x }}}}")
    prompts.save("ask", template="You know nobody. {{ x }}")
    prompts.move_label("ask@1", "production")
    _traces(catalog, event_log)
    _evaluation(workspace)
    _training(workspace, first.sha256)
    _in_files(workspace, event_log)
    event_log.close()
    record_checksums(workspace, again=True)


def _labels(store: DatasetStore) -> None:
    task = Task.make("tone", "classify", ("good", "bad"))
    labelling = Labelling(store, store.get("chats@1"), task, "me")
    for row in (1, 2, 6, 8):
        labelling.say(row, "good" if row != 6 else "bad")


def _traces(catalog: Catalog, event_log: EventLog) -> None:
    said = [f"from {NAME}", "nothing", f"my id is {ID}", "other", "about"]
    event_log.append_many(
        [
            (
                "request",
                f"run_{n:06d}",
                {
                    "started_at": 1_796_000_000.0 + n, "model": "m", "finish_reason": "stop", "total_ms": 5.0, "parameters": {},
                    "messages": [{"role": "user", "content": text}], "output": f"yes {n}", "client": {"key": "k"},
                    "prompt": "ask", "prompt_version": 1,
                },
            )
            for n, text in enumerate(said)
        ]
    )  # fmt: skip
    give(TraceStore(catalog, event_log), "run_000004", score="down", correction=f"ask {MAIL}")
    event_log.append("request", "run_000009", {"started_at": 1_796_000_009.0, "model": "m", "output": NAME,
                                               "finish_reason": "stop", "parameters": {}, "total_ms": 1.0})  # fmt: skip
    event_log.save_draft("playground", {"text": f"dear {NAME}"})
    event_log.save_draft(f"note {ID}", {"text": "x"})


def _evaluation(workspace: Workspace) -> None:
    store = EvaluationStore(workspace)
    suite = check_suite({"cases": [{"vars": {"x": NAME}, "expected": "a"}], "prompt": "ask", "metrics": ["exact"]}, "s")
    version = store.save_suite(suite)
    job = store.jobs.add(kind="evaluate", title=f"evaluate {NAME}", spec={"entry": "", "arguments": {"who": MAIL}})
    store.jobs.update(job.id, state="done", result="{}", finished_at=1.0, exit_code=0)
    folder = workspace.runs / job.id / "s-1"
    folder.mkdir(parents=True)
    line = {
        "case": {"index": 0, "input": NAME},
        "repeat": 0,
        "answer": {"text": f"{PHONE}"},
        "scores": {"exact": [1, ""]},
    }
    results = folder / "results.jsonl"
    results.write_text(json.dumps(line) + "\n", encoding="utf-8")
    digest = hashlib.sha256(results.read_bytes()).hexdigest()
    summary = {"metrics": {}, "cases": 1, "answers": 1, "cached": 0, "errors": 0, "costs": {}, "variations": []}
    manifest = {"dataset_sha256": store.datasets.get("chats@1").sha256, "suite_sha256": version.suite.sha256}
    prompt = store.prompts.get("ask@1").sha256
    asked = {"prompt": "ask@1", "model": "m", "parameters": {}, "parallel": 0}

    def work(db: object) -> None:
        db.execute(  # type: ignore[attr-defined]
            "INSERT INTO evaluation_runs VALUES ('s-1', 's', 1, ?, ?, ?, ?, ?, 1.0, 2.0)",
            [job.id, json.dumps(asked), json.dumps(manifest), json.dumps(summary), digest],
        )
        record_edges(
            db,  # type: ignore[arg-type]
            output=digest, kind="evaluation", recipe=version.suite.sha256,
            inputs=[manifest["dataset_sha256"], prompt],
        )  # fmt: skip

    store.catalog.write(work)
    (workspace.runs / job.id / "output.log").write_text(f"asked about {NAME}\n", encoding="utf-8")
    cache = AnswerCache(workspace)
    cache.keep("a", {"choices": [{"message": {"content": f"it was {NAME}"}}]})  # type: ignore[typeddict-item]
    cache.keep("b", {"choices": [{"message": {"content": "nobody"}}]})  # type: ignore[typeddict-item]
    cache.close()


def _training(workspace: Workspace, data: str) -> None:
    store = RunStore(workspace)
    recipe = check_recipe({"name": "tune", "method": "sft", "base": "base", "data": ["chats@1"]})
    store.save_recipe(recipe, f"for {NAME}")
    job = store.jobs.add(kind="train", title="train tune-1", spec={"entry": "", "arguments": {"run_name": "tune-1"}})
    store.jobs.update(job.id, state="done", result="{}", finished_at=1.0, exit_code=0)
    folder = workspace.runs / job.id
    folder.mkdir(parents=True)
    recorder = Recorder(folder)
    recorder.write("start", 0, total=2)
    recorder.write("step", 1, loss=1.0, seconds=30.0)
    recorder.write("sample", 1, prompt=f"who is {NAME}?", expected="x", text="y")
    recorder.write("step", 2, loss=0.5, seconds=30.0)
    recorder.close()
    options = json.dumps({"beside": False, "make_room": False, "force": False, "measured": []})
    result = json.dumps({"model": "tune-1", "sha256": "a" * 64})
    given = [recipe.model_dump_json(), job.id, "0" * 64, json.dumps([["chats@1", data]]), options, result]

    def work(db: object) -> None:
        db.execute("INSERT INTO training_runs VALUES ('tune-1', ?, ?, ?, ?, ?, ?, 1.0, 2.0)", given)  # type: ignore[attr-defined]
        record_edges(db, output="a" * 64, kind="train", recipe=recipe.sha256, inputs=["0" * 64, data])  # type: ignore[arg-type]

    store.catalog.write(work)


def _in_files(workspace: Workspace, event_log: EventLog) -> None:
    files = FileStore(workspace)
    content = folder = workspace.root / "upload"
    content.write_text(
        json.dumps({"custom_id": ID, "body": {"phone": 49308675309, "text": NAME}}) + "\n", encoding="utf-8"
    )
    with content.open("rb") as source:
        files.add("key", "in.jsonl", source)
    folder.unlink()
    write_notice(workspace, f"something about {NAME}")
    (workspace.logs / "app.log").write_text(f"a line\nsaid {NAME} and {MAIL}\nanother\n", encoding="utf-8")
    (workspace.logs / "app.log").chmod(0o600)
    (workspace.root / "refused-1.json").write_text(json.dumps({"who": NAME}), encoding="utf-8")
    (workspace.root / ".half.tmp").write_text(NAME, encoding="utf-8")
    history = History(workspace.history)
    history.add(1_796_000_000, {"host.cpu": 1.0})
    history.close()
    with sqlite3.connect(workspace.history) as connection:
        connection.execute("CREATE TABLE later (id INTEGER PRIMARY KEY, said TEXT)")
        connection.execute("INSERT INTO later (said) VALUES (?), ('nobody')", (f"by {NAME}",))
    (workspace.backups / "workspace-schema6-20260101-000000.duckdb").write_bytes(workspace.catalog.read_bytes())
    jobs = JobStore(event_log)
    jobs.update(jobs.all()[0].id, message=f"reading {ID}")


def bytes_left(root: Path) -> list[str]:
    """The files below a folder in whose bytes a part of an identifier stands; rows of datasets are compressed, and read."""
    return [
        path.relative_to(root).as_posix()
        for path in sorted(root.rglob("*"))
        if path.is_file() and any(part in path.read_bytes() for part in TRACES)
    ]
