"""What chains need of a workspace: its prompts, indexes, models and datasets, and the processes that render and evaluate."""

from __future__ import annotations

from functools import cached_property
from typing import Self

from llmops_tui.chains.expressions import StepProcess
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.prompts.store import PromptStore
from llmops_tui.retrieval.in_prompts import PromptRetrieval
from llmops_tui.retrieval.store import IndexStore
from llmops_tui.workspace.catalog import Catalog


class ChainTools:
    """Made once for several runs; use it as a context manager, or close it."""

    def __init__(self, catalog: Catalog, renderer: TemplateRenderer | None = None) -> None:
        """``renderer`` is one that others use, too, and close."""
        self.catalog = catalog
        self.prompts = PromptStore(catalog)
        self.indexes = IndexStore(catalog)
        self.registry = ModelRegistry(catalog)
        self.process = StepProcess()
        self.retrieval = PromptRetrieval(catalog)
        self._own = renderer is None
        self.renderer = renderer or TemplateRenderer(retrieve=self.retrieval)

    @cached_property
    def datasets(self) -> DatasetStore:
        """The datasets."""
        return DatasetStore(self.catalog)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes."""
        self.process.close()
        if self._own:
            self.renderer.close()
