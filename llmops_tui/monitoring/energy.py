"""Energy of a time range from recorded GPU power, and per unit of work."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from llmops_tui.jobs.store import Job
from llmops_tui.monitoring.history import History
from llmops_tui.workspace.event_log import EventLog


@dataclass(frozen=True)
class Energy:
    """Joules of all GPUs between two moments, and how much of that time was measured, 0 to 1.

    ``tokens`` were generated in that time; the energy is that of the whole cards, whoever used them.
    """

    joules: float
    covered: float
    tokens: int

    @property
    def per_thousand_tokens(self) -> float | None:
        """Joules for a thousand generated tokens; none without any."""
        return self.joules / self.tokens * 1000 if self.tokens else None


def energy_between(history: History, event_log: EventLog, begin: float, end: float, now: float) -> Energy | None:
    """The energy of a stretch of time; none where no power was ever measured in it.

    Where the measurement has gaps, the mean of what was measured stands for them, and ``covered`` says so.
    """
    names = [name for name in history.series() if name.startswith("gpu") and name.endswith(".power")]
    joules, covered = 0.0, []
    for name in names:
        values = history.read(name, begin, end, now).mean
        known = values[np.isfinite(values)]
        if known.size:
            joules += float(known.mean()) * max(0.0, end - begin)
            covered.append(known.size / values.size)
    if not covered:
        return None
    sql = "SELECT coalesce(sum(tokens), 0) FROM timings WHERE ended_at BETWEEN ? AND ?"
    tokens = int(event_log.connection().execute(sql, (begin, end)).fetchone()[0])
    return Energy(joules, min(1.0, sum(covered) / len(covered)), tokens)


def energy_of_job(history: History, event_log: EventLog, job: Job, now: float) -> Energy | None:
    """The energy from a job's start to its end, or until now; none where no power was measured, or it never began."""
    if job.started_at is None:
        return None
    end = job.finished_at or now
    return energy_between(history, event_log, job.started_at, end, now)
