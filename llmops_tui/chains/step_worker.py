"""The process that evaluates a chain's expressions and reads answers as JSON: sandboxed, limited in memory, and killable.

One request a line, one answer a line: ``{"result"}`` or ``{"error"}``. Expressions are Jinja's, in its sandbox: what is Python
in them can reach no attribute of Python, and nothing is imported or opened.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator
from typing import Any, TypedDict

import jinja2
import jinja2.meta
import jinja2.nodes
import jinja2.parser
import jinja2.runtime
import jinja2.sandbox

from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.schema_keywords import Schema
from llmops_tui.inference.schema_validation import prepare, problems_of
from llmops_tui.inference.template_renderer import Variables
from llmops_tui.jobs.process import end_when_orphaned

MOST_RESULT = 4_000_000
_MAX_MEMORY = 512 * 1024 * 1024
_LONGEST = 300


class Request(TypedDict, total=False):
    """``names`` of the variables of ``sources``; ``evaluate`` a ``source``; or hold a ``text`` against a ``schema``."""

    op: str
    sources: list[str]
    source: str
    values: Variables
    schema: Schema
    text: str


class _Environment(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """Jinja's sandbox, in which a name behind a dot is first of all a field of the object."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


class _Expressions:
    """Expressions, compiled once each."""

    def __init__(self) -> None:
        self._environment = _Environment(undefined=jinja2.StrictUndefined)
        self._known: dict[str, jinja2.environment.TemplateExpression] = {}

    def names(self, source: str) -> list[str]:
        """The variables that an expression uses.

        Raises:
            jinja2.TemplateSyntaxError: it is none.
        """
        parser = jinja2.parser.Parser(self._environment, source, state="variable")
        parsed = parser.parse_expression()
        if not parser.stream.eos:
            raise jinja2.TemplateSyntaxError("there is something behind the expression", 1)
        template = jinja2.nodes.Template(
            [jinja2.nodes.Assign(jinja2.nodes.Name("result", "store"), parsed, lineno=1)], lineno=1
        )
        template.set_environment(self._environment)
        return sorted(jinja2.meta.find_undeclared_variables(template) - set(self._environment.globals))

    def evaluate(self, source: str, values: Variables) -> Any:
        """The value of an expression."""
        if source not in self._known:
            if len(self._known) > 500:
                self._known.clear()
            self._known[source] = self._environment.compile_expression(source, undefined_to_none=False)
        found = self._known[source](**values)
        if isinstance(found, jinja2.runtime.Undefined):
            # A variable that is not there says so when it is used.
            str(found)
        return list(found) if isinstance(found, Iterator) else found


def _answer(expressions: _Expressions, request: Request) -> JsonObject:
    try:
        if request["op"] == "names":
            return {"result": [_named(expressions, source) for source in request["sources"]]}
        if request["op"] == "schema":
            return {"result": problems_of(request["schema"], request["text"])}
        made = json.dumps({"result": expressions.evaluate(request["source"], request["values"])}, allow_nan=False)
        if len(made) > MOST_RESULT:
            return {"error": f"its value is larger than {MOST_RESULT:,} characters"}
        return dict(json.loads(made))
    except (MemoryError, RecursionError):
        return {"error": "it needs too much memory or nests too deep"}
    except (TypeError, ValueError) as error:
        return {"error": f"its value is none that JSON has: {error}"[:_LONGEST]}
    except Exception as error:  # noqa: BLE001  an expression may raise anything; here it can only become a text
        return {"error": _told(error)}


def _named(expressions: _Expressions, source: str) -> JsonObject:
    try:
        return {"names": expressions.names(source)}
    except (jinja2.TemplateError, RecursionError, MemoryError) as error:
        return {"error": _told(error)}


def _told(error: BaseException) -> str:
    if isinstance(error, jinja2.TemplateSyntaxError):
        return f"{error.message}"[:_LONGEST]
    if isinstance(error, jinja2.UndefinedError):
        return str(error)[:_LONGEST]
    if isinstance(error, (RecursionError, MemoryError)):
        return "it nests too deep"
    return f"{type(error).__name__}: {error}"[:_LONGEST]


def main() -> None:
    """Answer requests until standard input ends."""
    end_when_orphaned()
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, _MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Before the first question, whose time is limited: reading the drafts of JSON Schema is none of an answer's.
    prepare()
    expressions = _Expressions()
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(json.dumps(_answer(expressions, json.loads(line))).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
