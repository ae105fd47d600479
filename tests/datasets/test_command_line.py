"""The command line as a new user takes it, on real data where that is at hand."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.rejects import read_rejects
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.jobs.store import JobStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests import commands
from tests.datasets.conftest import REAL, chat

needs_real_data = pytest.mark.skipif(not REAL.is_dir(), reason="the real data is not beside the checkout")


def llmops(workspace: Workspace, *arguments: str, code: int = 0) -> Any:
    done = commands.llmops("--json", *arguments, workspace=workspace, seconds=120)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@needs_real_data
def test_gsm8k_end_to_end(sample: Workspace, tmp_path: Path) -> None:
    seen = llmops(sample, "data", "import", str(REAL / "gsm8k" / "train.jsonl"), "--dry-run")
    assert seen["format"] == "tabular"
    assert seen["mapping"] == {"user": "question", "assistant": "answer"}
    for part, rows in (("train", 7473), ("test", 1319)):
        made = llmops(
            sample,
            "data",
            "import",
            str(REAL / "gsm8k" / f"{part}.jsonl"),
            "--name",
            f"gsm8k-{part}",
            "--map",
            "user=question",
            "--map",
            "assistant=answer",
        )
        assert {k: made[k] for k in ("dataset", "version", "rows", "rejected", "format")} == {
            "dataset": f"gsm8k-{part}",
            "version": 1,
            "rows": rows,
            "rejected": 0,
            "format": "messages",
        }
    profile = llmops(sample, "data", "profile", "gsm8k-test", "--model", "support-base", "--sample", "300")
    assert profile["rows"] == 1319
    assert profile["tokens"]["p50"] <= profile["tokens"]["p95"] <= profile["tokens"]["max"]
    assert next(iter(profile["languages"]["shares"])) == "en"
    found = llmops(
        sample, "data", "check", "gsm8k-test", "--only", "duplicate", "--only", "role-order", "--against", "gsm8k-train"
    )
    assert found["problems"] == []
    assert found["overlaps"][0]["exact"] == 0
    parts = llmops(sample, "data", "split", "gsm8k-test", "--into", "dev=0.5", "--into", "held=0.5", "--near")["parts"]
    assert sum(p["rows"] for p in parts) == 1319
    out = tmp_path / "dev.jsonl"
    exported = llmops(sample, "data", "export", "gsm8k-test-dev", "--to", str(out), "--format", "sharegpt")
    assert exported["reads_back"]
    assert len(out.read_text().splitlines()) == parts[0]["rows"]


@pytest.mark.slow
@needs_real_data
def test_banking77_end_to_end(sample: Workspace, tmp_path: Path) -> None:
    for part, rows in (("train", 10003), ("test", 3080)):
        made = llmops(sample, "data", "import", str(REAL / "banking77" / f"{part}.csv"), "--name", f"bank-{part}")
        assert (made["rows"], made["rejected"], made["format"]) == (rows, 0, "tabular")
    counts = llmops(sample, "data", "query", 'SELECT count(DISTINCT category) FROM "bank-train"')
    assert counts["rows"] == [[77]]
    problems = {
        p["kind"]: p
        for p in llmops(sample, "data", "check", "bank-train", "--only", "near-duplicate", "--only", "conflict")[
            "problems"
        ]
    }
    # Questions that differ in capitals or blanks alone are near-duplicates.
    assert problems["near-duplicate"]["rows"] > 0
    parts = llmops(
        sample, "data", "split", "bank-train", "--into", "fit=0.9", "--into", "dev=0.1", "--stratify", "category"
    )["parts"]
    assert len({p["sha256"] for p in parts}) == 2
    each = llmops(
        sample,
        "data",
        "query",
        'SELECT min(n), max(n) FROM (SELECT count(*) AS n FROM "bank-train-dev" GROUP BY category)',
    )
    assert each["rows"][0][0] >= 2
    assert llmops(sample, "data", "export", "bank-train-fit", "--to", str(tmp_path / "fit.csv"))["reads_back"]
    first = llmops(sample, "data", "overlap", "bank-train-dev", "bank-train-fit")
    assert first["exact"] == 0


def test_the_keys_of_the_interface(sample: Workspace, tmp_path: Path) -> None:
    assert {d["dataset"] for d in llmops(sample, "data", "list")["datasets"]} == {"triage", "triage-test"}
    shown = llmops(sample, "data", "show", "triage@1")
    assert {"dataset", "version", "rows", "rejected", "format", "sha256"} <= set(shown)
    assert shown["rejected"] == 3
    assert [r["line"] for r in llmops(sample, "data", "rejects", "triage")["rejected"]] == [312, 903, 1405]
    deduped = llmops(sample, "data", "dedup", "triage")
    assert (deduped["version"], deduped["rows"]) == (2, 1960)
    diff = llmops(sample, "data", "diff", "triage@1", "triage@2")
    assert (diff["added"], diff["removed"], diff["changed"]) == (0, 40, 0)
    assert llmops(sample, "data", "rebuild", "triage@2")["same"]
    # The command's name in the first version.
    assert llmops(sample, "data", "remake", "triage@2")["same"]
    assert [v["version"] for v in llmops(sample, "data", "log", "triage")["versions"]] == [2, 1]
    assert llmops(sample, "data", "tag", "triage@1", "gold")["tags"] == ["gold"]
    assert llmops(sample, "data", "restore", "triage@gold")["version"] == 3
    assert llmops(sample, "data", "show", "nothing", code=3)["error"]["code"] == "dataset_not_found"
    assert llmops(sample, "data", "import", str(tmp_path / "nothing"), code=3)["error"]["code"] == "file_missing"
    assert (
        llmops(sample, "data", "query", "SELECT * FROM read_text('/etc/passwd')", code=3)["error"]["code"]
        == "query_refused"
    )
    key = sample.root / "inside.key"
    assert (
        llmops(sample, "data", "pseudonymise", "triage", "--key", str(key), code=3)["error"]["code"]
        == "key_in_workspace"
    )
    lines = llmops(sample, "data", "raw", str(Path(__file__)), "--line", "1", "-n", "1")["lines"]
    assert lines[0]["text"].startswith('"""The command line')


