"""The models screen: what is registered, what each file says of itself, which are loaded."""

from __future__ import annotations

import asyncio
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from llmops_tui.errors import LlmopsError
from llmops_tui.jobs.store import Job, JobState
from llmops_tui.models.gguf import read_header
from llmops_tui.models.registry import Model
from llmops_tui.safe_text import safe_line, safe_text
from screens.actions import bindings_of
from screens.base import BaseScreen
from screens.widgets.dialogs import LineDialog
from screens.widgets.panel import Panel

if TYPE_CHECKING:
    from screens.services import Services
    from screens.terminal import TerminalProfile

_FOLLOW_SECONDS = 0.2
_EMPTY = "No models yet.\na registers a GGUF file; it stays where it is."


def make(services: Services, profile: TerminalProfile) -> ModelsScreen:
    """Make the screen."""
    return ModelsScreen(services, profile)


def size_text(size: int) -> str:
    """Bytes as people read them."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


class ModelsScreen(BaseScreen):
    """A list at the left, the facts of one model at the right."""

    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[Binding]] = bindings_of("models")  # type: ignore[assignment]
    AUTO_FOCUS = "#model-list"
    scope = "models"
    about = (
        "Models are registered where they lie. Before any native code sees a file its header is checked and its SHA-256 "
        "kept. A model is loaded when it is first used, in a process of its own, and unloaded when it was idle for long."
    )

    def __init__(self, services: Services, profile: TerminalProfile) -> None:
        super().__init__(services, profile)
        self._models: list[Model] = []
        self._loaded: set[str] = set()

    def compose_body(self) -> ComposeResult:
        """Two panes."""
        with Horizontal(id="columns"):
            with Panel(title="Models", jump_key="m", id="models", help_text="Enter uses a model in the playground."):
                yield OptionList(id="model-list", markup=False, compact=True)
            with Panel(title="Facts", jump_key="f", id="facts", help_text="What the file says of itself."):
                with VerticalScroll(id="facts-scroll"):
                    yield Static("", id="facts-text", markup=False)

    def on_screen_resume(self) -> None:
        """Read again whenever the screen comes to the front."""
        self.act("load", self.refresh_models)

    async def refresh_models(self) -> None:
        """Read the registry and the running servers."""
        self._models = await asyncio.to_thread(lambda: self.services.models.all())
        running = await asyncio.to_thread(lambda: self.services.servers.running())
        self._loaded = {handle.model for handle in running}
        options = self.query_one("#model-list", OptionList)
        kept = options.highlighted or 0
        options.clear_options()
        for model in self._models:
            mark = ("▣ ", "$success") if model.name in self._loaded else ("□ ", "$muted")
            state = ("  file missing", "$error") if not model.present else ""
            note = (f"  {model.quantization}  {size_text(model.size_bytes)}", "$muted")
            options.add_option(Option(Content.assemble(mark, (model.name, "bold"), note, state), id=model.name))
        if not self._models:
            options.add_option(Option(Content.styled(_EMPTY, "$muted"), disabled=True))
            self.query_one("#facts-text", Static).update("")
        else:
            options.highlighted = min(kept, len(self._models) - 1)

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
            self.query_one("#facts-text", Static).update(self._facts(model))

    @on(OptionList.OptionSelected)
    async def _chosen(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        await self.action_use()

    def _facts(self, model: Model) -> Content:
        header = model.header
        verified = time.strftime("%Y-%m-%d %H:%M", time.localtime(model.verified_at)) if model.verified_at else "never"
        rows = [
            ("name in file", header.get("name")), ("architecture", header.get("architecture")),
            ("quantization", model.quantization), ("parameters", f"{int(header.get('parameters') or 0):,}"),
            ("context", f"{int(header.get('context_length') or 0):,} tokens"), ("layers", header.get("layers")),
            ("vocabulary", header.get("vocabulary")), ("licence", header.get("license")),
            ("size", size_text(model.size_bytes)), ("file", str(model.path)), ("SHA-256", model.sha256),
            ("last verified", verified), ("state", "loaded" if model.name in self._loaded else "not loaded"),
        ]  # fmt: skip
        parts: list[tuple[str, str] | str] = []
        for name, value in rows:
            parts += [(f"{name:14}", "$muted"), f"{safe_line(str(value if value is not None else 'not given'))}\n"]
        template = header.get("chat_template")
        parts += ["\n", ("Chat template\n", "bold"), safe_text(str(template)) if template else "none in the file"]
        return Content.assemble(*parts)

    def action_add(self) -> None:
        """Ask for a file and register it, as a job."""

        def answered(path: str | None) -> None:
            if path:
                self.act("add", self._add, Path(path).expanduser())

        self.app.push_screen(LineDialog("Add a model", "Path of a GGUF file; it stays where it is."), answered)

    async def _add(self, path: Path) -> None:
        # A file that is no model is refused at once; hashing a large one takes long and is a job.
        await asyncio.to_thread(read_header, path)
        job = await asyncio.to_thread(
            lambda: self.services.jobs.start(
                kind="add",
                title=f"add {path.stem}",
                entry="llmops_tui.models.tasks:add",
                arguments={"path": str(path), "name": path.stem},
            )
        )
        await self._follow(job, f"{path.stem} is registered.")

    async def _follow(self, job: Job, done: str) -> None:
        """Wait for a job's end, say how it ended, and look at the registry again."""
        self.app.say(f"{job.title} goes on in the background; Jobs (3) shows it.")
        while not job.state.final:
            await asyncio.sleep(_FOLLOW_SECONDS)
            job = await asyncio.to_thread(self.services.jobs.store.get, job.id)
        if job.state == JobState.DONE:
            self.app.say(done)
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
        await self._follow(job, f"{name} is intact.")

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

    async def action_use(self) -> None:
        """Use the model in the playground."""
        model = self.current
        if model is not None:
            await self.app.use_model(model.name)

    def copy_choices(self) -> list[tuple[str, str]]:
        """Path, hash and template of the model."""
        model = self.current
        if model is None:
            return []
        template = str(model.header.get("chat_template") or "")
        found = [("path", str(model.path)), ("SHA-256", model.sha256), ("chat template", template)]
        return [(name, text) for name, text in found if text]

    def cli_command(self) -> str:
        """``llmops model show``."""
        model = self.current
        return shlex.join(["llmops", "model", "show", model.name]) if model is not None else "llmops model list"
