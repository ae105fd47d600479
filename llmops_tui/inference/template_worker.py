"""The process in which untrusted templates are parsed and rendered: sandboxed, limited in memory, and killable.

One request a line, ``{"op", "source", "context", "kind"}``; one answer a line: ``{"result"}``,
``{"missing"}`` with the variable that has no value, ``{"wanted"}`` with what has to be retrieved first, or ``{"error"}``.
``render_each`` has such an answer for each of its contexts in its result. What fails in a prompt is told with the line of its
template and the variables that stand there.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import re
import resource
import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypedDict

import jinja2
import jinja2.ext
import jinja2.meta
import jinja2.nodes
import jinja2.parser
import jinja2.runtime
import jinja2.sandbox

from llmops_tui.inference.retrieval_asked import RETRIEVED, RetrievalAsked, retrieval_key
from llmops_tui.jobs.process import end_when_orphaned

if TYPE_CHECKING:
    from llmops_tui.inference.template_renderer import Variables

MAX_OUTPUT = 1_000_000
# A conversation may be as long as a request: how many tokens it has too many, or what is cut off, is told from its text.
MAX_CONVERSATION = 8_000_000
# What Jinja says of a variable without a value; of a member that a value does not have it says something else.
_UNDEFINED = " is undefined"
_MAX_MEMORY = 512 * 1024 * 1024


class _Generation(jinja2.ext.Extension):
    """``{% generation %}…{% endgeneration %}``, with which templates mark what the assistant says."""

    tags = {"generation"}  # noqa: RUF012  the name and type that Jinja's base class declares

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        """A block with a scope of its own, as in transformers: what is set inside is not set behind it."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_written"), [], [], body).set_lineno(line)

    def _written(self, caller: Callable[[], str]) -> str:
        return caller()


class _Overlong(Exception):  # noqa: N818  a signal between two functions here
    """The output grew past its limit, which is the first argument."""


class _Wanted(Exception):  # noqa: N818  a signal between two functions here
    """The template needs what is not retrieved yet, which is the first argument."""


class _Passages(list[dict[str, Any]]):
    """What was retrieved: as a text all of it, numbered, and to go through one by one."""

    def __str__(self) -> str:
        return "\n\n".join(f"[{one['number']}] {one['source']}\n{one['text']}" for one in self)


@jinja2.pass_context
def _retrieve(
    context: jinja2.runtime.Context, query: Any, k: int = 5, index: str = "", by: str = "", check: bool = True
) -> _Passages:
    asked: RetrievalAsked = {"query": str(query), "k": int(k), "index": str(index), "by": str(by), "check": bool(check)}
    found = (context.get(RETRIEVED) or {}).get(retrieval_key(asked))
    if found is None:
        raise _Wanted(asked)
    return _Passages(found)


class _NotPutIn(Exception):  # noqa: N818  it becomes a text
    """A template asks for another one while it is rendered."""


def _not_put_in(name: str) -> NoReturn:
    raise _NotPutIn(name)


def _printed(value: Any) -> Any:
    """What a prompt's template prints of a value: what is no text as JSON, and not as Python writes it."""
    if isinstance(value, (bool, list, tuple, dict, type(None))) and not isinstance(value, _Passages):
        try:
            return _to_json(value)
        except (TypeError, ValueError):
            pass
    return value


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(str(message))


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _strftime_now(form: str) -> str:
    return dt.datetime.now().strftime(form)  # noqa: DTZ005  templates mean the local date, as transformers does


def chat_environment() -> jinja2.Environment:
    """Jinja with the settings that transformers renders chat templates with."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols, _Generation]
    )
    environment.filters["tojson"] = _to_json
    # Templates written for llama.cpp read arguments that came as text with it.
    environment.filters["from_json"] = json.loads
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def prompt_environment() -> jinja2.Environment:
    """Jinja for prompts: text stays as typed, and a variable that was not given is an error."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, finalize=_printed
    )
    environment.filters["tojson"] = _to_json
    environment.globals["retrieve"] = _retrieve
    environment.loader = jinja2.FunctionLoader(_not_put_in)
    return environment


@functools.lru_cache(maxsize=32)
def _compiled(environment: jinja2.Environment, source: str) -> jinja2.Template:
    """Compiling takes ten times as long as rendering, and a dataset is rendered with one template."""
    return environment.from_string(source)


def _render(environment: jinja2.Environment, source: str, context: Variables, limit: int) -> str:
    parts: list[str] = []
    size = 0
    for part in _compiled(environment, source).generate(**context):
        size += len(part)
        if size > limit:
            raise _Overlong(limit)
        parts.append(part)
    return "".join(parts)


