"""Every kind of assertion that promptfoo has: those carried, and why each of the others is refused."""

from __future__ import annotations

from llmops_tui.evaluation.metrics.assertions import KINDS

_CODE = "it runs code"
_GRADED = "promptfoo's own prompt and a model of its own decide it"
_SERVICE = "a service in the network decides it"
_TRACE = "it looks into traces of promptfoo's providers"
_TOOLS = "it looks into calls of tools, which runs of suites here do not make"
_SQL = "promptfoo decides it by a parser of SQL that is not here"

CARRIED = (*KINDS, "llm-rubric", "assert-set")
"""Decided as promptfoo decides them; ``llm-rubric`` is the exception: the judge here has a prompt of its own."""

_JUDGE = "Write it as llm-rubric with provider: a model's name here."
REFUSED: dict[str, tuple[str, str]] = {
    "javascript": (_CODE, "Write it as contains, regex, word-count or is-json, or as a metric of an installed package."),
    "python": (_CODE, "Write it as a metric of an installed package: {type: python, entry: NAME}."),
    "ruby": (_CODE, "Write it as a metric of an installed package: {type: python, entry: NAME}."),
    "webhook": (_SERVICE, "Write it as a metric of an installed package: {type: python, entry: NAME}."),
    "agent-rubric": (_GRADED, _JUDGE),
    "answer-relevance": (_GRADED, _JUDGE),
    "context-faithfulness": (_GRADED, "Use {type: grounded}, or a judge."),
    "context-recall": (_GRADED, "Use {type: context-recall}, or a judge."),
    "context-relevance": (_GRADED, _JUDGE),
    "conversation-relevance": (_GRADED, _JUDGE),
    "factuality": (_GRADED, _JUDGE),
    "model-graded-factuality": (_GRADED, _JUDGE),
    "model-graded-closedqa": (_GRADED, _JUDGE),
    "g-eval": (_GRADED, "A judge grades by G-Eval's expectation: {type: judge, rubric: …, model: …}."),
    "search-rubric": (_SERVICE, _JUDGE),
    "select-best": (_GRADED, "llmops eval pairwise has a judge choose between two runs."),
    "max-score": ("it compares the answers of several models", "llmops eval compare does."),
    "human": ("people decide it", "Grade answers as traces, or name people's grades with human: in a judge."),
    "classifier": (_SERVICE, "Use {type: classification}, {type: toxicity} or a judge."),
    "moderation": (_SERVICE, "Use {type: toxicity} or a judge."),
    "guardrails": (_SERVICE, "Use {type: canary}, {type: pii-leak} or a judge."),
    "pi": (_SERVICE, _JUDGE),
    "similar": ("promptfoo's embedding model is in the network", "Use {type: embedding, model: …} with a model here."),
    "similar:cosine": (
        "promptfoo's embedding model is in the network", "Use {type: embedding, model: …} with a model here.",
    ),
    "similar:dot": (
        "promptfoo's embedding model is in the network", "Use {type: embedding, model: …} with a model here.",
    ),
    "similar:euclidean": (
        "promptfoo's embedding model is in the network", "Use {type: embedding, model: …} with a model here.",
    ),
    "cost": ("an answer of a model here has no price", "A gate limits latency and tokens: latency p95 <= 500 ms."),
    "perplexity": ("log-probabilities are not asked for single tests", "Use llmops eval perplexity, or {type: calibration}."),
    "perplexity-score": (
        "log-probabilities are not asked for single tests", "Use llmops eval perplexity, or {type: calibration}.",
    ),
    "is-refusal": ("promptfoo's own list of phrases decides it", "Use {type: refusal, wanted: true}."),
    "rouge-n": ("promptfoo's own division into words decides it", "Use {type: rouge, variant: rouge1}."),
    "meteor": ("a dictionary that is not here decides it (WordNet)", "Use {type: rouge}, {type: bleu} or {type: chrf}."),
    "is-html": ("a browser's parser that is not here decides it", "Use is-xml, contains-xml or regex."),
    "contains-html": ("promptfoo counts signs of HTML by rules of its own", "Use is-xml, contains-xml or regex."),
    "is-sql": (_SQL, "Use regex or contains."),
    "contains-sql": (_SQL, "Use regex or contains."),
    "is-valid-function-call": (_TOOLS, "Use is-json with a schema."),
    "is-valid-openai-function-call": (_TOOLS, "Use is-json with a schema."),
    "is-valid-openai-tools-call": (_TOOLS, "Use is-json with a schema."),
    "tool-call-f1": (_TOOLS, "Use is-json with a schema."),
    "skill-used": (_TRACE, "Remove it."),
    "trajectory:goal-success": (_TRACE, _JUDGE),
    "trajectory:tool-args-match": (_TRACE, "Remove it."),
    "trajectory:step-count": (_TRACE, "Remove it."),
    "trajectory:tool-sequence": (_TRACE, "Remove it."),
    "trajectory:tool-used": (_TRACE, "Remove it."),
    "trace-error-spans": (_TRACE, "Remove it."),
    "trace-span-count": (_TRACE, "Remove it."),
    "trace-span-duration": (_TRACE, "Remove it."),
}  # fmt: skip
