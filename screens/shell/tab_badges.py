"""The counts on the tabs: what runs, what failed and what ended since its screen was last in front."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmops_tui.jobs.store import Job

# Packages of the engine whose jobs belong to the screen of the same name.
_SCREENS = frozenset({"training", "evaluation", "datasets", "models"})
_JOBS = "jobs"
_ALERTS = "monitor"
# Whose tabs keep room for one.
BADGED = _SCREENS | {_JOBS, _ALERTS}


@dataclass(frozen=True)
class Badge:
    """Counts of one tab: at work now; failed, and ended well, since the screen was last in front; alerts that hold."""

    running: int = 0
    failed: int = 0
    new: int = 0
    alerts: int = 0


def screens_of(job: Job) -> tuple[str, ...]:
    """The screens a job concerns: that of jobs, and that of what it works on."""
    package = job.spec["entry"].removeprefix("llmops_tui.").partition(".")[0]
    return (_JOBS, package) if package in _SCREENS else (_JOBS,)


class BadgeCounts:
    """Follows the jobs from one look to the next."""

    def __init__(self) -> None:
        self._running: dict[str, Job] = {}
        self._began = time.time()
        self._told: set[str] = set()
        self._failed: dict[str, set[str]] = {}
        self._new: dict[str, set[str]] = {}

    def look(self, running: Iterable[Job], ended: Iterable[Job], alerts: int, front: str = "") -> dict[str, Badge]:
        """The badges now. Jobs that ``ended`` since this began count also where they ran between two looks only.

        Somebody looks at the screen in ``front``: what ended there is no news, and is none later.
        """
        for job in ended:
            here = job.id in self._running or (job.finished_at or 0.0) >= self._began
            if not here or job.id in self._told:
                continue
            self._told.add(job.id)
            kept = self._new if job.state.value == "done" else self._failed
            if job.state.value != "cancelled":
                for screen in screens_of(job):
                    kept.setdefault(screen, set()).add(job.id)
        self._failed.pop(front, None)
        self._new.pop(front, None)
        self._running = {job.id: job for job in running}
        return self._badges(alerts)

    def _badges(self, alerts: int) -> dict[str, Badge]:
        running: dict[str, int] = {}
        for job in self._running.values():
            for screen in screens_of(job):
                running[screen] = running.get(screen, 0) + 1
        found = {
            screen: Badge(running.get(screen, 0), len(self._failed.get(screen, ())), len(self._new.get(screen, ())))
            for screen in {*running, *self._failed, *self._new}
        }
        return found | ({_ALERTS: Badge(alerts=alerts)} if alerts else {})
