"""The registered models as the router knows them: read again when the catalog changed, and never for every request."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.router.names import Meant, resolve
from llmops_tui.models.adapter_fit import fitting
from llmops_tui.models.aliases import AliasBook
from llmops_tui.models.registry import Model, ModelRegistry
from llmops_tui.workspace.catalog import Catalog, Stamp

# The catalog is also written for every request that is told of; its models are not looked for anew more often than this.
_FRESH_SECONDS = 1.0


@dataclass(frozen=True)
class Listing:
    """Models and aliases at one moment; ``served`` are those that can be loaded here."""

    models: tuple[Model, ...] = ()
    aliases: dict[str, str] = field(default_factory=dict)

    @property
    def served(self) -> list[Model]:
        """The GGUF models, by name."""
        return [model for model in self.models if model.kind == "gguf"]

    def adapters_of(self, model: Model) -> list[Model]:
        """The adapters that go beside a model."""
        return fitting(self.models, model)


class RegisteredModels:
    """The models of a workspace, and the one that a name means."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._registry, self._aliases = ModelRegistry(catalog), AliasBook(catalog)
        self._listing: Listing | None = None
        self._stamp: Stamp = ()
        self._read_at = 0.0
        self._reading = asyncio.Lock()

    async def listing(self) -> Listing:
        """All of them, as of a second ago at most; older while another program holds the catalog.

        Raises:
            LlmopsError: the catalog cannot be read, and never was.
        """
        if self._listing is not None and time.monotonic() - self._read_at < _FRESH_SECONDS:
            return self._listing
        return await self._read()

    async def meant(self, asked: str) -> Meant:
        """The model that a name means; see :func:`llmops_tui.inference.router.names.resolve`.

        Raises:
            LlmopsError: none or several, or the catalog cannot be read.
        """
        known = await self.listing()
        try:
            return resolve(asked, known.models, known.aliases)
        except LlmopsError:
            # It may have been registered just now.
            fresh = await self._read()
            return resolve(asked, fresh.models, fresh.aliases)

    async def _read(self) -> Listing:
        async with self._reading:
            stamp = self._catalog.stamp()
            if self._listing is None or stamp != self._stamp:
                try:
                    models, aliases = await asyncio.to_thread(lambda: (self._registry.all(), self._aliases.all()))
                except LlmopsError:
                    if self._listing is None:
                        raise
                else:
                    self._listing, self._stamp = Listing(tuple(models), aliases), stamp
            self._read_at = time.monotonic()
            return self._listing
