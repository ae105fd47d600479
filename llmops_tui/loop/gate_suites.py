"""Which suites judge a candidate: those that the model that answers has to hold, those of what is new, and what is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from llmops_tui.errors import LlmopsError, NotFoundError
from llmops_tui.loop.belonging import why_not_of
from llmops_tui.loop.canary import prompt_of, run_that_counts
from llmops_tui.loop.feedback import OPERATION, is_held_out

if TYPE_CHECKING:
    from llmops_tui.datasets.version import DatasetVersion
    from llmops_tui.evaluation.run import EvalRun, SuiteVersion
    from llmops_tui.evaluation.store import EvaluationStore
    from llmops_tui.evaluation.suite import Suite
    from llmops_tui.loop.subject import Subject


class LeftOutRecord(TypedDict):
    """A suite, or a run, that does not judge, and why."""

    what: str
    why: str


@dataclass(frozen=True)
class GateSuites:
    """The suites of before, which nobody named are those of which the model that answers has a run; and those of what is new.

    ``unreadable`` are those that the stage asks for and nobody can read: without them nothing passes.
    """

    old: tuple[SuiteVersion, ...]
    new: tuple[SuiteVersion, ...]
    left_out: tuple[LeftOutRecord, ...] = ()
    unreadable: tuple[LeftOutRecord, ...] = ()


def suites_of(
    store: EvaluationStore,
    runs: Sequence[EvalRun],
    subject: Subject,
    old: Sequence[str] = (),
    new: Sequence[str] = (),
    damaged: Sequence[LeftOutRecord] = (),
) -> GateSuites:
    """The suites that judge a candidate for a subject, chosen where ``old`` or ``new`` names none.

    ``damaged`` are the runs that nobody can read; they are told with what is left out, and so are suites whose rows are damaged.

    Raises:
        NotFoundError: there is no such suite.
    """
    known: dict[str, SuiteVersion] = {}
    unreadable: list[LeftOutRecord] = []
    for ref in subject.stage.suites if subject.stage is not None else ():
        try:
            version = store.suite(ref)
            known[version.suite.name] = version
        except NotFoundError:
            raise
        except LlmopsError as error:
            unreadable.append({"what": ref, "why": error.message})
    known |= {one.suite.name: one for one in map(store.suite, dict.fromkeys(old))}
    fresh = {one.suite.name: one for one in map(store.suite, dict.fromkeys(new))}
    newest, broken = store.newest_suites()
    left_out = [*damaged, *(LeftOutRecord(what=ref, why=error.message) for ref, error in broken.items())]
    for one in newest:
        name = one.suite.name
        try:
            held = held_out_of(store, one.suite)
        except LlmopsError as error:
            left_out.append({"what": one.ref, "why": error.message})
            continue
        # Where somebody named suites, those are all of their kind; what the stage asks for is always among those of before.
        if name in fresh or (held is None and name in known) or (new if held is not None else old):
            continue
        why = _why_not(store, runs, subject, one, held)
        if not why:
            (known if held is None else fresh)[name] = one
        elif name not in known:
            left_out.append({"what": one.ref, "why": why})
    before = tuple(one for name, one in known.items() if name not in fresh)
    return GateSuites(before, tuple(fresh.values()), tuple(left_out), tuple(unreadable))


def held_out_of(store: EvaluationStore, suite: Suite) -> DatasetVersion | None:
    """The rows of feedback that were held out, of which a suite asks; none where it asks others."""
    if not isinstance(suite.cases, str):
        return None
    try:
        version = store.datasets.get(suite.cases)
    except NotFoundError:
        return None
    return version if version.recipe.operation == OPERATION and is_held_out(version) else None


def _why_not(
    store: EvaluationStore,
    runs: Sequence[EvalRun],
    subject: Subject,
    suite: SuiteVersion,
    held: DatasetVersion | None,
) -> str:
    if not prompt_of(subject, suite)[0]:
        asks = "a chain" if suite.suite.chain else ", ".join(filter(None, suite.suite.prompts()))
        return f"it asks {asks}, not what {subject.name} is asked with"
    if held is not None:
        return why_not_of(store.catalog, subject, held)
    try:
        run_that_counts(store, runs, subject, suite, subject.model)
    except LlmopsError as error:
        return error.message
    return ""
