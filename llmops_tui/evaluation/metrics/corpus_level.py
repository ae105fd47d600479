"""Corpus-level metrics: classification, BLEU, chrF and calibration."""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from llmops_tui.evaluation.metrics.base import Answer, Case, Metric, Score
from llmops_tui.evaluation.metrics.structured import json_of
from llmops_tui.evaluation.paths import value_at
from llmops_tui.evaluation.records import ClassFigures, Facts
from llmops_tui.evaluation.statistics.bootstrap import Floats

# What may stand around a class that an answer names.
_AROUND = ".\"'“”‘’`*"
Average = Literal["accuracy", "f1-macro", "f1-micro", "precision-macro", "recall-macro", "mcc"]


class Classification(Metric):
    """How well answers name the right class: accuracy, precision, recall, F1, Matthews' coefficient, confusion matrix.

    Classes are those that are expected or, with ``labels``, those given; an answer that names none, or several, counts as
    wrong, as a class of its own. Of a list of expected classes any is right. Macro averages are over the classes that are
    expected or answered (van Rijsbergen 1979); the coefficient is that of several classes (Gorodkin, "Comparing two
    K-category assignments by a K-category correlation coefficient", 2004).
    """

    type: Literal["classification"] = "classification"
    little: ClassVar[int] = 20_000
    average: Average = "f1-macro"
    labels: Annotated[
        tuple[str, ...], Field(description="The classes, where answers are searched for their names.")
    ] = ()
    field: Annotated[str, Field(description="The path of the class in a JSON answer.")] = ""
    revision: ClassVar[int] = 2
    needs_expected: ClassVar[bool] = True
    whole_set: ClassVar[bool] = True
    # A share, or a correlation.
    figure_bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    none: ClassVar[str] = "(none)"
    several: ClassVar[str] = "(several)"

    @property
    def called(self) -> str:
        """Its name in results."""
        return self.name or self.average

    def score(self, case: Case, answer: Answer) -> Score:
        """1 where the class is right; the detail has both."""
        found = self._class(answer.text)
        wanted = [self._class(text) if self.field else self._expected(text) for text in case.expected_texts]
        expected = found if found in wanted else wanted[0]
        right = found == expected
        return Score(
            float(right), "" if right else f"{found} is not {expected}", {"expected": expected, "found": found}
        )

    def _expected(self, text: str) -> str:
        """An expected class as an answer's would be read: without quotes and the full stop of a sentence."""
        bare = text.strip().strip(_AROUND).strip()
        return {label.lower(): label for label in self.labels}.get(text.strip().lower()) or bare or text.strip()

    def _class(self, text: str) -> str:
        if self.field:
            try:
                return str(value_at(json_of(text)[0], self.field))
            except KeyError:
                return self.none
        bare = text.strip().strip(_AROUND).strip()
        if not self.labels:
            return bare or self.none
        same = {label.lower(): label for label in self.labels}
        for said in (text.strip(), bare):
            if said.lower() in same:
                return same[said.lower()]
        # Names that stand in the answer as words of their own, and not within a longer one.
        longest_first = sorted(self.labels, key=len, reverse=True)
        either = "|".join(re.escape(label) for label in longest_first)
        there = {same[m.lower()] for m in re.findall(rf"(?<!\w)(?:{either})(?!\w)", text, re.IGNORECASE)}
        return there.pop() if len(there) == 1 else self.several if there else self.none

    def rows(self, scores: Sequence[Score]) -> Floats:
        """For each class three columns: right, answered, expected."""
        classes = self._classes(scores)
        number = {name: i for i, name in enumerate(classes)}
        found = np.zeros((len(scores), 3 * len(classes)))
        for row, score in enumerate(scores):
            a, b = number[score.detail["expected"]], number[score.detail["found"]]
            found[row, 3 * a + 2] = found[row, 3 * b + 1] = 1
            found[row, 3 * a] = float(a == b)
        return found

    def _classes(self, scores: Sequence[Score]) -> list[str]:
        return sorted({s.detail["expected"] for s in scores} | {s.detail["found"] for s in scores})

    def figure(self, sums: Floats) -> Floats:
        """The average that was asked for."""
        right, answered, expected = sums[:, 0::3], sums[:, 1::3], sums[:, 2::3]
        n = expected.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.average in {"accuracy", "f1-micro"}:
                # Each case has one class, so that micro-averaged F1 is accuracy.
                return np.asarray(right.sum(axis=1) / n)
            if self.average == "mcc":
                c = right.sum(axis=1)
                over = c * n - (answered * expected).sum(axis=1)
                under = np.sqrt((n**2 - (answered**2).sum(axis=1)) * (n**2 - (expected**2).sum(axis=1)))
                return np.where(under > 0, over / np.where(under > 0, under, 1), 0.0)
            top = 2 * right if self.average == "f1-macro" else right
            under = {"f1-macro": answered + expected, "precision-macro": answered, "recall-macro": expected}[
                self.average
            ]
            each = np.where(under > 0, top / np.where(under > 0, under, 1), 0.0)
            there = answered + expected > 0
            return np.asarray((each * there).sum(axis=1) / there.sum(axis=1))

    def facts(self, scores: Sequence[Score]) -> Facts:
        """All averages, each class, and the confusion matrix as (expected, answered, count)."""
        sums = self.rows(scores).sum(axis=0, keepdims=True)
        averages: tuple[Average, ...] = ("accuracy", "f1-macro", "f1-micro", "precision-macro", "recall-macro", "mcc")
        classes: list[ClassFigures] = []
        for i, name in enumerate(self._classes(scores)):
            right, answered, expected = (float(v) for v in sums[0, 3 * i : 3 * i + 3])
            classes.append(
                {
                    "class": name,
                    "n": int(expected),
                    "precision": right / answered if answered else 0.0,
                    "recall": right / expected if expected else 0.0,
                    "f1": 2 * right / (answered + expected) if answered + expected else 0.0,
                }
            )
        pairs = Counter((s.detail["expected"], s.detail["found"]) for s in scores)
        return {
            "averages": {a: float(self.model_copy(update={"average": a}).figure(sums)[0]) for a in averages},
            "classes": classes,
            "confusion": [[a, b, n] for (a, b), n in pairs.most_common()],
        }


