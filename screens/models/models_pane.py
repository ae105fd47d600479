"""The list of models, and the actions on the selected one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.message import Message

from llmops_tui.maintenance.archiving import Archivable
from llmops_tui.models.registry import Model
from llmops_tui.safe_text import safe_line
from screens.models.find_models import add_found
from screens.models.get_model import get_model
from screens.models.job_end import Begun, tell_end
from screens.models.quantize_model import quantize_model
from screens.models.register_model import register_model
from screens.navigation import ModelInPlayground
from screens.shell.pane import Pane
from screens.shell.removal import offer_removal
from screens.shell.renaming import copy, rename
from screens.widgets import units
from screens.widgets.archive_table import ArchiveTable
from screens.widgets.columns import Column, Part
from screens.widgets.table import Table

_EMPTY = (
    "No models yet.\na registers a GGUF file or a URL; o shows models of other programs on this machine;\n"
    "d downloads one: a known small model, from a repository, or from a URL."
)
Flow = Callable[..., Coroutine[Any, Any, Begun | None]]
_MARKS: dict[str, Part] = {"remote": ("◇", "accent"), "adapter": ("+", "warn")}
_FORMATS = {"gguf": "GGUF"}
_SIGNS = {"▣": "loaded", "□": "not loaded", "+": "adapter", "◇": "remote"}


def model_columns(is_loaded: Callable[[Model], bool]) -> list[Column[Model]]:
    """All that can be shown of a model; ``is_loaded`` says whether its server runs."""
    return [
        Column("model", lambda model: safe_line(model.name, 120), share=3, least=14, good=24, names=True),
        Column("state", lambda model: ("loaded", "good") if is_loaded(model) else "", spare=True, rank=4),
        Column("format", lambda model: (_FORMATS.get(model.kind, model.kind), "muted"), rank=3),
        Column("quant", _quantized, rank=2),
        Column(
            "size", lambda model: ("–", "muted") if model.kind == "remote" else units.size(model.size_bytes),
            lambda model: None if model.kind == "remote" else model.size_bytes, right=True, falling=True, rank=1,
        ),
        Column("params", lambda model: units.count(_figure(model, "parameters")),
            lambda model: _figure(model, "parameters"), right=True, falling=True, rank=6, extra=True),
        Column("context", lambda model: units.whole(_figure(model, "context_length")),
            lambda model: _figure(model, "context_length"), unit="tok", right=True, falling=True, rank=7, extra=True),
        Column("added", lambda model: units.moment(model.added_at), lambda model: model.added_at,
            falling=True, rank=8, extra=True),
        Column("trouble", lambda model: (safe_line(model.trouble, 120), "bad"), share=1, least=7, spare=True, rank=5),
    ]  # fmt: skip


def _quantized(model: Model) -> Part:
    """The type of its weights; what is asked elsewhere has none here."""
    return safe_line("–" if model.kind == "remote" else model.quantization or "–", 20), "muted"


def _figure(model: Model, name: str) -> float | None:
    """A figure of the file's header; none where it has none."""
    found = model.header.get(name)
    return float(found) if isinstance(found, int | float) and found else None


