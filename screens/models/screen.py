"""The models screen: what is registered, what each file says of itself, which are loaded, who holds the memory."""

from __future__ import annotations

import asyncio
import shlex
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from llmops_tui.errors import LlmopsError
from llmops_tui.jobs.store import Job, JobState
from llmops_tui.models.registry import Model
from llmops_tui.safe_text import safe_line
from screens.actions import bindings_of, screen_place
from screens.base import BaseScreen
from screens.models import getting, making
from screens.models.facts import Details, facts, read_details, size_text
from screens.models.memory_panel import MemoryPanel, look
from screens.removing import offer_removal
from screens.widgets.panel import Panel

if TYPE_CHECKING:
    from screens.services import Services
    from screens.terminal import TerminalProfile

_FOLLOW_SECONDS = 0.2
_LOOK_SECONDS = 2.0
_EMPTY = (
    "No models yet.\na registers a GGUF file or an address; o shows what other programs have here;\n"
    "g fetches one: a small one that is known, a repository's, or from an address."
)


def make(services: Services, profile: TerminalProfile) -> ModelsScreen:
    """Make the screen."""
    return ModelsScreen(services, profile)


class ModelsScreen(BaseScreen):
    """A list at the left, the facts of one model at the right."""

    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[Binding]] = bindings_of("models")  # type: ignore[assignment]
    AUTO_FOCUS = "#model-list"
    scope = "models"
    about = (
        "Models are registered where they lie. Before any native code sees a file its header is checked and its SHA-256 "
        "kept. A model is loaded when it is first used, in a process of its own, and unloaded when it was idle for long. "
        "Memory shows who holds what; a model that does not fit beside it is not loaded before you choose."
    )

    def __init__(self, services: Services, profile: TerminalProfile) -> None:
        super().__init__(services, profile)
        self._models: list[Model] = []
        self._loaded: set[str] = set()
        self._details: dict[str, Details] = {}

    def compose_body(self) -> ComposeResult:
        """Two panes."""
        with Horizontal(id="columns"):
            with Vertical(id="model-side"):
                with Panel(
                    title="Models",
                    jump_key="m",
                    id="models",
                    help_text="Enter uses a model in the playground, D deletes it.",
                ):
                    yield OptionList(id="model-list", markup=False, compact=True)
                with Panel(title="Memory", jump_key="e", id="memory", help_text="Who holds the memory of each device."):
                    yield MemoryPanel("", id="memory-bars", markup=False)
            with Panel(title="Facts", jump_key="f", id="facts", help_text="What the file and its engine say."):
                with VerticalScroll(id="facts-scroll"):
                    yield Static("", id="facts-text", markup=False)

    def on_mount(self) -> None:
        """Look at memory and engines now and then, while the screen is in front."""
        self.set_interval(_LOOK_SECONDS, self._look_again)

    def on_screen_resume(self) -> None:
        """Read again whenever the screen comes to the front."""
        self.act("load", self.refresh_models)

    def _look_again(self) -> None:
        # A look that takes longer than that is not begun anew: on a busy machine it would never end.
        looking = any(worker.group in {"look", "load"} and worker.is_running for worker in self.workers)
        if self.is_current and not looking:
            self.act("look", self._look)

    async def _look(self) -> None:
        """Memory of all devices, and the details of the model under the cursor."""
        blocks = self.profile.utf8
        uses = await asyncio.to_thread(look)
        self.query_one(MemoryPanel).show(uses, blocks=blocks)
        model = self.current
        if model is not None:
            available = {use.device: use.available for use in uses}
            self._details[model.name] = await asyncio.to_thread(read_details, self.services, model, available)
            if self.current == model:
                self._show(model)

    def _show(self, model: Model) -> None:
        details = self._details.get(model.name, Details())
        loaded = model.name in self._loaded
        self.query_one("#facts-text", Static).update(facts(model, loaded=loaded, details=details))

    async def refresh_models(self) -> None:
        """Read the registry and the running servers."""
        self._models = await asyncio.to_thread(lambda: self.services.models.all())
        running = await asyncio.to_thread(lambda: self.services.servers.running())
        self._loaded = {handle.model for handle in running}
        options = self.query_one("#model-list", OptionList)
        kept = options.highlighted or 0
        options.clear_options()
        for model in self._models:
            options.add_option(Option(self._line(model), id=model.name))
        if not self._models:
            options.add_option(Option(Content.styled(_EMPTY, "$muted"), disabled=True))
            self.query_one("#facts-text", Static).update("")
        else:
            options.highlighted = min(kept, len(self._models) - 1)
        await self._look()

    def _line(self, model: Model) -> Content:
        marks = {"remote": ("◇ ", "$accent"), "adapter": ("+ ", "$warning")}
        plain = ("▣ ", "$success") if model.name in self._loaded else ("□ ", "$muted")
        trouble = model.trouble
        state = (f"  {trouble}", "$error") if trouble else ""
        kind = "remote" if model.kind == "remote" else f"{model.quantization}  {size_text(model.size_bytes)}"
        kind = f"adapter  {size_text(model.size_bytes)}" if model.kind == "adapter" else kind
        mark = marks.get(model.kind, plain)
        return Content.assemble(mark, (safe_line(model.name), "bold"), (f"  {kind}", "$muted"), state)

    @property
    def current(self) -> Model | None:
        """The model under the cursor."""
        index = self.query_one("#model-list", OptionList).highlighted
        return self._models[index] if index is not None and index < len(self._models) else None

    @on(OptionList.OptionHighlighted)
    def _looked(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        model = self.current
        if model is not None:
            self._show(model)
            self.act("look", self._look)

    @on(OptionList.OptionSelected)
    async def _chosen(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        await self.action_use()

    def action_add(self) -> None:
        """Ask for a file or an address and register it."""
        making.ask_for_model(self)

    def action_discover(self) -> None:
        """Offer the models that other programs keep here."""
        self.act("discover", making.offer_found, self)

    def action_get(self) -> None:
        """Ask what to fetch, show what it would be, and fetch it as a job."""
        getting.ask_what_to_get(self)

    def action_quantize(self) -> None:
        """Ask for a smaller type and make it, as a job."""
        making.ask_for_type(self)

    async def follow(self, job: Job, done: str) -> None:
        """Wait for a job's end, say how it ended, and look at the registry again."""
        self.app.say(f"{job.title} goes on in the background; {screen_place('jobs')} shows it.")
        while not job.state.final:
            await asyncio.sleep(_FOLLOW_SECONDS)
            job = await asyncio.to_thread(self.services.jobs.store.get, job.id)
        if job.state == JobState.DONE:
            self.app.say(" ".join([done, *(job.result or {}).get("notes", [])]))
        else:
            self.app.report(
                LlmopsError("job_failed", f"{job.title}: {job.state.value}: {job.cause}", "Jobs has its log.")
            )
        await self.refresh_models()

    def action_verify(self) -> None:
        """Hash the file again, as a job."""
        model = self.current
        if model is not None:
            self.act("verify", self._verify, model.name)

    async def _verify(self, name: str) -> None:
        job = await asyncio.to_thread(
            lambda: self.services.jobs.start(
                kind="verify", title=f"verify {name}", entry="llmops_tui.models.tasks:verify", arguments={"name": name}
            )
        )
        await self.follow(job, f"{name} is intact.")

    def action_stop(self) -> None:
        """Stop the server of the model under the cursor."""
        model = self.current
        if model is None or model.name not in self._loaded:
            self.app.say("This model is not loaded.", severity="warning")
            return
        self.act("stop", self._stop, model.name)

    async def _stop(self, name: str) -> None:
        await asyncio.to_thread(self.services.servers.stop, name)
        self.app.say(f"{name} is unloaded.")
        await self.refresh_models()

    def action_remove(self) -> None:
        """Ask, then forget the model and delete what the workspace has of it."""
        model = self.current
        if model is not None:
            offer_removal(self, "model", model.name, self.refresh_models)

    async def action_use(self) -> None:
        """Use the model in the playground."""
        model = self.current
        if model is not None:
            await self.app.going.model(model.name)

    def lineage_subject(self) -> str:
        """The model."""
        model = self.current
        return f"model:{model.name}" if model is not None else ""

    def copy_choices(self) -> list[tuple[str, str]]:
        """Path, hash and template of the model."""
        model = self.current
        if model is None:
            return []
        template = str(model.header.get("chat_template") or "")
        place = str(model.header.get("url") or model.path)
        found = [("path", place), ("SHA-256", model.sha256), ("chat template", template)]
        return [(name, text) for name, text in found if text]

    def cli_command(self) -> str:
        """``llmops model show``."""
        model = self.current
        return shlex.join(["llmops", "model", "show", model.name]) if model is not None else "llmops model list"