class Bleu(Metric):
    """BLEU of all answers, from 0 to 100, with sacrebleu's signature.

    Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation", 2002; Post, "A Call for Clarity in
    Reporting BLEU Scores", 2018. Computed by sacrebleu; the score of a case is its sentence BLEU.
    """

    type: Literal["bleu"] = "bleu"
    little: ClassVar[int] = 20_000
    tokenize: Literal["13a", "intl", "char", "none"] = "13a"
    lowercase: bool = False
    needs_expected: ClassVar[bool] = True
    whole_set: ClassVar[bool] = True
    figure_bounds: ClassVar[tuple[float, float]] = (0.0, 100.0)

    def score(self, case: Case, answer: Answer) -> Score:
        """From 0 to 100; the detail has the counts that BLEU is made of."""
        metric = _bleu(self.tokenize, self.lowercase, sentence=True)
        found = metric.sentence_score(answer.text, case.expected_texts)
        sums = [found.sys_len, found.ref_len, *found.counts, *found.totals]
        return Score(found.score, detail={"sums": [float(v) for v in sums]})

    def rows(self, scores: Sequence[Score]) -> Floats:
        """Lengths, matches and totals of each order."""
        return np.array([score.detail["sums"] for score in scores])

    def figure(self, sums: Floats) -> Floats:
        """Corpus BLEU with exponential smoothing."""
        from sacrebleu.metrics import BLEU

        found = np.empty(len(sums))
        for i, row in enumerate(sums):
            order = (len(row) - 2) // 2
            found[i] = BLEU.compute_bleu(
                list(row[2 : 2 + order]), list(row[2 + order :]), int(row[0]), int(row[1]), smooth_method="exp"
            ).score
        return found

    def facts(self, scores: Sequence[Score]) -> Facts:
        """The signature."""
        del scores
        metric = _bleu(self.tokenize, self.lowercase, sentence=False)
        metric.corpus_score(["a"], [["a"]])
        return {"signature": str(metric.get_signature())}


@functools.cache
def _bleu(tokenize: str, lowercase: bool, *, sentence: bool) -> Any:
    from sacrebleu.metrics import BLEU

    return BLEU(tokenize=tokenize, lowercase=lowercase, effective_order=sentence)


