"""Work in progress: processes of llmops by name, and the metrics of training runs."""

from __future__ import annotations

import os

from llmops_tui.hardware.processes import Ours
from llmops_tui.jobs.store import Job, JobStore
from llmops_tui.monitoring.engines import EngineLoad
from llmops_tui.training.history import HistoryReader


def ours(engines: tuple[EngineLoad, ...], jobs: tuple[Job, ...]) -> dict[int, Ours]:
    """The processes of this workspace by pid, and this app itself."""
    found = {os.getpid(): Ours("llmops", "app")}
    for engine in engines:
        # The number of one that has ended, or is in another container, is somebody else's.
        if engine.process.alive():
            found[engine.process.pid] = Ours(engine.model, "server")
    for job in jobs:
        if job.process is not None and job.process.alive():
            found[job.process.pid] = Ours(job.title, "run" if job.kind in {"train", "eval"} else "job")
    return found


class RunSeries:
    """The newest loss and speed of the training runs under way."""

    def __init__(self) -> None:
        self._readers: dict[str, HistoryReader] = {}

    def of(self, jobs: tuple[Job, ...], store: JobStore) -> dict[str, float | None]:
        """Their series."""
        running = {job.id: job for job in jobs if job.kind == "train"}
        self._readers = {key: reader for key, reader in self._readers.items() if key in running}
        found: dict[str, float | None] = {}
        for key, job in running.items():
            reader = self._readers.setdefault(key, HistoryReader(store.folder(job)))
            reader.poll()
            name = job.title.removeprefix("train ")
            found[f"training.{name}.loss"] = reader.history.last("loss")
            found[f"training.{name}.tokens_per_s"] = reader.history.last("tokens_per_s")
        return found
