"""Judges of support: a model says of each sentence whether a text supports it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from llmops_tui.errors import LlmopsError
from llmops_tui.evaluation.metrics.base import Answer, Case, Score
from llmops_tui.evaluation.metrics.contexts import NO_CONTEXT, context_of, retrieved_for
from llmops_tui.evaluation.metrics.model_graded import ALTERNATIVES, Asking, AskingMetric, grade_masses
from llmops_tui.inference.wire import Reply


class SupportJudge(AskingMetric):
    """The mean probability of yes over the sentences of a text, each held against a context by a model."""

    share: ClassVar[bool] = True
    most: Annotated[int, Field(ge=1, le=100, description="Longer texts are without a score.")] = 30

    async def judged(self, what: str, text: str, context: Sequence[str] | None, asking: Asking) -> Score:
        """From 0 to 1; a sentence that says that nothing is told counts as supported. ``what`` is what the text is called."""
        from llmops_tui.datasets.checks.sentences import sentences
        from llmops_tui.evaluation.metrics.claims import is_silent

        said = sentences(text)
        if context is None:
            return Score(None, NO_CONTEXT)
        if not said or len(said) > self.most:
            return Score(None, f"{what} has {len(said)} sentences, and from 1 to {self.most} are judged")
        ours = asking.supports_grammar(self.model)
        chances: list[float] = []
        for sentence in said:
            if is_silent(sentence, context):
                chances.append(1.0)
                continue
            # What nothing was found for has no support, whoever is asked.
            chance = await self._chance(context, sentence, asking, ours=ours) if context else 0.0
            if isinstance(chance, str):
                return Score(None, chance)
            chances.append(chance)
        worst = min(range(len(said)), key=lambda i: chances[i])
        reason = f"supported with {chances[worst]:.2f}: {said[worst][:100]}" if chances[worst] < 0.5 else ""
        detail = {"chances": chances, "judged": said}
        return Score(sum(chances) / len(chances), reason, detail)

    async def _chance(self, context: Sequence[str], sentence: str, asking: Asking, *, ours: bool) -> float | str:
        """The probability that a sentence is supported, or why it is not known."""
        reply = await asking.reply(self.model, "/v1/chat/completions", _body("\n\n".join(context), sentence, ours=ours))
        try:
            return _yes(reply)
        except LlmopsError as error:
            return error.message


class GroundedJudge(SupportJudge):
    """A model says of each sentence of the answer whether its context supports it: the mean probability of yes.

    The context is the case's, or else the passages that were retrieved for the answer.
    Of a model that tells no probabilities its word is taken. A sentence that says that the text does not tell counts as
    supported. Cf. Min et al., "FActScore", 2023, whose claims are smaller. Like any judge it is to be compared with people.
    """

    type: Literal["grounded-judge"] = "grounded-judge"
    revision: ClassVar[int] = 3

    async def score_by_asking(self, case: Case, answer: Answer, asking: Asking) -> Score:
        """From 0 to 1."""
        return await self.judged("the answer", answer.text, context_of(case, answer), asking)


class ContextRecallJudge(SupportJudge):
    """A model says of each sentence of the expected answer whether the retrieved passages support it: the mean chance of yes.

    As ``context-recall``, which goes by words; without a search the context of the case is taken for what was found. Es et
    al., "RAGAS: Automated Evaluation of Retrieval Augmented Generation", 2024, whose statements a model makes; here they are
    sentences.
    """

    type: Literal["context-recall-judge"] = "context-recall-judge"
    revision: ClassVar[int] = 2
    needs_expected: ClassVar[bool] = True

    async def score_by_asking(self, case: Case, answer: Answer, asking: Asking) -> Score:
        """From 0 to 1."""
        return await self.judged("the expected answer", case.expected_text, retrieved_for(case, answer), asking)


def _body(context: str, sentence: str, *, ours: bool) -> Mapping[str, object]:
    """The question whether a text supports a sentence. An endpoint of ours is held to yes and no."""
    asked = f"Text:\n{context}\n\nClaim:\n{sentence}\n\nDoes the text support the claim? Reply yes or no."
    body: dict[str, Any] = {
        "messages": [{"role": "user", "content": asked}],
        "temperature": 0.0,
        "max_tokens": 4,
        "seed": 1,
        "logprobs": True,
        "top_logprobs": ALTERNATIVES,
    }
    return body | {"grammar": 'root ::= "yes" | "no"', "max_tokens": 2} if ours else body


def _yes(reply: Reply) -> float:
    """The probability of yes in a reply.

    Raises:
        LlmopsError: ``unusable``: it is neither yes nor no.
    """
    masses = grade_masses(reply, ("yes", "no", "Yes", "No"))
    if masses is not None:
        return (masses["yes"] + masses["Yes"]) / sum(masses.values())
    said = str((reply["choices"][0].get("message") or {}).get("content") or "").strip().lower()
    word = re.match(r"(yes|no)\b", said)
    if word is None:
        raise LlmopsError("unusable", f"the judge answered {said[:60]!r}")
    return float(word.group() == "yes")
