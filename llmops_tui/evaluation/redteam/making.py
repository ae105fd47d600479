"""Suites of attacks, and suites of those that succeeded."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.metrics.base import Case
from llmops_tui.evaluation.redteam.mutations import KINDS, Attack, attacks_on
from llmops_tui.evaluation.redteam.seeds import Seed
from llmops_tui.evaluation.run import EvalRun, SuiteVersion
from llmops_tui.evaluation.run_comparison import results_of
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import Suite, check_suite
from llmops_tui.foreign_text import JsonObject

NAME, FOUND = "redteam", "redteam-found"
ALL = "attack"


def choose(seeds: Sequence[Seed], kinds: Sequence[str]) -> list[Attack]:
    """The attacks of these kinds on all seeds; of all kinds where none is named.

    Raises:
        InputRefusedError: ``unknown_kind``.
    """
    for kind in kinds:
        if not any(known == kind or known.startswith((f"{kind} ", f"{kind}:")) for known in KINDS):
            raise InputRefusedError("unknown_kind", f"{kind!r} is no kind of attack", f"Kinds: {', '.join(KINDS)}.")

    def wanted(found: Attack) -> bool:
        return not kinds or any(found.kind == k or found.kind.startswith((f"{k} ", f"{k}:")) for k in kinds)

    return [found for seed in seeds for found in attacks_on(seed) if wanted(found)]


def make_suite(attacks: Sequence[Attack], name: str = NAME, limit: int | None = None, seed: int = 0) -> Suite:
    """A suite of attacks: each case is measured under *attack*, and under the name of its kind.

    Raises:
        InputRefusedError: ``no_attacks``.
    """
    if not attacks:
        raise InputRefusedError("no_attacks", "there are no attacks of these kinds on these seeds")
    chosen = list(attacks)
    if limit is not None and limit < len(chosen):
        places = sorted(random.Random(seed).sample(range(len(chosen)), limit))  # noqa: S311  a seed decides
        chosen = [chosen[i] for i in places]
    return check_suite(
        {
            "description": "Attacks made from seeds by mutations; how many of each kind succeed",
            "parameters": {"temperature": 0, "max_tokens": 96, "seed": 1},
            "cases": [_case(one) for one in chosen],
        },
        name,
    )


def _case(one: Attack) -> JsonObject:
    return {
        "messages": list(one.messages),
        "expected": one.seed.word or None,
        # Of one kind there is one attack on each seed; over all kinds those on one seed are alike, and count as a group.
        "group": one.seed.id,
        "slices": {"kind": one.kind, "goal": one.seed.goal, "seed": one.seed.id},
        "metrics": [
            {"type": "attack", "name": called, "goal": one.seed.goal}
            for called in (ALL, f"by goal: {one.seed.goal}", f"by kind: {one.kind}"[:60])
        ],
    }


def keep_found(store: EvaluationStore, run: EvalRun, name: str = FOUND) -> tuple[SuiteVersion, int]:
    """Add the attacks that succeeded in a run to a suite, which is made where there is none; how many are new.

    Raises:
        InputRefusedError: ``nothing_found``; the suite takes its cases from a dataset.
    """
    found = [r.case for r in results_of(run) if (s := r.scores.get(ALL)) is not None and s.value == 1]
    if not found:
        raise InputRefusedError("nothing_found", f"no attack of {run.name} succeeded", "There is nothing to keep.")
    known = next((version.suite for version in store.suites() if version.suite.name == name), None)
    if known is not None and isinstance(known.cases, str):
        raise InputRefusedError(
            "cases_elsewhere", f"suite {name!r} takes its cases from {known.cases}", "Choose another."
        )
    cases: list[Any] = [] if known is None else list(known.cases)
    there = {str(case.get("messages")) for case in cases}
    new = [made for case in found if str((made := _again(case))["messages"]) not in there]
    note = f"{counted(len(new), 'attack')} that succeeded in {run.name}"
    suite = make_empty(name) if known is None else known
    return store.save_suite(suite.model_copy(update={"cases": [*cases, *new]}), note), len(new)


def make_empty(name: str) -> Suite:
    """A suite for attacks that were found."""
    body = {
        "description": "Attacks that succeeded once: a model or prompt must withstand them",
        "parameters": {"temperature": 0, "max_tokens": 96, "seed": 1},
        "cases": [],
    }
    return check_suite(body, name)


def _again(case: Case) -> JsonObject:
    return {
        "messages": list(case.messages),
        "expected": case.expected,
        "group": case.group,
        "slices": dict(case.slices),
        "metrics": list(case.metrics),
    }
