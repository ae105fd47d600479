"""Whether passages and answers go together: what an answer claims without support, and what of the expected one was found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.fact_records import SentenceFacts
from llmops_tui.evaluation.metrics.base import Answer, Case, Metric, Score
from llmops_tui.evaluation.metrics.contexts import NO_CONTEXT, answerable, asked_of, context_of, retrieved_for
from llmops_tui.evaluation.metrics.recognised import Recognised
from llmops_tui.evaluation.metrics.texts import short
from llmops_tui.evaluation.records import Facts
from llmops_tui.evaluation.statistics.intervals import ends, mean_interval


class Grounded(Recognised):
    """The share of the answer's claims that its context supports.

    The context is the case's, or else the passages that were retrieved for the answer. A claim is a clause. Its names and numbers
    must stand in the context, and in one place of it, in the same order, denied if it is denied there; most of its other
    words must. To say that the text does not tell, or to refuse, is no claim: it is right, or, where ``answerable`` names a
    slice of the case, only right where that says ``no``. By rules over words: it does not know what another word means, and
    an addition of a word or two may pass; a judge sees more. Cf. Ji et al., "Survey of Hallucination in Natural Language
    Generation", 2023, section 4.
    """

    type: Literal["grounded"] = "grounded"
    answerable: Annotated[
        str, Field(description="The slice or variable that says yes or no: whether the context answers the question.")
    ] = ""
    revision: ClassVar[int] = 4
    share: ClassVar[bool] = True

    def score(self, case: Case, answer: Answer) -> Score:
        """From 0 to 1."""
        from llmops_tui.evaluation.metrics.claims import abstains_from, support

        context = context_of(case, answer)
        if context is None:
            return Score(None, NO_CONTEXT)
        found = support(answer.text, context, asked_of(case))
        sentences = [[one.text, one.claims, len(one.unsupported)] for one in found.sentences]
        detail = {"claims": found.claims, "sentences": sentences}
        try:
            known = answerable(case, self.answerable) if self.answerable else None
        except InputRefusedError as error:
            return Score(None, error.message)
        abstained = bool(abstains_from(answer.text, context))
        if abstained and known is True:
            return Score(0.0, "says that the text does not tell, though it does", detail)
        if not abstained and known is False:
            return Score(0.0, "answers, though the text does not tell", detail)
        if found.share is None:
            silent = any(one.abstains for one in found.sentences)
            return Score(1.0 if silent else None, "" if silent else "claims nothing", detail)
        return Score(found.share, short("; ".join(found.unsupported)), detail)

    def facts(self, scores: Sequence[Score]) -> Facts:
        """How many sentences are supported, beside how well that is recognised."""
        sentences = sentence_facts(scores)
        return {**super().facts(scores), **({"sentences": sentences} if sentences is not None else {})}


def sentence_facts(scores: Sequence[Score]) -> SentenceFacts | None:
    """The share of the sentences that claim something of which all is supported; those of one answer are a cluster."""
    of_answers = [[bad == 0 for _, claims, bad in s.detail.get("sentences") or () if claims] for s in scores]
    claiming = [one for one in of_answers if one]
    if not claiming:
        return None
    values = np.array([right for one in claiming for right in one], np.float64)
    clusters = np.repeat(np.arange(len(claiming)), [len(one) for one in claiming])
    interval = mean_interval(values, clusters if len(values) > len(claiming) else None)
    low, high = ends(interval)
    return {
        "sentences": len(values), "supported": int(values.sum()), "answers": len(claiming), "mean": interval.value,
        "low": low, "high": high,
    }  # fmt: skip


class ContextRecall(Metric):
    """The share of the expected answer's claims that the retrieved passages support: whether what is needed was found.

    Without a search the context of the case is taken for what was found. The claims are those of ``grounded``, held against
    the passages by the same rules over words; an answer that is yes or no alone has none that they could know. A list of
    answers that are all right counts by the one that is supported best. Es et al., "RAGAS: Automated Evaluation of Retrieval
    Augmented Generation", 2024, whose context recall is the statements of the reference that the context supports, by all of
    them.
    """

    type: Literal["context-recall"] = "context-recall"
    revision: ClassVar[int] = 2
    share: ClassVar[bool] = True
    needs_expected: ClassVar[bool] = True

    def score(self, case: Case, answer: Answer) -> Score:
        """From 0 to 1."""
        from llmops_tui.evaluation.metrics.claims import support

        passages = retrieved_for(case, answer)
        if passages is None:
            return Score(None, NO_CONTEXT)
        every = [support(text, passages, asked_of(case)) for text in case.expected_texts]
        shares = [(one.share, one) for one in every if one.share is not None]
        if not shares:
            return Score(None, "the expected answer claims nothing")
        share, best = max(shares, key=lambda one: one[0])
        detail = {"claims": best.claims, "passages": len(passages)}
        return Score(share, short("; ".join(best.unsupported)), detail)
