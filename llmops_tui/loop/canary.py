"""Suites that were asked of a model again, and have become worse: the canary drop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmops_tui.drift.behaviour import first_run
from llmops_tui.errors import LlmopsError
from llmops_tui.evaluation.run_comparison import compare_runs, refuse_damaged
from llmops_tui.evaluation.run_search import NotEvaluatedError, RunSearch

if TYPE_CHECKING:
    from llmops_tui.evaluation.run import EvalRun, SuiteVersion
    from llmops_tui.evaluation.store import EvaluationStore
    from llmops_tui.loop.subject import Subject


@dataclass(frozen=True)
class Fallen:
    """A suite whose newest run of the model that answers is surely worse than the first; ``told`` has the figures."""

    suite: str
    first: str
    newest: str
    told: str


def prompt_of(subject: Subject, suite: SuiteVersion) -> tuple[bool, str]:
    """Whether a suite can be asked of a subject, and the prompt that it is asked with; empty for conversations as they are."""
    prompts = {ref.partition("@")[0] for ref in suite.suite.prompts() if ref}
    if suite.suite.chain:
        return False, ""
    if subject.version is not None and subject.version.prompt in prompts:
        return True, subject.version.ref
    return not prompts, ""


def run_that_counts(
    store: EvaluationStore, runs: Sequence[EvalRun], subject: Subject, suite: SuiteVersion, model: str
) -> EvalRun:
    """The newest run of a suite on a model that says what that is worth today, with the subject's prompt where the suite has it.

    A run whose results were lost or changed says nothing: one before it is taken.

    Raises:
        NotEvaluatedError: there is none, with what makes one, and which ones are damaged.
    """
    _, prompt = prompt_of(subject, suite)
    version = subject.version if prompt else None
    sound, damaged = list(runs), list[str]()
    while True:
        try:
            found = RunSearch(store, suite, sound).newest(version, model, suite.suite.parameter_sets()[0])
        except NotEvaluatedError as error:
            if not damaged:
                raise
            told = "; ".join([error.message, *damaged])
            raise NotEvaluatedError(told, error.hint, prompt=error.prompt, model=error.model) from error
        try:
            refuse_damaged(found)
        except LlmopsError as error:
            damaged.append(error.message)
            sound.remove(found)
        else:
            return found


def fallen_suites(store: EvaluationStore, subject: Subject) -> list[Fallen]:
    """The suites of which the newest run on the model that answers is worse than the first such run.

    Both are of the same files, suite and prompt; what else changed, such as the engine's build, is what a drop tells of.
    """
    (runs, _), found = store.readable(), []
    for suite in store.newest_suites()[0]:
        if not prompt_of(subject, suite)[0]:
            continue
        try:
            newest = run_that_counts(store, runs, subject, suite, subject.model)
            first = first_run(store, runs, newest, suite)
            if first is None:
                continue
            compared = compare_runs(store, first.name, newest.name)
        except LlmopsError:
            continue  # nothing can be said of it, which the status of the gate tells
        worse = [one for one in compared.differences if one.verdict == "worse" and one.share]
        if worse:
            told = "; ".join(
                f"{one.name} {one.baseline:.3g} to {one.candidate:.3g} "
                f"(95 % {one.interval.low:+.3g} to {one.interval.high:+.3g}, n {one.n:,})"
                for one in worse
            )
            found.append(Fallen(suite.suite.name, first.name, newest.name, f"{suite.suite.name}: {told}"))
    return found
