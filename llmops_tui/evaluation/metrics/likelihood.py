"""Metrics of probabilities: multiple choice by log-likelihood."""

from __future__ import annotations

from typing import ClassVar, Literal

from llmops_tui.evaluation.metrics.base import Answer, Case, Metric, Score, right_or_wrong


class Choice(Metric):
    """The choice that the model finds likeliest is the expected one.

    Each choice is scored by the sum of its tokens' log-probabilities behind the question; with ``normalise`` divided by
    the choice's length in characters, without the blank that sets it off from the question, so that long choices are not at
    a disadvantage. These are ``acc`` and ``acc_norm`` of
    the LM Evaluation Harness (Gao et al. 2024; Brown et al. 2020, section 2.4).
    """

    type: Literal["choice"] = "choice"
    normalise: bool = False
    revision: ClassVar[int] = 2
    plain: ClassVar[bool] = True
    binary: ClassVar[bool] = True
    needs_expected: ClassVar[bool] = True
    needs_choices: ClassVar[bool] = True

    @property
    def called(self) -> str:
        """Its name in results."""
        return self.name or ("choice-norm" if self.normalise else "choice")

    def score(self, case: Case, answer: Answer) -> Score:
        """1 where it is; the detail has the log-probabilities."""
        if not answer.choice_logprobs:
            return Score(None, "the model returned no log-probabilities")
        sizes = [max(1, len(c.removeprefix(" "))) if self.normalise else 1 for c in case.choices]
        scores = [p / n for p, n in zip(answer.choice_logprobs, sizes, strict=True)]
        best = max(range(len(scores)), key=lambda i: scores[i])
        right = case.choices[best] in case.expected_texts
        return right_or_wrong(right, f"{case.choices[best]!r} is not {case.expected_text!r}", chosen=best)
