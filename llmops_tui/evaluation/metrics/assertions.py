"""Assertions of promptfoo as metrics: each kind with what it takes and how it decides."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from llmops_tui.evaluation.metrics import assertion_markup as markup
from llmops_tui.evaluation.metrics import assertion_texts as texts
from llmops_tui.evaluation.metrics.assertion_texts import Outcome
from llmops_tui.evaluation.metrics.base import Answer, Case, Metric, Score
from llmops_tui.evaluation.metrics.javascript_patterns import python_pattern
from llmops_tui.evaluation.metrics.structured import unresolved
from llmops_tui.evaluation.metrics.texts import short
from llmops_tui.inference.nunjucks_values import text as text_of

_PATTERN_LENGTH = 2000


@dataclass(frozen=True)
class Kind:
    """How one kind of assertion decides; ``wants`` says what is wrong with a value, ``limit`` is its usual threshold."""

    decide: Callable[[Assertion, Answer], Outcome]
    wants: Callable[[Any], str]
    limit: float | None = None
    graded: bool = False


def _a_text(value: Any) -> str:
    return "" if isinstance(value, str) and value else "takes a text that is not empty"


def _a_string(value: Any) -> str:
    return "" if isinstance(value, str) else "takes a text"


def _text_or_number(value: Any) -> str:
    right = isinstance(value, str | int | float) and not isinstance(value, bool) and value != ""
    return "" if right else "takes a text or a number"


def _texts(value: Any) -> str:
    return "" if isinstance(value, list) and value else "takes a list of texts"


def _references(value: Any) -> str:
    given = value if isinstance(value, list) else [value]
    return "" if given and all(isinstance(one, str) for one in given) else "takes a text or a list of texts"


def _anything(value: Any) -> str:
    del value
    return ""


def _nothing(value: Any) -> str:
    return "" if value is None else "takes a threshold, and no value"


def _pattern(value: Any) -> str:
    if problem := _a_text(value):
        return problem
    if len(value) > _PATTERN_LENGTH:
        return f"takes a pattern of at most {_PATTERN_LENGTH:,} characters"
    try:
        python_pattern(value)
    except ValueError as error:
        return f"cannot match {short(value)!r}: {error}"
    return ""


def _count(value: Any) -> str:
    if isinstance(value, dict):
        ends = {name: value[name] for name in ("min", "max") if name in value}
        if not ends or set(value) - set(ends) or not all(isinstance(v, int | float) for v in ends.values()):
            return "takes a number, or min and max"
        return "has a min above its max" if ends.get("min", 0) > ends.get("max", float("inf")) else ""
    try:
        float(value)
    except (TypeError, ValueError):
        return "takes a number, or min and max"
    return "takes a number, or min and max" if isinstance(value, bool) else ""


# Keywords of draft 7; promptfoo's validator refuses others.
_KEYWORDS = {
    "$id", "$ref", "$comment", "definitions", "$defs", "title", "description", "default", "examples", "readOnly",
    "writeOnly", "type", "enum", "const", "multipleOf", "maximum", "exclusiveMaximum", "minimum",
    "exclusiveMinimum", "maxLength", "minLength", "pattern", "items", "additionalItems", "maxItems", "minItems",
    "uniqueItems", "contains", "maxProperties", "minProperties", "required", "properties", "additionalProperties",
    "dependencies", "propertyNames", "if", "then", "else", "allOf", "anyOf", "oneOf", "not",
}  # fmt: skip
_OF_SCHEMAS = {"definitions", "$defs", "properties"}
# Values that are no schemas.
_LITERAL = {"enum", "const", "default", "examples", "required", "type"}


def _schema(value: Any) -> str:
    """What is wrong with a schema; none is right, too."""
    if value is None:
        return ""
    if not isinstance(value, dict):
        return "takes a JSON Schema"
    import jsonschema

    try:
        jsonschema.Draft7Validator.check_schema(value)
    except jsonschema.SchemaError as error:
        return f"takes a JSON Schema: {error.message}"
    if missing := unresolved(value):
        return f"has a schema that refers to {short(missing)!r}, which is not in it"
    return _unknown_keyword(value)


def _unknown_keyword(schema: Any) -> str:
    if not isinstance(schema, dict):
        return ""
    for name, inside in schema.items():
        if name not in _KEYWORDS:
            return f"has a schema with {name!r}, which is not checked as promptfoo checks it"
        if name == "pattern" and (problem := _pattern(inside)):
            return f"has a schema whose pattern {problem}"
        if name not in _LITERAL and (problem := _in_parts(inside, named=name in _OF_SCHEMAS)):
            return problem
    return ""


def _in_parts(inside: Any, *, named: bool) -> str:
    parts = inside.values() if named else inside if isinstance(inside, list) else [inside]
    return next((problem for part in parts if (problem := _unknown_keyword(part))), "")


def _paths(value: Any) -> str:
    right = value is None or (isinstance(value, list) and all(isinstance(one, str) for one in value))
    return "" if right else "takes the paths of elements"


def _latency(assertion: Assertion, answer: Answer) -> Outcome:
    if answer.cached or answer.total_ms is None:
        raise ValueError("from the cache: it took no time" if answer.cached else "its time is not known")
    limit = assertion.limit
    return Outcome(answer.total_ms <= limit, f"took {answer.total_ms:.0f} ms, more than {limit:g}")


def _finish(assertion: Assertion, answer: Answer) -> Outcome:
    wanted = str(assertion.value).lower()
    return Outcome(answer.finish_reason.lower() == wanted, f"ended by {answer.finish_reason or 'nothing known'}")


def _contained(mode: str, *, case: bool) -> Callable[[Assertion, Answer], Outcome]:
    return lambda a, answer: texts.contains(answer.text, a.value, mode=mode, case=case)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


KINDS: dict[str, Kind] = {
    "equals": Kind(lambda a, answer: texts.equals(answer.text, a.value), _anything),
    "contains": Kind(_contained("all", case=True), _text_or_number),
    "contains-all": Kind(_contained("all", case=True), _texts),
    "contains-any": Kind(_contained("any", case=True), _texts),
    "icontains": Kind(_contained("all", case=False), _text_or_number),
    "icontains-all": Kind(_contained("all", case=False), _texts),
    "icontains-any": Kind(_contained("any", case=False), _texts),
    "starts-with": Kind(lambda a, answer: texts.starts_with(answer.text, a.value), _a_text),
    "regex": Kind(lambda a, answer: texts.matches(answer.text, python_pattern(a.value)), _pattern),
    "levenshtein": Kind(lambda a, answer: texts.distance(answer.text, a.value, a.limit), _a_string, 5),
    "word-count": Kind(lambda a, answer: texts.word_count(answer.text, a.value), _count),
    "is-json": Kind(lambda a, answer: markup.is_json(answer.text, a.value), _schema),
    "contains-json": Kind(lambda a, answer: markup.contains_json(answer.text, a.value), _schema),
    "is-xml": Kind(lambda a, answer: markup.is_xml(answer.text, a.value or []), _paths),
    "contains-xml": Kind(lambda a, answer: markup.contains_xml(answer.text, a.value or []), _paths),
    "latency": Kind(_latency, _nothing),
    "finish-reason": Kind(_finish, _a_text),
    "bleu": Kind(lambda a, answer: texts.bleu(answer.text, _list(a.value), a.limit), _references, 0.5, graded=True),
    "gleu": Kind(lambda a, answer: texts.gleu(answer.text, _list(a.value), a.limit), _references, 0.5, graded=True),
}
_NEEDS_LIMIT = {"latency"}


class Assertion(Metric):
    """An assertion as promptfoo makes it, right or wrong: ``contains-json``, ``word-count``, ``starts-with`` and others.

    ``value`` is what it takes, ``threshold`` its limit, ``inverse`` turns it round.
    """

    type: Literal["assertion"] = "assertion"
    check: Annotated[str, Field(description="Which one, as promptfoo names it.")]
    value: Any = None
    threshold: float | None = None
    inverse: bool = False
    binary: ClassVar[bool] = True
    graded: ClassVar[bool] = False

    @property
    def called(self) -> str:
        """Its name in results."""
        return self.name or f"{'not-' * self.inverse}{self.check}"

    @property
    def limit(self) -> float:
        """Its threshold, or the usual one."""
        usual = KINDS[self.check].limit
        found = self.threshold if self.threshold is not None else usual
        assert found is not None
        return found

    @model_validator(mode="after")
    def _known(self) -> Self:
        kind = KINDS.get(self.check)
        if kind is None or kind.graded != self.graded:
            known = ", ".join(name for name, one in KINDS.items() if one.graded == self.graded)
            raise ValueError(f"{self.check!r} is none; there are {known}")
        if problem := kind.wants(self.value):
            raise ValueError(f"{self.check} {problem}")
        if self.check in _NEEDS_LIMIT and self.threshold is None:
            raise ValueError(f"{self.check} takes a threshold in milliseconds")
        return self

    def score(self, case: Case, answer: Answer) -> Score:
        """1 where it holds; one that is graded has the grade, and whether it holds in its detail."""
        del case
        try:
            outcome = KINDS[self.check].decide(self, answer)
        except ValueError as error:
            return Score(None, str(error))
        holds = outcome.holds != self.inverse
        value = float(holds) if outcome.score is None else abs(self.inverse - outcome.score)
        reason = "" if holds else "it does" if self.inverse and outcome.holds else outcome.reason
        return Score(value, reason, {"holds": holds})


class GradedAssertion(Assertion):
    """An assertion of promptfoo's that grades from 0 to 1 and holds from a threshold on: ``bleu``, ``gleu``."""

    type: Literal["graded-assertion"] = "graded-assertion"  # type: ignore[assignment]
    binary: ClassVar[bool] = False
    share: ClassVar[bool] = True
    graded: ClassVar[bool] = True


