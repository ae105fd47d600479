"""What jobs made that can be taken back, though nobody waited for their end: versions of datasets, and models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import LlmopsError
from llmops_tui.jobs.store import Job, JobState, JobStore
from llmops_tui.models.registry import Model, ModelRegistry
from llmops_tui.workspace.event_log import EventLog

# Kinds of jobs that make versions, and the one that registers a file.
_VERSIONS, _ADD = ("import", "dataset", "synthesis"), "add"
_MOST = 50


def jobs_since(event_log: EventLog, until: float) -> list[Job]:
    """Such jobs that ended well after a time, in the order in which they ended."""
    store = JobStore(event_log)
    found = [job for kind in (*_VERSIONS, _ADD) for job in store.of_kind(kind, _MOST)]
    ended = [job for job in found if job.state is JobState.DONE and job.result and (job.finished_at or 0) > until]
    return sorted(ended, key=lambda job: job.finished_at or 0)


def versions_of_job(datasets: DatasetStore, job: Job) -> Iterator[DatasetVersion]:
    """The versions that a job made; not those that were there already, since they have just these rows."""
    result = job.result or {}
    for part in result.get("parts", [result]) if job.kind in _VERSIONS else []:
        # It may be removed by now, and a job of before may say it in another way.
        with suppress(LlmopsError, KeyError, TypeError):
            version = datasets.get(f"{part['dataset']}@{part['version']}")
            if version.created_at >= job.created_at:
                yield version


def models_of(models: ModelRegistry, job: Job) -> Iterator[Model]:
    """The model that a job registered; none where its name was known."""
    result = job.result or {}
    if job.kind == _ADD and result.get("new"):
        with suppress(LlmopsError):
            model = models.get(str(result.get("model")))
            if model.sha256 == result.get("sha256"):
                yield model
