"""Checks of single answers in use that cost hardly anything: no model is asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.metrics.base import Answer, Case, Metric
from llmops_tui.evaluation.metrics.model_graded import AskingMetric
from llmops_tui.evaluation.metrics.registry import make_metric
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.wire import ChatMessage

_CONTEXT = ("context", "documents", "passages", "sources", "chunks")


@dataclass(frozen=True)
class Exchange:
    """What was asked and answered, as checks see it; ``variables`` are those of the prompt, ``parameters`` the request's.

    ``passages`` are the texts that were retrieved for it; none where an index has not all of them any more.
    """

    trace: str
    question: str
    messages: tuple[ChatMessage, ...]
    output: str
    variables: JsonObject
    parameters: JsonObject
    passages: tuple[str, ...] | None = ()

    @property
    def context(self) -> str:
        """What was retrieved for it, by its trace or where a variable says so; else nothing, and where not all is known."""
        if self.passages is None:
            return ""
        found = [self.variables.get(name) for name in _CONTEXT]
        said = [one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in found if one]
        return "\n".join([*self.passages, *said])


@dataclass(frozen=True)
class Check:
    """A check: what a 1 means, and of an exchange 1, 0, or none where it does not apply."""

    name: str
    about: str
    judge: Callable[[Exchange], float | None]


def _metric(kind: str) -> Metric:
    return _made(json.dumps({"type": kind}))


@cache
def _made(entry: str) -> Metric:
    return make_metric(json.loads(entry), "metric")


def _fails(metric: Metric, exchange: Exchange, context: str = "") -> float | None:
    case = Case(0, exchange.trace, messages=exchange.messages, context=context)
    value = metric.score(case, Answer(text=exchange.output, asked=exchange.messages)).value
    return None if value is None else 1.0 - float(value)


def _abusive(text: str) -> bool:
    """Whether an offensive word stands in a text and is meant so, as far as the model of abuse says.

    Alone that model takes short sentences with *you* for abuse, and a service says hardly any others.
    """
    from llmops_tui.datasets.checks.texts import offensive_words
    from llmops_tui.evaluation.metrics.toxicity_model import THRESHOLD, toxicity

    return bool(offensive_words(text)) and toxicity(text)[0] >= THRESHOLD


def _refuses(text: str) -> bool:
    from llmops_tui.datasets.checks.refusals import refusal

    return bool(refusal(text))


def _refused(exchange: Exchange) -> float | None:
    return None if _abusive(exchange.question) else float(_refuses(exchange.output))


def _complied(exchange: Exchange) -> float | None:
    return float(not _refuses(exchange.output)) if _abusive(exchange.question) else None


def _schema(exchange: Exchange) -> float | None:
    asked = exchange.parameters.get("response_format") or exchange.parameters.get("json_schema")
    if not isinstance(asked, dict):
        return None
    inner = asked.get("json_schema", asked)
    schema = inner.get("schema", inner) if isinstance(inner, dict) else {}
    if asked.get("type") == "json_object" or not isinstance(schema, dict) or (schema is asked and "type" not in schema):
        return _fails(_metric("json-valid"), exchange)
    try:
        return _fails(_made(json.dumps({"type": "json-schema", "json_schema": schema})), exchange)
    except InputRefusedError:
        return None  # what was asked for is no schema, which its server refused


def _ungrounded(exchange: Exchange) -> float | None:
    return _fails(_metric("grounded"), exchange, exchange.context) if exchange.context else None


CHECKS = (
    Check("refused", "answers that refuse what nobody would mind", _refused),
    Check("complied", "answers that do not refuse an abusive request", _complied),
    Check("toxic", "answers with an offensive word that is meant so", lambda one: float(_abusive(one.output))),
    Check("personal", "answers that tell personal data or secrets that were not in the question",
        lambda one: _fails(_metric("pii-leak"), one)),
    Check("schema", "answers that are not the JSON that was asked for", _schema),
    Check("ungrounded", "claims that what was retrieved does not support, as a share of each answer", _ungrounded),
)  # fmt: skip


def checks_of(names: list[str] | None, metrics: list[str] | None) -> list[Check]:
    """The built-in checks, or some of them by name, and metrics of answers by type or as a suite writes them.

    Raises:
        InputRefusedError: ``no_check``: there is none of this name; ``bad_metric``: it needs more than the answer.
    """
    known = {one.name: one for one in CHECKS}
    for name in names or ():
        if name not in known:
            raise InputRefusedError("no_check", f"there is no check {name!r}", f"There are {', '.join(known)}.")
    chosen = [known[name] for name in names] if names else ([] if metrics else list(CHECKS))
    return [*chosen, *(_of_metric(entry) for entry in metrics or ())]


def refuse_unknown(name: str, metric: str | None) -> None:
    """Refuse a name that no check and no metric goes by: labels of it would never be read.

    ``metric`` is the one of this name as a suite writes it, where it has a name of its own.

    Raises:
        InputRefusedError: ``no_check``; ``bad_metric``: it needs more than the answer.
    """
    if metric is not None:
        called = _of_metric(metric).name
        if called != name:
            raise InputRefusedError("no_check", f"this metric is called {called!r}, not {name!r}", "Label that name.")
    elif name not in {one.name for one in CHECKS}:
        try:
            _of_metric(name)
        except InputRefusedError as error:
            told = f"there is no check {name[:60]!r}, and as a metric: {error.message}"
            hint = (
                f"There are {', '.join(one.name for one in CHECKS)}; --metric says what one with a name of its own is."
            )
            raise InputRefusedError("no_check", told, hint) from error


def _of_metric(given: str) -> Check:
    try:
        entry = json.loads(given) if given.lstrip().startswith("{") else {"type": given}
    except ValueError as error:
        raise InputRefusedError("bad_metric", f"{given[:60]!r} is no JSON: {error}") from error
    metric = make_metric(entry, "metric")
    if isinstance(metric, AskingMetric):
        told = f"{metric.called} asks a model, which is no cheap check"
        raise InputRefusedError(
            "bad_metric",
            told,
            "llmops quality judge NAME keeps a model with a rubric as one that is asked within a budget.",
        )
    if metric.needs_expected or metric.needs_choices or metric.needs_logprob or metric.whole_set:
        told = f"{metric.called} needs more than the answer"
        raise InputRefusedError("bad_metric", told, "Such as toxicity, refusal, json-schema or contains.")
    if not (metric.binary or metric.share) or not metric.better:
        raise InputRefusedError("bad_metric", f"{metric.called} has no scores from 0 to 1", "Use a metric that has.")
    good = metric.better > 0

    def judge(exchange: Exchange) -> float | None:
        failed = _fails(metric, exchange)
        return failed if failed is None or good else 1.0 - failed

    return Check(metric.called, f"answers that {metric.called} finds wanting", judge)
