"""What came of a job, in words: what it made, its figures and where they are; or why it ended as it did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from llmops_tui.figures import figure
from llmops_tui.jobs.store import Job, JobState

# By what a thing in a result is known.
_NAMES = ("ref", "run", "model", "name", "id")
# Hashes prove what something is; nobody reads them.
_HASHES = ("sha256", "hash")
_MOST_FACTS = 8
# From where on how fast a job goes says how long it still takes.
_LEAST_SHARE, _LEAST_SECONDS = 0.03, 2.0


def outcome(job: Job) -> str:
    """One line: of a job at work what it says of its work now, of one that is done what it made, of others the reason.

    A text of the job's own is foreign, whoever shows it makes it safe.
    """
    if not job.state.final:
        return job.message
    if job.state == JobState.DONE:
        facts = [f"{name} {value}" for name, value in facts_of(job)[:_MOST_FACTS]]
        return " · ".join(facts) or job.message
    reached = f"at {job.progress:.0%}{f': {job.message}' if job.message else ''}" if job.progress else ""
    return job.cause or reached


def seconds_left(job: Job, now: float) -> float | None:
    """How many seconds a job at work still takes, where it goes on as fast as until ``now``; none where nobody can say.

    A resumed job has done an unknown share of its own.
    """
    if job.state != JobState.RUNNING or job.started_at is None or job.resumes is not None:
        return None
    passed = now - job.started_at
    if passed < _LEAST_SECONDS or not _LEAST_SHARE <= job.progress < 1:
        return None
    return passed * (1 - job.progress) / job.progress


def facts_of(job: Job) -> list[tuple[str, str]]:
    """What a job tells that it made, by names, as one reads them; nothing before it is done."""
    return list(_facts(job.result or {}))


def _facts(result: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name, value in result.items():
        told = _told(value)
        if told not in (None, "", [], {}) and not name.endswith(_HASHES):
            yield name.replace("_", " "), figure(told, name)


def _told(value: object) -> object:
    """A value, or what its things are called; nothing of records that have no name, which are for programs."""
    if isinstance(value, Mapping):
        return next((value[name] for name in _NAMES if isinstance(value.get(name), str)), None)
    if isinstance(value, list | tuple):
        return [told for one in value if (told := _told(one)) is not None]
    return value
