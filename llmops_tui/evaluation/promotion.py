"""Whether a label may move to a version of a prompt or a chain: by whole runs of the versions of now, and the rules of now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.gates import Ruling
from llmops_tui.evaluation.rules import parse_rule
from llmops_tui.evaluation.run_comparison import gate
from llmops_tui.evaluation.run_search import RunSearch
from llmops_tui.inference.prompt_versions import CHAINS
from llmops_tui.prompts.store import PromptStore

if TYPE_CHECKING:
    from llmops_tui.evaluation.run import EvalRun, SuiteVersion
    from llmops_tui.evaluation.store import EvaluationStore
    from llmops_tui.inference.engine_wire import SamplingRecord
    from llmops_tui.prompts.store import PromptVersion


def suites_for(store: EvaluationStore, prompt: str) -> list[SuiteVersion]:
    """The newest version of each suite that asks a prompt and has rules: those that may decide about its labels.

    A chain is named as ``chain/NAME``; suites that ask one step of it do not decide about the whole.
    """
    newest: dict[str, SuiteVersion] = {}
    for version in store.suites():
        newest.setdefault(version.suite.name, version)
    return [
        version
        for version in newest.values()
        if version.suite.rules and prompt in {_asked(ref) for ref in version.suite.prompts()}
    ]


def _asked(ref: str) -> str:
    """The prompt or the chain that a column asks; empty where it is a step of a chain."""
    return "" if ref.startswith(CHAINS) and ":" in ref else ref.partition("@")[0]


def promotion(
    store: EvaluationStore,
    ref: str,
    label: str,
    suite: str,
    models: Sequence[str] = (),
    more: Sequence[str] = (),
    replaced: str = "",
) -> list[Ruling]:
    """What the rules of a suite, and ``more`` beside them, say of moving a label to a version of a prompt, or of ``chain/NAME``.

    For each model, and each set of parameters of the suite, the newest run of the version that counts is compared with the
    newest of the version that has the label now, or had it when it was taken away. A run counts if it is whole, and if suite,
    prompt, model, adapter and metrics are today what they were in it, and of a chain all that its steps use; rules may have
    changed, and are those of today. Models are those given, else those of the suite, else the one of the newest run that
    counts. With ``replaced``, the model that answers now, it is the model that changes: the newest run of the same version on
    that one is what is compared with.

    Raises:
        InputRefusedError: ``not_evaluated``: a run is missing, with what would make it; ``no_rules``, ``prompt_of_chain``.
    """
    texts = PromptStore(store.catalog, CHAINS) if ref.startswith(CHAINS) else store.prompts
    version, wanted = texts.get(ref), store.suite(suite)
    if wanted.suite.chain:
        raise InputRefusedError(
            "prompt_of_chain",
            f"suite {wanted.ref} asks a chain of prompts and says nothing of {version.ref} alone",
            "Use a suite with a prompt.",
        )
    if not (wanted.suite.rules or more):
        raise InputRefusedError("no_rules", f"suite {wanted.ref} has no rules", "Add rules to it, or leave out --gate.")
    before = held_last(texts, version, label)
    seeking = RunSearch(store, wanted, store.all())
    chosen: list[str] = [*(models or wanted.suite.models)]
    if not chosen:
        chosen = [seeking.newest(version, "", wanted.suite.parameter_sets()[0]).asked.model]
    columns = [(model, parameters) for model in chosen for parameters in wanted.suite.parameter_sets()]
    rulings: list[Ruling] = []
    for model, parameters in columns:
        run = seeking.newest(version, model, parameters)
        baseline = (
            seeking.newest(version, replaced, parameters)
            if replaced
            else _baseline(seeking, before, version, model, parameters)
        )
        found = _ruled(store, [*wanted.suite.rules, *more], run, label, baseline)
        name = f"{run.name} ({run.asked.model}): " if len(columns) > 1 else ""
        rulings += [replace(ruling, why=f"{name}{ruling.why}") for ruling in found]
    return rulings


def held_last(texts: PromptStore, version: PromptVersion, label: str) -> PromptVersion:
    """The version that has the label, or had it when it was taken away: that must not be a way past a policy."""
    versions = texts.versions(version.prompt)
    held = next((one.number for one in versions if label in one.labels), None)
    if held is None:
        held = next((move.before for move in texts.label_moves(version.prompt, label)[-1:]), None)
    return next((one for one in versions if one.number == held), version)


def _baseline(
    seeking: RunSearch, before: PromptVersion, version: PromptVersion, model: str, parameters: SamplingRecord
) -> EvalRun | None:
    return None if before.ref == version.ref else seeking.newest(before, model, parameters)


def _ruled(
    store: EvaluationStore, rules: Sequence[str], run: EvalRun, label: str, baseline: EvalRun | None
) -> list[Ruling]:
    if baseline is not None:
        return gate(store, run.name, baseline.name, rules)
    # The first version to get a label has nothing to be compared with.
    absolute = [rule for rule in rules if parse_rule(rule).kind == "absolute"]
    why = f"no other version is {label}: there is nothing to compare with"
    relative = [Ruling(rule, "pass", why) for rule in rules if rule not in absolute]
    return [*(gate(store, run.name, None, absolute) if absolute else []), *relative]
