"""Nunjucks templates, rendered by Jinja where both mean the same; whatever would mean something else is refused by name.

Values are those of JSON, and behave as JavaScript's do: an empty list is true, what is not there is written as nothing, a
number has no point where it needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jinja2
import jinja2.nodes
import jinja2.runtime
import jinja2.sandbox

from llmops_tui.inference import nunjucks_filters, nunjucks_values

_STATEMENTS = (
    jinja2.nodes.Template, jinja2.nodes.Output, jinja2.nodes.TemplateData, jinja2.nodes.If, jinja2.nodes.For,
    jinja2.nodes.Assign, jinja2.nodes.Keyword,
)  # fmt: skip
_EXPRESSIONS = (
    jinja2.nodes.Name, jinja2.nodes.Const, jinja2.nodes.List, jinja2.nodes.Tuple, jinja2.nodes.Dict, jinja2.nodes.Pair,
    jinja2.nodes.Getattr, jinja2.nodes.Getitem, jinja2.nodes.Filter, jinja2.nodes.Test, jinja2.nodes.CondExpr,
    jinja2.nodes.And, jinja2.nodes.Or, jinja2.nodes.Not, jinja2.nodes.Compare, jinja2.nodes.Operand, jinja2.nodes.Add,
    jinja2.nodes.Sub, jinja2.nodes.Mul, jinja2.nodes.Concat, jinja2.nodes.Neg, jinja2.nodes.Call,
)  # fmt: skip
_LOOP = {"index", "index0", "revindex", "revindex0", "first", "last", "length"}
_TESTS = {"defined", "undefined", "none", "null", "odd", "even"}
_COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "gt": ">", "lteq": "<=", "gteq": ">=", "in": "in", "notin": "not in"}
_ELSEWHERE = {
    "env": "env reads the environment",
    "_conversation": "_conversation depends on the answers to the tests before it",
}
_MAX_RANGE = 10_000


def _refuse(node: jinja2.nodes.Node, what: str) -> jinja2.TemplateSyntaxError:
    return jinja2.TemplateSyntaxError(f"{what}, which is read otherwise than Nunjucks reads it", node.lineno)


def _check(node: jinja2.nodes.Node, *, in_loop: bool = False) -> None:
    """Refuse what has another meaning in Nunjucks, or none here."""
    if not isinstance(node, _STATEMENTS + _EXPRESSIONS):
        raise _refuse(node, f"it uses {type(node).__name__.lower()}")
    if problem := _unknown(node):
        raise jinja2.TemplateSyntaxError(problem, node.lineno)
    if isinstance(node, jinja2.nodes.Assign) and in_loop:
        raise _refuse(node, "it uses set inside a loop")
    if isinstance(node, jinja2.nodes.For) and (node.recursive or node.test is not None):
        raise _refuse(node, "it uses a loop with a condition" if node.test is not None else "it uses a recursive loop")
    if isinstance(node, jinja2.nodes.Const) and isinstance(node.value, float) and "e" in repr(node.value):
        raise _refuse(node, f"it writes the number {node.value!r} with an exponent")
    inside = in_loop or isinstance(node, jinja2.nodes.For)
    for child in node.iter_child_nodes():
        _check(child, in_loop=inside)


def _unknown(node: jinja2.nodes.Node) -> str:
    """What a node names that is not known here; empty where all is."""
    if isinstance(node, jinja2.nodes.Name):
        return _ELSEWHERE.get(node.name, "")
    if isinstance(node, jinja2.nodes.Getattr):
        of_loop = isinstance(node.node, jinja2.nodes.Name) and node.node.name == "loop"
        return f"loop.{node.attr} is not known here" if of_loop and node.attr not in _LOOP else ""
    if isinstance(node, jinja2.nodes.Call):
        name = getattr(node.node, "attr", None) or getattr(node.node, "name", None) or "a function"
        plain = isinstance(node.node, jinja2.nodes.Name) and name == "range"
        return "" if plain else f"it calls {name}(); of functions only range() is known"
    if isinstance(node, jinja2.nodes.Filter):
        return "" if node.name in nunjucks_filters.FILTERS else f"the filter {node.name} is not known here"
    if isinstance(node, jinja2.nodes.Test):
        return "" if node.name in _TESTS else f"the test {node.name} is not known here"
    return ""


def _as_javascript(node: jinja2.nodes.Node) -> jinja2.nodes.Node:
    """The same tree, with operators and loops that work as JavaScript's."""
    for name, value in node.iter_fields():
        if isinstance(value, jinja2.nodes.Node):
            setattr(node, name, _as_javascript(value))
        elif isinstance(value, list):
            setattr(node, name, [_as_javascript(v) if isinstance(v, jinja2.nodes.Node) else v for v in value])
    if isinstance(node, jinja2.nodes.Compare):
        found: jinja2.nodes.Expr | None = None
        left = node.expr
        for operand in node.ops:
            one = _call("compare", left, jinja2.nodes.Const(_COMPARE[operand.op]), operand.expr)
            found = one if found is None else jinja2.nodes.And(found, one)
            left = operand.expr
        assert found is not None
        return found
    if isinstance(node, (jinja2.nodes.Add, jinja2.nodes.Sub, jinja2.nodes.Mul)):
        return _call("arithmetic", node.left, jinja2.nodes.Const(node.operator), node.right)
    if isinstance(node, jinja2.nodes.CondExpr) and node.expr2 is None:
        node.expr2 = jinja2.nodes.Const("")
    if isinstance(node, jinja2.nodes.Concat):
        return _call("concatenated", *node.nodes)
    if isinstance(node, jinja2.nodes.For):
        pairs = isinstance(node.target, jinja2.nodes.Tuple)
        node.iter = _call("pairs" if pairs else "items", node.iter)
    return node


