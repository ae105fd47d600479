"""Answers that failed: for which reasons, and whether a run goes on where all that it asked for failed alike."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from llmops_tui.errors import LlmopsError
from llmops_tui.evaluation.metrics.base import Answer
from llmops_tui.evaluation.records import FailureReason
from llmops_tui.evaluation.run import EvalRun
from llmops_tui.evaluation.runner.results import Result

# So many requests that fail for one reason from the first on say that the next ones do, too.
ALIKE = 20
_MOST = 5
_CODE = re.compile(r"([a-z][a-z0-9_]*): ")


class FailingAlike:
    """Whether the first requests of a run all failed for the same reason; one that is answered settles that they do not."""

    def __init__(self, *, answered: bool) -> None:
        """``answered``: the run has an answer already, of before it was resumed."""
        self._reason, self._count, self._settled = "", 0, answered

    @property
    def hopeless(self) -> bool:
        """Whether nothing else is to be expected of the rest."""
        return not self._settled and self._count >= ALIKE

    def note(self, answer: Answer) -> None:
        """Take in the answer to one more request."""
        if self._settled:
            return
        if not answer.error or (self._count and answer.error != self._reason):
            self._settled = True
        self._reason, self._count = answer.error, self._count + 1


def reasons(results: Sequence[Result]) -> list[FailureReason]:
    """Why answers failed, the most frequent first: one for each code of an error, in the words that it mostly has."""
    told: dict[str, Counter[str]] = defaultdict(Counter)
    for result in results:
        if error := result.answer.error:
            code = _CODE.match(error)
            told[code[1] if code else error][error] += 1
    ordered = sorted(told.values(), key=lambda words: -words.total())
    return [{"count": words.total(), "reason": words.most_common(1)[0][0]} for words in ordered[:_MOST]]


def require_answers(runs: Sequence[EvalRun]) -> None:
    """Fail where a run has no answer at all: its figures say nothing.

    Raises:
        LlmopsError: ``all_failed``: names each such run with the reason.
    """
    if bad := [f"{run.name} {run.unanswered}" for run in runs if run.unanswered]:
        raise LlmopsError("all_failed", "; ".join(bad), "llmops eval show RUN --failures lists the cases.")
