"""Calls of tools, held to the format in which a model's chat template writes them, and to the tools' parameters."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any, NotRequired, Required, TypedDict

from llmops_tui.chat_format.marks import has_mark
from llmops_tui.chat_format.parameters import KEY
from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.schema_keywords import KEYWORDS, SCHEMAS, SCHEMAS_BY_NAME, Schema
from llmops_tui.inference.thought_grammar import ANY_TEXT, Thought, held_answer, thinking_before

# A function that declares none is called with none.
_NO_PARAMETERS = {"type": "object", "properties": {}, "additionalProperties": False}
# Ids of calls as the strictest families take them.
_ID = "[a-zA-Z0-9]{9}"
_SCALARS = {"integer", "number", "boolean", "null"}


class Function(TypedDict, total=False):
    """A function that a model may call; ``parameters`` are a schema of its arguments."""

    name: Required[str]
    description: str
    parameters: Schema | None


class ToolsForm(TypedDict):
    """Calls that an answer is held to.

    Attributes:
        calls: a :class:`llmops_tui.chat_format.CallFormat`, as JSON.
        opening: what the prompt wrote of the answer.
        thought: how the model thinks before it, if it may.
        required: whether a call is; else the grammar allows any text, and begins to hold after a call's mark.
        several: whether there may be more than one.
        answer: a schema of the answer that may come instead of calls, where none is required; any text without.
        content: the mark that begins such an answer, if there is one.
    """

    functions: list[Function]
    calls: Mapping[str, Any]
    opening: str
    thought: NotRequired[Thought]
    required: bool
    several: bool
    answer: NotRequired[Schema]
    content: NotRequired[str]


class _UnheldError(Exception):
    """Parameters that cannot be written in a format's own way."""


def tools_grammar(form: ToolsForm, as_json: Callable[[Any], str]) -> tuple[str, bool]:
    """The rules of such calls, without options, empty where nothing can be held; and whether they hold all of the schemas.

    That is so without a required call, where calls have no mark that is told from text; and where arguments are written
    one by one and a schema does not name them. ``as_json`` writes a schema as the body of a rule.

    Raises:
        InputRefusedError: ``bad_response_format``: an answer in a form is wanted instead of calls that cannot be held.
    """
    writer = _Writer(form["calls"], as_json)
    try:
        rules = writer.grammar(form)
    except _UnheldError:
        if "answer" in form and not form["required"]:
            raise InputRefusedError(
                "bad_response_format",
                "response_format: the parameters of these tools cannot be enforced in the format of this model's calls,"
                " and neither can an answer that may come instead of them",
                "Leave out response_format, or give the tools' parameters as an object that names its properties.",
            ) from None
        rules = ""
    return rules, bool(rules) and writer.whole


def _literal(text: str) -> str:
    return json.dumps(text)


