"""JSON schemas as grammars: llama-cpp-python's converter, with number bounds added and what it ignores refused.

What a schema asks for is held to or refused, never passed over in silence.
"""

from __future__ import annotations

import json
import re
from typing import Any

from llmops_tui.errors import InputRefusedError

_REFUSED = (
    "multipleOf", "not", "if", "then", "else", "patternProperties", "propertyNames", "minProperties", "maxProperties",
    "contains", "dependentRequired", "dependentSchemas", "unevaluatedProperties", "unevaluatedItems",
)  # fmt: skip
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_MAX_DEPTH = 40
_MAX_DIGITS = 15
# The converter writes repetitions as nested parentheses; deep ones would exhaust the parser's stack.
_MAX_ITEMS = 200
_MAX_LENGTH = 2000
# A character of a string: no raw control character, and no half of a surrogate pair, both of which the converter allows.
_CHARACTER = (
    r'[^"\\\x7F\x00-\x1F] | "\\" (["\\/bfnrt] | "u" ([0-9a-cA-Ce-fE-F] [0-9a-fA-F]{3} | [dD] [0-7] [0-9a-fA-F]{2}))'
)
_LOOSE_CHARACTER = re.compile(r"^char ::= .*$", re.MULTILINE)


def schema_to_grammar(schema: dict[str, Any]) -> str:
    """The GBNF grammar of the JSON values that a JSON schema allows.

    Raises:
        InputRefusedError: ``schema_invalid``: the schema cannot be expressed; the message names the part.
    """
    from llama_cpp.llama_grammar import json_schema_to_gbnf

    rules: list[str] = []
    checked = _checked(schema, rules, 0)
    try:
        grammar = str(json_schema_to_gbnf(json.dumps(checked)))
    except RecursionError as error:
        raise _refused("it nests too deep") from error
    except Exception as error:
        raise _refused(f"{type(error).__name__}: {error}"[:300]) from error
    for number, rule in enumerate(rules):
        grammar = grammar.replace(f'"\\"{_mark(number)}\\""', f"held-{number}") + f"\nheld-{number} ::= {rule}"
    grammar = _LOOSE_CHARACTER.sub("", grammar)
    return f"{grammar}\nchar ::= {_CHARACTER}\n"


def _refused(reason: str) -> InputRefusedError:
    return InputRefusedError(
        "schema_invalid",
        f"the JSON schema cannot be held to: {reason}",
        "Leave that part out, and check it afterwards.",
    )


def _mark(number: int) -> str:
    return f"@held-{number}@"


def _checked(schema: Any, rules: list[str], depth: int) -> Any:
    """The schema as the converter takes it; bounded numbers and strings become marks for what is put into ``rules``."""
    if depth > _MAX_DEPTH:
        raise _refused("it nests too deep")
    if not isinstance(schema, dict):
        raise _refused(f"{str(schema)[:40]!r} is no schema of an object's form")
    _refuse_unsupported(schema)
    kind = schema.get("type")
    if isinstance(kind, list):
        return _checked({"anyOf": [{**schema, "type": k} for k in kind]}, rules, depth + 1)
    if rule := _own_rule(schema):
        rules.append(rule)
        return {"const": _mark(len(rules) - 1)}
    return {key: _checked_part(key, value, rules, depth + 1) for key, value in schema.items()}


def _refuse_unsupported(schema: dict[str, Any]) -> None:
    for word in _REFUSED:
        if word in schema:
            raise _refused(f"{word!r} is not supported")
    if schema.get("uniqueItems"):
        raise _refused("'uniqueItems' is not supported")
    if "pattern" in schema and ("minLength" in schema or "maxLength" in schema):
        raise _refused("'pattern' together with a length is not supported")
    missing = set(schema.get("required", ())) - set(schema.get("properties", ()))
    if missing:
        raise _refused(f"{min(missing)!r} is required and not among the properties")
    if max(schema.get("minItems") or 0, schema.get("maxItems") or 0) > _MAX_ITEMS:
        raise _refused(f"more than {_MAX_ITEMS} items are not counted")


def _own_rule(schema: dict[str, Any]) -> str:
    """A rule for what the converter leaves unbounded; empty where it has none of that."""
    if "enum" in schema or "const" in schema:
        return ""
    if any(bound in schema for bound in _BOUNDS):
        return _number_rule(schema)
    if schema.get("type") == "string" and ("minLength" in schema or "maxLength" in schema):
        return _length_rule(schema.get("minLength", 0), schema.get("maxLength"))
    return ""


