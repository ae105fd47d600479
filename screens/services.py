"""The engine's objects for one workspace, each created on first use."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from llmops_tui.errors import LlmopsError
from llmops_tui.workspace.layout import Workspace

if TYPE_CHECKING:
    from llmops_tui.datasets.store import DatasetStore
    from llmops_tui.datasets.version import DatasetVersion
    from llmops_tui.deployment.promotions import Promotions
    from llmops_tui.evaluation.store import EvaluationStore
    from llmops_tui.inference.endpoints import Endpoint
    from llmops_tui.inference.experiments.store import ExperimentStore
    from llmops_tui.inference.supervisor import ServerSupervisor
    from llmops_tui.inference.template_renderer import TemplateRenderer
    from llmops_tui.jobs.launcher import JobLauncher
    from llmops_tui.loop.stations import Loop
    from llmops_tui.maintenance.archiving import Archive
    from llmops_tui.maintenance.undo import UndoHistory
    from llmops_tui.models.registry import Model, ModelRegistry
    from llmops_tui.monitoring.alerts import Alert
    from llmops_tui.monitoring.recorder import Recorder
    from llmops_tui.prompts.drafts import Drafts
    from llmops_tui.prompts.run_history import RunHistory
    from llmops_tui.prompts.runs import PromptRunner
    from llmops_tui.prompts.store import PromptStore
    from llmops_tui.settings import Settings
    from llmops_tui.traces.store import TraceStore
    from llmops_tui.training.records import ProofStep
    from llmops_tui.training.runs import RunStore
    from llmops_tui.workspace.catalog import Catalog
    from llmops_tui.workspace.event_log import EventLog
    from screens.view_memory import ViewMemory


class Services:
    """The engine as the screens see it. The first use of a member imports its module; do that in a thread."""

    def __init__(self, workspace: Workspace, settings: Settings | None = None) -> None:
        self.workspace = workspace
        self.stopping = threading.Event()
        self.settings_problems: list[str] = []
        self._settings = settings
        # How the next model is loaded, where the user chose so because it did not fit otherwise.
        self.smaller: tuple[int, int] | None = None
        self.wait_for_memory = False
        # Whether a screen shows processes, which are dear to find; and whom an alert is told.
        self.shows_processes = False
        self.alerts_told: Callable[[list[Alert]], None] | None = None
        self._proofs: dict[str, tuple[object, list[ProofStep]]] = {}

    @property
    def settings(self) -> Settings:
        """The user's settings, read when they are first asked for."""
        if self._settings is None:
            from llmops_tui.settings import load_settings

            self._settings, self.settings_problems = load_settings()
        return self._settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def catalog(self) -> Catalog:
        """The catalog."""
        from llmops_tui.workspace.catalog import Catalog

        return Catalog(self.workspace)

    @cached_property
    def event_log(self) -> EventLog:
        """The event log."""
        from llmops_tui.workspace.event_log import EventLog

        return EventLog(self.workspace)

    @cached_property
    def prompts(self) -> PromptStore:
        """Prompts and versions."""
        from llmops_tui.prompts.store import PromptStore

        return PromptStore(self.catalog)

    @cached_property
    def drafts(self) -> Drafts:
        """Drafts and the session."""
        from llmops_tui.prompts.drafts import Drafts

        return Drafts(self.event_log)

    @cached_property
    def models(self) -> ModelRegistry:
        """Registered models."""
        from llmops_tui.models.registry import ModelRegistry

        return ModelRegistry(self.catalog)

    @cached_property
    def datasets(self) -> DatasetStore:
        """Datasets and their versions."""
        from llmops_tui.datasets.store import DatasetStore

        return DatasetStore(self.catalog)

    @cached_property
    def memory(self) -> ViewMemory:
        """How somebody left the screens of this workspace."""
        from screens.view_memory import ViewMemory

        return ViewMemory(self.event_log)

    @cached_property
    def undo(self) -> UndoHistory:
        """What was done, and the way back."""
        from llmops_tui.maintenance.undo import UndoHistory

        return UndoHistory(self.catalog, self.event_log)

    @cached_property
    def archive(self) -> Archive:
        """What is put away, which whoever lists or offers things leaves out."""
        from llmops_tui.maintenance.archiving import Archive

        return Archive(self.event_log)

    @cached_property
    def servers(self) -> ServerSupervisor:
        """Model servers."""
        from llmops_tui.inference.supervisor import ServerSupervisor

        return ServerSupervisor(self.workspace)

    @cached_property
    def renderer(self) -> TemplateRenderer:
        """The template process."""
        from llmops_tui.inference.template_renderer import TemplateRenderer
        from llmops_tui.retrieval.in_prompts import PromptRetrieval

        return TemplateRenderer(retrieve=PromptRetrieval(self.catalog))

    @cached_property
    def runner(self) -> PromptRunner:
        """Runs prompts."""
        from llmops_tui.prompts.runs import PromptRunner

        return PromptRunner(self.catalog, self.event_log, self.renderer, self.ensure_server)

    @cached_property
    def history(self) -> RunHistory:
        """Past runs."""
        from llmops_tui.prompts.run_history import RunHistory

        return RunHistory(self.catalog, self.event_log)

    @cached_property
    def jobs(self) -> JobLauncher:
        """Jobs."""
        from llmops_tui.jobs.launcher import JobLauncher

        return JobLauncher(self.workspace)

    @cached_property
    def training(self) -> RunStore:
        """Training runs and recipes."""
        from llmops_tui.training.runs import RunStore

        return RunStore(self.workspace)

    @cached_property
    def traces(self) -> TraceStore:
        """Requests and what was said of them."""
        from llmops_tui.traces.store import TraceStore

        return TraceStore(self.catalog, self.event_log)

    @cached_property
    def experiments(self) -> ExperimentStore:
        """Experiments on served traffic."""
        from llmops_tui.inference.experiments.store import ExperimentStore

        return ExperimentStore(self.event_log)

    @cached_property
    def recorder(self) -> Recorder:
        """What looks at the machine and the engines, and keeps what it saw."""
        from llmops_tui.monitoring.recorder import Recorder

        return Recorder(self.workspace, told=self._tell_alerts, wants_processes=lambda: self.shows_processes)

    def _tell_alerts(self, alerts: list[Alert]) -> None:
        if self.alerts_told is not None:
            self.alerts_told(alerts)

    @cached_property
    def loop(self) -> Loop:
        """From feedback to a retrained model in use."""
        from llmops_tui.loop.stations import Loop

        return Loop(self.catalog, self.event_log, self.evaluation, self.promotions)

    @cached_property
    def promotions(self) -> Promotions:
        """Stages of prompts, and how their labels move."""
        from llmops_tui.deployment.promotions import Promotions

        return Promotions(self.catalog, self.event_log, self.evaluation)

    @cached_property
    def evaluation(self) -> EvaluationStore:
        """Suites and their runs."""
        from llmops_tui.evaluation.store import EvaluationStore

        return EvaluationStore(self.workspace)

    def proof(self, model: Model) -> list[ProofStep]:
        """The newest proof of a model; read again only where the catalog has changed."""
        from llmops_tui.training.export.proof_store import read_proof

        stamp = self.catalog.stamp()
        known = self._proofs.get(model.sha256)
        if known is None or known[0] != stamp:
            known = self._proofs[model.sha256] = (stamp, read_proof(self.catalog, model.sha256))
        return known[1]

    def ensure_server(self, model: Model) -> Endpoint:
        """The model's server, with the user's settings; gives up when the app is closing."""

        def waiting(_seconds: float) -> None:
            if self.stopping.is_set():
                raise LlmopsError("closing", "the app is closing")

        from llmops_tui.inference.endpoints import open_endpoint
        from llmops_tui.inference.options import options_from

        options = options_from(self.settings)
        if self.smaller is not None:
            options = replace(options, context=self.smaller[0], parallel=self.smaller[1])
        options = replace(options, wait=self.wait_for_memory)
        self.smaller, self.wait_for_memory = None, False
        return open_endpoint(self.servers, model, options, waiting=waiting)

    def find_endpoint(self, name: str) -> Endpoint | None:
        """The way to a model that is loaded, or is somebody else's; none where it would have to be loaded first."""
        from llmops_tui.inference.endpoints import find_endpoint

        return find_endpoint(self.servers, self.models.get(name))

    async def check_dataset(self, version: DatasetVersion) -> None:
        """Run the checks over a dataset in a process of its own, which keeps its report; ended with whoever waits."""
        import asyncio

        from llmops_tui.child_python import module_command

        command = module_command(
            "llmops_tui", "--workspace", str(self.workspace.root), "--quiet", "data", "check", version.ref, "--json"
        )
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            await process.wait()
        finally:
            if process.returncode is None:
                process.kill()

    def close(self) -> None:
        """Let go of everything; servers and jobs go on."""
        self.stopping.set()
        if "renderer" in self.__dict__:
            self.renderer.close()