class ModelsPane(Pane):
    """What is registered, and which of it is loaded."""

    class CursorMoved(Message):
        """Another model is under the cursor; none where there are none."""

        def __init__(self, model: Model | None) -> None:
            super().__init__()
            self.model = model

    class Loaded(Message):
        """The list was read again."""

    def __init__(self) -> None:
        super().__init__(
            title="Models",
            jump_key="m",
            id="models-list",
            help_text="Enter uses a model in the playground, D deletes it.",
        )
        self._loaded_names: set[str] = set()

    def compose(self) -> ComposeResult:
        """The list."""
        yield ArchiveTable(
            model_columns(self.is_loaded),
            kind="model",
            id="model-list",
            key=lambda model: model.name,
            empty=_EMPTY,
            mark=self._mark,
        )

    @property
    def _table(self) -> Table[Model]:
        return self.query_one(Table)

    @property
    def models(self) -> list[Model]:
        """All that are registered."""
        return self._table.rows

    @property
    def current(self) -> Model | None:
        """The model under the cursor."""
        return self._table.current

    def is_loaded(self, model: Model) -> bool:
        """Whether its server runs."""
        return model.name in self._loaded_names

    async def load(self, select: str = "") -> None:
        """Read the registry and the running servers; with ``select`` put the cursor on a model."""
        models = await asyncio.to_thread(lambda: self.services.models.all())
        running = await asyncio.to_thread(lambda: self.services.servers.running())
        before = self.current
        # Not before both are there: a model's line tells whether it is loaded.
        self._loaded_names = {handle.model for handle in running}
        self._table.fill(models, select)
        self.set_title("Models", f"{len(models):,}")
        seen = {self._mark(model)[0] for model in models}
        self.set_note("  ".join(f"{sign} {word}" for sign, word in _SIGNS.items() if sign in seen))
        if self.current != before or not models:
            self.post_message(self.CursorMoved(self.current))
        self.post_message(self.Loaded())

    def _mark(self, model: Model) -> Part:
        return _MARKS.get(model.kind) or (("▣", "good") if self.is_loaded(model) else ("□", "muted"))

    @on(Table.Moved)
    def _moved(self, event: Table.Moved) -> None:
        event.stop()
        self.post_message(self.CursorMoved(self.current))

    @on(Table.Chosen)
    def _chosen(self, event: Table.Chosen) -> None:
        event.stop()
        self.action_use()

    # ── actions ──

    def _do(self, group: str, flow: Flow, *arguments: object) -> None:
        """Go through a flow, wait for the job that it began, and look at the registry again."""
        self.ask_by(group, self._through, flow, *arguments)

    async def _through(self, flow: Flow, *arguments: object) -> None:
        begun = await flow(self.shell, *arguments)
        if begun is not None:
            self._wait_for(begun)
        else:
            await self.load()

    def _wait_for(self, begun: Begun) -> None:
        # A group of its own: another flow, begun meanwhile, must not end the wait.
        self.act(begun.job.id, self._follow, begun)

    async def _follow(self, begun: Begun) -> None:
        await tell_end(self.shell, begun)
        await self.load()

    def action_add(self) -> None:
        """Ask for a file or an address and register it."""
        self._do("add", register_model)

    def action_discover(self) -> None:
        """Offer the models that other programs keep here."""
        self._do("discover", add_found)

    def action_get(self) -> None:
        """Ask what to fetch, show what it would be, and fetch it as a job."""
        self._do("get", get_model)

    def action_quantize(self) -> None:
        """Ask for a smaller type and make it, as a job."""
        model = self.current
        if model is None or model.kind != "gguf":
            self.shell.say("Only a GGUF model can be quantized.", severity="warning")
        else:
            self._do("quantize", quantize_model, model)

    def action_verify(self) -> None:
        """Hash the file again, as a job."""
        if self.current is not None:
            self.act("verify", self._verify, self.current.name)

    async def _verify(self, name: str) -> None:
        job = await asyncio.to_thread(
            lambda: self.services.jobs.start(
                kind="verify", title=f"verify {name}", entry="llmops_tui.models.tasks:verify", arguments={"name": name}
            )
        )
        self._wait_for(Begun(job, f"{name} is intact."))

    def action_stop(self) -> None:
        """Stop the server of the model under the cursor."""
        model = self.current
        if model is None or not self.is_loaded(model):
            self.shell.say("This model is not loaded.", severity="warning")
        else:
            self.act("stop", self._stop, model.name)

    async def _stop(self, name: str) -> None:
        await asyncio.to_thread(self.services.servers.stop, name)
        self.shell.say(f"{name} is unloaded.")
        await self.load()

    def action_access_keys(self) -> None:
        """Show the keys of clients."""
        self.ask_by("keys", self._show_keys)

    async def _show_keys(self) -> None:
        from screens.models.access_keys_screen import AccessKeysScreen

        await self.shell.ask(AccessKeysScreen(self.services))

    def action_guards(self) -> None:
        """Show the guards of requests and answers."""
        self.ask_by("keys", self._show_guards)

    async def _show_guards(self) -> None:
        from screens.models.guards_screen import GuardsScreen

        await self.shell.ask(GuardsScreen(self.services))

    def action_classify(self) -> None:
        """Ask for a text, and show what the model says of it."""
        if self.current is not None:
            self.ask_by("classify", self._classify, self.current)

    async def _classify(self, model: Model) -> None:
        from screens.models.classify_text import classify_text

        await classify_text(self.shell, model)
        await self.load()

    def action_remove(self) -> None:
        """Ask, then forget the models and delete what the workspace has of it."""
        if self._table.picked:
            names = [model.name for model in self._table.picked]
            self.ask_by("removal", offer_removal, self.shell, "model", names, self.load)

    def action_rename(self) -> None:
        """Another name for the model."""
        if self.current is not None:
            self.ask_by("name", self._named, rename, self.current.name)

    def action_duplicate(self) -> None:
        """The model's file under a second name."""
        if self.current is not None:
            self.ask_by("name", self._named, copy, self.current.name)

    async def _named(self, ask: Callable[..., Coroutine[Any, Any, str]], name: str) -> None:
        if new := await ask(self.shell, Archivable.MODEL, name):
            await self.load(new)

    def action_use(self) -> None:
        """Use the model in the playground."""
        if self.current is not None:
            self.shell.open_place(ModelInPlayground(self.current.name))
