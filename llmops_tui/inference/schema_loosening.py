"""A JSON schema without what a grammar cannot enforce, and what that is: such keywords are checked in the finished answer."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.schema_keywords import (
    KEYWORDS,
    SCHEMAS,
    SCHEMAS_BY_NAME,
    Schema,
    escaped,
    is_annotation,
    reference_elsewhere,
    reference_to_nothing,
    target_of,
)
from llmops_tui.inference.schema_names import with_names_enforced
from llmops_tui.inference.schema_numbers import (
    BOUNDS,
    Inexact,
    close_bounds,
    combines_exclusive_bounds,
    inexact_numbers,
)
from llmops_tui.inference.schema_recursion import endless_part
from llmops_tui.inference.schema_validation import broken_pattern, readable, unreadable

_CHECKED = "is not enforced while the answer is written, and is checked when it is finished"
_UNREAD = "is neither enforced nor checked: it cannot be read"
_LIKE = 0.75
# The formats that are enforced; ``unknown`` is a name of the library's own for none at all.
_FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"}
# Of the others, those that can be told of a finished answer.
_CHECKABLE = {"idn-email", "regex"}
_DRAFTS = ("json-schema.org/draft-0", "json-schema.org/draft/20")
# What brings other schemas to the same value, whose properties and items then count as evaluated.
_BESIDE = {"allOf", "anyOf", "oneOf", "$ref", "$dynamicRef", "$recursiveRef", "if", "dependentSchemas", "contains"}
# Where further properties are named that an object may have.
_NAMING = ("if", "then", "else")
_BY_NAME = ("dependentSchemas", "dependencies", "dependentRequired")
_MEANT = {
    "nullable": 'says nothing in JSON Schema: give the type as a list with "null"',
    "optional": "says nothing in JSON Schema: leave the name out of the object's required",
    "min": "is no keyword of JSON Schema; did you mean minimum, minLength or minItems?",
    "max": "is no keyword of JSON Schema; did you mean maximum, maxLength or maxItems?",
}


class Unheld(TypedDict):
    """A keyword that does not hold the answer, by its place (a JSON pointer in the schema), and why.

    ``tool`` is the name of the function whose parameters have it.
    """

    pointer: str
    message: str
    tool: NotRequired[str]


@dataclass(frozen=True)
class Loosened:
    """A schema that allows all that the original allows, and what it leaves out.

    Attributes:
        checked: whether an answer may keep to it and not to the original.
    """

    schema: Any
    told: tuple[Unheld, ...] = ()
    checked: bool = False


@dataclass(frozen=True)
class Doubts:
    """How far a schema is loosened that the library refused.

    Attributes:
        holds: whether the library takes a schema by itself; what it does not take goes.
        any_of: whether one of several schemas (``oneOf``) is written as any of them.
    """

    holds: Callable[[Schema], bool]
    any_of: bool = False


def loosened(schema: Any, doubts: Doubts | None = None) -> Loosened:
    """The schema that a grammar can enforce.

    Raises:
        InputRefusedError: ``schema_invalid``: no value satisfies it, it is none, refers to another document, or has numbers
            for which no looser schema is of use.
    """
    if not isinstance(schema, dict):
        return Loosened(schema)
    _refuse_what_cannot_be(schema)
    named = with_names_enforced(schema)
    inexact = list(inexact_numbers(named))
    walk = _Walk(schema, {(one.place, one.word): one.why for one in inexact if one.word in _DROPPED_NUMBERS}, doubts)
    made = walk.part(named, "#")
    told = tuple(walk.told.values())
    walk.checked |= isinstance(made, dict) and combines_exclusive_bounds(made)
    if walk.checked and (why := unreadable(schema)):
        raise _refusal(f"it is none, at {why}", "Mend that part.")
    left = inexact_numbers(made) if isinstance(made, dict) else iter(())
    if (number := next(left, None)) is not None:
        raise _inexact(number)
    return Loosened(made, told, walk.checked)


_DROPPED_NUMBERS = (*BOUNDS, "multipleOf")


def _refuse_what_cannot_be(schema: Schema) -> None:
    if (place := endless_part(schema)) is not None:
        raise _refusal(
            f"{place[:200]} requires itself, so no finite value satisfies it",
            "Make it optional: not required, or one of several with anyOf.",
        )
    if (elsewhere := reference_elsewhere(schema)) is not None:
        raise _refusal(
            f"{elsewhere[:200]!r} is another document, and none is fetched",
            "Put what it refers to into $defs, and refer to #/$defs/….",
        )
    if (lost := reference_to_nothing(schema)) is not None:
        raise _refusal(f"{lost[0][:200]} refers to {lost[1][:200]!r}, which is not in it", "Put that into $defs.")
    if (broken := broken_pattern(schema)) is not None:
        raise _refusal(f"{broken[0][:200]} is no regular expression: {broken[1]}", "Mend that pattern.")
    if "x-guidance" in schema:
        raise _refusal("'x-guidance' is not a JSON Schema keyword")


def _refusal(why: str, hint: str = "") -> InputRefusedError:
    return InputRefusedError("schema_invalid", f"the JSON schema cannot be enforced: {why}", hint)


def _inexact(number: Inexact) -> InputRefusedError:
    return _refusal(number.why, "Remove that and check it afterwards, or ask for a string of digits.")


class _Walk:
    """Makes the looser schema, part by part; ``told`` has what it leaves out, by place."""

    def __init__(self, original: Schema, inexact: Mapping[tuple[str, str], str], doubts: Doubts | None) -> None:
        self._original = original
        self._inexact = inexact
        self._doubts = doubts
        self.told: dict[str, Unheld] = {}
        self.checked = False

    def part(self, given: Any, at: str) -> Any:
        """A schema at a place; what is no object is taken as it is."""
        if not isinstance(given, dict):
            return given
        if given.get("not") is True or given.get("not") == {}:
            return False
        made: Schema = {}
        for word, value in given.items():
            if word in _READ_APART or (self._loosen(word, value, given, at)):
                continue
            made[word] = self._below(word, value, f"{at}/{escaped(word)}")
        self._read_draft_4(given, made)
        close_bounds(made)
        self._read_anchors(given, made, at)
        self._read_unevaluated(given, made, at)
        self._read_counts(given, made, at)
        if self._doubts is not None:
            self._read_doubtful(self._doubts, made, at)
        self._name_others(given, made)
        return made

    def _below(self, word: str, value: Any, at: str) -> Any:
        if word in SCHEMAS and isinstance(value, list):
            return [self.part(one, f"{at}/{n}") for n, one in enumerate(value)]
        if word in SCHEMAS:
            return self.part(value, at)
        if word in SCHEMAS_BY_NAME and isinstance(value, dict):
            return {name: self.part(one, f"{at}/{escaped(name)}") for name, one in value.items()}
        return value

    def _tell(self, at: str, word: str, message: str, *, checked: bool = True) -> None:
        place = f"{at}/{escaped(word)}"
        self.told[place] = {"pointer": place, "message": message}
        self.checked |= checked

    def _loosen(self, word: str, value: Any, given: Schema, at: str) -> bool:
        """Whether a keyword goes; it is told unless it says nothing."""
        if word in _UNHELD:
            if not _UNHELD[word](value, given):
                self._tell(at, word, f"{word} {_CHECKED}")
            return True
        if (why := self._inexact.get((at, word))) is not None:
            self._tell(at, word, f"{word} {_CHECKED}: {why}")
            return True
        if word == "format":
            return self._loosen_format(value, at)
        if word == "$schema" and isinstance(value, str) and not any(draft in value for draft in _DRAFTS):
            told = "names no published draft of JSON Schema; the schema is read as one of 2020-12"
            self._tell(at, word, f"{word} {told}", checked=False)
            return True
        if word not in KEYWORDS and not is_annotation(word) and not (word == "nullable" and value is False):
            self._tell(at, word, _unknown(word), checked=False)
        return False

    def _loosen_format(self, value: Any, at: str) -> bool:
        if not isinstance(value, str) or value in _FORMATS:
            # What names no format the library refuses.
            return False
        checked = value in _CHECKABLE
        told = _CHECKED if checked else "is neither enforced nor checked: this format is not known"
        self._tell(at, "format", f"format {str(value)[:40]!r} {told}", checked=checked)
        return True

    def _read_draft_4(self, given: Schema, made: Schema) -> None:
        """Bounds that are exclusive by a word beside them, as draft 4 has it."""
        for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            if isinstance(given.get(exclusive), bool):
                del made[exclusive]
                if given[exclusive] and bound in made:
                    made[exclusive] = made.pop(bound)

    def _read_anchors(self, given: Schema, made: Schema, at: str) -> None:
        """A dynamic anchor is one, and a dynamic reference to what may be elsewhere is none that a grammar follows."""
        if "$dynamicAnchor" in given and "$anchor" not in given:
            made["$anchor"] = given["$dynamicAnchor"]
        for word in ("$dynamicRef", "$recursiveRef"):
            if word in given:
                self._tell(at, word, f"{word} {_CHECKED}")

    def _read_unevaluated(self, given: Schema, made: Schema, at: str) -> None:
        """What is not evaluated is what is additional, where nothing beside evaluates more."""
        for word, same in (("unevaluatedProperties", "additionalProperties"), ("unevaluatedItems", "items")):
            value = given.get(word, True)
            if value is True or value == {} or same in given:
                continue
            if _BESIDE & set(given):
                self._tell(at, word, f"{word} {_CHECKED}")
            else:
                made[same] = self.part(value, f"{at}/{word}")

    def _read_counts(self, given: Schema, made: Schema, at: str) -> None:
        """How many properties there are is enforced where all that are named are required, and nothing is put together."""
        named, needed = given.get("properties"), given.get("required")
        if not isinstance(named, dict):
            named = {}
        optional = set(named) - set(needed if isinstance(needed, list) else ())
        least = given.get("minProperties")
        if type(least) is int and least > len(named) > 0 and "additionalProperties" not in made:
            # As many there have to be that are not named.
            made["additionalProperties"] = True
        for word in ("minProperties", "maxProperties"):
            if word in made and (optional or (self._doubts is not None and self._doubts.any_of)):
                del made[word]
                self._tell(at, word, f"{word} {_CHECKED}")

    def _read_doubtful(self, doubts: Doubts, made: Schema, at: str) -> None:
        if "pattern" in made and not doubts.holds({"type": "string", "pattern": made["pattern"]}):
            if readable(made.pop("pattern")):
                self._tell(at, "pattern", f"pattern {_CHECKED}")
            else:
                self._tell(at, "pattern", f"pattern {_UNREAD}", checked=False)
        patterns = made.get("patternProperties")
        if isinstance(patterns, dict):
            alone = {"type": "object", "patternProperties": dict.fromkeys(patterns, True)}
            if not doubts.holds(alone):
                del made["patternProperties"]
                # What these patterns allow, the others may not forbid.
                made["additionalProperties"] = True
                checked = all(map(readable, patterns))
                word = self._named_patterns(at)
                self._tell(at, word, f"{word} {_CHECKED if checked else _UNREAD}", checked=checked)
        if doubts.any_of and isinstance(made.get("oneOf"), list):
            either = made.pop("oneOf")
            if "anyOf" in made:
                beside = made.get("allOf")
                made["allOf"] = [*(beside if isinstance(beside, list) else ()), {"anyOf": either}]
            else:
                made["anyOf"] = either
            told = "is written as anyOf, and that it is no more than one is checked when the answer is finished"
            self._tell(at, "oneOf", f"oneOf {told}")

    def _named_patterns(self, at: str) -> str:
        """The word that the request has for patterns of names, which may have been written in another."""
        original = target_of(self._original, at)
        said = isinstance(original, dict) and "patternProperties" not in original and "propertyNames" in original
        return "propertyNames" if said else "patternProperties"

    def _name_others(self, given: Schema, made: Schema) -> None:
        """Properties that are named by what was left out alone: an object that names its properties may have these, too."""
        named = made.get("properties")
        if not isinstance(named, dict) or {"additionalProperties", "patternProperties"} & set(made):
            return
        found: dict[str, list[Any]] = {}
        if not _name_all(_left_out(given), found):
            made["additionalProperties"] = True
            return
        for name, schemas in found.items():
            if name not in named:
                parts = [self._plainly(one) for one in schemas]
                named[name] = {} if not parts or {} in parts else parts[0] if len(parts) == 1 else {"anyOf": parts}

    def _plainly(self, schema: Any) -> Any:
        """A schema of what was left out, as far as nothing needs to be told of it, else any value."""
        walk = _Walk(schema if isinstance(schema, dict) else {}, {}, self._doubts)
        made = walk.part(schema, "#")
        return {} if walk.told or (isinstance(made, dict) and any(inexact_numbers(made))) else made


def _left_out(given: Schema) -> Iterator[Any]:
    """The schemas of an object that are left out and may ask for further properties of it."""
    if "if" in given:
        yield from (given[word] for word in _NAMING if word in given)
    for word in _BY_NAME:
        for one in given[word].values() if isinstance(given.get(word), dict) else ():
            yield {"required": one} if isinstance(one, list) else one


def _name(schema: Any, found: dict[str, list[Any]]) -> bool:
    """Add the properties that a schema names; false where it may name others by what it refers to."""
    if not isinstance(schema, dict):
        return True
    if {"$ref", "$dynamicRef", "patternProperties"} & set(schema):
        return False
    named = schema.get("properties")
    for name, one in named.items() if isinstance(named, dict) else ():
        found.setdefault(name, []).append(one)
    for name in schema["required"] if isinstance(schema.get("required"), list) else ():
        if isinstance(name, str):
            found.setdefault(name, [])
    inner: Iterable[Any] = [
        one for word in ("allOf", "anyOf", "oneOf") if isinstance(schema.get(word), list) for one in schema[word]
    ]
    return _name_all([*inner, *_left_out(schema)], found)


def _name_all(schemas: Iterable[Any], found: dict[str, list[Any]]) -> bool:
    """As :func:`_name`, of several."""
    known = [_name(one, found) for one in schemas]
    return all(known)


def _unknown(word: str) -> str:
    if word in _MEANT:
        return f"{word} {_MEANT[word]}"
    near = difflib.get_close_matches(word, sorted(KEYWORDS), 1, _LIKE)
    told = f"{word[:60]} is no keyword of JSON Schema and has no effect"
    return f"{told}; did you mean {near[0]}?" if near else told


def _never(_value: Any, _given: Schema) -> bool:
    return False


def _is_empty(value: Any, _given: Schema) -> bool:
    return isinstance(value, dict) and not value


# What no grammar of the library holds, and whether it says nothing where it stands.
_UNHELD: dict[str, Callable[[Any, Schema], bool]] = {
    "uniqueItems": lambda value, _given: value is False,
    "not": lambda value, _given: value is False,
    "if": lambda _value, given: not {"then", "else"} & set(given),
    # Told by the word that they belong to.
    "then": lambda _value, _given: True,
    "else": lambda _value, _given: True,
    "contains": lambda _value, given: given.get("minContains") == 0 and "maxContains" not in given,
    "minContains": lambda _value, _given: True,
    "maxContains": lambda _value, _given: True,
    "dependentRequired": _is_empty,
    "dependentSchemas": _is_empty,
    "dependencies": _is_empty,
    "propertyNames": _never,
}
_READ_APART = {
    "$dynamicAnchor",
    "$dynamicRef",
    "$recursiveRef",
    "$recursiveAnchor",
    "unevaluatedProperties",
    "unevaluatedItems",
}