class Chrf(Metric):
    """chrF of all answers, from 0 to 100: shared character n-grams; with ``words: 2`` chrF++.

    Popović, "chrF: character n-gram F-score for automatic MT evaluation", 2015. Computed by sacrebleu.
    """

    type: Literal["chrf"] = "chrf"
    little: ClassVar[int] = 20_000
    words: Annotated[int, Field(ge=0, le=4)] = 0
    needs_expected: ClassVar[bool] = True
    whole_set: ClassVar[bool] = True
    figure_bounds: ClassVar[tuple[float, float]] = (0.0, 100.0)

    def score(self, case: Case, answer: Answer) -> Score:
        """From 0 to 100; the detail has the counts that chrF is made of."""
        metric = _chrf(self.words)
        sums = metric._extract_corpus_statistics([answer.text], [[text] for text in case.expected_texts])[0]  # noqa: SLF001
        value = metric.sentence_score(answer.text, case.expected_texts).score
        return Score(value, detail={"sums": [float(v) for v in sums]})

    def rows(self, scores: Sequence[Score]) -> Floats:
        """Counts of each order."""
        return np.array([score.detail["sums"] for score in scores])

    def figure(self, sums: Floats) -> Floats:
        """ChrF of all."""
        metric = _chrf(self.words)
        return np.array([metric._compute_f_score([int(v) for v in row]) for row in sums])  # noqa: SLF001

    def facts(self, scores: Sequence[Score]) -> Facts:
        """The signature."""
        del scores
        metric = _chrf(self.words)
        metric.corpus_score(["a"], [["a"]])
        return {"signature": str(metric.get_signature())}


@functools.cache
def _chrf(words: int) -> Any:
    from sacrebleu.metrics import CHRF

    return CHRF(word_order=words)


class Calibration(Metric):
    """How far confidence is from being right: the expected calibration error over ten bins; less is better.

    The confidence is the probability of the answer as it was generated, or of the best choice among the choices. Whether it
    is right is said by equality with what is expected. Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian
    Binning", 2015; the Brier score beside it: Brier, "Verification of Forecasts Expressed in Terms of Probability", 1950.
    """

    type: Literal["calibration"] = "calibration"
    better: ClassVar[int] = -1
    needs_expected: ClassVar[bool] = True
    needs_logprob: ClassVar[bool] = True
    whole_set: ClassVar[bool] = True
    figure_bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    bins: ClassVar[int] = 10

    def score(self, case: Case, answer: Answer) -> Score:
        """The squared error of the confidence; the detail has confidence and whether it is right."""
        if answer.choice_logprobs:
            weights = [math.exp(p - max(answer.choice_logprobs)) for p in answer.choice_logprobs]
            best = max(range(len(weights)), key=lambda i: weights[i])
            confidence, right = weights[best] / sum(weights), case.choices[best] in case.expected_texts
        elif answer.logprob is not None:
            confidence, right = (
                math.exp(answer.logprob),
                answer.text.strip() in [text.strip() for text in case.expected_texts],
            )
        else:
            return Score(None, "the model returned no log-probabilities")
        return Score((confidence - right) ** 2, detail={"confidence": confidence, "right": float(right)})

    def rows(self, scores: Sequence[Score]) -> Floats:
        """For each bin three columns: cases, confidence, right."""
        found = np.zeros((len(scores), 3 * self.bins))
        for row, score in enumerate(scores):
            at = min(self.bins - 1, int(score.detail["confidence"] * self.bins))
            found[row, 3 * at : 3 * at + 3] = 1, score.detail["confidence"], score.detail["right"]
        return found

    def figure(self, sums: Floats) -> Floats:
        """The sum over the bins of |right − confidence|, over the number of cases."""
        return np.asarray(np.abs(sums[:, 2::3] - sums[:, 1::3]).sum(axis=1) / sums[:, 0::3].sum(axis=1))

    def facts(self, scores: Sequence[Score]) -> Facts:
        """The Brier score, and the bins of the reliability diagram."""
        sums = self.rows(scores).sum(axis=0).reshape(self.bins, 3)
        return {
            "brier": float(np.mean([score.value for score in scores])),
            "bins": [
                {"n": int(n), "confidence": c / n if n else None, "right": r / n if n else None} for n, c, r in sums
            ],
        }
