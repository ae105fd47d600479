"""The trainings that are of a subject: what each made, under which name that is served, and what it learned from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmops_tui.loop.subject import Subject
    from llmops_tui.training.runs import Run


def served_as(run: Run) -> str:
    """The name by which what a run made is asked; empty where it made nothing that is served."""
    result = run.result
    if result is None or not result.get("model"):
        return ""
    model = str(result["model"])
    if result.get("whole"):
        return model
    return f"{result['serving']}+{model}" if result.get("serving") else ""


def runs_of(runs: Sequence[Run], subject: Subject) -> list[Run]:
    """The runs of a subject among some, in their order: those whose result goes beside its model or replaces it.

    Of a model that a run made itself, all runs of the same base are.
    """
    made = {served_as(run): run for run in runs if served_as(run)}
    bases = {subject.base}
    if (maker := made.get(subject.model)) is not None:
        bases.add(maker.recipe.base)
    return [
        run
        for run in runs
        if run.recipe.base in bases
        or run.recipe.serving == subject.base
        or (run.result is not None and run.result.get("serving") == subject.base)
    ]


def candidates_of(runs: Sequence[Run], subject: Subject) -> list[Run]:
    """The finished runs of a subject that were made after the one that answers now, the newest first."""
    found = []
    for run in sorted(runs_of(runs, subject), key=lambda one: one.created_at, reverse=True):
        name = served_as(run)
        if name == subject.model:
            break
        if name:
            found.append(run)
    return found


def newest_done(runs: Sequence[Run], subject: Subject) -> Run | None:
    """The newest finished run of a subject: what the next training goes on from."""
    done = [run for run in runs_of(runs, subject) if run.result is not None and run.finished_at is not None]
    return max(done, key=lambda one: one.created_at, default=None)
