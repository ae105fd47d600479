"""Findings about the rows that are held out of training: whether there are any, of what kinds, and how far from the others."""

from __future__ import annotations

import math

from llmops_tui.counts import counted
from llmops_tui.training.examples import Examples
from llmops_tui.training.held_out import HeldOut
from llmops_tui.training.preflight_findings import Finding
from llmops_tui.training.recipe import Recipe
from llmops_tui.training.recipe_parts import ONLY_BEST

_FEW = 20
_IN_A_RUN = 10
_NAMED = 5


def held_out_findings(recipe: Recipe, examples: Examples) -> list[Finding]:
    """What is to be said about what the loss is measured on."""
    evaluation, drawn, count = recipe.evaluation, examples.report.drawn, len(examples.held_out)
    if drawn is None:
        return [Finding("info", "no_evaluation", "no evaluation loss is measured", "evaluation.share holds rows out.")]
    if not count and drawn.fixed and not drawn.rows:
        return [
            Finding(
                "warn",
                "no_evaluation",
                f"no row can be held out: {counted(drawn.fixed, 'row')} are synthetic, or synthetic rows were made of "
                "them, and of the others there are too few: no evaluation loss is measured",
                "Name an evaluation.dataset that people wrote.",
            )
        ]
    if not count and drawn.rows:
        where = evaluation.dataset or f"the share {evaluation.share:g} of the data"
        return [
            Finding(
                "warn",
                "no_evaluation",
                f"none of the {counted(len(drawn.rows), 'row')} held out for evaluation, of {where}, has anything for "
                f"{recipe.method} to be measured on: no evaluation loss is measured",
                "Show the tokens of a record (datasets screen, w).",
            )
        ]
    if not count:
        return [
            Finding(
                "warn",
                "no_evaluation",
                f"no row can be held out for evaluation.share {evaluation.share:g}: there are too few, or the same texts "
                "repeat too often",
                "Raise evaluation.share, or name an evaluation.dataset.",
            )
        ]
    found = []
    if count < _FEW:
        found.append(
            Finding(
                "warn",
                "few_held_out",
                f"the evaluation loss is measured on {counted(count, 'row')}: it jumps by chance",
                "Raise evaluation.share, or name an evaluation.dataset.",
            )
        )
    if drawn.missing:
        named = ", ".join(label[:40] for label in drawn.missing[:_NAMED])
        found.append(
            Finding(
                "warn",
                "classes_missing",
                f"{len(drawn.missing)} of {counted(drawn.classes, 'kind')} of answers have no held-out row, such as {named}",
                "Raise evaluation.share, so that each has one.",
            )
        )
    if drawn.twins:
        found.append(
            Finding(
                "warn",
                "twins",
                f"{drawn.twins} of {counted(count, 'row')} of {evaluation.dataset} are in the training data too",
                f"llmops data check {recipe.data[0].dataset} --against {evaluation.dataset} shows them.",
            )
        )
    found += [*_unmeasured(recipe, examples, drawn), *_synthetic_findings(recipe, drawn)]
    if drawn.near is None:
        found.append(
            Finding(
                "info", "near_unknown", "near-duplicates of held-out rows were not looked for: there is too much data"
            )
        )
    elif drawn.near:
        found.append(
            Finding(
                "warn",
                "near_twins",
                f"{drawn.near} of {counted(count, 'held-out row')} are nearly the same as a row that is trained on",
                "The evaluation loss is too good by them: remove near-duplicates on the datasets screen.",
            )
        )
    return found


def _unmeasured(recipe: Recipe, examples: Examples, drawn: HeldOut) -> list[Finding]:
    """What is to be said where some of the rows that were drawn have no answer, or none within the maximum length."""
    lost = len(examples.report.unmeasured)
    if not lost:
        return []
    message = f"{lost} of {counted(len(drawn.rows), 'held-out row')} cannot be measured on: there is nothing for {recipe.method}"
    return [Finding("info", "unmeasured", message, "Show the tokens of a record (datasets screen, w).")]


def evaluation_findings(recipe: Recipe, steps: int, *, measured: bool) -> list[Finding]:
    """What of ``evaluation`` has no effect in a run of so many steps."""
    evaluation = recipe.evaluation
    found = []
    usual = type(evaluation).model_fields["share"].default
    if evaluation.dataset and evaluation.share not in (0, usual):
        found.append(
            Finding(
                "warn",
                "share_unused",
                f"evaluation.share {evaluation.share:g} does not count: the loss is measured on {evaluation.dataset} alone, and "
                "all of the data is trained on",
                "Leave one of evaluation.share and evaluation.dataset out.",
            )
        )
    patience = evaluation.patience
    if not patience:
        return found
    # As often as the trainer does, and once more at the end.
    count = math.ceil(steps / (evaluation.every or max(1, steps // _IN_A_RUN)))
    if not measured:
        what = "the best checkpoint cannot be known" if patience >= ONLY_BEST else "it never stops the run"
        message = f"evaluation.patience {patience} has no effect, since no evaluation loss is measured: {what}"
        found.append(Finding("warn", "patience_unused", message, "evaluation.share holds rows out."))
    elif patience >= ONLY_BEST:
        message = f"the run ends with the best of {counted(count, 'measured checkpoint')}, and is not stopped before"
        found.append(Finding("info", "only_best", message))
    elif count <= patience + 1:
        message = (
            f"evaluation.patience {patience} never stops this run, which has {counted(count, 'evaluation')} in "
            f"{counted(steps, 'step')}: it takes more than {patience + 1}"
        )
        found.append(Finding("warn", "patience_unused", message, "Lower evaluation.every or evaluation.patience."))
    return found


def _synthetic_findings(recipe: Recipe, drawn: HeldOut) -> list[Finding]:
    """What is to be said where a model wrote some of the rows."""
    found = []
    if drawn.fixed:
        found.append(
            Finding(
                "info",
                "synthetic_trained",
                f"{counted(drawn.fixed, 'row')} are never held out: nobody wrote them, or synthetic rows were made of them",
            )
        )
    if drawn.synthetic:
        found.append(
            Finding(
                "warn",
                "synthetic_measured",
                f"nobody wrote {counted(drawn.synthetic, 'row')} of {recipe.evaluation.dataset}: the evaluation loss is partly "
                "on what a model or a rule made",
                f"llmops data origins {recipe.evaluation.dataset} shows the share.",
            )
        )
    if drawn.parents:
        found.append(
            Finding(
                "warn",
                "parents_measured",
                f"rows in training were made of {counted(drawn.parents, 'row')} of {recipe.evaluation.dataset}: the evaluation "
                "loss is too good by them",
                "Make synthetic rows of the training data alone.",
            )
        )
    return found
