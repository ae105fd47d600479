"""The list of models, and the actions on the selected one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from llmops_tui.models.registry import Model
from llmops_tui.safe_text import safe_line
from screens.models.facts import size_text
from screens.models.find_models import add_found
from screens.models.get_model import get_model
from screens.models.job_end import Begun, tell_end
from screens.models.quantize_model import quantize_model
from screens.models.register_model import register_model
from screens.navigation import ModelInPlayground
from screens.shell.pane import Pane
from screens.shell.removal import offer_removal
from screens.widgets.motions import Options

_EMPTY = (
    "No models yet.\na registers a GGUF file or a URL; o shows models of other programs on this machine;\n"
    "d downloads one: a known small model, from a repository, or from a URL."
)
Flow = Callable[..., Coroutine[Any, Any, Begun | None]]
_MARKS = {"remote": ("◇ ", "$accent"), "adapter": ("+ ", "$warning")}


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
        self.models: list[Model] = []
        self._loaded_names: set[str] = set()

    def compose(self) -> ComposeResult:
        """The list."""
        yield Options(id="model-list", markup=False, compact=True)

    @property
    def _options(self) -> OptionList:
        return self.query_one(OptionList)

    @property
    def current(self) -> Model | None:
        """The model under the cursor."""
        index = self._options.highlighted
        return self.models[index] if index is not None and index < len(self.models) else None

    def is_loaded(self, model: Model) -> bool:
        """Whether its server runs."""
        return model.name in self._loaded_names

    async def load(self, select: str = "") -> None:
        """Read the registry and the running servers; with ``select`` put the cursor on a model."""
        models = await asyncio.to_thread(lambda: self.services.models.all())
        running = await asyncio.to_thread(lambda: self.services.servers.running())
        # Not before both are there: the cursor is a place in the list that is shown.
        self.models = models
        self._loaded_names = {handle.model for handle in running}
        options = self._options
        kept = options.highlighted or 0
        options.clear_options()
        for model in self.models:
            options.add_option(Option(self._line(model), id=model.name))
        if self.models:
            place = next((n for n, model in enumerate(self.models) if model.name == select), kept)
            options.highlighted = min(place, len(self.models) - 1)
        else:
            options.add_option(Option(Content.styled(_EMPTY, "$muted"), disabled=True))
        self.post_message(self.Loaded())

    def _line(self, model: Model) -> Content:
        plain = ("▣ ", "$success") if self.is_loaded(model) else ("□ ", "$muted")
        trouble = model.trouble
        state = (f"  {trouble}", "$error") if trouble else ""
        kind = "remote" if model.kind == "remote" else f"{model.quantization}  {size_text(model.size_bytes)}"
        kind = f"adapter  {size_text(model.size_bytes)}" if model.kind == "adapter" else kind
        mark = _MARKS.get(model.kind, plain)
        return Content.assemble(mark, (safe_line(model.name), "bold"), (f"  {kind}", "$muted"), state)

    @on(OptionList.OptionHighlighted)
    def _moved(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        self.post_message(self.CursorMoved(self.current))

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.action_use()

    # ── actions ──

    def _do(self, group: str, flow: Flow, *arguments: object) -> None:
        """Go through a flow, wait for the job that it began, and look at the registry again."""
        self.act(group, self._through, flow, *arguments)

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

    def action_remove(self) -> None:
        """Ask, then forget the model and delete what the workspace has of it."""
        if self.current is not None:
            self.act("removal", offer_removal, self.shell, "model", self.current.name, self.load)

    def action_use(self) -> None:
        """Use the model in the playground."""
        if self.current is not None:
            self.shell.open_place(ModelInPlayground(self.current.name))
