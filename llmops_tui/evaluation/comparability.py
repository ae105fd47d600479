"""Whether two runs are comparable: what must be equal, what may differ, and what is reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmops_tui.counts import counted
from llmops_tui.evaluation.metrics.built_in import ALWAYS
from llmops_tui.evaluation.records import NO_SCHEMA, Manifest
from llmops_tui.evaluation.run import EvalRun
from llmops_tui.evaluation.runner.summary import ScoredCases

# What two runs are mostly compared for. More than one of them at once cannot be told apart.
_AXES = {
    "prompt": ("prompt_sha256", "chain_parts"), "model": ("model_sha256", "adapter_sha256"), "parameters": ("parameters",),
    "index": ("indexes",),
}  # fmt: skip
_MUST = {
    "judges": "the judge or its prompt", "repeats": "the number of answers a case",
    "raw": "whether a chat template is used",
}  # fmt: skip
_SCHEMA = "the schema that answers must follow differs"


@dataclass(frozen=True)
class Comparable:
    """Whether two runs may be compared.

    Attributes:
        refused: why not, one sentence each; none where they may.
        notes: what is to be known all the same.
        changed: the axes on which they differ: prompt, model, parameters, index.
    """

    refused: tuple[str, ...]
    notes: tuple[str, ...]
    changed: tuple[str, ...]


def comparable(
    a: EvalRun,
    b: EvalRun,
    common: int,
    of: tuple[int, int],
    otherwise: Sequence[str] = (),
    apart: Sequence[str] = (),
    lost: Sequence[str] = (),
) -> Comparable:
    """Whether two runs may be compared, by their manifests; ``common`` are cases that both have, of so many each.

    ``otherwise`` are metrics of single cases which measure the same case in different ways, ``apart`` those that only one of
    the runs has, and ``lost`` what :func:`scored_in_one` tells.
    """
    refused: list[str] = []
    notes: list[str] = []
    one, two = a.manifest, b.manifest
    if unmeasured := _unmeasured(a, b):
        return Comparable(unmeasured, (), ())
    if not common:
        refused.append("they have no case in common")
    elif common < max(of):
        notes.append(
            f"{counted(common, 'case is', 'cases are')} in both, of {of[0]:,} and {of[1]:,}; the others are not compared"
        )
    refused += [
        f"{what} differs: {_told(one.get(name))} and {_told(two.get(name))}"
        for name, what in _MUST.items()
        if one.get(name) != two.get(name)
    ]
    _schemas(one, two, refused, notes)
    shared = set(one["metrics"]) & set(two["metrics"])
    refused += [
        f"{name} is measured in different ways"
        for name in sorted(shared)
        if one["metrics"][name] != two["metrics"][name]
    ]
    refused += [f"{name} is measured in different ways" for name in otherwise if name not in shared]
    first, second = one.get("metric_sources") or {}, two.get("metric_sources") or {}
    refused += [
        f"{name}, by which answers are measured, differs: {_told(first[name])} and {_told(second[name])}"
        for name in sorted(set(first) & set(second))
        if first[name] != second[name]
    ]
    if alone := sorted({*set(one["metrics"]) ^ set(two["metrics"]), *apart}):
        notes.append(f"{', '.join(alone)} {'is' if len(alone) == 1 else 'are'} measured in one of them only")
    _engines(one, two, refused, notes)
    changed = tuple(axis for axis, names in _AXES.items() if any(one.get(n) != two.get(n) for n in names))
    _servers(one, two, notes)
    if (
        not {"prompt", "index"} & set(changed)
        and one["cases_sha256"] == two["cases_sha256"]
        and (one["rendered_sha256"] != two["rendered_sha256"])
    ):
        refused.append("the prompts were rendered differently, though prompt and cases are the same")
    if one.get("model_sha256") == two.get("model_sha256") and one.get("template_sha256") != two.get("template_sha256"):
        refused.append("the chat template differs, though the model is the same")
    if len(changed) > 1:
        notes.append(f"{' and '.join(changed)} differ: a difference cannot be attributed to one of them")
    if not changed and not alone and not notes and not refused:
        notes.append("prompt, model and parameters are the same: both runs are the same experiment")
    if one.get("parallel") != two.get("parallel"):
        notes.append(
            f"they ran {one.get('parallel')} and {two.get('parallel')} requests in parallel: their times are not comparable"
        )
    return Comparable(tuple(refused), (*notes, *lost), changed)


def _unmeasured(*runs: EvalRun) -> tuple[str, ...]:
    """What is told of runs that are not finished, or measured nothing since all that they asked failed."""
    if unfinished := " and ".join(run.name for run in runs if not run.manifest):
        return (f"{unfinished} is not finished",)
    return tuple(f"{run.name} {run.unanswered}" for run in runs if run.unanswered)


def scored_in_one(left: ScoredCases, right: ScoredCases) -> list[str]:
    """What is told of metrics that have a score of a case in one of the runs only: the comparison leaves such cases out.

    Both have the same cases, by their keys.
    """
    # An answer from the cache has no latency, and needs none.
    costs = {metric.called for metric in ALWAYS}
    names = dict.fromkeys(
        n for part in (left, right) for result in part.results[:1] for n in result.scores if n not in costs
    )
    found = []
    for name in names:
        if all(value is not None for part in (left, right) for _, value in part.scores(name)):
            continue
        one, two = left.by_key(name), right.by_key(name)
        apart = sum((one[key] is None) != (two[key] is None) for key in one.keys() & two.keys())
        if apart:
            count = counted(apart, "case has", "cases have")
            found.append(
                f"{count} a score of {name} in one of the runs only, and {'is' if apart == 1 else 'are'} left out"
            )
    return found


def _schemas(one: Manifest, two: Manifest, refused: list[str], notes: list[str]) -> None:
    """What answers are held to: of a suite it must be the same, of a prompt's version it is part of what is compared."""
    digests = [made.get("response_format_sha256") for made in (one, two)]
    if digests[0] == digests[1]:
        return
    if all(made.get("schema_of") == "prompt" or made.get("response_format_sha256") == NO_SCHEMA for made in (one, two)):
        notes.append(f"{_SCHEMA}: the versions hold it, and it belongs to the difference between them")
    else:
        refused.append(f"{_SCHEMA}: {_told(digests[0])} and {_told(digests[1])}")


def _servers(one: Manifest, two: Manifest, notes: list[str]) -> None:
    """What remote servers called themselves in both runs: where that differs, so may what answered."""
    first, second = one.get("fingerprints") or {}, two.get("fingerprints") or {}
    notes += [
        f"the server of {name} calls itself {' and '.join(second[name])}, and {' and '.join(first[name])} before: what answers "
        "behind it has changed"
        for name in sorted(first.keys() & second.keys())
        if first[name] != second[name]
    ]


def _engines(one: Manifest, two: Manifest, refused: list[str], notes: list[str]) -> None:
    """What computes the answers: of our own engine it must be the same, of a server of somebody else's it cannot be known."""
    if one.get("engine") == two.get("engine"):
        return
    told = f"{_told(one.get('engine'))} and {_told(two.get('engine'))}"
    if any(str(made.get("engine") or "").startswith(("http://", "https://")) for made in (one, two)):
        notes.append(f"the engine differs: {told}; how a server computes is not known, and belongs to the difference")
    else:
        refused.insert(0, f"the engine differs: {told}")


def _told(value: Any) -> str:
    return str(value)[:80] or "none"
