"""What came of a job, in words: what it made, its figures and where they are; or why it ended as it did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from llmops_tui.counts import counted
from llmops_tui.figures import figure
from llmops_tui.jobs.store import Job, JobState

# By what a thing in a result is known.
_NAMES = ("ref", "run", "model", "name", "id")
# Hashes prove what something is; nobody reads them.
_HASHES = ("sha256", "hash")
_MOST_FACTS = 8
# What a version is called by otherwise, or says of itself that nobody asks for where it was made.
_OF_A_VERSION = frozenset({"version", "id", "parent", "columns", "folder"})
# From where on how fast a job goes says how long it still takes.
_LEAST_SHARE, _LEAST_SECONDS = 0.03, 2.0


def outcome(job: Job) -> str:
    """One line: of a job at work what it says of its work now, of one that is done what it made, of others the reason.

    A text of the job's own is foreign, whoever shows it makes it safe.
    """
    if not job.state.final:
        return job.message
    if job.state == JobState.DONE:
        # A name that stands in the title is known; a figure that is equal to one there is another one.
        words = {word for word in job.title.split() if not word[0].isdigit()}
        found = [fact for fact in facts_of(job) if fact[1] not in words] or facts_of(job)
        facts = [f"{name} {value}" for name, value in found[:_MOST_FACTS]]
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
    for name, value in _readable(result).items():
        told = _told(value)
        if told not in (None, "", [], {}) and not name.endswith(_HASHES):
            text = " × ".join(map(str, told)) if name == "batch" and isinstance(told, list) else figure(told, name)
            yield name.replace("_", " ").removesuffix(" bytes"), text


def _readable(result: Mapping[str, object]) -> Mapping[str, object]:
    """A result without ids of what has a name; a dataset's version is told as one calls it, and its rows next to it."""
    if (ref := _dataset(result)) is not None:
        parent = result.get("parent")
        first: dict[str, object] = {"dataset": ref, "rows": result.get("rows")}
        if isinstance(parent, int):
            first["made of"] = f"{result['dataset']}@{parent}"
        return first | {name: value for name, value in result.items() if name not in {*first, *_OF_A_VERSION}}
    named = any(isinstance(result.get(name), str) for name in _NAMES if name != "id")
    return {name: value for name, value in result.items() if name != "id" or not named}


def _dataset(record: Mapping[str, object]) -> str | None:
    dataset, version = record.get("dataset"), record.get("version")
    return f"{dataset}@{version}" if isinstance(dataset, str) and isinstance(version, int) else None


def _told(value: object) -> object:
    """A value, or what its things are called; nothing of records that have no name, which are for programs."""
    if isinstance(value, Mapping):
        if (ref := _dataset(value)) is not None:
            rows = value.get("rows")
            return f"{ref} {counted(rows, 'row')}" if isinstance(rows, int) else ref
        name = next((value[name] for name in _NAMES if isinstance(value.get(name), str)), None)
        return f"{name} {measured}" if name is not None and (measured := _first_metric(value)) else name
    if isinstance(value, list | tuple):
        return [told for one in value if (told := _told(one)) is not None]
    return value


def _first_metric(run: Mapping[str, object]) -> str:
    """What a run of an evaluation came to by the metric that its suite names first; empty for what is none."""
    metrics = run.get("metrics")
    if not isinstance(metrics, Mapping):
        return ""
    for name, found in metrics.items():
        mean = found.get("mean") if isinstance(found, Mapping) else None
        if isinstance(mean, int | float):
            unit = found.get("unit") or ""
            told = f"{mean:.1%}" if found.get("binary") else f"{figure(mean)} {unit}".rstrip()
            return f"{name} {told}"
    return ""
