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
# Errors of a server or a model, not of one request: they are one reason whatever their words, which may have times and ids.
_OF_ALL = frozenset({
    "adapter_changed", "adapter_misfit", "decode_failed", "endpoint_unreachable", "engine_died", "engine_start_failed",
    "engine_unusable", "key_refused", "model_load_failed", "model_not_found", "server_died", "server_ending", "server_error",
    "server_failed", "server_silent", "server_start_failed",
})  # fmt: skip
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
        code = _code(answer.error)
        reason = code if code in _OF_ALL else answer.error
        if not reason or (self._count and reason != self._reason):
            self._settled = True
        self._reason, self._count = reason, self._count + 1


def _code(error: str) -> str:
    """The code that an error begins with; all of one without a code."""
    found = _CODE.match(error)
    return found[1] if found else error


def reasons(results: Sequence[Result]) -> list[FailureReason]:
    """Why answers failed, the most frequent first: one for each code of an error, in the words that it mostly has."""
    told: dict[str, Counter[str]] = defaultdict(Counter)
    for result in results:
        if error := result.answer.error:
            told[_code(error)][error] += 1
    ordered = sorted(told.values(), key=lambda words: -words.total())
    return [{"count": words.total(), "reason": words.most_common(1)[0][0]} for words in ordered[:_MOST]]


def require_answers(runs: Sequence[EvalRun]) -> None:
    """Fail where a run has no answer at all: its figures say nothing.

    Raises:
        LlmopsError: ``all_failed``: names each such run with the reason.
    """
    if bad := [f"{run.name} {run.unanswered}" for run in runs if run.unanswered]:
        raise LlmopsError("all_failed", "; ".join(bad), "llmops eval show RUN --failures lists the cases.")