def _call(name: str, first: jinja2.nodes.Node, *others: jinja2.nodes.Node) -> jinja2.nodes.Filter:
    made = jinja2.nodes.Filter(first, f"__{name}", list(others), [], None, None)
    made.set_lineno(first.lineno)
    return made


class _Missing(jinja2.ChainableUndefined, nunjucks_values.Absent):
    """A value that is not there: its members are not, either."""

    __slots__ = ()


class NunjucksEnvironment(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """Jinja with Nunjucks' filters, and with values as JavaScript has them."""

    def __init__(self) -> None:
        super().__init__(undefined=_Missing, keep_trailing_newline=True, finalize=nunjucks_values.written)
        self.filters = dict(nunjucks_filters.FILTERS)
        self.filters |= {f"__{name}": function for name, function in _OPERATORS.items()}
        self.tests = {name: _TEST_FUNCTIONS[name] for name in _TESTS}
        self.globals = {"range": _range}

    def _parse(self, source: str, name: str | None, filename: str | None) -> jinja2.nodes.Template:
        tree = super()._parse(source, name, filename)
        _check(tree)
        made = _as_javascript(tree)
        assert isinstance(made, jinja2.nodes.Template)
        made.set_environment(self)
        return made

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A member by its name, and nothing of Python's."""
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """A member as JavaScript finds it: of what is not there, nothing."""
        if isinstance(obj, jinja2.runtime.LoopContext):
            return getattr(obj, argument) if argument in _LOOP else self.undefined(name=str(argument))
        found = nunjucks_values.member(obj, argument)
        return self.undefined(name=str(argument)) if found is nunjucks_values.NOTHING else found


def _range(start: int, stop: int | None = None, step: int = 1) -> list[int]:
    first, last = (0, start) if stop is None else (start, stop)
    found = range(first, last, step or 1)
    if len(found) > _MAX_RANGE:
        raise jinja2.TemplateError(f"range() makes more than {_MAX_RANGE:,} numbers")
    return nunjucks_values.JsList(found)


_OPERATORS: Mapping[str, Callable[..., Any]] = {
    "compare": nunjucks_values.compare,
    "arithmetic": nunjucks_values.arithmetic,
    "concatenated": nunjucks_values.concatenated,
    "pairs": nunjucks_values.pairs,
    "items": nunjucks_values.items,
}
_TEST_FUNCTIONS: Mapping[str, Callable[[Any], bool]] = {
    "defined": lambda value: not nunjucks_values.is_undefined(value),
    "undefined": nunjucks_values.is_undefined,
    "none": lambda value: value is None,
    "null": lambda value: value is None,
    "odd": lambda value: nunjucks_values.number(value) % 2 == 1,
    "even": lambda value: nunjucks_values.number(value) % 2 == 0,
}
