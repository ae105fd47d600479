"""Whether calls are the right ones, by the rules of the Berkeley Function Calling Leaderboard.

Patil et al., "The Berkeley Function Calling Leaderboard", ICML 2025, on AST evaluation: the function, each required
argument, no other argument than expected, the type that the description says, and a value among the alternatives. Texts are
compared without case, blanks and the signs ``,./-_*^``. Held against its checker for Python (``bfcl_eval``, ``ast_checker.py``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from llmops_tui.foreign_text import JsonObject

_KINDS: dict[str, type] = {
    "string": str, "integer": int, "float": float, "number": float, "boolean": bool, "array": list, "tuple": list,
    "dict": dict, "object": dict, "any": str,
}  # fmt: skip
_LEFT_OUT = re.compile(r"[ ,./\-_*^]")
OPTIONAL = ""


def problem_of_calls(
    calls: Sequence[tuple[str, JsonObject | None]],
    expected: Sequence[Mapping[str, Mapping[str, Sequence[Any]]]],
    parameters: Mapping[str, JsonObject],
    *,
    ordered: bool = False,
    further: bool = False,
) -> str:
    """What is wrong with the calls of an answer; empty where they are right.

    Args:
        calls: each as its name and its arguments, none where these are no object.
        expected: each as the name and the alternatives of each argument.
        parameters: of each function, as it is described.
        ordered: they come in the expected order; else in any.
        further: there may be other calls beside.
    """
    if len(calls) < len(expected) or (len(calls) > len(expected) and not further):
        return f"{len(calls)} calls, expected {len(expected)}"
    left = list(range(len(calls)))
    for number, one in enumerate(expected):
        ((name, alternatives),) = one.items()
        candidates = left if further or not ordered else left[:1]
        problems = {i: problem_of_call(*calls[i], name, alternatives, parameters.get(name, {})) for i in candidates}
        right = next((i for i in candidates if not problems[i]), None)
        if right is None:
            same = next((problems[i] for i in candidates if calls[i][0] == name), "")
            return f"call {number + 1}: {same or f'no call of {name}'}"
        left = [i for i in left if i > right] if ordered else [i for i in left if i != right]
    return ""


def problem_of_call(
    called: str,
    arguments: JsonObject | None,
    name: str,
    alternatives: Mapping[str, Sequence[Any]],
    parameters: JsonObject,
) -> str:
    """What is wrong with one call; empty where it is right."""
    if called != name:
        return f"{called} was called, not {name}"
    if arguments is None:
        return f"{name}: the arguments are no object"
    for required in parameters.get("required") or ():
        if required not in arguments:
            return f"{name}: {required} is missing"
    described = parameters.get("properties") or {}
    for argument, value in arguments.items():
        if argument not in described or argument not in alternatives:
            return f"{name}: {argument} is not expected"
        if not _value_is_right(value, alternatives[argument], described[argument]):
            return f"{name}: {argument} is {value!r}, expected {_told(alternatives[argument])}"
    for argument, allowed in alternatives.items():
        if argument not in arguments and OPTIONAL not in allowed:
            return f"{name}: {argument} is missing"
    return ""


def _told(allowed: Sequence[Any]) -> str:
    return " or ".join("left out" if one == OPTIONAL else repr(one) for one in allowed)


def _value_is_right(value: Any, allowed: Sequence[Any], described: JsonObject) -> bool:
    kind_name = described.get("type")
    kind = _KINDS.get(kind_name) if isinstance(kind_name, str) else None
    if kind is None:
        # Of several types, or none, the alternatives alone decide.
        return any(_same(value, one) for one in allowed)
    inner = None
    if kind is list:
        items = described.get("items")
        inner = _KINDS.get(str(items.get("type"))) if isinstance(items, Mapping) else None
    if kind is float and type(value) is int:
        value = float(value)
    fits, as_it_is = _type_is_right(value, allowed, kind, inner)
    if not fits:
        return False
    if as_it_is:
        return value in allowed
    if kind is dict:
        return _object_is_right(value, allowed)
    if kind is list and inner is dict:
        return any(_objects_are_right(value, one) for one in allowed)
    if kind is str:
        return _plain(value) in [_plain(one) for one in allowed if isinstance(one, str)]
    if kind is list:
        return [_plain(part) for part in value] in [[_plain(part) for part in one] for one in allowed]
    return value in allowed


def _type_is_right(value: Any, allowed: Sequence[Any], kind: type[Any], inner: type[Any] | None) -> tuple[bool, bool]:
    """Whether a value has the described type, or that of the first alternative, which stands for a variable.

    The second says that the alternatives are of another type than described: they are compared as they are.
    """
    first = next((type(one) for one in allowed if one != OPTIONAL), None)
    variable = first is not None and first is not kind
    if type(value) is kind:
        if inner is None:
            return True, variable
        for one in allowed:
            if not isinstance(one, list) or all(_type_is_right(part, one, inner, None)[0] for part in value):
                return True, variable
        return False, variable
    return first is not None and type(value) is first, True


def _plain(value: Any) -> Any:
    """A text as it is compared; anything else as it is."""
    return _LEFT_OUT.sub("", value).lower().replace("'", '"') if isinstance(value, str) else value


def _same(value: Any, one: Any) -> bool:
    if isinstance(value, bool) != isinstance(one, bool):
        return False
    return bool(_plain(value) == _plain(one))


def _object_is_right(value: JsonObject, allowed: Sequence[Any]) -> bool:
    """Whether an object is one of the alternatives, whose values are alternatives themselves."""
    for one in allowed:
        if one == OPTIONAL:
            continue
        names = all(name in value or OPTIONAL in options for name, options in one.items())
        if names and all(
            name in one and _plain(part) in [_plain(option) for option in one[name]] for name, part in value.items()
        ):
            return True
    return False


def _objects_are_right(value: Sequence[JsonObject], one: Any) -> bool:
    return len(value) == len(one) and all(
        _object_is_right(part, [expected]) for part, expected in zip(value, one, strict=True)
    )
