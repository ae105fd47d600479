"""What tools work with: the workspace's stores, its models, and what was allowed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.inference.endpoints import open_endpoint
from llmops_tui.inference.options import options_from
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.jobs.launcher import JobLauncher
from llmops_tui.maintenance.undo import UndoHistory
from llmops_tui.models.registry import Model, ModelRegistry
from llmops_tui.prompts.runs import PromptRunner, RunHistory, RunRequest
from llmops_tui.prompts.store import PromptStore, PromptVersion
from llmops_tui.retrieval.in_prompts import PromptRetrieval
from llmops_tui.settings import load_settings
from llmops_tui.traces.store import TraceStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace


class Workbench:
    """One workspace, as the tools see it. Its methods are called from several threads."""

    def __init__(self, workspace: Workspace, *, allow_write: bool) -> None:
        self.workspace = workspace
        self.allow_write = allow_write
        self.catalog = Catalog(workspace)
        self.event_log = EventLog(workspace)
        self.prompts = PromptStore(self.catalog)
        self.models = ModelRegistry(self.catalog)
        self.datasets = DatasetStore(self.catalog)
        self.traces = TraceStore(self.catalog, self.event_log)
        self.history = RunHistory(self.catalog, self.event_log)
        self.renderer = TemplateRenderer(retrieve=PromptRetrieval(self.catalog))

    @cached_property
    def evaluations(self) -> EvaluationStore:
        """The evaluations."""
        return EvaluationStore(self.workspace)

    @cached_property
    def jobs(self) -> JobLauncher:
        """The jobs."""
        return JobLauncher(self.workspace)

    @cached_property
    def undo(self) -> UndoHistory:
        """What can be taken back: an agent's move of a label as well as a person's."""
        return UndoHistory(self.catalog, self.event_log)

    @cached_property
    def servers(self) -> ServerSupervisor:
        """The servers of models."""
        return ServerSupervisor(self.workspace)

    @cached_property
    def runner(self) -> PromptRunner:
        """Runs prompts, on models that are loaded by the user's settings."""
        options = options_from(load_settings()[0])
        return PromptRunner(
            self.catalog, self.event_log, self.renderer, lambda model: open_endpoint(self.servers, model, options)
        )

    @staticmethod
    def request(
        version: PromptVersion, variables: Mapping[str, str], parameters: SamplingParameters | None = None
    ) -> RunRequest:
        """A run of a saved version."""
        return RunRequest(
            prompt=version.prompt,
            system=version.system,
            template=version.template,
            variables=dict(variables),
            parameters=parameters or SamplingParameters(),
            settings=version.settings,
        )

    def model_to_run(self, name: str) -> Model:
        """A model that may be asked.

        Raises:
            NotFoundError: there is none.
            InputRefusedError: ``no_generation``: it writes no text; ``remote_not_allowed``: asking it sends texts of the
                workspace elsewhere, and may cost money.
        """
        model = self.models.writing(name)
        if model.kind == "remote" and not self.allow_write:
            raise InputRefusedError(
                "remote_not_allowed",
                f"the model {name!r} is another server's, and this server was started without --allow-write",
                "Choose a local model (list_models), or ask the user to start llmops mcp --allow-write.",
            )
        return model

    def close(self) -> None:
        """End the process that renders; servers of models stay, as they do for others."""
        self.renderer.close()
