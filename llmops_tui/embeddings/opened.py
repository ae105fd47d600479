"""Embedders of a workspace's models, their servers started where they have to be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import numpy.typing as npt

from llmops_tui.embeddings.embedder import EmbedderSpec, TextEmbedder
from llmops_tui.errors import LlmopsError
from llmops_tui.inference.opened_model import opened_model
from llmops_tui.workspace.catalog import Catalog


@asynccontextmanager
async def opened_embedder(catalog: Catalog, spec: EmbedderSpec) -> AsyncIterator[TextEmbedder]:
    """An embedder that is ready, its model's server started where it has to be.

    Raises:
        LlmopsError: ``embedder_changed``: the model of that name is another one now; or it cannot be started.
    """
    changed = LlmopsError(
        "embedder_changed",
        f"{spec.model} is another model now than the one that made the embeddings",
        "Embed again with it: llmops data embed, or llmops index build.",
    )
    async with opened_model(catalog, spec.model, spec.sha256, changed) as (model, client):
        yield TextEmbedder(client, spec, remote=model.kind == "remote")


def embed_query(catalog: Catalog, spec: EmbedderSpec, text: str) -> npt.NDArray[np.float32]:
    """The vector of a text that is searched for."""

    async def ask() -> npt.NDArray[np.float32]:
        async with opened_embedder(catalog, spec) as embedder:
            return await embedder.query(text)

    return asyncio.run(ask())
