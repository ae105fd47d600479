"""The state of the playground without widgets: the open prompt, its versions, the draft, the model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from llmops_tui.prompts.drafts import Draft, Session

if TYPE_CHECKING:
    from llmops_tui.evaluation.scripted.script import Script
    from llmops_tui.inference.sampling import SamplingParameters
    from llmops_tui.mcp_client.kept_connections import KeptConnections
    from llmops_tui.models.registry import Model
    from llmops_tui.prompts.runs import RunRecord
    from llmops_tui.prompts.store import PromptSummary, PromptVersion
    from llmops_tui.prompts.tool_rounds import CallStep
    from screens.services import Services

UNTITLED = "untitled"


@dataclass
class Run:
    """A run of the draft that is on its way."""

    generating: bool = True  # from the key on, before the first word
    record: RunRecord | None = None
    calls: dict[str, CallStep] = field(default_factory=dict)


@dataclass(frozen=True)
class Loaded:
    """What was read from the workspace in one go."""

    prompts: list[PromptSummary]
    models: list[Model]
    prompt: str | None
    versions: list[PromptVersion]
    draft: Draft
    variables: list[str]
    runs: list[RunRecord]


@dataclass
class PlaygroundState:
    """The state behind the playground's panes.

    All read it; the editors change the draft, and the screen the rest.

    Attributes:
        opened: set once the workspace was read for the first time, or could not be.
        tool_servers: the servers whose tools the last run offered.
        connections: those to tool servers, once one was needed; they stay between runs.
        mock_tools: tools with mock results, where a file of them was chosen.
        catch_up: takes what was typed and not told yet into the draft; the editors give it.
    """

    draft: Draft = field(default_factory=Draft)
    prompt: str | None = None
    prompts: list[PromptSummary] = field(default_factory=list)
    versions: list[PromptVersion] = field(default_factory=list)
    models: list[Model] = field(default_factory=list)
    model_name: str | None = None
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    tool_servers: tuple[str, ...] = ()
    connections: KeptConnections | None = None
    mock_tools: Script | None = None
    catch_up: Callable[[], None] = lambda: None
    _parameters: SamplingParameters | None = None

    @property
    def parameters(self) -> SamplingParameters:
        """The sampling parameters; the defaults are made when they are first needed, after the first frame."""
        if self._parameters is None:
            from llmops_tui.inference.sampling import SamplingParameters

            self._parameters = SamplingParameters()
        return self._parameters

    @parameters.setter
    def parameters(self, parameters: SamplingParameters | None) -> None:
        self._parameters = parameters

    @property
    def name(self) -> str:
        """The name that the prompt has, or gets."""
        return self.prompt or UNTITLED

    @property
    def model(self) -> Model | None:
        """The chosen model, where it is registered."""
        return next((m for m in self.models if m.name == self.model_name), None)

    @property
    def matching(self) -> PromptVersion | None:
        """The version whose text the editors hold."""
        return next(
            (v for v in self.versions if v.system == self.draft.system and v.template == self.draft.template), None
        )

    @property
    def dirty(self) -> bool:
        """Whether the editors hold text that is in no version."""
        return self.matching is None and bool(self.draft.system.strip() or self.draft.template.strip())

    @property
    def next_number(self) -> int:
        """The number the draft would get."""
        return max((v.number for v in self.versions), default=0) + 1

    @property
    def draft_number(self) -> int | None:
        """The number that text which is in no version would get; none where there is no such text."""
        return self.next_number if self.dirty else None

    @property
    def texts(self) -> list[tuple[str, str]]:
        """The templates of the draft, by what they are called where they are copied."""
        return [("user template", self.draft.template), ("system template", self.draft.system)]

    @property
    def session(self) -> Session:
        """Where the playground is, to begin there again."""
        return Session(self.prompt, self.model_name, self.parameters)

    def add(self, version: PromptVersion) -> None:
        """Go on from a version that has the draft's text; it may have been made just now."""
        self.draft = replace(self.draft, base=version.number)
        if version.prompt == self.name and all(known.number != version.number for known in self.versions):
            self.versions.insert(0, version)

    def take(self, loaded: Loaded) -> None:
        """Replace what was read before; the draft stays, and the model where it is still there."""
        self.prompts, self.versions, self.models, self.prompt = (
            loaded.prompts,
            loaded.versions,
            loaded.models,
            loaded.prompt,
        )
        if self.model is None and self.models:
            self.model_name = self.models[0].name


def read(services: Services, prompt: str | None) -> Loaded:
    """Read a prompt, or the one first in the list, with all that is shown beside it. Blocks; for a thread."""
    from llmops_tui.errors import LlmopsError

    prompts = services.prompts.summaries()
    models = services.models.runnable()
    names = [p.name for p in prompts]
    if prompt is None and names:
        prompt = names[0]
    versions = services.prompts.versions(prompt) if prompt in names else []
    draft = services.drafts.load(prompt) if prompt is not None else None
    if draft is None:
        newest = versions[0] if versions else None
        draft = (
            Draft(system=newest.system, template=newest.template, base=newest.number) if newest is not None else Draft()
        )
    try:
        variables = services.renderer.variables(f"{draft.system}\n{draft.template}")
    except LlmopsError:
        variables = list(draft.variables)
    runs = services.history.of(prompt) if prompt is not None else []
    return Loaded(prompts, models, prompt, versions, draft, variables, runs)
