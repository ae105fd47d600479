"""The models screen: registered models, their metadata, loaded models, and memory use."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical

from screens.actions import bindings_of
from screens.models.facts_pane import FactsPane
from screens.models.memory_pane import MemoryPane
from screens.models.models_pane import ModelsPane
from screens.navigation import Destination, ModelPlace
from screens.shell.base import BaseScreen

if TYPE_CHECKING:
    from llmops_tui.maintenance.acts import Act
    from screens.services import Services
    from screens.terminal import TerminalProfile

_LOOK_SECONDS = 2.0


def make(services: Services, profile: TerminalProfile) -> ModelsScreen:
    """Make the screen."""
    return ModelsScreen(services, profile)


class ModelsScreen(BaseScreen):
    """A list at the left, the facts of one model at the right."""

    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[Binding]] = bindings_of("models")  # type: ignore[assignment]
    AUTO_FOCUS = "#model-list"
    opens = (ModelPlace,)
    scope = "models"
    about = (
        "Models are registered in place. Before native code opens a file, its header is checked and its SHA-256 "
        "recorded. A model is loaded at first use, in a separate process, and unloaded after a long idle time. "
        "Memory shows what each process holds; if a model does not fit, you choose what to do."
    )

    def compose_body(self) -> ComposeResult:
        """Two columns."""
        with Horizontal(id="columns"):
            with Vertical(id="model-side", classes="column"):
                yield ModelsPane()
                yield MemoryPane()
            yield FactsPane()

    @property
    def _list(self) -> ModelsPane:
        return self.query_one(ModelsPane)

    def on_mount(self) -> None:
        """Look at memory and engines now and then, while the screen is in front."""
        self.set_interval(_LOOK_SECONDS, self._read_again)

    def on_screen_resume(self) -> None:
        """Read again whenever the screen comes to the front."""
        self.act("load", self._list.load)

    def _read_again(self) -> None:
        # A look that takes longer than that is not begun anew: on a busy machine it would never end.
        looking = any(worker.group in {"look", "load"} and worker.is_running for worker in self.workers)
        if self.is_current and not looking:
            self.act("look", self._inspect)

    async def _inspect(self) -> None:
        """Memory of all devices, and the details of the model under the cursor."""
        available = await self.query_one(MemoryPane).inspect()
        await self.query_one(FactsPane).inspect(available)

    @on(ModelsPane.CursorMoved)
    @on(ModelsPane.Loaded)
    def _cursor_moved(self) -> None:
        model = self._list.current
        self.query_one(FactsPane).show(model, loaded=model is not None and self._list.is_loaded(model))
        self.act("look", self._inspect)

    async def undone(self, act: Act) -> None:
        """Read again, with the cursor on what has another name."""
        await self._list.load(act.called if act.kind == "model" else "")

    # ── places ──

    async def go_to(self, destination: Destination) -> None:
        """Put the cursor on a model."""
        if isinstance(destination, ModelPlace):
            self.act("load", self._list.load, destination.model)

    def place(self) -> ModelPlace | None:
        """The model under the cursor."""
        return ModelPlace(self._list.current.name) if self._list.current is not None else None

    def lineage_subject(self) -> str:
        """The model."""
        model = self._list.current
        return f"model:{model.name}" if model is not None else ""

    def copy_choices(self) -> list[tuple[str, str]]:
        """Path, hash and template of the model."""
        model = self._list.current
        if model is None:
            return []
        template = str(model.header.get("chat_template") or "")
        place = str(model.header.get("url") or model.path)
        found = [("path", place), ("SHA-256", model.sha256), ("chat template", template)]
        return [(name, text) for name, text in found if text]

    def cli_command(self) -> str:
        """``llmops model show``."""
        model = self._list.current
        return shlex.join(["llmops", "model", "show", model.name]) if model is not None else "llmops model list"