class _Writer:
    def __init__(self, calls: Mapping[str, Any], as_json: Callable[[Any], str]) -> None:
        self._calls = calls
        self._as_json = as_json
        self._lines: list[str] = []
        self._numbers = itertools.count()
        self._ends: dict[str, str] = {}
        self.whole = True
        """Whether the rules hold all that the schemas of parameters say."""

    def grammar(self, form: ToolsForm) -> str:
        calls = self._calls
        lead, listed = calls["pieces"][0], calls["listed"]
        before, after = calls["section"]["before"], calls["section"]["after"].rstrip()
        begin = (before or lead).strip()
        mark = begin if before else begin.partition("\n")[0]
        head = (before + "[" * listed + lead).lstrip("\n")
        call = self._rule(" | ".join(self._call(function) for function in form["functions"]))
        # Blanks behind a call are between two; behind the last one some models of a family leave them out.
        blanks = calls["pieces"][-1][len(calls["pieces"][-1].rstrip()) :]
        between = blanks + calls["between"] + lead
        more = f"({_literal(between)} {call})*" if form["several"] and calls["parallel"] and between else ""
        ends = dict.fromkeys(
            gap + "]" * listed + after for gap in ("", blanks, between[: len(between) - len(between.lstrip())])
        )
        tail = f"({' | '.join(map(_literal, ends))})" if len(ends) > 1 and after else _joined("]" * listed + after)
        opening = form["opening"].strip()
        if form["required"] or "answer" in form:
            written = head.removeprefix(opening) if opening and "thought" not in form else head
            body = f"{_joined(written)} {call} {more} {tail}"
            if not form["required"]:
                answer = held_answer(self._as_json(form["answer"]), form.get("content", "").removeprefix(opening))
                body = f"({self._rule(body)} | {self._rule(answer)})"
            lines, thinking = thinking_before(form.get("thought"))
            self._lines += [*lines, f"start: {thinking}{body}"]
        elif not mark or not has_mark(mark) or (opening and mark.startswith(opening)):
            return ""
        else:
            # The lazy terminal ends where the mark does, and with it the text that is free.
            body = f"{_joined(head.lstrip()[len(mark) :])} {call} {more} {tail}"
            self._lines += [f"held: marked {body}", f"marked[lazy]: TEXT {_literal(mark)}"]
            thought = form.get("thought")
            if thought is not None and thought["open"]:
                # What is thought of calls is no call.
                self._lines += ["start: TEXT | thought | thought free", "free: TEXT | held"]
                self._lines.append(f"thought[lazy]: TEXT {_literal(thought['after'])}")
            else:
                self._lines.append("start: TEXT | held")
        return "\n".join([*self._lines, ANY_TEXT])

    def _rule(self, body: str) -> str:
        name = f"r{next(self._numbers)}"
        self._lines.append(f"{name}: {body}")
        return name

    def _up_to(self, mark: str) -> str:
        """Any text up to a mark, and the mark."""
        if not mark.strip():
            raise _UnheldError
        if mark not in self._ends:
            self._ends[mark] = f"t{next(self._numbers)}"
            self._lines.append(f"{self._ends[mark]}[lazy]: TEXT {_literal(mark)}")
        return self._ends[mark]

    def _call(self, function: Function) -> str:
        """The rule of one function's calls, behind the text that begins a call."""
        calls = self._calls
        schema = function.get("parameters") or _NO_PARAMETERS
        if calls["style"] == "object":
            held = self._rule(self._as_json(self._object(function["name"], schema)))
            return self._rule(f"{held} {_joined(calls['pieces'][-1].rstrip())}")
        parts = []
        for piece in (*calls["pieces"][1:-1], calls["pieces"][-1].rstrip()):
            if isinstance(piece, str):
                parts.append(_joined(piece))
            elif piece["what"] == "arguments":
                parts.append(self._arguments(schema))
            else:
                parts.append({"name": _literal(function["name"]), "id": f"/{_ID}/"}.get(piece["what"], "/[0-9]{1,3}/"))
        return self._rule(" ".join(parts))

    def _object(self, name: str, schema: Schema) -> Schema:
        calls = self._calls
        if not calls["name_key"]:
            place = name.replace("~", "~0").replace("/", "~1")
            return _closed({name: _moved(schema, f"#/properties/{place}")})
        outer, _, name_key = calls["name_key"].rpartition(".")
        arguments_outer, _, key = calls["arguments_key"].rpartition(".")
        if outer != arguments_outer or "." in outer:
            raise _UnheldError
        place = f"#/properties/{outer}/properties/{key}" if outer else f"#/properties/{key}"
        self.whole &= not calls["text_arguments"]
        arguments = {"type": "string"} if calls["text_arguments"] else _moved(schema, place)
        made = {name_key: {"const": name}, key: arguments}
        made = {outer: _closed(made)} if outer else made
        if calls["id_key"] and "." not in calls["id_key"]:
            made[calls["id_key"]] = {"type": "string", "pattern": f"^{_ID}$"}
        return _closed(made)

    def _arguments(self, schema: Schema) -> str:
        calls = self._calls
        if calls["style"] == "json":
            self.whole &= not calls["text_arguments"]
            return self._rule(self._as_json({"type": "string"} if calls["text_arguments"] else schema))
        if calls["style"] == "python":
            written = self._items(schema, ", ", lambda key, part: f"{_literal(f'{key}=')} {self._plain(part, schema)}")
            return self._rule(f'"(" {written} ")"')
        if calls["style"] == "bare":
            return self._bare(schema)
        return self._items(schema, calls["parameters"]["between"], lambda key, part: self._marked(key, part, schema))

    def _items(self, schema: Schema, between: str, item: Callable[[str, Schema], str]) -> str:
        """The members that a schema names, in its order, those that are not required left out or not."""
        members = _members(schema)
        required = schema.get("required") or []
        first = more = self._rule('""')
        for key, part in reversed(members.items()):
            one = self._rule(item(key, part if isinstance(part, dict) else {}))
            without = key not in required
            first, more = (
                self._rule(f"{one} {more}" + f" | {first}" * without),
                self._rule(f"{_joined(between)} {one} {more}" + f" | {more}" * without),
            )
        return first

    def _json_of(self, part: Schema, whole: Schema) -> str:
        """A member as JSON; what it refers to in the whole goes along, and what cannot go is left open."""
        shared = {word: whole[word] for word in ("$defs", "definitions") if word in whole}
        written = json.dumps(part | shared)
        known = written.count('"$ref": "#/$defs/') + written.count('"$ref": "#/definitions/')
        if '"$ref"' in written:
            goes = written.count('"$ref": ') == known
            self.whole &= goes
            return self._rule(self._as_json(part | shared if goes else {}))
        return self._rule(self._as_json(part))

    def _plain(self, part: Schema, whole: Schema) -> str:
        """A member as JSON, or as Python writes it, which many templates do of what is true and false."""
        if part.get("type") == "boolean" and not {"enum", "const"} & set(part):
            return '("true" | "false" | "True" | "False")'
        return self._json_of(part, whole)

    def _marked(self, key: str, part: Schema, whole: Schema) -> str:
        """A parameter between its marks: a text as it is, up to what ends it; else JSON."""
        marks = self._calls["parameters"]
        texts = _choices(part)
        plain = texts is not None or part.get("type") == "string" or not ({"type", "$ref", "enum", "const"} & set(part))
        value = next((kind for kind in marks["values"] if bool(kind["text"]) == plain), marks["values"][0])
        after = value["after"].replace(KEY, key)
        begin = _literal(marks["before"] + key + value["before"])
        if texts is not None:
            return f"{begin} ({' | '.join(map(_literal, texts))}) {_joined(after)}"
        if plain:
            self._leave_open(part)
            return f"{begin} {self._up_to(after.strip())}"
        return f"{begin} {self._plain(part, whole)} {_joined(after)}"

    def _leave_open(self, schema: Schema) -> None:
        """A text up to a mark is any text, whatever its schema says beside."""
        self.whole &= not any(word in KEYWORDS for word in set(schema) - {"type"})

    def _bare(self, schema: Schema) -> str:
        """A value with keys that are not quoted and a mark for quotes."""
        quote = self._calls["quote"]
        if (texts := _choices(schema)) is not None:
            return f"({' | '.join(_literal(f'{quote}{text}{quote}') for text in texts)})"
        kind = schema.get("type")
        if kind == "string":
            self._leave_open(schema)
            return f"{_literal(quote)} {self._up_to(quote)}"
        if kind in _SCALARS:
            return self._rule(self._as_json(schema))
        if kind == "array" and isinstance(schema.get("items"), dict):
            item = self._rule(self._bare(schema["items"]))
            return self._rule(f'"[" ({item} ("," {item})*)? "]"')
        if kind not in {"object", None}:
            raise _UnheldError
        written = self._items(schema, ",", lambda key, part: f"{_literal(f'{key}:')} {self._bare(part)}")
        return self._rule(f'"{{" {written} "}}"')


