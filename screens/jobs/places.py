"""Where in the app one finds what a job made or works on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmops_tui.jobs.store import Job
from screens.navigation import DatasetPlace, Destination, EvaluationPlace, ModelPlace, RunPlace, ScreenPlace

# The screens of kinds of jobs that make no one thing, or have not made it yet.
_SCREENS = {
    "training": ("plan", "sweep", "train"),
    "evaluation": ("eval", "judge", "task"),
    "datasets": (
        "import",
        "dataset",
        "checks",
        "profile",
        "topics",
        "embed",
        "map",
        "synthesis",
        "preference",
        "budget",
    ),
    "models": ("verify", "quantize", "convert", "get", "export", "batch"),
    "retrieval": ("index", "queries"),
    "chains": ("chain",),
    "improvement": ("improvement", "estimate"),
    "monitor": ("drift", "quality"),
    "privacy": ("forget", "retention"),
}
_SCREEN_OF = {kind: screen for screen, kinds in _SCREENS.items() for kind in kinds}


def place_of_job(job: Job) -> Destination | None:
    """The thing a job made or works on, or else the screen of such jobs; none of a kind that has no place."""
    known: Mapping[str, Any] = job.spec.get("arguments", {}) | (job.result or {})
    if job.kind == "train" and isinstance(run := known.get("run_name"), str):
        return RunPlace(run)
    runs = known.get("runs")
    if job.kind == "eval" and isinstance(runs, list) and runs:
        name = runs[0].get("run") if isinstance(runs[0], Mapping) else runs[0]
        return EvaluationPlace(str(name))
    made = [known, *(part for part in known.get("parts") or [] if isinstance(part, Mapping))]
    for one in made:
        if isinstance(one.get("dataset"), str) and isinstance(one.get("version"), int):
            return DatasetPlace(f"{one['dataset']}@{one['version']}")
    model = (job.result or {}).get("model")
    if isinstance(model, str) and model:
        return ModelPlace(model)
    if job.kind == "export" and isinstance(ref := known.get("ref"), str):
        return DatasetPlace(ref)  # models are exported, too
    return ScreenPlace(_SCREEN_OF[job.kind]) if job.kind in _SCREEN_OF else None
