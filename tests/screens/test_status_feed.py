"""What the status line says of a job is what its pane says at the same moment."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from llmops_tui.errors import NotFoundError
from llmops_tui.jobs.store import JobState
from screens.shell.status_feed import StatusFeed


def test_the_progress_of_a_job_is_read_when_it_is_told() -> None:
    seen = SimpleNamespace(id="job_1", title="evaluate triage@1", progress=0.39, state=JobState.RUNNING)
    now: list[Any] = [SimpleNamespace(id="job_1", title="evaluate triage@1", progress=0.68, state=JobState.RUNNING)]

    def get(_job: str) -> object:
        if not now:
            raise NotFoundError("job", "job_1", "")
        return now[0]

    app: Any = SimpleNamespace(services=SimpleNamespace(jobs=SimpleNamespace(store=SimpleNamespace(get=get))))
    feed: Any = StatusFeed(app)
    assert feed._title(seen) == "evaluate triage@1 68%"
    now[0].state = JobState.DONE
    assert feed._title(seen) == ""
    # One that was deleted meanwhile is told as it was seen.
    now.clear()
    assert feed._title(seen) == "evaluate triage@1 39%"
