"""A model that something was made with, ready to be asked: the very files, and not whatever its name stands for now."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.client import ModelClient
from llmops_tui.inference.endpoints import open_endpoint
from llmops_tui.inference.options import options_from
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.models.registry import Model, ModelRegistry
from llmops_tui.settings import load_settings
from llmops_tui.workspace.catalog import Catalog


@asynccontextmanager
async def opened_model(
    catalog: Catalog, name: str, sha256: str, changed: LlmopsError
) -> AsyncIterator[tuple[Model, ModelClient]]:
    """The model of a name and a client of it, its server started where it has to be.

    Raises:
        LlmopsError: ``changed``, where its files have another SHA-256 now; or it cannot be started.
    """
    model = ModelRegistry(catalog).get(name)
    if model.sha256 != sha256:
        raise changed
    supervisor = ServerSupervisor(catalog.workspace)
    endpoint = await asyncio.to_thread(open_endpoint, supervisor, model, options_from(load_settings()[0]))
    async with ModelClient(endpoint) as client:
        yield model, client
