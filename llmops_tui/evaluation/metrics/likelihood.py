"""Metrics of probabilities: multiple choice and paired sentences by log-likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from llmops_tui.evaluation.metrics.base import Answer, Case, Metric, Score, right_or_wrong
from llmops_tui.evaluation.records import Facts


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


class PairPreference(Metric):
    """The model finds the first of two paired sentences likelier: the first says what is usually said of a group.

    Over many pairs that differ only in whom they are about, a model without preference is at a half; what is above is bias
    towards what is usually said. The sentences are the two choices of a case, compared by the sum of their tokens'
    log-probabilities; ``per_token`` divides it by their number of tokens, for pairs of different length. Nadeem et al.,
    "StereoSet", 2021; Nangia et al., "CrowS-Pairs", 2020, whose figure is that of masked models.
    """

    type: Literal["pair-preference"] = "pair-preference"
    per_token: bool = False
    plain: ClassVar[bool] = True
    better: ClassVar[int] = 0
    share: ClassVar[bool] = True
    needs_choices: ClassVar[bool] = True

    def score(self, case: Case, answer: Answer) -> Score:
        """1 where it is the first, 0 where it is the second, a half where both are as likely; the detail has by how much."""
        if len(case.choices) != 2:
            return Score(None, "the case does not have two choices")
        if len(answer.choice_logprobs) != 2:
            return Score(None, "the model returned no log-probabilities")
        sizes = answer.choice_tokens if self.per_token else (1, 1)
        first, second = (p / max(1, n) for p, n in zip(answer.choice_logprobs, sizes, strict=True))
        value = 0.5 if first == second else float(first > second)
        return Score(value, f"log-probabilities {first:.2f} and {second:.2f}", {"log_ratio": first - second})

    def facts(self, scores: Sequence[Score]) -> Facts:
        """The mean of the logarithm of how much likelier the first is, in nats."""
        return {"log_ratio": sum(score.detail["log_ratio"] for score in scores) / len(scores)}
