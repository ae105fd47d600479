"""What names a prompt or a dataset and would not find it any more: chains, served names, experiments, keys."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from llmops_tui.chains.definition import Chain, MapStep, PromptStep
from llmops_tui.chains.store import PREFIX as CHAIN
from llmops_tui.chains.store import ChainStore
from llmops_tui.errors import LlmopsError
from llmops_tui.inference.access.store import KeyStore
from llmops_tui.inference.experiments.store import ExperimentStore
from llmops_tui.inference.router.prompts import PREFIX as SERVED
from llmops_tui.inference.stages import StageStore
from llmops_tui.maintenance.in_use import means
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace


def chains_with_prompt(workspace: Workspace, names: Collection[str]) -> list[str]:
    """The chains, in their newest version or one with a label, that ask a prompt of these names, in words."""
    return [
        f"chain {ref} asks it" for ref, chain in _chains(workspace) if any(means(n, names) for n in _prompts(chain))
    ]


def chains_with_dataset(workspace: Workspace, names: Collection[str]) -> list[str]:
    """The chains that go through the rows of a dataset of these names, in words."""
    return [
        f"chain {ref} maps its rows"
        for ref, chain in _chains(workspace)
        if any(means(n, names) for n in _datasets(chain))
    ]


def _chains(workspace: Workspace) -> Iterator[tuple[str, Chain]]:
    store = ChainStore(Catalog(workspace))
    for name in store.served_names():
        for place, version in enumerate(store.versions(name.removeprefix(CHAIN))):
            if place and not version.labels:
                continue
            try:
                yield version.ref, version.chain
            except LlmopsError:
                # A newer version of this program wrote it; what it asks cannot be told.
                continue


def _prompts(chain: Chain) -> Iterator[str]:
    return (step.fields.prompt for step in chain.body.walk() if isinstance(step.fields, PromptStep))


def _datasets(chain: Chain) -> Iterator[str]:
    return (
        step.fields.dataset for step in chain.body.walk() if isinstance(step.fields, MapStep) and step.fields.dataset
    )


def served_prompts(workspace: Workspace, prompts: Collection[str]) -> list[str]:
    """By which names clients ask for prompts, whose keys are for them, and which experiments stand on them, in words."""
    event_log = EventLog(workspace)
    told = [f"clients ask for it as {SERVED}{one.ref}" for one in StageStore(event_log).all() if one.prompt in prompts]
    keys = [one for one in KeyStore(event_log).all() if one.revoked_at is None]
    told += [f"the key {one.name} is for it" for one in keys if set(one.scope.prompts or ()) & set(prompts)]
    for experiment in ExperimentStore(event_log).in_force():
        served = (experiment.name, experiment.settings["a"], experiment.settings["b"])
        if any(name.startswith(SERVED) and means(name.removeprefix(SERVED), prompts) for name in served):
            told.append(f"the experiment {experiment.id} on {experiment.name} is {experiment.state}")
    return told
