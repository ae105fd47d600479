"""Output constraints — a JSON schema, tool calls, a grammar — as one llguidance grammar.

Whatever is written here is compiled in the process that checks it, and again in the engine's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict, cast

from llmops_tui.errors import ErrorRecord, InputRefusedError, LlmopsError
from llmops_tui.inference.gbnf import gbnf_to_lark
from llmops_tui.inference.gbnf_reader import without_comments
from llmops_tui.inference.schema_keywords import Schema, may_be_object
from llmops_tui.inference.schema_loosening import Doubts, Unheld, loosened
from llmops_tui.inference.thought_grammar import ANY_TEXT, Thought, held_answer, thinking_before
from llmops_tui.inference.tool_grammar import Function, ToolsForm, tools_grammar

# Without forcing, llguidance never works out and tokenizes what must come next: a constant of 200,000 characters would
# take it half a minute.
_OPTIONS = '%llguidance {"no_forcing": true}\n'
# One blank after a comma and a colon, as in the JSON that models have seen most of, and none else. Where blanks are
# free, small models run into endless ones.
_LAYOUT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
_SMALLER = "Make it smaller: fewer alternatives and repetitions, and nothing ambiguous."
JSON_FORMS = frozenset({"json_object", "json_schema"})
"""The types of forms whose answers are JSON."""
# Where schemas lie: alone, in lists, by name.
_ONE = ("items", "additionalProperties")
_LISTED = ("anyOf", "oneOf", "prefixItems")
_NAMED = ("properties", "patternProperties", "$defs", "definitions")
# What brings in another schema, and what says something of an object beside it.
_COMBINING = ("$ref", "anyOf", "oneOf")
_OF_OBJECTS = ("properties", "patternProperties", "additionalProperties", "required", "minProperties", "maxProperties")


class ToolRecord(TypedDict):
    """A tool as requests and templates have it."""

    type: str
    function: Function


class SchemaHolder(TypedDict):
    """What ``response_format`` has around a schema; its name is its client's own."""

    name: NotRequired[str]
    schema: Schema


class Form(TypedDict, total=False):
    """What an answer is held to; each ``type`` reads its own of the fields, see :func:`enforced`.

    The type ``answer`` is no form but a question about one: whether a finished answer (``text``) keeps a ``schema``.
    """

    type: str
    grammar: str
    json_schema: SchemaHolder
    functions: list[Function]
    calls: Mapping[str, Any]
    opening: str
    thought: Thought
    required: bool
    several: bool
    answer: Schema
    content: str
    schema: Schema
    text: str


class Verdict(TypedDict, total=False):
    """What was found of a form: its grammar, or as :meth:`llmops_tui.errors.LlmopsError.as_dict` why there is none.

    ``tool`` is the name of the function whose parameters are why. ``told`` and ``checked`` are as :class:`Held` has them.
    ``problems`` are what an answer does not keep of its schema, and ``unsure`` is why that cannot be told.
    """

    grammar: str
    told: list[Unheld]
    checked: bool
    error: ErrorRecord
    tool: str
    problems: list[str]
    unsure: str


class FormRefusedError(InputRefusedError):
    """A form that cannot be enforced; ``tool`` is the function whose parameters cannot be, empty where it is none's."""

    def __init__(self, code: str, message: str, hint: str = "", tool: str = "") -> None:
        super().__init__(code, message, hint)
        self.tool = tool


class Tried(Verdict, total=False):
    """What the checking process says: a verdict, or why there is none yet.

    Its time is over (``ended``), it stands still (``paused``), or it was ended from outside, and ``killed`` says how.
    """

    ended: str
    paused: bool
    killed: str


@dataclass(frozen=True)
class Held:
    """What a form comes to: its grammar, empty for plain text, and what of its schemas the grammar does not hold.

    ``checked`` says that a finished answer has to be checked against them.
    """

    grammar: str = ""
    told: tuple[Unheld, ...] = ()
    checked: bool = False


def enforced(form: Form, doubts: Doubts | None = None) -> Held:
    """How a form is enforced; ``doubts`` loosen schemas that the library has refused.

    A form is an OpenAI ``response_format``, ``{"type": "grammar", "grammar": GBNF}``, or ``{"type": "tools"}`` with
    the fields of a :class:`~.tool_grammar.ToolsForm`. A ``response_format`` has beside it how the model thinks before
    (``thought``), and the mark of its contents (``content``), where there are such.

    Raises:
        InputRefusedError: ``grammar_invalid``, ``schema_invalid`` or ``bad_response_format``: the form cannot be expressed.
    """
    kind = form.get("type", "text")
    if kind == "text":
        return Held()
    if kind == "grammar":
        return Held(_OPTIONS + gbnf_to_lark(form["grammar"]))
    if kind in JSON_FORMS:
        lines, thinking = thinking_before(form.get("thought"))
        loose = loosened(schema_of(form), doubts)
        answer = held_answer(_json(loose.schema), form.get("content", ""))
        rules = "\n".join([*lines, f"start: {thinking}{answer}", ANY_TEXT if lines else ""])
        return Held(_OPTIONS + rules, loose.told, loose.checked)
    if kind == "tools":
        return _held_tools(form, doubts)
    raise InputRefusedError("bad_response_format", f"the response format {str(kind)[:40]!r} is not known")


