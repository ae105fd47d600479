"""Feeds the status line: looks at the machine, the servers and the jobs every two seconds, in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmops_tui.errors import LlmopsError
from screens.widgets.status_line import LoadHistory

if TYPE_CHECKING:
    from llmops_tui.monitoring.host import HostSampler
    from screens.app import LlmopsApp

_SECONDS = 2.0
_FIRST_SECONDS = 0.5


class StatusFeed:
    """Runs as one worker of the app; a look that comes late is skipped, never queued."""

    def __init__(self, app: LlmopsApp) -> None:
        self._app = app
        self._cpu = LoadHistory()
        self._gpu = LoadHistory()
        self._sampler: HostSampler | None = None

    async def run(self) -> None:
        """Look, tell the app, wait; until the app ends."""
        await asyncio.sleep(_FIRST_SECONDS)
        gc.enable()
        # The file was only glanced at before the first frame; what is wrong in it is told now.
        await asyncio.to_thread(lambda: self._app.services.settings)
        for problem in self._app.services.settings_problems:
            self._app.say(problem, severity="warning")
        while True:
            if self._app.app_focus:
                # A look that fails is left out; what is wrong with the workspace is told by whoever works on it.
                with contextlib.suppress(LlmopsError):
                    seen = await asyncio.to_thread(self._look, self._app.status.model)
                    # Merged with the status of now: a model chosen during the look stays chosen.
                    status = self._app.status
                    if seen.pop("model") != status.model:
                        seen["loaded"] = status.loaded
                    self._app.show_status(replace(status, **seen))
            await asyncio.sleep(_SECONDS)

    def _look(self, model: str) -> dict[str, Any]:
        """Fields of the status as they are now; ``loaded`` is about ``model``."""
        from llmops_tui.jobs.store import JobState
        from llmops_tui.monitoring.host import HostSampler
        from llmops_tui.workspace.catalogue import read_notices

        self._sampler = self._sampler or HostSampler()
        services = self._app.services
        load = self._sampler.sample()
        running = [job for job in services.jobs.store.all(50) if job.state == JobState.RUNNING]
        gpu = load.gpus[0] if load.gpus else None
        memory = ""
        if gpu is not None and gpu.memory_used is not None and gpu.memory_total:
            memory = f"{gpu.memory_used / 1e9:.0f}/{gpu.memory_total / 1e9:.0f}G"
        return {
            "model": model,
            "cpu": self._cpu.add(load.cpu),
            "gpu": self._gpu.add(gpu.utilisation if gpu else None),
            "gpu_memory": memory,
            "jobs": len(running),
            "job_title": f"{running[0].title} {running[0].progress:.0%}" if running else "",
            "notices": len(read_notices(services.workspace)),
            "loaded": services.servers.find(model.partition("+")[0]) is not None if model else False,
        }
