"""Events as values that a rule can name: failed jobs, GPU errors.

An event is over as it begins, and rules look at values: so it counts for ten minutes. They are counted by a clock that
only goes on: with the clock of the wall set back, a job that failed would fail for hours.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from llmops_tui.hardware.gpus import Gpu
from llmops_tui.inference.experiments.records import Experiment
from llmops_tui.jobs.store import Job, JobState
from llmops_tui.monitoring.engines import EngineLoad

RECENT_SECONDS = 600.0
_BAD = {JobState.FAILED, JobState.KILLED, JobState.LOST}


class Recent:
    """What counters gained in the last ten minutes."""

    def __init__(self) -> None:
        self._before: dict[str, float] = {}
        self._gained: dict[str, deque[tuple[float, float]]] = {}

    def of_gpus(self, gpus: Iterable[Gpu], ticks: float) -> dict[str, float | None]:
        """What the counters of GPUs gained that are alarming as they grow."""
        found: dict[str, float | None] = {}
        for gpu in gpus:
            found[f"gpu{gpu.index}.xid"] = self._of(f"{gpu.uuid} xid", gpu.link.xids, ticks)
            found[f"gpu{gpu.index}.ecc_corrected"] = self._of(f"{gpu.uuid} ecc", gpu.link.ecc_corrected, ticks)
        return found

    def _of(self, name: str, count: int | None, ticks: float) -> float | None:
        if count is None:
            return None
        # What a counter had when it was first seen happened nobody knows when, and is no gain.
        gain = count - self._before.get(name, count)
        self._before[name] = count
        gained = self._gained.setdefault(name, deque())
        if gain > 0:
            gained.append((ticks, gain))
        while gained and ticks - gained[0][0] > RECENT_SECONDS:
            gained.popleft()
        return float(sum(number for _, number in gained))


class Failures:
    """Jobs that failed lately, and that none goes on with.

    ``watched`` are the ids that are to be among the jobs of the next look, however many newer ones there are.
    """

    def __init__(self) -> None:
        self.watched: frozenset[str] = frozenset()
        self._since: dict[str, float] = {}
        self._unfinished: set[str] = set()

    def lately(self, jobs: Iterable[Job], ticks: float, now: float) -> list[Job]:
        """Those of the given ones that failed, were killed or lost in the last ten minutes."""
        known = list(jobs)
        resumed = {job.resumes for job in known}
        bad = {job.id: job for job in known if job.state in _BAD and job.id not in resumed}
        self._since = {key: self._since.get(key, self._begin(job, ticks, now)) for key, job in bad.items()}
        self._unfinished = {job.id for job in known if not job.state.final}
        found = [job for key, job in bad.items() if ticks - self._since[key] < RECENT_SECONDS]
        self.watched = frozenset(self._unfinished | {job.id for job in found})
        return found

    def _begin(self, job: Job, ticks: float, now: float) -> float:
        # A lost job's end is when it last wrote, perhaps long ago: one that was seen at work is news now.
        if job.id in self._unfinished:
            return ticks
        # How long ago one failed that had before we first looked, only the clock on the wall can say.
        return ticks - max(0.0, now - (job.finished_at or job.created_at))


def of_jobs(jobs: Iterable[Job], failed: Iterable[Job]) -> dict[str, float | None]:
    """How many jobs of each kind failed lately."""
    bad = [job.kind for job in failed]
    return {f"job.{kind}.failed": float(bad.count(kind)) for kind in {job.kind for job in jobs}}


def of_experiments(experiments: Iterable[Experiment]) -> dict[str, float | None]:
    """Which experiments went back by themselves, until somebody ends them."""
    return {_series_of(one): float(one.state == "rolled back") for one in experiments}


def of_traffic(evidence: Mapping[str, float]) -> dict[str, float | None]:
    """The evidence that traffic changed, by what is checked."""
    return {f"drift.{monitor.replace(' ', '_')}.evidence": value for monitor, value in evidence.items()}


def _series_of(experiment: Experiment) -> str:
    return f"experiment.{experiment.name}.rolled_back"


def notes_of(
    gpus: Iterable[Gpu],
    engines: Iterable[EngineLoad],
    failed: Iterable[Job],
    experiments: Iterable[Experiment] = (),
) -> dict[str, str]:
    """By series, what the values stand for that an alert may be about."""
    found: dict[str, str] = {}
    for gpu in gpus:
        card = " ".join(word for word in (f"GPU {gpu.index}", gpu.name if gpu.name != "GPU" else "", gpu.uuid) if word)
        found[f"gpu{gpu.index}.lost"] = f"{card}: {gpu.trouble}" if gpu.trouble else card
        found[f"gpu{gpu.index}.throttled"] = f"{card}: {', '.join(gpu.throttled or ())}"
        found[f"gpu{gpu.index}.xid"] = f"{card}: Xid {gpu.link.fault}"
        found[f"gpu{gpu.index}.ecc_uncorrected"] = card
    for engine in engines:
        found[f"engine.{engine.model}.up"] = f"{engine.model}: {engine.why_down}"
    for experiment in experiments:
        found[_series_of(experiment)] = (
            f"{experiment.name} is answered by {experiment.model_of('a')} again: {experiment.why}"
        )
    for job in failed:
        name = f"job.{job.kind}.failed"
        told = f"{job.title} {job.state.value}" + (f": {job.cause}" if job.cause else "")
        found[name] = f"{found[name]}; {told}" if name in found else told
    return found