def _checked_part(key: str, value: Any, rules: list[str], depth: int) -> Any:
    if key in {"properties", "$defs", "definitions"} and isinstance(value, dict):
        return {name: _checked(part, rules, depth) for name, part in value.items()}
    if key in {"anyOf", "oneOf", "allOf", "prefixItems"} and isinstance(value, list):
        return [_checked(part, rules, depth) for part in value]
    if key in {"items", "additionalProperties"} and isinstance(value, dict):
        return _checked(value, rules, depth)
    return value


def _length_rule(shortest: Any, longest: Any) -> str:
    """A rule for a string of bounded length."""
    if (
        not isinstance(shortest, int)
        or not isinstance(longest, int | None)
        or max(shortest, longest or 0) > _MAX_LENGTH
    ):
        raise _refused(f"lengths are whole numbers up to {_MAX_LENGTH}")
    if longest is not None and not 0 <= shortest <= longest:
        raise _refused("no string has such a length")
    return f'"\\"" char{{{shortest},{"" if longest is None else longest}}} "\\"" space'


def _number_rule(schema: dict[str, Any]) -> str:
    """A rule for a bounded number."""
    kind = schema.get("type")
    low, high = schema.get("minimum"), schema.get("maximum")
    over, under = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    given = [b for b in (low, high, over, under) if b is not None]
    if any(isinstance(b, bool) or not isinstance(b, (int, float)) or int(b) != b or abs(b) >= 10**15 for b in given):
        raise _refused("number bounds must be whole and below 10^15")
    if kind == "integer":
        first = max((int(b) for b in (low, None if over is None else over + 1) if b is not None), default=None)
        last = min((int(b) for b in (high, None if under is None else under - 1) if b is not None), default=None)
        return f"({integer_range(first, last)}) space"
    if kind != "number" or over is not None or low is None or low < 0:
        raise _refused("bounds are supported for integers, and for numbers from a minimum of 0 or more on")
    top = under if under is not None else high
    fraction = f'("." [0-9]{{1,{_MAX_DIGITS}}})?'
    if top is None:
        return f"({integer_range(int(low), None)}) {fraction} space"
    below = [f"({integer_range(int(low), int(top) - 1)}) {fraction}"] if top > low else []
    whole = [f'"{int(top)}" ("." "0"{{1,{_MAX_DIGITS}}})?'] if under is None and top >= low else []
    if not below and not whole:
        raise _refused("no number lies between its bounds")
    return f"({' | '.join(below + whole)}) space"


def integer_range(low: int | None, high: int | None) -> str:
    """A GBNF expression for the integers from ``low`` to ``high``, both included; none is no bound."""
    if low is not None and high is not None and low > high:
        raise _refused("no integer lies between its bounds")
    parts = []
    if low is None or low < 0:
        nearest = 1 if high is None or high >= 0 else -high
        parts.append(f'"-" ({_naturals(nearest, None if low is None else -low)})')
    if high is None or high >= 0:
        parts.append(_naturals(max(low or 0, 0), high))
    return " | ".join(parts)


def _naturals(low: int, high: int | None) -> str:
    if high is None:
        digits = len(str(low))
        return f"{_naturals(low, 10**digits - 1)} | [1-9] [0-9]{{{digits},{_MAX_DIGITS}}}"
    parts = []
    for digits in range(len(str(low)), len(str(high)) + 1):
        first = max(low, 10 ** (digits - 1) if digits > 1 else 0)
        parts.append(_same_length(str(first), str(min(high, 10**digits - 1))))
    return " | ".join(parts)


def _same_length(low: str, high: str) -> str:
    rest = len(low) - 1
    if not rest:
        return f"[{low}-{high}]"
    if low == "0" * len(low) and high == "9" * len(high):
        return f"[0-9]{{{len(low)}}}"
    if low[0] == high[0]:
        return f'"{low[0]}" ({_same_length(low[1:], high[1:])})'
    parts = [f'"{low[0]}" ({_same_length(low[1:], "9" * rest)})']
    if int(high[0]) - int(low[0]) > 1:
        parts.append(f"[{int(low[0]) + 1}-{int(high[0]) - 1}] [0-9]{{{rest}}}")
    parts.append(f'"{high[0]}" ({_same_length("0" * rest, high[1:])})')
    return " | ".join(parts)