@pytest.mark.parametrize(
    ("count", "after"),
    [
        pytest.param(20_000, 0.0, marks=pytest.mark.slow),
        (20_000, 0.2),
        pytest.param(60_000, 0.6, marks=pytest.mark.slow),
    ],
)
def test_a_killed_import_goes_on_and_gives_the_same_version(
    workspace: Workspace, tmp_path: Path, count: int, after: float
) -> None:
    rows = [json.dumps(chat(f"question {n} " + "word " * 50, f"answer {n}", id=n)).encode() for n in range(count)]
    broken = count * 2 // 3
    rows[broken] = b"broken"
    path = tmp_path / "big.jsonl"
    path.write_bytes(b"\n".join(rows) + b"\n")
    job = llmops(workspace, "data", "import", str(path), "--name", "big", "--detach")["job"]
    # The worker is killed once it has said that it is at work, and so much later.
    wait_for(workspace, job, lambda found: found["state"] != "queued" and found["progress"] > 0)
    time.sleep(after)
    for process in psutil.process_iter(["cmdline"]):
        if "llmops_tui.jobs.worker" in (process.info["cmdline"] or ()) and job in process.info["cmdline"]:
            process.kill()
    ended = wait_for(workspace, job, lambda found: found["state"] not in {"queued", "running"})
    store = DatasetStore(Catalog(workspace))
    if ended["state"] != "done":
        assert ended["state"] == "killed"
        again = llmops(workspace, "job", "resume", job)["job"]
        done = wait_for(workspace, again, lambda found: found["state"] not in {"queued", "running"})
        assert done["state"] == "done", done["cause"]
    # Also where it was killed between keeping the version and saying so.
    assert len(store.log("big")) == 1
    version = store.get("big")
    assert [r.line for r in read_rejects(workspace, version)] == [broken + 1]
    assert import_now(store, [path], "whole", "messages").sha256 == version.sha256


def wait_for(workspace: Workspace, job: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The job's record, once something holds of it."""
    store = JobStore(EventLog(workspace))
    for _ in range(6000):
        found = store.get(job).as_dict()
        if condition(found):
            return found
        time.sleep(0.01)
    raise AssertionError(f"it never happened: {found}")
