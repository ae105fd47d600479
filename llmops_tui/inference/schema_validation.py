"""JSON held against a JSON schema by the package jsonschema: in the schema's draft, and without the network."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from llmops_tui.foreign_text import parse_json
from llmops_tui.inference.schema_keywords import Schema, escaped, schemas_in

if TYPE_CHECKING:
    import jsonschema

_MOST_PROBLEMS = 10
_LONGEST = 200


def prepare() -> None:
    """Import what is needed and read the drafts' own schemas, so that forks of this process need not."""
    validator_of({"$schema": "https://json-schema.org/draft/2020-12/schema"}).is_valid({})


def validator_of(schema: Schema) -> jsonschema.Validator:
    """A validator that knows the published drafts of JSON Schema and looks nothing else up."""
    from jsonschema import Draft202012Validator
    from jsonschema_specifications import REGISTRY

    draft: Any = _draft_of(schema)
    made: jsonschema.Validator = _lenient(draft)(
        schema, registry=REGISTRY, format_checker=Draft202012Validator.FORMAT_CHECKER
    )
    return made


def unreadable(schema: Schema) -> str:
    """Why a schema is none by its draft's own rules, with its place; empty where it is one."""
    import jsonschema

    try:
        _draft_of(schema).check_schema(schema, format_checker=jsonschema.FormatChecker(formats=()))
    except jsonschema.SchemaError as error:
        return f"{pointer(error.absolute_path)}: {error.message[:_LONGEST]}"
    return ""


def problems_of(schema: Schema, text: str) -> list[str]:
    """What of a schema a text in JSON does not keep, each with its place; nothing where it keeps all.

    Raises:
        ValueError: it cannot be told, and why.
    """
    from referencing.exceptions import Unresolvable

    try:
        value = parse_json(text, constants=False)
    except ValueError as error:
        return [f"#: it is not JSON: {error}"[:_LONGEST]]
    try:
        found = list(itertools.islice(validator_of(schema).iter_errors(value), _MOST_PROBLEMS))
    except Unresolvable as error:
        raise ValueError(f"the schema refers to {str(error.ref)[:_LONGEST]!r}, which is not in it") from error
    except RecursionError as error:
        raise ValueError("it nests too deep") from error
    except re.error as error:
        raise ValueError(f"a pattern cannot be read: {error}"[:_LONGEST]) from error
    return [f"{pointer(error.absolute_path)}: {error.message[:_LONGEST]}" for error in found]


def readable(pattern: Any) -> bool:
    """Whether a finished answer can be checked against a pattern; one that is no text is refused elsewhere."""
    try:
        return not isinstance(pattern, str) or bool(re.compile(pattern))
    except re.error:
        return False


def pointer(path: Any) -> str:
    """A place as a JSON pointer within its document."""
    return "".join(["#", *(f"/{escaped(str(part))}" for part in path)])


def _draft_of(schema: Schema) -> type[jsonschema.Validator]:
    """The draft that a schema names, or the one whose words it has."""
    import jsonschema

    known = isinstance(schema.get("$schema"), str)
    named = jsonschema.validators.validator_for(schema, default=None) if known else None
    if named is not None:
        return named  # type: ignore[no-any-return]
    parts = [part for _, part in schemas_in(schema)]
    if any(isinstance(part.get(word), bool) for part in parts for word in ("exclusiveMinimum", "exclusiveMaximum")):
        return jsonschema.Draft4Validator  # type: ignore[no-any-return]
    if any(isinstance(part.get("items"), list) or "dependencies" in part for part in parts):
        return jsonschema.Draft7Validator  # type: ignore[no-any-return]
    return jsonschema.Draft202012Validator  # type: ignore[no-any-return]


@cache
def _lenient(draft: Any) -> type[jsonschema.Validator]:
    """A draft whose patterns may be of other languages than Python's: what Python cannot read, the grammar has held."""
    import jsonschema

    theirs = draft.VALIDATORS["pattern"]

    def pattern(validator: Any, wanted: Any, instance: Any, schema: Schema) -> Iterator[Any]:
        if readable(wanted):
            yield from theirs(validator, wanted, instance, schema) or ()

    return jsonschema.validators.extend(draft, {"pattern": pattern})  # type: ignore[no-any-return]