def _joined(text: str) -> str:
    return _literal(text) if text else ""


def _closed(properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _members(schema: Schema) -> Schema:
    """The members that a schema of an object names.

    Raises:
        _UnheldError: it does not name them one by one.
    """
    members = schema.get("properties")
    others = {"$ref", "anyOf", "oneOf", "allOf", "patternProperties"} & set(schema)
    if not isinstance(members, dict) or others or any(name not in members for name in schema.get("required") or ()):
        raise _UnheldError
    return members


def _choices(schema: Schema) -> list[str] | None:
    """The texts that a schema leaves to choose from; none where it does not list them, or others than texts."""
    found = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(found, list) and found and all(isinstance(one, str) and one for one in found):
        return found
    return None


def _moved(schema: Schema, place: str) -> Schema:
    """A schema as it is below another one, at ``place``: what it refers to in itself is there as well."""
    made = {word: value for word, value in schema.items() if word not in {"$id", "$schema"}}
    reference = made.get("$ref")
    if isinstance(reference, str) and (reference == "#" or reference.startswith("#/")):
        made["$ref"] = place + reference[1:]
    for word, value in made.items():
        if word in SCHEMAS and isinstance(value, dict):
            made[word] = _moved(value, place)
        elif word in SCHEMAS and isinstance(value, list):
            made[word] = [_moved(part, place) if isinstance(part, dict) else part for part in value]
        elif word in SCHEMAS_BY_NAME and isinstance(value, dict):
            made[word] = {n: _moved(part, place) if isinstance(part, dict) else part for n, part in value.items()}
    return made
