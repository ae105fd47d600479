"""What a run began with: a run that goes on is of the same files, prompts and cases, or is refused by what changed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from llmops_tui.evaluation.asked_prompts import asked_prompts
from llmops_tui.evaluation.metrics.base import Metric
from llmops_tui.evaluation.metrics.model_graded import AskingMetric
from llmops_tui.models.answering_files import files_of, refuse_others
from llmops_tui.retrieval.held_versions import hold_versions
from llmops_tui.workspace.files import write_atomic

if TYPE_CHECKING:
    from llmops_tui.evaluation.cases import CaseSet
    from llmops_tui.evaluation.run import EvalRun
    from llmops_tui.evaluation.runner.chained import ChainAnswers
    from llmops_tui.evaluation.store import EvaluationStore
    from llmops_tui.retrieval.in_prompts import PromptRetrieval

NOTE = "began.json"


def hold_to_beginning(
    store: EvaluationStore,
    run: EvalRun,
    cases: CaseSet,
    metrics: Iterable[Metric],
    chained: ChainAnswers | None,
    retrieval: PromptRetrieval,
    *,
    answered: bool,
) -> None:
    """Note what decides the answers and their scores; where some are there already, refuse to mix them with others.

    Prompts go on searching the versions of indexes that they began with. A run of an earlier version has no note, and is
    held to what there is from here on.

    Raises:
        InputRefusedError: ``model_changed``: a model, a judge, a prompt of a chain or the cases are others than when it began,
            or a version of an index is.
    """
    suite = store.suite(run.suite_ref).suite
    prompts = (
        chained.prompts()
        if chained is not None
        else [(one.ref, one.sha256) for one in asked_prompts(store.prompts, suite, run.asked.prompt)]
    )
    judges = {one.model for one in metrics if isinstance(one, AskingMetric)}
    now = {
        f"the model {run.asked.model}": files_of(store.registry.get(run.asked.model)),
        **{f"the judge {name}": files_of(store.registry.get(name)) for name in sorted(judges)},
        **dict(prompts),
        **(chained.parts() if chained is not None else {}),
        "the cases": cases.sha256,
    }
    note, work, anew = run.folder / NOTE, f"run {run.name}", f"llmops eval run {run.suite} starts anew."
    if answered and note.exists():
        refuse_others(json.loads(note.read_text()), now, work, anew)
    else:
        write_atomic(note, json.dumps(now))
    hold_versions(retrieval, store.catalog, run.folder, work, anew, goes_on=answered)