def separated(value: str) -> list[str]:
    """The texts of a list that is written in one: between commas, where they have some in quotes.

    Raises:
        ValueError: a quote is not closed, or something other than a comma stands behind it.
    """
    found: list[str] = []
    at = 0
    while (at := _past(value, at)) < len(value):
        if value[at] != '"':
            end = value.find(",", at)
            end = len(value) if end < 0 else end
            found.append(value[at:end].strip())
            at = end
            continue
        # Each sign can be taken in one way: a text of backslashes would be tried in more ways than there is time for.
        quoted = re.compile(r'"((?:\\\\|\\"|""|[^"\\]|\\(?!\\))*)"\s*(?=,|\Z)').match(value, at)
        if quoted is None:
            raise ValueError(f"a quote in {short(value)!r} is not closed, or no comma stands behind it")
        found.append(re.sub(r'\\([\\"])|""', lambda m: m.group(1) or '"', quoted.group(1)))
        at = quoted.end()
    return found


def _past(value: str, at: int) -> int:
    while at < len(value) and (value[at].isspace() or value[at] == ","):
        at += 1
    return at


def value_of(check: str, value: Any) -> Any:
    """A value as its check takes it: a list written in one text, a schema or paths as text.

    Raises:
        ValueError: it cannot be read.
    """
    import yaml

    from llmops_tui.foreign_text import parse_yaml

    if check.removeprefix("i").startswith("contains-a") and isinstance(value, str):
        return separated(value)
    if check in {"is-json", "contains-json"}:
        if isinstance(value, str):
            try:
                return parse_yaml(value, core=True) or None
            except yaml.YAMLError as error:
                raise ValueError(f"the schema is not valid YAML: {error}") from error
        return value or None if not isinstance(value, dict) else value
    if check in {"is-xml", "contains-xml"}:
        if isinstance(value, dict) and value:
            if set(value) != {"requiredElements"} or not isinstance(value["requiredElements"], list):
                raise ValueError("it takes the paths of elements, or requiredElements")
            value = value["requiredElements"]
        if isinstance(value, str):
            return [part.strip() for part in value.split(",")]
        return [text_of(one) for one in value] if value else None
    return value
