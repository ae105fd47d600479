"""The metrics that are built in, by type: a new one is a class in a module beside this one, and a name in the table."""

from __future__ import annotations

from llmops_tui.evaluation.metrics.abstention import Abstention
from llmops_tui.evaluation.metrics.assertions import Assertion, GradedAssertion
from llmops_tui.evaluation.metrics.attacks import AttackSucceeds
from llmops_tui.evaluation.metrics.base import Metric
from llmops_tui.evaluation.metrics.conversations import EndState, ThinkingMetric, ToolCalls
from llmops_tui.evaluation.metrics.corpus_level import Bleu, Calibration, Chrf, Classification
from llmops_tui.evaluation.metrics.costs import Latency, ThinkingTokens, Tokens, TokensPerSecond
from llmops_tui.evaluation.metrics.external import External
from llmops_tui.evaluation.metrics.grounding import ContextRecall, Grounded
from llmops_tui.evaluation.metrics.likelihood import Choice, PairPreference
from llmops_tui.evaluation.metrics.model_graded import EmbeddingSimilarity, Judge
from llmops_tui.evaluation.metrics.recognised import Injection, Refusal, Toxicity
from llmops_tui.evaluation.metrics.structured import JsonFields, JsonSchema, JsonValid
from llmops_tui.evaluation.metrics.support_judges import ContextRecallJudge, GroundedJudge
from llmops_tui.evaluation.metrics.texts import (
    Contains,
    EditDistance,
    Exact,
    Length,
    Matches,
    Normalised,
    Numeric,
    Rouge,
    TokenF1,
)
from llmops_tui.evaluation.metrics.trust import Canary, Copied, PersonalData
from llmops_tui.evaluation.metrics.verdicts import Combined, Verdict

METRICS: dict[str, type[Metric]] = {
    kind.model_fields["type"].default: kind
    for kind in (
        Exact, Normalised, Contains, Matches, Numeric,
        TokenF1, EditDistance, Rouge, Bleu, Chrf,
        JsonValid, JsonSchema, JsonFields,
        Classification, Choice, PairPreference, Calibration,
        Judge, GroundedJudge, ContextRecallJudge, EmbeddingSimilarity,
        Length, Refusal, Toxicity, PersonalData, Canary, Injection, Grounded, ContextRecall, Abstention, Copied,
        Latency, TokensPerSecond, Tokens, ThinkingTokens,
        Assertion, GradedAssertion, Verdict, Combined,
        ToolCalls, EndState, ThinkingMetric, External, AttackSucceeds,
    )
}  # fmt: skip
ThinkingMetric.kinds = METRICS
# Measured with every run, asked for or not.
ALWAYS: tuple[Metric, ...] = (Latency(), TokensPerSecond(), Tokens())
