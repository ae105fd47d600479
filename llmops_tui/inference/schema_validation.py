"""JSON held against a JSON schema by the package jsonschema: in the schema's draft, and without the network."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from llmops_tui.foreign_text import parse_json
from llmops_tui.inference.schema_keywords import SCHEMAS, SCHEMAS_BY_NAME, Schema, escaped, schemas_in

if TYPE_CHECKING:
    import jsonschema

_MOST_PROBLEMS = 10
_LONGEST = 200
# What Python says of texts that are a regular expression in no language.
_BROKEN = (
    "unterminated character set", "missing ), unterminated subpattern", "unbalanced parenthesis", "nothing to repeat",
    "min repeat greater", "bad escape (end of pattern)", "unexpected end of pattern",
)  # fmt: skip
# Whether a value keeps to a schema below these decides more than whether it may be: guessing would tell what is not so.
_NOT_HELD = {"not", "if", "contains", "oneOf", "propertyNames", "dependentSchemas"}


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
    if (pattern := _unread_pattern(schema)) is not None:
        raise ValueError(f"the pattern {pattern[:_LONGEST]!r} cannot be read")
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


def broken_pattern(schema: Schema) -> tuple[str, str] | None:
    """The first pattern that is a regular expression in no language, by its place, and why; none without one.

    Others that Python cannot read may be of another language.
    """
    for at, pattern, _ in _patterns(schema):
        try:
            # JavaScript has classes of any character and of none.
            re.compile(pattern.replace("[^]", ".").replace("[]", "."))
        except re.error as error:
            if error.msg.startswith(_BROKEN) and not readable(pattern):
                return at, str(error)
    return None


def _unread_pattern(schema: Schema) -> str | None:
    """A pattern that Python cannot read, in a part that no grammar holds; elsewhere the grammar has held it, or it is told."""
    return next((pattern for _, pattern, held in _patterns(schema) if not held and not readable(pattern)), None)


def _patterns(schema: Any, at: str = "#", *, held: bool = True) -> Iterator[tuple[str, str, bool]]:
    """All patterns, each with its place, and whether a grammar may hold it."""
    if not isinstance(schema, dict):
        return
    for word, value in schema.items():
        place = f"{at}/{escaped(word)}"
        if word == "pattern" and isinstance(value, str):
            yield place, value, held
        elif word in SCHEMAS:
            parts = [(place, value)] if isinstance(value, dict) else []
            parts += [(f"{place}/{n}", part) for n, part in enumerate(value if isinstance(value, list) else ())]
            for below, part in parts:
                yield from _patterns(part, below, held=held and word not in _NOT_HELD)
        elif word in SCHEMAS_BY_NAME and isinstance(value, dict):
            for name, part in value.items():
                if word == "patternProperties":
                    yield f"{place}/{escaped(name)}", name, held
                yield from _patterns(part, f"{place}/{escaped(name)}", held=held and word not in _NOT_HELD)


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
