"""Feeds the status line from the recorder once a second."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_tui.errors import LlmopsError
from screens.shell.status_line import LoadHistory
from screens.shell.tab_badges import BadgeCounts
from screens.shell.workspace_status import workspace_status

if TYPE_CHECKING:
    from textual.notifications import SeverityLevel

    from llmops_tui.monitoring.alerts import Alert
    from llmops_tui.monitoring.engines import EngineLoad
    from llmops_tui.monitoring.recorder import Moment
    from screens.shell.shell import Shell

_SECONDS = 2.0
_FIRST_SECONDS = 0.5


def model_told(chosen: str | None, engines: Iterable[EngineLoad]) -> tuple[str | None, bool]:
    """The model to name, and whether it is loaded: the one that is chosen, or before any screen chose one a loaded one."""
    loaded = [engine.model for engine in engines if engine.state != "dead"]
    model = chosen if chosen is not None or not loaded else loaded[0]
    return model, (model or "").partition("+")[0] in loaded


class StatusFeed:
    """Runs as one worker of the app; the recorder lives as long as it does."""

    def __init__(self, app: Shell) -> None:
        self._app = app
        self._cpu = LoadHistory()
        self._gpu = LoadHistory()
        self._loop: asyncio.AbstractEventLoop
        self._context: contextvars.Context
        self._notices: set[Path] | None = None
        self._counts = BadgeCounts()

    async def run(self) -> None:
        """Look, tell the app, wait; until the app ends."""
        await asyncio.sleep(_FIRST_SECONDS)
        # What is there by now stays until the end; searching it for garbage takes as long as a change of screen.
        gc.freeze()
        gc.enable()
        # The file was only glanced at before the first frame; what is wrong in it is told now.
        await asyncio.to_thread(lambda: self._app.services.settings)
        for problem in self._app.services.settings_problems:
            self._app.say(problem, severity="warning")
        services = self._app.services
        self._loop, self._context = asyncio.get_running_loop(), contextvars.copy_context()
        services.alerts_told = self._tell_alerts
        recorder = await asyncio.to_thread(lambda: services.recorder)
        recorder.start()
        try:
            while True:
                moment = recorder.moment
                if moment is not None and self._app.app_focus:
                    # What is wrong with the workspace is told by whoever works on it.
                    with contextlib.suppress(LlmopsError):
                        seen = await asyncio.to_thread(self._fields, moment)
                        # Read for this line, and not by the recorder: what stands on a screen may be newer than that.
                        jobs = await asyncio.to_thread(self._app.services.jobs.store.unfinished)
                        running = self._app.running
                        running.take(jobs, complete=True)
                        seen |= {
                            **running.told(),
                            "badges": self._counts.look(
                                running.jobs, moment.ended, len(moment.alerts), self._app.current_mode
                            ),
                        }
                        # Of now: a model chosen during the look stays chosen.
                        status = self._app.status
                        model, loaded = model_told(status.model, moment.engines)
                        self._app.show_status(replace(status, model=model, loaded=loaded, **seen))
                await asyncio.sleep(_SECONDS if moment is not None else _FIRST_SECONDS)
        finally:
            recorder.stop()

    def _tell_alerts(self, alerts: list[Alert]) -> None:
        """Tell of alerts that were raised, or are over, at one look; called by the recorder's thread."""
        for title in ("Alert", "Over"):
            group = [alert for alert in alerts if (alert.cleared_at is None) == (title == "Alert")]
            # A wall of notices hides what one works on, and says no more than the monitor's list does.
            more = f", and {len(group) - 1:,} more: the monitor lists them." if len(group) > 1 else ""
            told = [f"{alert.text}{more}" for alert in group[:1]]
            severity: SeverityLevel = "information"
            if title == "Alert":
                severity = "error" if any(alert.rule.severity == "error" for alert in group) else "warning"
            for text in told:
                say = partial(self._app.say, text, title=title, severity=severity, seconds=12.0)
                with contextlib.suppress(RuntimeError):  # the app may be ending
                    self._loop.call_soon_threadsafe(say, context=self._context)

    def _tell_notices(self, notices: list[tuple[Path, str]]) -> None:
        """Tell of those that were left while the app runs; the ones from before it are counted in the status line."""
        if self._notices is not None:
            for path, text in notices:
                if path not in self._notices:
                    say = partial(self._app.say, text, title="Notice", severity="warning", seconds=15.0)
                    with contextlib.suppress(RuntimeError):  # the app may be ending
                        self._loop.call_soon_threadsafe(say, context=self._context)
        self._notices = {path for path, _ in notices}

    def _fields(self, moment: Moment) -> dict[str, Any]:
        """Fields of the status at a moment."""
        from llmops_tui.workspace.notices import read_notices

        notices = read_notices(self._app.services.workspace)
        self._tell_notices(notices)
        gpu = moment.gpus.gpus[0] if moment.gpus.gpus else None
        memory = ""
        if gpu is not None and gpu.memory_used is not None and gpu.memory_total:
            memory = f"{gpu.memory_used / 1e9:.0f}/{gpu.memory_total / 1e9:.0f}G"
        return {
            "workspace_status": workspace_status(self._app.services.workspace),
            "cpu": self._cpu.add(moment.host.cpu),
            "gpu": self._gpu.add(gpu.utilisation if gpu else None),
            "gpu_memory": memory,
            "notices": len(notices) + len(moment.alerts),
        }
