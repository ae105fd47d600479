"""What a loop is about: a name that applications ask for, the model that answers it, and the traces that are of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference.prompt_versions import DEFAULT_LABEL
from llmops_tui.inference.router.names import Meant, resolve
from llmops_tui.inference.router.prompts import PREFIX
from llmops_tui.inference.stages import Stage, StageStore
from llmops_tui.models.aliases import AliasBook
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.prompts.store import PromptStore, PromptVersion
from llmops_tui.traces.store import TraceFilter

if TYPE_CHECKING:
    from llmops_tui.workspace.catalog import Catalog
    from llmops_tui.workspace.event_log import EventLog


@dataclass(frozen=True)
class Subject:
    """A name in use.

    Attributes:
        name: what applications ask for: a model, an alias, or ``prompt/NAME@LABEL``.
        model: the model that answers now, ``MODEL+ADAPTER`` with an adapter.
        version: of a stage the prompt's version that it is on; ``stage`` is what is kept of it.
        alias: the alias that the name is, or empty.
    """

    name: str
    model: str
    version: PromptVersion | None = None
    stage: Stage | None = None
    alias: str = ""

    @property
    def base(self) -> str:
        """The model that answers, without its adapter."""
        return self.model.partition("+")[0]

    @property
    def traces(self) -> TraceFilter:
        """Which traces are of it: those of the prompt, or those of the model with any adapter."""
        return TraceFilter(prompt=self.version.prompt) if self.version is not None else TraceFilter(model=self.base)


def resolved(catalog: Catalog, name: str) -> Meant:
    """The served model that a name means.

    Raises:
        InputRefusedError: none or several.
    """
    try:
        return resolve(name, ModelRegistry(catalog).all(), AliasBook(catalog).all())
    except LlmopsError as error:
        raise InputRefusedError(error.code, error.message, error.hint) from error


def subject_of(catalog: Catalog, event_log: EventLog, name: str) -> Subject:
    """The subject of a name: a model, an alias, or a stage as ``prompt/NAME@LABEL`` or ``NAME@LABEL``.

    Raises:
        InputRefusedError: ``model_not_found`` and others: nothing goes by it; ``no_stage``; ``no_model``: the stage says not
            which model answers. NotFoundError: there is no such prompt.
    """
    stages = StageStore(event_log)
    prompt, at, label = name.removeprefix(PREFIX).partition("@")
    stage = stages.get(prompt, label or DEFAULT_LABEL)
    if name.startswith(PREFIX) or (at and stage is not None):
        if stage is None:
            told = f"{name} is no stage"
            raise InputRefusedError(
                "no_stage", told, f"llmops stage set {prompt}@{label or DEFAULT_LABEL} --model NAME"
            )
        version = next((v for v in PromptStore(catalog).versions(prompt) if stage.label in v.labels), None)
        if version is None:
            raise InputRefusedError(
                "no_label", f"no version of {prompt} has the label {stage.label}", "llmops stage promote"
            )
        if not stage.model:
            told = f"no stage says which model answers {name}"
            raise InputRefusedError("no_model", told, f"llmops stage set {stage.ref} --model NAME")
        return Subject(f"{PREFIX}{stage.ref}", resolved(catalog, stage.model).name, version, stage)
    aliases = AliasBook(catalog).all()
    # An alias in another case is that alias.
    alias = name if name in aliases else next((one for one in aliases if one.casefold() == name.casefold()), "")
    return Subject(alias or name, resolved(catalog, name).name, alias=alias)


def known_names(catalog: Catalog, event_log: EventLog) -> list[str]:
    """The names that may be subjects: stages that say which model answers, aliases, then served models."""
    stages = [f"{PREFIX}{stage.ref}" for stage in StageStore(event_log).all() if stage.model]
    models = [one.name for one in ModelRegistry(catalog).all() if one.kind == "gguf"]
    return [*stages, *AliasBook(catalog).all(), *models]
