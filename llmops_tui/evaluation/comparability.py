"""Whether two runs are comparable: what must be equal, what may differ, and what is reported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmops_tui.counts import counted
from llmops_tui.evaluation.run import EvalRun

# What two runs are mostly compared for. More than one of them at once cannot be told apart.
_AXES = {
    "prompt": ("prompt_sha256",), "model": ("model_sha256", "adapter_sha256"), "parameters": ("parameters",),
}  # fmt: skip
_MUST = {
    "engine": "the engine", "judges": "the judge or its prompt", "repeats": "the number of answers a case",
    "response_format_sha256": "the schema that answers must follow", "raw": "whether a chat template is used",
}  # fmt: skip


@dataclass(frozen=True)
class Comparable:
    """Whether two runs may be compared.

    Attributes:
        refused: why not, one sentence each; none where they may.
        notes: what is to be known all the same.
        changed: the axes on which they differ: prompt, model, parameters.
    """

    refused: tuple[str, ...]
    notes: tuple[str, ...]
    changed: tuple[str, ...]


def comparable(a: EvalRun, b: EvalRun, common: int, of: tuple[int, int]) -> Comparable:
    """Whether two runs may be compared, by their manifests; ``common`` are cases that both have, of so many each."""
    refused: list[str] = []
    notes: list[str] = []
    one, two = a.manifest, b.manifest
    if not one or not two:
        unfinished = " and ".join(run.name for run in (a, b) if not run.manifest)
        return Comparable((f"{unfinished} is not finished",), (), ())
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
    shared = set(one["metrics"]) & set(two["metrics"])
    refused += [
        f"{name} is measured in different ways"
        for name in sorted(shared)
        if one["metrics"][name] != two["metrics"][name]
    ]
    changed = tuple(axis for axis, names in _AXES.items() if any(one.get(n) != two.get(n) for n in names))
    if (
        "prompt" not in changed
        and one["cases_sha256"] == two["cases_sha256"]
        and (one["rendered_sha256"] != two["rendered_sha256"])
    ):
        refused.append("the prompts were rendered differently, though prompt and cases are the same")
    if one.get("model_sha256") == two.get("model_sha256") and one.get("template_sha256") != two.get("template_sha256"):
        refused.append("the chat template differs, though the model is the same")
    if len(changed) > 1:
        notes.append(f"{' and '.join(changed)} differ: a difference cannot be attributed to one of them")
    if not changed:
        notes.append("prompt, model and parameters are the same: both runs are the same experiment")
    if one.get("parallel") != two.get("parallel"):
        notes.append(
            f"they ran {one.get('parallel')} and {two.get('parallel')} requests in parallel: their times are not comparable"
        )
    return Comparable(tuple(refused), tuple(notes), changed)


def _told(value: Any) -> str:
    return str(value)[:80] or "none"