def _variables(environment: jinja2.Environment, source: str) -> list[str]:
    """Names the template needs, in the order in which they first stand in it."""
    names = jinja2.meta.find_undeclared_variables(environment.parse(source))
    return sorted(names, key=lambda name: (source.find(name), name))


class Request(TypedDict):
    """What is to be done with a template: its ``variables``, or ``render`` with values, ``render_each`` with a list of them."""

    op: Literal["render", "render_each", "variables"]
    kind: str
    source: str
    context: Any


class Reply(TypedDict, total=False):
    """What came of it: a result, the variable that has no value, what is to be retrieved first, or why there is none."""

    result: Any
    missing: str
    wanted: RetrievalAsked
    error: str


def _failure(error: Exception) -> Reply:
    """What is told of a template that failed."""
    if isinstance(error, jinja2.TemplateSyntaxError):
        return {"error": f"line {error.lineno}: {error.message}"}
    if isinstance(error, jinja2.UndefinedError) and str(error).endswith(_UNDEFINED):
        return {"missing": str(error).removesuffix(_UNDEFINED)}
    if isinstance(error, _Wanted):
        return {"wanted": error.args[0]}
    if isinstance(error, _Overlong):
        return {"error": f"the result is longer than {error.args[0]:,} characters"}
    if isinstance(error, _NotPutIn):
        return {
            "error": f"{error.args[0]!r} is not put in: save the prompt, which puts in what {{% include %}} names"[
                :1000
            ]
        }
    if isinstance(error, (MemoryError, RecursionError)):
        return {"error": "the template needs too much memory or nests too deep"}
    return {"error": f"{type(error).__name__}: {error}"[:1000]}


def _one(environment: jinja2.Environment, source: str, context: dict[str, Any], limit: int) -> Reply:
    try:
        return {"result": _render(environment, source, context, limit)}
    except Exception as error:  # noqa: BLE001  a template may raise anything; here it can only become a text
        reply = _failure(error)
        # What a chat's template raises is its author's own words to whoever sends a conversation.
        if "error" in reply and environment.undefined is jinja2.StrictUndefined and (place := _place(error, source)):
            reply["error"] = f"{place}: {reply['error']}"
        return reply


def _place(error: Exception, source: str) -> str:
    """The line of a prompt's template at which it failed while it was rendered, and the variables that stand there."""
    lines = [at for frame, at in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == "<template>"]
    if not lines:
        return ""
    text = source.splitlines()[lines[-1] - 1 : lines[-1]]
    try:
        needed = jinja2.meta.find_undeclared_variables(prompt_environment().parse(source))
    except jinja2.TemplateError:
        return f"line {lines[-1]}"
    names = sorted(name for name in needed if text and re.search(rf"(?<![\w.]){re.escape(name)}\b", text[0]))
    return f"line {lines[-1]}" + (f" with {', '.join(names)}" if names else "")


def answer(environments: dict[str, jinja2.Environment], request: Request) -> Reply:
    """Do one request; every failure of a template becomes an ``error`` text."""
    environment = environments[request["kind"]]
    limit = MAX_CONVERSATION if request["kind"] == "chat" else MAX_OUTPUT
    source = request["source"]
    context: Any = request.get("context")
    if request["kind"] == "nunjucks":
        from llmops_tui.inference.nunjucks_values import from_json

        context = from_json(context)
    if request["op"] == "render_each":
        return {"result": [_one(environment, source, one, limit) for one in context]}
    try:
        if request["op"] == "variables":
            return {"result": _variables(environment, source)}
    except Exception as error:  # noqa: BLE001  a template may raise anything; here it can only become a text
        return _failure(error)
    return _one(environment, source, context, limit)


class _Environments(dict[str, jinja2.Environment]):
    """The ways to read a template, by kind; each made when it is first asked for."""

    def __missing__(self, kind: str) -> jinja2.Environment:
        if kind == "nunjucks":
            from llmops_tui.inference.nunjucks import NunjucksEnvironment

            self[kind] = NunjucksEnvironment()
        else:
            self[kind] = chat_environment() if kind == "chat" else prompt_environment()
        return self[kind]


def main() -> None:
    """Answer requests until standard input ends."""
    end_when_orphaned()
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, _MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    environments = _Environments()
    for line in sys.stdin.buffer:
        reply = answer(environments, json.loads(line))
        sys.stdout.buffer.write(json.dumps(reply).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
