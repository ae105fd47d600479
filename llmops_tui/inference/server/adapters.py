"""The LoRA adapters of one served model: found in the registry, checked, loaded when a request first names one."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference.engine_interface import Engine
from llmops_tui.inference.engine_wire import Call
from llmops_tui.inference.server.callers import Caller
from llmops_tui.inference.server.conversation import ChatTemplate
from llmops_tui.inference.server.fields import FieldRefusedError
from llmops_tui.models.adapter_fit import adapter_beside, fitting
from llmops_tui.models.gguf import read_header
from llmops_tui.models.registry import Model, ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.ids import new_id
from llmops_tui.workspace.layout import Workspace


class AdapterShelf:
    """Adapters by name. A model name ``base+adapter`` names both."""

    def __init__(self, workspace: Workspace, base: str, engine: Engine, *, special_in_content: bool = False) -> None:
        self._registry = ModelRegistry(Catalog(workspace))
        self._base = base
        self._engine = engine
        self._special_in_content = special_in_content
        self._loaded: set[tuple[int | None, str]] = set()
        self._hashes: dict[str, str] = {}
        self._chats: dict[str, ChatTemplate] = {}
        self._lock = asyncio.Lock()

    async def names(self) -> list[str]:
        """The registered adapters that fit this model; empty where the catalog is busy for too long."""
        with contextlib.suppress(LlmopsError):
            return [m.name for m in await asyncio.to_thread(self._fitting)]
        return []

    def sha256(self, adapter: str) -> str | None:
        """The hash of an adapter that was loaded."""
        return self._hashes.get(adapter)

    def chat(self, adapter: str) -> ChatTemplate | None:
        """The chat template that an adapter carries, once it is loaded; none where it is used with the base's."""
        return self._chats.get(adapter)

    def close(self) -> None:
        """End the template processes."""
        for chat in self._chats.values():
            chat.close()

    async def of(self, caller: Caller, model: str, adapter: str = "") -> str:
        """The adapter a request means, loaded; empty for the base alone. All doors that use the model come by here.

        Raises:
            KeyRefusedError: the caller's key is not for this model, or not for the adapter.
            FieldRefusedError: ``adapter_not_found``, ``adapter_misfit``.
            LlmopsError: ``model_not_found``, or the adapter cannot be loaded.
        """
        base, _, named = model.partition("+") if model.startswith(f"{self._base}+") else (model, "", "")
        if base not in {"", self._base}:
            raise LlmopsError(
                "model_not_found", f"this server serves {self._base!r}, not {model[:100]!r}", f"Ask for {self._base!r}."
            )
        if named and adapter and named != adapter:
            raise InputRefusedError("adapter_unclear", f"the request names two adapters: {named!r} and {adapter!r}")
        name = named or adapter
        caller.check_model(self._base, name)
        if not name or (self._engine.pid, name) in self._loaded:
            return name
        async with self._lock:
            await self._load(name, "model" if named else "adapter")
        return name

    async def _load(self, name: str, param: str) -> None:
        try:
            found = await asyncio.to_thread(self._named, name)
        except LlmopsError as error:
            if error.code not in {"adapter_not_found", "adapter_misfit"}:
                raise
            raise FieldRefusedError(param, error.message, error.hint, error.code) from error
        await asyncio.to_thread(_check, found)
        template = found.header.get("chat_template")
        if template and name not in self._chats:
            self._chats[name] = await asyncio.to_thread(self._read, template)
        await self._engine.start()
        call: Call = {"op": "adapter", "id": new_id("ask"), "name": name, "path": str(found.path)}
        if (chat := self.chat(name)) is not None:
            call |= {"visible": chat.format.visible, "ends": list(chat.format.answers.stops)}
        async for batch in self._engine.call(call):
            if batch[-1]["event"] == "error":
                raise LlmopsError(**batch[-1]["error"])
        self._loaded.add((self._engine.pid, name))
        self._hashes[name] = found.sha256

    def _read(self, template: str) -> ChatTemplate:
        return ChatTemplate(template, self._engine.facts, special_in_content=self._special_in_content)

    def _named(self, name: str) -> Model:
        models = self._registry.all()
        base = next((one for one in models if one.name == self._base), None)
        if base is None:
            told = f"no adapter {name[:100]!r} for {self._base!r}"
            raise LlmopsError(
                "adapter_not_found", told, "This model is registered no more, and so are adapters for it."
            )
        return adapter_beside(base, name, models)

    def _fitting(self) -> list[Model]:
        models = self._registry.all()
        return [one for base in models if base.name == self._base for one in fitting(models, base)]


def _check(model: Model) -> None:
    if not Path(model.path).exists() or not model.present:
        raise InputRefusedError(
            "adapter_changed",
            f"the adapter {model.name!r} is gone or is not the file that was registered: {model.path}",
            f"llmops model verify {model.name}",
        )
    read_header(model.path)
