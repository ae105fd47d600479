"""What an experiment is begun with, checked before anything is kept."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from llmops_tui.decisions.canaries import LARGEST_BUDGET
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.experiments.metrics import decider
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.experiments.records import ANSWERED, BY_OPENING, HEADER, RATING, Arm, Experiment, Settings
from llmops_tui.inference.experiments.store import ExperimentStore
from llmops_tui.inference.prompt_versions import DEFAULT_LABEL, find_served
from llmops_tui.inference.router.names import resolve
from llmops_tui.inference.router.prompts import ON, PREFIX
from llmops_tui.inference.stages import StageStore
from llmops_tui.models.aliases import AliasBook
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog

_ALPHA = {"ab": 0.05, "canary": 0.01, "shadow": 0.05}
_SHARE = {"ab": 0.5, "canary": 0.05, "shadow": 0.5}
_BUDGET = 0.02


class NewExperiment(BaseModel):
    """An experiment as it is asked for; what is left out follows from its kind."""

    model_config = ConfigDict(frozen=True)

    name: Annotated[str, Field(description="The model, alias or prompt/NAME@LABEL whose requests are part of it.")] = ""
    a: Annotated[str, Field(description="What answers now; empty: what the name means.")] = ""
    b: Annotated[str, Field(description="The candidate; for a prompt a version of it, or a model.")] = ""
    kind: Annotated[Literal["ab", "canary", "shadow"], Field(description="ab, canary or shadow.")] = "ab"
    split: Annotated[float | None, Field(ge=0.01, le=0.99, description="B's share; ab 0.5, canary 0.05.")] = None
    by: Annotated[str, Field(description="conversation, user, key or header:NAME.")] = BY_OPENING
    metric: Annotated[str, Field(description="rating, answered, or a metric: its type, or JSON.")] = ""
    budget: Annotated[
        float | None, Field(gt=0, le=LARGEST_BUDGET, description="Failed conversations that B may have; canary 0.02.")
    ] = None
    alpha: Annotated[float | None, Field(ge=0.0001, le=0.2, description="How often it may be wrong; canary 0.01.")] = (
        None
    )
    slower: Annotated[float, Field(ge=1, le=100, description="How many times as long B may take.")] = 1.2

    def settings(self) -> Settings:
        """What is kept of it.

        Raises:
            InputRefusedError: ``bad_experiment`` or ``bad_metric``: parts of it do not fit each other.
        """
        if self.kind == "shadow" and self.split is not None:
            raise _wrong("split: a shadow has none: A answers everything, and B is asked the same")
        if self.kind == "shadow" and self.budget is not None:
            raise _wrong("budget: a shadow answers nobody, and nothing stops it")
        header = self.by.startswith(HEADER) and self.by.removeprefix(HEADER).strip()
        if self.by not in {BY_OPENING, "user", "key"} and not header:
            raise _wrong(f"by: {self.by!r} is not conversation, user, key or header:NAME")
        made: Settings = {
            "a": self.a or self.name,
            "b": self.b,
            "share": _SHARE[self.kind] if self.split is None else self.split,
            "by": self.by,
            "metric": _entry(self.metric) if self.metric else ANSWERED if self.kind == "shadow" else RATING,
            "budget": _BUDGET if self.kind == "canary" and self.budget is None else self.budget,
            "alpha": _ALPHA[self.kind] if self.alpha is None else self.alpha,
            "slower": self.slower,
        }
        decider(made["metric"], self.kind)
        return made


def begin(catalog: Catalog, store: ExperimentStore, asked: NewExperiment) -> Experiment:
    """Begin an experiment on a name that is served.

    Raises:
        InputRefusedError: ``model_not_found`` and others: none or several models go by one of its names; ``bad_experiment``,
            ``bad_metric``, ``experiment_running``.
    """
    settings = asked.settings()
    models, aliases = ModelRegistry(catalog).all(), AliasBook(catalog).all()

    def meant(which: str, name: str) -> tuple[str, str | None]:
        """The name that stands for it from now on, and the hash of what answers."""
        ref, on, model = name.partition(ON) if name.startswith(PREFIX) else (name, "", "")
        try:
            if name.startswith(PREFIX):
                version = catalog.read(lambda connection: find_served(connection, ref.removeprefix(PREFIX)))
                if not on:
                    return f"{PREFIX}{version.ref}", version.sha256
                found = resolve(model, models, aliases)
                return f"{PREFIX}{version.ref}{ON}{found.name}", found.model.sha256
            found = resolve(name, models, aliases)
        except LlmopsError as error:
            raise InputRefusedError(error.code, f"{which}: {error.message}", error.hint) from error
        return found.name, found.model.sha256

    meant("name", asked.name)
    if asked.name.startswith(PREFIX) and not settings["b"].startswith(PREFIX):
        settings = _on_models(store, asked.name, settings)
    first, second = meant("a", settings["a"]), meant("b", settings["b"])
    if first[0] == second[0]:
        raise _wrong(f"A and B are both {first[0]!r}")
    # What its names stand for now: an alias or a label that is moved meanwhile does not change it.
    hashes: dict[Arm, str | None] = {"a": first[1], "b": second[1]}
    return store.start(asked.name, asked.kind, {**settings, "a": first[0], "b": second[0]}, hashes)


def _on_models(store: ExperimentStore, name: str, settings: Settings) -> Settings:
    """The arms of an experiment in which a model stands against the one that a prompt's stage has: the same version on both.

    Raises:
        InputRefusedError: ``bad_experiment``: the name is no stage, or A is another model than the stage's.
    """
    prompt, _, label = name.removeprefix(PREFIX).partition("@")
    stage = StageStore(store.event_log).get(prompt, label or DEFAULT_LABEL)
    a = settings["a"]
    if a.startswith(PREFIX):
        if a.partition(ON)[2]:
            return {**settings, "b": f"{a.partition(ON)[0]}{ON}{settings['b']}"}
        if stage is None or not stage.model:
            told = f"b: {settings['b']!r} is a model, and no stage says which model answers {name!r} now"
            raise InputRefusedError(
                "bad_experiment", told, f"llmops stage set {prompt}@{label or DEFAULT_LABEL} --model NAME"
            )
        return {**settings, "a": f"{a}{ON}{stage.model}", "b": f"{a}{ON}{settings['b']}"}
    return {**settings, "a": f"{name}{ON}{a}", "b": f"{name}{ON}{settings['b']}"}


def _entry(given: str) -> JsonObject:
    """A metric as it was given: its type, or a suite's entry as JSON."""
    if not given.lstrip().startswith("{"):
        return {"type": given}
    try:
        found: JsonObject = json.loads(given)
    except (ValueError, RecursionError) as error:
        raise _wrong(f"metric: it is no JSON: {error}") from error
    return found


def _wrong(told: str) -> InputRefusedError:
    return InputRefusedError("bad_experiment", told, "llmops experiment start --help says what there is.")
