"""Activity in a time range: the jobs and requests that ran."""

from __future__ import annotations

from dataclasses import dataclass

from llmops_tui.jobs.store import Job, JobStore
from llmops_tui.workspace.event_log import EventLog, Timing

_MANY = 200


@dataclass(frozen=True)
class Activity:
    """Jobs and requests between two moments; of many requests the longest, and how many there were."""

    jobs: tuple[Job, ...]
    requests: tuple[Timing, ...]
    count: int


def activity_between(event_log: EventLog, begin: float, end: float, now: float) -> Activity:
    """What was under way between two moments. Requests are known for two days, jobs for as long as their record is."""
    jobs = []
    for job in JobStore(event_log).all(1000):
        started = job.started_at or job.created_at
        ended = job.finished_at or (now if not job.state.final else started)
        if started <= end and ended >= begin:
            jobs.append(job)
    requests = event_log.timings_between(begin, end, _MANY)
    return Activity(tuple(jobs), tuple(requests), len(requests))
