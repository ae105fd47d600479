"""Metrics of structured answers: JSON, a schema, and its fields one by one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import field_validator

from llmops_tui.evaluation.metrics.base import Answer, Case, Metric, Score, right_or_wrong
from llmops_tui.evaluation.metrics.texts import short
from llmops_tui.evaluation.records import Facts
from llmops_tui.foreign_text import parse_json
from llmops_tui.inference.schema_keywords import Schema

if TYPE_CHECKING:
    import jsonschema

_FENCE = re.compile(r"^\s*```(?:json)?\s*\n(.*?)\n?```\s*$", re.DOTALL)


def json_of(text: str) -> tuple[Any, str]:
    """The JSON of an answer, also in a code fence, and what is wrong with it where it is none."""
    fenced = _FENCE.match(text)
    try:
        return parse_json(fenced.group(1) if fenced else text, constants=False), ""
    except ValueError as error:
        return None, f"not JSON: {error}"


def same_json(left: Any, right: Any) -> bool:
    """Whether two JSON values are the same: 1 and 1.0 are, 1 and true are not."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same_json(left[name], right[name]) for name in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same_json, left, right))
    return bool(left == right)


class JsonValid(Metric):
    """The answer is JSON (RFC 8259), alone or in a code fence."""

    type: Literal["json-valid"] = "json-valid"
    little: ClassVar[int] = 20_000
    revision: ClassVar[int] = 2
    binary: ClassVar[bool] = True

    def score(self, case: Case, answer: Answer) -> Score:
        """1 where it is."""
        del case
        _, problem = json_of(answer.text)
        return right_or_wrong(not problem, problem)


class JsonSchema(Metric):
    """The answer is JSON that a schema (draft 2020-12) allows; checked by jsonschema."""

    type: Literal["json-schema"] = "json-schema"
    json_schema: dict[str, Any]
    revision: ClassVar[int] = 2
    binary: ClassVar[bool] = True

    @field_validator("json_schema")
    @classmethod
    def _is_schema(cls, schema: Schema) -> Schema:
        import jsonschema

        try:
            jsonschema.Draft202012Validator.check_schema(schema)
        except jsonschema.SchemaError as error:
            raise ValueError(f"not a JSON Schema: {error.message}") from error
        return schema

    def problem(self) -> str:
        """A reference in it that leads nowhere; nothing is looked up in the network."""
        missing = unresolved(self.json_schema)
        return f"{self.called}: the schema refers to {short(missing)!r}, which is not in it" if missing else ""

    def score(self, case: Case, answer: Answer) -> Score:
        """1 where it is."""
        del case
        value, problem = json_of(answer.text)
        if problem:
            return Score(0.0, problem)
        first = next(_validator(self.json_schema).iter_errors(value), None)
        return right_or_wrong(first is None, "" if first is None else f"{first.json_path}: {short(first.message)}")


def _validator(schema: Schema) -> jsonschema.Draft202012Validator:
    """A validator that knows the published drafts of JSON Schema and looks nothing else up: never in the network."""
    import jsonschema
    from jsonschema_specifications import REGISTRY

    return jsonschema.Draft202012Validator(schema, registry=REGISTRY)


def unresolved(schema: Schema) -> str:
    """The first reference in a schema that leads neither into it nor to a published draft; empty where all do."""
    from jsonschema_specifications import REGISTRY
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    root = DRAFT202012.create_resource(schema)
    waiting = [(REGISTRY.resolver_with_root(root), root)]
    while waiting:
        resolver, resource = waiting.pop()
        here = resolver.in_subresource(resource)
        body = resource.contents
        for name in ("$ref", "$dynamicRef"):
            if isinstance(body, dict) and isinstance(body.get(name), str):
                try:
                    here.lookup(body[name])
                except Unresolvable:
                    return str(body[name])
        waiting += [(here, inner) for inner in resource.subresources()]
    return ""


class JsonFields(Metric):
    """The share of fields whose value is the expected one; the reason names those that differ.

    Of ``fields`` those count that the expected object has; a case whose object has none of them is not scored.
    """

    type: Literal["json-fields"] = "json-fields"
    little: ClassVar[int] = 20_000
    fields: tuple[str, ...] = ()
    share: ClassVar[bool] = True
    revision: ClassVar[int] = 2
    needs_expected: ClassVar[bool] = True

    def score(self, case: Case, answer: Answer) -> Score:
        """From 0 to 1."""
        expected = case.expected if isinstance(case.expected, dict) else json_of(case.expected_text)[0]
        if not isinstance(expected, dict):
            return Score(None, "the expected answer is not a JSON object")
        names = [name for name in self.fields or expected if name in expected]
        if self.fields and not names:
            return Score(None, f"the expected answer has none of the fields {', '.join(self.fields)}")
        value, problem = json_of(answer.text)
        if problem or not isinstance(value, dict):
            return Score(0.0, problem or "not a JSON object", {"wrong": names})
        wrong = [name for name in names if name not in value or not same_json(value[name], expected[name])]
        parts = [f"{n} differs: {short(str(value.get(n)))} is not {short(str(expected.get(n)))}" for n in wrong]
        return Score(1 - len(wrong) / max(1, len(names)), "; ".join(parts), {"wrong": wrong})

    def facts(self, scores: Any) -> Facts:
        """How often each field was wrong."""
        counts: dict[str, int] = {}
        for score in scores:
            for name in score.detail.get("wrong", []):
                counts[name] = counts.get(name, 0) + 1
        return {"wrong_fields": counts}
