"""Whether a label may move to a prompt version: by runs of the versions of now, whole, and by the rules of now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.gates import Ruling
from llmops_tui.evaluation.rules import parse_rule
from llmops_tui.evaluation.run_comparison import gate
from llmops_tui.evaluation.run_search import RunSearch

if TYPE_CHECKING:
    from llmops_tui.evaluation.run import EvalRun, SuiteVersion
    from llmops_tui.evaluation.store import EvaluationStore
    from llmops_tui.inference.engine_wire import SamplingRecord
    from llmops_tui.prompts.store import PromptVersion


def suites_for(store: EvaluationStore, prompt: str) -> list[SuiteVersion]:
    """The newest version of each suite that asks a prompt and has rules: those that may decide about its labels."""
    newest: dict[str, SuiteVersion] = {}
    for version in store.suites():
        newest.setdefault(version.suite.name, version)
    return [
        version
        for version in newest.values()
        if version.suite.rules and prompt in {ref.partition("@")[0] for ref in version.suite.prompts()}
    ]


def promotion(
    store: EvaluationStore, ref: str, label: str, suite: str, models: Sequence[str] = (), more: Sequence[str] = ()
) -> list[Ruling]:
    """What the rules of a suite, and ``more`` beside them, say of moving a label to a prompt version.

    For each model, and each set of parameters of the suite, the newest run of the version that counts is compared with the
    newest of the version that has the label now. A run counts if it is whole, and if suite, prompt, model, adapter and
    metrics are today what they were in it; rules may have changed, and are those of today. Models are those given, else
    those of the suite, else the one of the newest run that counts.

    Raises:
        InputRefusedError: ``not_evaluated``: a run is missing, with what would make it; ``no_rules``, ``prompt_of_chain``.
    """
    version, wanted = store.prompts.get(ref), store.suite(suite)
    if wanted.suite.chain:
        raise InputRefusedError(
            "prompt_of_chain",
            f"suite {wanted.ref} asks a chain of prompts and says nothing of {version.ref} alone",
            "Use a suite with a prompt.",
        )
    if not (wanted.suite.rules or more):
        raise InputRefusedError("no_rules", f"suite {wanted.ref} has no rules", "Add rules to it, or leave out --gate.")
    before = next((v for v in store.prompts.versions(version.prompt) if label in v.labels), version)
    seeking = RunSearch(store, wanted, store.all())
    chosen: list[str] = [*(models or wanted.suite.models)]
    if not chosen:
        chosen = [seeking.newest(version, "", wanted.suite.parameter_sets()[0]).asked.model]
    columns = [(model, parameters) for model in chosen for parameters in wanted.suite.parameter_sets()]
    rulings: list[Ruling] = []
    for model, parameters in columns:
        run = seeking.newest(version, model, parameters)
        found = _ruled(
            store, [*wanted.suite.rules, *more], run, label, _baseline(seeking, before, version, model, parameters)
        )
        name = f"{run.name} ({run.asked.model}): " if len(columns) > 1 else ""
        rulings += [replace(ruling, why=f"{name}{ruling.why}") for ruling in found]
    return rulings


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