def _held_tools(form: Form, doubts: Doubts | None) -> Held:
    functions, told, checked = [], list[Unheld](), False
    for function in form["functions"]:
        loose = loosened(_arguments(function.get("parameters")), doubts)
        functions.append(cast("Function", {**function, "parameters": loose.schema}))
        told += [cast("Unheld", {**one, "tool": function["name"]}) for one in loose.told]
        checked |= loose.checked
    given: Form = {**form, "functions": functions}
    if "answer" in form:
        loose = loosened(form["answer"], doubts)
        given["answer"] = loose.schema
        told += loose.told
        checked |= loose.checked
    rules, whole = tools_grammar(cast("ToolsForm", given), _json)
    return Held(_OPTIONS + rules if rules else "", tuple(told), checked or not whole)


def _arguments(parameters: Schema | None) -> Schema | None:
    """The schema of a call's arguments, which are an object whatever else it would allow."""
    if not parameters or parameters.get("type") == "object":
        return parameters
    if not may_be_object(parameters, parameters):
        told = "the JSON schema allows no object, and the arguments of a call are one"
        raise InputRefusedError(
            "schema_invalid", told, "Name the arguments as properties of a schema of the type object."
        )
    return {**parameters, "type": "object"} if isinstance(parameters.get("type", []), list) else parameters


def schema_of(form: Form) -> Schema:
    """The schema of an answer in JSON."""
    return form["json_schema"]["schema"] if form["type"] == "json_schema" else {"type": "object"}


def meaning_of(form: Form) -> bytes:
    """What forms have in common that are enforced alike, and refused alike: a form without names and comments."""
    kind = form.get("type")
    meant: Mapping[str, object] = form
    if kind == "grammar":
        meant = {"grammar": without_comments(form["grammar"])}
    elif kind == "json_schema":
        # Properties come in the schema's order, so that order is meant.
        around = {name: value for name, value in form.items() if name in {"thought", "content"}}
        meant = {"schema": form["json_schema"]["schema"], **around}
    return json.dumps(meant).encode()


def in_words_of(kind: Any, error: LlmopsError) -> LlmopsError:
    """A refusal in the notation that a form of this kind was written in; without one, it speaks of a grammar."""
    if kind == "grammar":
        return error
    told = error.message.replace("the grammar", "the JSON schema", 1)
    if error.code == "grammar_invalid":
        return InputRefusedError("schema_invalid", told, "Remove that part, and check it afterwards.")
    return LlmopsError(error.code, told, error.hint, error.exit_code)


def refusal_of_tool(name: str, error: LlmopsError) -> Verdict:
    """The refusal of a schema that is the parameters of the tool with this name."""
    told = error.message.replace("the JSON schema", f"the JSON schema of the tool {name[:128]!r}", 1)
    return {"error": {**error.as_dict(), "message": told}, "tool": name}


def too_costly(reason: str) -> FormRefusedError:
    """The refusal of a form whose checking takes too much, ``grammar_too_costly``."""
    return FormRefusedError("grammar_too_costly", f"the output constraint is too costly to enforce: {reason}", _SMALLER)


def _json(schema: Any) -> str:
    if isinstance(schema, dict):
        schema = (_closed(schema) if not _combines(schema) else schema) | {"x-guidance": _LAYOUT}
    return f"%json {json.dumps(schema)}"


def _parts(schema: Schema) -> Iterator[Schema]:
    found = [schema.get(word) for word in _ONE]
    found += [part for word in _LISTED if isinstance(schema.get(word), list) for part in schema[word]]
    found += [part for word in _NAMED if isinstance(schema.get(word), dict) for part in schema[word].values()]
    return (part for part in found if isinstance(part, dict))


def _combines(schema: Schema) -> bool:
    """Whether what several schemas say of one object is put together somewhere; closing one would shut the others out."""
    brought = sum(word in schema for word in _COMBINING)
    said = any(word in schema for word in _OF_OBJECTS)
    return "allOf" in schema or brought + said > 1 or any(map(_combines, _parts(schema)))


def _closed(schema: Schema) -> Schema:
    """The schema with all objects closed that name their properties and do not say whether there may be more.

    What it allows, the schema allows. Small models go on adding properties until their answer is cut off.
    """
    made = dict(schema)
    for word in _ONE:
        if isinstance(made.get(word), dict):
            made[word] = _closed(made[word])
    for word in _LISTED:
        if isinstance(made.get(word), list):
            made[word] = [_closed(part) if isinstance(part, dict) else part for part in made[word]]
    for word in _NAMED:
        if isinstance(made.get(word), dict):
            made[word] = {n: _closed(part) if isinstance(part, dict) else part for n, part in made[word].items()}
    named, needed = made.get("properties"), made.get("required", [])
    known = isinstance(named, dict) and isinstance(needed, list) and all(name in named for name in needed)
    if known and "additionalProperties" not in made and "patternProperties" not in made:
        made["additionalProperties"] = False
    return made
