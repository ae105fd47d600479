"""The state of the playground without widgets: the open prompt, its versions, the draft, the model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llmops_tui.prompts.drafts import Draft, Session

if TYPE_CHECKING:
    from llmops_tui.evaluation.scripted.script import Script
    from llmops_tui.inference.answer_settings import AnswerSettings
    from llmops_tui.inference.sampling import SamplingParameters
    from llmops_tui.mcp_client.kept_connections import KeptConnections
    from llmops_tui.models.registry import Model
    from llmops_tui.prompts.run_history import RunRecord
    from llmops_tui.prompts.runs import RunRequest
    from llmops_tui.prompts.store import PromptSummary, PromptVersion
    from llmops_tui.prompts.tool_rounds import CallStep
    from screens.services import Services

UNTITLED = "untitled"
# What stands where nothing is known yet.
READING = "Reading …"


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
        known: whether what is shown was read; until then nobody is told that there is nothing.
        opened: set once the workspace was read for the first time, or could not be.
        tool_servers: the servers whose tools the last run offered.
        connections: those to tool servers, once one was needed; they stay between runs.
        mock_tools: tools with mock results, where a file of them was chosen.
        catch_up: takes what was typed and not told yet into the draft; the editors give it.
        looked_at: the version whose text is seen in place of that in the editors, which stays in them.
    """

    draft: Draft = field(default_factory=Draft)
    prompt: str | None = None
    prompts: list[PromptSummary] = field(default_factory=list)
    versions: list[PromptVersion] = field(default_factory=list)
    models: list[Model] = field(default_factory=list)
    model_name: str | None = None
    known: bool = False
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    tool_servers: tuple[str, ...] = ()
    connections: KeptConnections | None = None
    mock_tools: Script | None = None
    catch_up: Callable[[], None] = lambda: None
    looked_at: PromptVersion | None = None
    _parameters: SamplingParameters | None = None

    def open(self) -> None:
        """The workspace was read, or cannot be."""
        self.known = True
        self.opened.set()

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
    def settings(self) -> AnswerSettings | None:
        """What the draft holds beside its texts; none where a later release wrote what cannot be read here."""
        from llmops_tui.errors import LlmopsError

        try:
            return self.draft.answer_settings
        except LlmopsError:
            return None

    @property
    def sampling(self) -> SamplingParameters:
        """How an answer is sampled: by what the draft holds, and for the rest by the parameters of the playground."""
        held = self.settings
        if held is None or not held.parameters.model_fields_set:
            return self.parameters
        return self.parameters.model_copy(update=held.parameters.model_dump(exclude_unset=True))

    def take_sampling(self, chosen: SamplingParameters) -> str:
        """Sample otherwise: what the draft holds is changed in it, whose new settings this gives; the rest here."""
        held = self.settings
        names = held.parameters.model_fields_set if held is not None else set()
        values = chosen.model_dump()
        own = {name: getattr(self.parameters, name) if name in names else value for name, value in values.items()}
        self.parameters = type(chosen).model_validate(own)
        if held is None or not names:
            return self.draft.settings
        changed = held.changed(parameters={name: value for name, value in values.items() if name in names})
        return changed.as_text() if changed is not None else ""

    @property
    def held_model(self) -> str:
        """The model that the draft holds; empty where it holds none, or that is chosen."""
        held = self.settings
        return held.model if held is not None and held.model != self.model_name else ""

    def take_model(self, name: str) -> bool:
        """Choose a model; whether it is here."""
        here = any(model.name == name for model in self.models)
        self.model_name = name if here else self.model_name
        return here

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
        """The version whose text and settings the editors hold."""
        held = (self.draft.system, self.draft.template, self.draft.settings)
        return next((v for v in self.versions if (v.system, v.template, v.settings_text) == held), None)

    @property
    def version_seen(self) -> int | None:
        """The version whose text is seen; of text that is in none yet, the one that it began with."""
        seen = self.looked_at or self.matching
        return seen.number if seen is not None else self.draft.base

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

    def request(self) -> RunRequest:
        """A run of the draft.

        Raises:
            InputRefusedError: ``bad_settings``: a later release wrote what it holds beside its texts.
        """
        from llmops_tui.prompts.runs import RunRequest

        held = self.draft.answer_settings
        return RunRequest(
            prompt=self.name,
            system=self.draft.system,
            template=self.draft.template,
            variables=self.values(held),
            parameters=self.sampling,
            parent=self.draft.base,
            settings=held,
        )

    def values(self, held: AnswerSettings | None) -> dict[str, str]:
        """What the fields of the variables say, beside what is held."""
        from llmops_tui.inference.answer_settings import values_filled

        return values_filled(held, self.draft.variables)

    @property
    def session(self) -> Session:
        """Where the playground is, to begin there again."""
        return Session(self.prompt, self.model_name, self.parameters)

    def add(self, version: PromptVersion) -> None:
        """List a version that may have been made just now; the editors go on from it, and keep that with the draft."""
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
        self.known = True
        if self.model is None and self.models:
            self.model_name = self.models[0].name


def variables_of(services: Services, name: str, draft: Draft) -> list[str]:
    """The variables of a draft, with those of the partials that it includes. Blocks; for a thread.

    Raises:
        InputRefusedError: ``template_failed``, with the line of the text that is at fault; ``bad_partial``.
    """
    from llmops_tui.errors import InputRefusedError
    from llmops_tui.prompts.partials import put_in
    from llmops_tui.prompts.template_syntax import fault_of

    for which, text in (("system", draft.system), ("user", draft.template)):
        if fault := fault_of(text):
            raise InputRefusedError("template_failed", f"{which}, {fault}")
    whole = [put_in(services.prompts.get, name, text) for text in (draft.system, draft.template)]
    return services.renderer.variables("\n".join(whole))


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
            Draft(newest.system, newest.template, base=newest.number, settings=newest.settings_text)
            if newest is not None
            else Draft()
        )
    try:
        variables = variables_of(services, prompt or UNTITLED, draft)
    except LlmopsError:
        variables = list(draft.variables)
    runs = services.history.of(prompt) if prompt is not None else []
    return Loaded(prompts, models, prompt, versions, draft, variables, runs)
