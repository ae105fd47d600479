"""Values of JSON as JavaScript treats them: written as text, compared, added, looked into."""

from __future__ import annotations

import decimal
import json
import math
import operator as operator_module
import re
from typing import Any, Final


class Absent:
    """What a value is that a template names and does not have; the class of the template's own kind has this one."""

    __slots__ = ()


class _Nothing:
    """What a member is that is not there."""


NOTHING: Final = _Nothing()
# What JavaScript takes for a blank.
BLANKS = "\t\n\v\f\r \xa0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff" + "".join(map(chr, range(0x2000, 0x200B)))
_INTEGER = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(?:Infinity|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")
_EXACT = 2**53
_ORDER = {"<": operator_module.lt, ">": operator_module.gt, "<=": operator_module.le, ">=": operator_module.ge}
# From here on JavaScript writes a number with its exponent.
_LONG, _SMALL = 1e21, 1e-6


class JsList(list[Any]):
    """A list that is true though it is empty."""

    def __bool__(self) -> bool:
        return True


class JsObject(dict[str, Any]):
    """An object that is true though it is empty."""

    def __bool__(self) -> bool:
        return True


def from_json(value: Any) -> Any:
    """A value whose lists and objects are as true as JavaScript's."""
    if isinstance(value, dict):
        return JsObject({str(name): from_json(one) for name, one in value.items()})
    if isinstance(value, list | tuple):
        return JsList(from_json(one) for one in value)
    return value


def is_undefined(value: Any) -> bool:
    """Whether there is no such value."""
    return isinstance(value, Absent)


def number_text(value: float) -> str:
    """A number as JavaScript writes it."""
    if isinstance(value, int):
        if abs(value) <= _EXACT:
            return str(value)
        value = float(value)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "0"
    if value.is_integer() and abs(value) < _LONG:
        # The shortest digits that are the number's, filled up with zeros.
        return f"{decimal.Decimal(repr(value)):f}".partition(".")[0]
    text = repr(value)
    if "e" in text:
        mantissa, _, exponent = text.partition("e")
        power = int(exponent)
        if _SMALL <= abs(value) < 1:
            digits = mantissa.replace(".", "").lstrip("-")
            return ("-" if value < 0 else "") + "0." + "0" * (-power - 1) + digits
        mantissa = mantissa.removesuffix(".0")
        return f"{mantissa}e{'+' if power > 0 else '-'}{abs(power)}"
    return text


def text(value: Any) -> str:
    """What ``String(value)`` is."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if is_undefined(value):
        return "undefined"
    if isinstance(value, int | float):
        return number_text(value)
    if isinstance(value, list | tuple):
        return ",".join("" if one is None or is_undefined(one) else text(one) for one in value)
    return "[object Object]"


def written(value: Any) -> str:
    """What a template writes of a value: nothing of what is not there."""
    return "" if value is None or is_undefined(value) else text(value)


def json_text(value: Any, indent: int | None = None) -> str:
    """What ``JSON.stringify(value)`` is."""
    if isinstance(value, dict | list | tuple):
        return _nested(value, indent or 0, "")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number_text(value) if math.isfinite(value) else "null"
    return json.dumps(None if is_undefined(value) else value, ensure_ascii=False)


def _nested(value: Any, indent: int, margin: str) -> str:
    inner = margin + " " * indent
    parts = (
        [
            f"{json.dumps(str(k), ensure_ascii=False)}:{' ' * bool(indent)}{_one(v, indent, inner)}"
            for k, v in value.items()
        ]
        if isinstance(value, dict)
        else [_one(v, indent, inner) for v in value]
    )
    opened, closed = "{}" if isinstance(value, dict) else "[]"
    if not parts or not indent:
        return opened + ",".join(parts) + closed
    lines = f",\n{inner}".join(parts)
    return f"{opened}\n{inner}{lines}\n{margin}{closed}"


def _one(value: Any, indent: int, margin: str) -> str:
    return _nested(value, indent, margin) if isinstance(value, dict | list | tuple) else json_text(value)


def number(value: Any) -> float:
    """What ``Number(value)`` is."""
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, int | float):
        return value
    if value is None:
        return 0.0
    if isinstance(value, str):
        bare = value.strip(BLANKS)
        if not bare:
            return 0.0
        if _INTEGER.fullmatch(bare):
            return int(bare) if len(bare) < 16 else float(bare)
        return float(bare) if _NUMBER.fullmatch(bare) else math.nan
    if isinstance(value, list):
        return number(text(value))
    return math.nan


def concatenated(*parts: Any) -> str:
    """``a ~ b ~ c``."""
    return "".join(text(part) for part in parts)


def arithmetic(left: Any, operator: str, right: Any) -> Any:
    """``left + right`` and the like; ``+`` joins where one side is no number."""
    plain = (bool, int, float, type(None))
    if operator == "+" and not (isinstance(left, plain) and isinstance(right, plain)):
        return text(left) + text(right)
    one, two = number(left), number(right)
    return one + two if operator == "+" else one - two if operator == "-" else one * two


def compare(left: Any, operator: str, right: Any) -> bool:
    """``left == right`` and the like, as loose as JavaScript's."""
    if operator in {"==", "!="}:
        return _loosely_equal(left, right) == (operator == "==")
    if operator in {"in", "not in"}:
        return _within(left, right) == (operator == "in")
    left, right = (text(one) if isinstance(one, dict | list) else one for one in (left, right))
    if isinstance(left, str) and isinstance(right, str):
        # By units of UTF-16, as JavaScript does.
        one: Any = left.encode("utf-16-be", "surrogatepass")
        two: Any = right.encode("utf-16-be", "surrogatepass")
    else:
        one, two = number(left), number(right)
    return bool(_ORDER[operator](one, two))


def _loosely_equal(left: Any, right: Any) -> bool:
    if left is None or is_undefined(left) or right is None or is_undefined(right):
        return (left is None or is_undefined(left)) and (right is None or is_undefined(right))
    if isinstance(left, str) and isinstance(right, str):
        return left == right
    if isinstance(left, dict | list) and isinstance(right, dict | list):
        return left is right
    if isinstance(left, dict | list) or isinstance(right, dict | list):
        return _loosely_equal(*(text(one) if isinstance(one, dict | list) else one for one in (left, right)))
    return number(left) == number(right)


def _same(left: Any, right: Any) -> bool:
    """``left === right``, of simple values."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, int | float) and isinstance(right, int | float):
        return left == right
    return type(left) is type(right) and not isinstance(left, dict | list) and bool(left == right)


def _within(value: Any, whole: Any) -> bool:
    if isinstance(whole, str):
        return text(value) in whole
    if isinstance(whole, list):
        return any(_same(value, one) for one in whole)
    if isinstance(whole, dict):
        return text(value) in whole
    raise ValueError('cannot use "in" to look into a value that is no list, text or object')


def member(value: Any, name: Any) -> Any:
    """A member of a value, or :data:`NOTHING`."""
    if isinstance(value, dict):
        return value.get(text(name), NOTHING)
    if isinstance(value, list | str):
        if name == "length":
            return length(value)
        place = number(name) if not isinstance(name, bool) else math.nan
        if math.isfinite(place) and float(place).is_integer() and 0 <= place < len(value):
            return value[int(place)]
    return NOTHING


def length(value: Any) -> int:
    """How long a text or list is; of a text in units of UTF-16."""
    if isinstance(value, str):
        return len(value) + sum(ord(character) > 0xFFFF for character in value)
    return len(value) if isinstance(value, dict | list) else 0


def items(value: Any) -> JsList:
    """What a loop over a value runs through."""
    return JsList(value) if isinstance(value, list | str) else JsList()


def pairs(value: Any) -> JsList:
    """What a loop with two names runs through: an object's names with their values, a list's pairs, a text's characters."""
    if isinstance(value, dict):
        return JsList(JsList(pair) for pair in value.items())
    if isinstance(value, list):
        # What is no pair, or a short one, leaves names without a value.
        return JsList(JsList(None if (m := member(one, n)) is NOTHING else m for n in (0, 1)) for one in value)
    if isinstance(value, str):
        return JsList(JsList([str(n), character]) for n, character in enumerate(value))
    return JsList()
