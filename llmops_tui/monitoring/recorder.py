"""The recorder: samples everything once a second, stores it, and evaluates the alert rules.

One process a workspace records; the others look for themselves and read what was kept. It goes on while no screen
shows it, and notes what it costs.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from llmops_tui.errors import LlmopsError
from llmops_tui.hardware.gpu_sampler import GpuSampler
from llmops_tui.hardware.gpus import GpuView
from llmops_tui.hardware.host import HostLoad, HostSampler
from llmops_tui.hardware.processes import ProcessLoad, ProcessSampler
from llmops_tui.inference.experiments.store import ExperimentStore
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.jobs.store import Job, JobState, JobStore
from llmops_tui.monitoring import occurrences, series
from llmops_tui.monitoring.alerts import Alert, AlertEngine, run_command
from llmops_tui.monitoring.changes import ChangeWatch
from llmops_tui.monitoring.engines import EngineLoad, EngineSampler
from llmops_tui.monitoring.history import FLUSH_SECONDS, History
from llmops_tui.monitoring.history_writer import HistoryWriter
from llmops_tui.monitoring.in_progress import RunSeries, ours
from llmops_tui.monitoring.latency import WINDOW_MINUTES, Latencies, Latency
from llmops_tui.monitoring.records import MomentRecord
from llmops_tui.monitoring.rules import DEFAULT_RULES, load_rules, may_run
from llmops_tui.monitoring.traffic_days import TrafficDays
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.locks import try_lock

_log = logging.getLogger(__name__)

_SECOND = 1.0
_PHASE = 0.4
_SLOW_SECONDS = 5.0
_LATENCY_SECONDS = 5
_PRUNE_SECONDS = 3600
_TIMINGS_KEPT = 2 * 86_400


@dataclass(frozen=True)
class Moment:
    """Everything at one moment. ``cost`` is the share of a core that looking took lately; ``recording`` whose pid.

    ``jobs`` are at work; ``ended`` are those of the newest that are not any more, with all that were at the look before.
    """

    at: float
    host: HostLoad
    gpus: GpuView
    engines: tuple[EngineLoad, ...] = ()
    latencies: tuple[Latency, ...] = ()
    processes: tuple[ProcessLoad, ...] = ()
    jobs: tuple[Job, ...] = ()
    alerts: tuple[Alert, ...] = ()
    cost: float = 0.0
    recording: bool = False
    trouble: str = ""
    ended: tuple[Job, ...] = ()

    def as_dict(self) -> MomentRecord:
        """For JSON; of the processes ours and those on GPUs."""
        view = self.gpus
        return {
            "at": self.at,
            "host": asdict(self.host),
            "gpu": {
                "state": view.state,
                "cause": view.cause,
                "remedy": view.remedy,
                "gpus": [asdict(g) for g in view.gpus],
            },
            "engines": [engine.as_dict() for engine in self.engines],
            "latency": {window.model: window.as_dict() for window in self.latencies},
            "processes": [asdict(p) for p in self.processes if p.role or p.gpu_memory is not None],
            "jobs": [job.as_dict() for job in self.jobs],
            "alerts": [alert.as_dict() for alert in self.alerts],
            "recording": self.recording,
            "cost": self.cost,
            "trouble": self.trouble,
        }


@dataclass
class _Costs:
    """Processor time of the recording thread."""

    began: float = field(default_factory=time.monotonic)
    spent: float = 0.0

    def add(self, seconds: float) -> float:
        """Add what one look took; returns the share of a core of late."""
        self.spent += seconds
        now = time.monotonic()
        share = self.spent / max(1.0, now - self.began)
        if now - self.began > 120:
            # Half of the past is forgotten, so that the share follows what happens now.
            self.began, self.spent = now - (now - self.began) / 2, self.spent / 2
        return share


class Recorder:
    """Looks, keeps and warns. Call :meth:`inspect` each second, or :meth:`start` a thread that does.

    ``clock`` stamps what is kept; ``ticks`` only goes on, and counts all waits, windows and what is due.
    ``wants_processes`` is asked before each look whether anybody shows processes: finding them is the dearest part.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        gpus: GpuSampler | None = None,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
        told: Callable[[list[Alert]], None] | None = None,
        wants_processes: Callable[[], bool] = lambda: False,
    ) -> None:
        self.workspace = workspace
        self.history = History(workspace.history)
        self._writer = HistoryWriter(self.history)
        self.moment: Moment | None = None
        self._clock = clock
        self._ticks = ticks
        self._told = told
        self._wants_processes = wants_processes
        self._gpus = gpus or GpuSampler()
        self._host = HostSampler(workspace.root)
        self._processes: ProcessSampler | None = None
        self._engines = EngineSampler(ServerSupervisor(workspace))
        self._event_log = EventLog(workspace)
        self._jobs = JobStore(self._event_log)
        self._experiments = ExperimentStore(self._event_log)
        self._traffic = TrafficDays(self._event_log)
        self._runs = RunSeries()
        self._recent = occurrences.Recent()
        self._failures = occurrences.Failures()
        self._changes: ChangeWatch | None = None
        self._latencies = Latencies()
        self._windows: tuple[Latency, ...] = ()
        self._alerts = AlertEngine(DEFAULT_RULES)
        self._costs = _Costs()
        self._lock_file: int | None = None
        self._took_over = False
        self._cursor: tuple[str, int] | None = None
        self._counted_to = -math.inf
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        # By the clock that only goes on: when something was last done.
        self._cursor_moved = self._flushed = self._pruned = self._counted = -math.inf
        self._rules_stamp: float | None = -1.0
        self._poll_error = self._rules_error = ""

    @property
    def trouble(self) -> str:
        """What is wrong with looking, with what is kept, or with the rules; nothing where all is well."""
        return self._poll_error or self._writer.trouble or self._rules_error

    @property
    def recording(self) -> bool:
        """Whether this process is the one that records the workspace."""
        return self._lock_file is not None

    # ── the threads ──

    def start(self) -> None:
        """Look each second in a thread, and ask for what blocks in another."""
        for work, seconds in ((self.inspect, _SECOND), (self.inspect_slowly, _SLOW_SECONDS)):
            thread = threading.Thread(target=self._run, args=(work, seconds), name="recorder", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Stop looking, and write what is not written yet."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=3.0)
        self._keep(self._clock(), self._ticks())
        self.history.close()
        self._engines.close()
        self._gpus.close()
        self._event_log.close()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def _run(self, work: Callable[[], Any], seconds: float) -> None:
        while not self._stop.is_set():
            try:
                work()
            except LlmopsError as error:
                self._poll_error = error.told
            except Exception as error:  # noqa: BLE001  a look that fails must not end all looks
                self._poll_error = f"{type(error).__name__}: {error}"
                _log.exception("looking failed")
            else:
                self._poll_error = ""
            # In the middle of each second, so that none is looked at twice and another not at all. A look that comes
            # late is left out, never made up for.
            self._stop.wait(seconds - (time.time() - _PHASE) % seconds)

    # ── one look ──

    def inspect(self) -> Moment:
        """Look at everything now, and keep it where this process records."""
        began = time.thread_time()
        now, ticks = self._clock(), self._ticks()
        self._claim()
        showing = self._wants_processes()
        view = self._gpus.inspect(processes=showing)
        host = self._host.sample()
        engines = tuple(self._engines.inspect())
        known = self._jobs.lately(50, self._failures.watched)
        jobs = tuple(job for job in known if job.state == JobState.RUNNING)
        failed = self._failures.lately(known, ticks, now)
        experiments = self._experiments.in_force()
        processes: tuple[ProcessLoad, ...] = ()
        if showing:
            self._processes = self._processes or ProcessSampler()
            processes = self._processes.inspect(view.gpus, ours(engines, jobs))
        with self._writer.trying("requests"):
            self._count(now, ticks)
        values = (
            series.of_host(host)
            | series.of_gpus(view.gpus)
            | self._recent.of_gpus(view.gpus, ticks)
            | series.of_engines(engines)
            | series.of_latencies(self._latencies, ticks)
            | occurrences.of_jobs(known, failed)
            | occurrences.of_experiments(experiments)
            | occurrences.of_traffic(self._traffic.evidence())
            | self._runs.of(jobs, self._jobs)
        )
        if self.recording:
            # Told before anything is written: a disk that takes nothing is when alerts are needed.
            self._warn(now, ticks, values, occurrences.notes_of(view.gpus, engines, failed, experiments))
            self._writer.measured(now, values)
            self._note_changes(now, engines)
            if ticks - self._flushed >= FLUSH_SECONDS:
                self._keep(now, ticks)
        cost = self._costs.add(time.thread_time() - began)
        # An alert changes as it goes on, and a moment is drawn by others.
        alerts = tuple(replace(a) for a in self._alerts.active) if self.recording else self._others_alerts(ticks)
        ended = tuple(job for job in known if job.state.final)
        self.moment = Moment(
            now, host, view, engines, self._windows, processes, jobs, alerts, cost, self.recording, self.trouble, ended
        )
        self._cursor_moved = ticks
        return self.moment

    @property
    def age(self) -> float:
        """Seconds since the last look that came to its end; without end before the first."""
        return self._ticks() - self._cursor_moved

    def inspect_slowly(self) -> None:
        """Ask for what blocks: PCIe traffic, memory errors, critical errors."""
        self._gpus.inspect_slowly()

    def _claim(self) -> None:
        """Become the one that records, where nobody does."""
        if self._lock_file is None:
            self._lock_file = try_lock(self.workspace.root / "recorder.lock")
            if self._lock_file is None:
                return
            # What was counted for show alone is counted again, from where whoever recorded before had kept it.
            self._cursor, self._latencies = None, Latencies()
        if not self._took_over:
            # Tried again until it worked: alerts of before that nobody goes on with would stay raised for ever.
            with self._writer.trying("kept alerts"):
                raised = [alert for alert in self.history.alerts() if alert.cleared_at is None]
                self._took_over = True
                own = {alert.id for alert in self._alerts.active}
                self._writer.told(self._alerts.take_over(alert for alert in raised if alert.id not in own))

    def _count(self, now: float, ticks: float) -> None:
        """Take in the requests that ended since the last look."""
        # Those that came between two looks are no older than the first of them, whatever the clock on the wall says.
        longest = ticks - self._counted_to
        self._counted_to = ticks
        if self._cursor is None:
            longest = math.inf
            event_log = str(self._event_log.connection().execute("SELECT journal FROM identity").fetchone()[0])
            kept, minutes = self.history.cursor(event_log), self.history.minutes(now - WINDOW_MINUTES * 60, now)
            self._latencies.take_over(minutes, now, ticks)
            self._cursor = (event_log, kept)
        event_log, seq = self._cursor
        while timings := self._event_log.timings_after(seq):
            for timing in timings:
                self._latencies.observe(timing, ticks - min(longest, max(0.0, now - timing.ended_at)))
            seq = timings[-1].seq
        changed = seq != self._cursor[1]
        self._cursor = (event_log, seq)
        if changed or ticks - self._counted >= _LATENCY_SECONDS:
            self._counted = ticks
            self._windows = tuple(self._latencies.window(model, ticks) for model in self._latencies.models())
            if not self.recording:
                # Whoever records keeps the minutes; here they are only forgotten in time.
                self._latencies.settle(ticks)

    def _note_changes(self, now: float, engines: tuple[EngineLoad, ...]) -> None:
        if self._changes is None:
            with self._writer.trying("changes of before"):
                self._changes = ChangeWatch(self.workspace.alert_rules, self.history.known())
        if self._changes is not None:
            self._writer.changed(*self._changes.inspect(now, engines))

    def _warn(self, now: float, ticks: float, values: dict[str, float | None], notes: dict[str, str]) -> None:
        path = self.workspace.alert_rules
        stamp = path.stat().st_mtime if path.exists() else None
        if stamp != self._rules_stamp:
            self._rules_stamp = stamp
            self._rules_error = ""
            try:
                self._alerts.rules = load_rules(path)
            except LlmopsError as error:
                # The rules that were used before go on.
                self._rules_error = error.told
        alerts = self._alerts.step(ticks, values, at=now, notes=notes)
        try:
            self._tell(alerts)
        finally:
            self._writer.told(alerts)

    def _tell(self, alerts: list[Alert]) -> None:
        path = self.workspace.alert_rules
        for alert in alerts:
            if alert.rule.command and not may_run(path):
                self._rules_error = (
                    f"the command of {alert.rule.name!r} was not run: you have not approved {path.name}. "
                    f"llmops monitor alerts --use {path} approves it."
                )
            elif alert.rule.command:
                threading.Thread(target=self._run_command, args=(replace(alert),), daemon=True).start()
        if alerts and self._told is not None:
            self._told(alerts)

    def _run_command(self, alert: Alert) -> None:
        problem = run_command(alert)
        if problem:
            self._rules_error = problem

    def _others_alerts(self, ticks: float) -> tuple[Alert, ...]:
        """What the process that records has raised."""
        if ticks - self._flushed < FLUSH_SECONDS and self.moment is not None:
            return self.moment.alerts
        self._flushed = ticks
        known = () if self.moment is None else self.moment.alerts
        with self._writer.trying("kept alerts"):
            known = tuple(self.history.alerts())
        return tuple(alert for alert in known if alert.cleared_at is None)

    def _keep(self, now: float, ticks: float) -> None:
        if not self.recording:
            return
        self._flushed = ticks
        self._writer.flush()
        with self._writer.trying("minutes"):
            fresh = self._latencies.fresh()
            if fresh and self._cursor is not None:
                self.history.keep_minutes(fresh, self._cursor)
            # Only now: what could not be kept is tried again with what came meanwhile.
            self._latencies.settle(ticks)
        if ticks - self._pruned >= _PRUNE_SECONDS:
            with self._writer.trying("old samples"):
                try:
                    self.history.prune(now)
                except LlmopsError as error:
                    # A clock that is ahead is looked at again as seldom as all else.
                    self._pruned = ticks if error.code == "clock_ahead" else self._pruned
                    raise
                self._pruned = ticks
                if self._cursor is not None:
                    self._event_log.forget_timings(now - _TIMINGS_KEPT, self._cursor[1])
