"""A sample workspace in which something happened: requests, jobs and runs, as they would be after a day of work."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest

from llmops_tui.jobs.store import JobStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.screens.test_evaluation import pretend
from tests.screens.test_training import pretend_run

_ASKED = (
    "Please refund the kettle. It is urgent.",
    "Where is my floor lamp? I ordered it two weeks ago.",
    "Können Sie mir den Wasserkocher ersetzen? 返金できますか 👩‍👩‍👧‍👦",
    "[bold]Is this markup?[/] \x1b[31mred\x1b[0m",
    "Can I swap the office chair for a smaller one?",
)
_JOBS = (
    ("verify", "verify support-base", "done", 1.0, "", "support-base is intact"),
    ("quantize", "quantize support-base to Q4_K_M", "running", 0.41, "", "tensor 120 of 290"),
    ("get", "get smollm2-135m-instruct", "failed", 0.2, "the server closed the connection after 18.6 MB", ""),
    ("check", "check triage@7", "cancelled", 0.6, "", "row 1,200 of 2,000"),
    ("train", "train qlora-03", "killed", 0.8, "SIGKILL: out of memory", "step 800 of 1,000"),
)


def requests(count: int) -> list[tuple[Any, ...]]:
    """Rows of the table of requests, the same ones each time but for the hour that they end with."""
    chosen = random.Random(20)
    now, rows = time.time(), []
    for number in range(count):
        state = "error" if number % 17 == 0 else "length" if number % 13 == 0 else "stop"
        total = chosen.lognormvariate(5.5, 0.9)
        tokens = int(total / 6) + 1
        question = _ASKED[number % len(_ASKED)]
        rows.append(
            (
                f"run_{number:06}", now - number * 97.3, "support-base", "triage" if number % 3 else None,
                number % 4 + 1 if number % 3 else None, json.dumps([{"role": "user", "content": question}]),
                json.dumps({"temperature": 0.2888577878475189, "max_tokens": 256, "stop": []}),
                "" if state == "error" else f'{{"intent": "refund", "urgency": "high"}} {number}', state,
                "the engine died: signal 11" if state == "error" else None, 40 + number % 7, tokens, 12,
                total * 0.2, total, tokens / total * 1000, 0 if number % 5 else tokens // 2,
            )
        )  # fmt: skip
    return rows


def live(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, *, count: int = 60) -> None:
    """Fill it."""

    def work(connection: Any) -> None:
        connection.executemany(
            "INSERT INTO requests (id, started_at, model, prompt, prompt_version, messages, parameters, output, "
            "finish_reason, error, prompt_tokens, completion_tokens, reused_tokens, ttft_ms, total_ms, tokens_per_s, "
            f"reasoning_tokens) VALUES ({', '.join('?' * 17)})",
            requests(count),
        )

    Catalog(workspace).write(work)
    pretend(workspace, [1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    pretend(workspace, [1.0, 1.0, 0.0, 1.0, 0.0, 0.0])
    pretend_run(workspace, monkeypatch)
    jobs, now = JobStore(EventLog(workspace)), time.time()
    for number, (kind, title, state, share, cause, message) in enumerate(_JOBS):
        job = jobs.add(kind=kind, title=title, spec={"entry": "llmops_tui.models.tasks:verify", "arguments": {}})
        ended = None if state == "running" else now - number * 60.5
        jobs.update(
            job.id, state=state, progress=share, cause=cause, message=message,
            started_at=now - number * 400.25 - 90, finished_at=ended,
        )  # fmt: skip
