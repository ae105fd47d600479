"""Assertions about JSON and XML within an answer, found as promptfoo finds them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

import yaml

from llmops_tui.evaluation.metrics.assertion_texts import Outcome
from llmops_tui.evaluation.metrics.javascript_patterns import python_pattern
from llmops_tui.evaluation.metrics.texts import short
from llmops_tui.foreign_text import MAX_DEPTH, JsonObject, parse_json, parse_yaml
from llmops_tui.inference.schema_keywords import Schema

_LONGEST_JSON = 100_000
_OPEN_TAG = re.compile(r"""<([A-Za-z_:\u00c0-\U000effff][\w:.\-\u00b7]*)((?:"[^"]*"|'[^']*'|[^<>"'])*)>""")
_CLOSE_TAG = re.compile(r"""</([A-Za-z_:\u00c0-\U000effff][\w:.\-\u00b7]*)(?:"[^"]*"|'[^']*'|[^<>"'])*>""")
_ASIDE = re.compile(r"<!--.*?(?:-->|\Z)|<!\[CDATA\[.*?(?:\]\]>|\Z)|<\?.*?(?:\?>|\Z)", re.DOTALL)
_ATTRIBUTE = re.compile(r"""([^\s=/]+)\s*(?:=\s*(?:"[^"]*"|'[^']*'))?""")


# ── JSON ──


def json_objects(text: str) -> Iterator[Any]:
    """The objects that stand in a text, also behind other words; one that is cut off is closed at its end."""
    at = text.find("{")
    while at >= 0:
        end, found = _object_at(text, at)
        if found is not None:
            yield found
            at = text.find("{", end)
        else:
            at = text.find("{", at + 1)


def _object_at(text: str, start: int) -> tuple[int, Any]:
    """The object that begins at a place, and where it ends; none where there is none."""
    depth = 0
    last = min(start + _LONGEST_JSON, len(text))
    for at in range(start, last):
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0 or at == last - 1:
            found = _loaded(text[start : at + 1] + "}" * depth)
            return at + 1, found
    return last, None


def _loaded(part: str) -> Any:
    try:
        return parse_json(part, constants=False)
    except ValueError:
        pass
    try:
        found = parse_yaml(without_comments(part), core=True)
    except yaml.YAMLError:
        return None
    return found if isinstance(found, dict | list) else None


def without_comments(text: str) -> str:
    """A text whose comments behind ``//`` are YAML's."""
    return "\n".join(_without_comment(line) for line in text.split("\n"))


def _without_comment(line: str) -> str:
    quote = ""
    for at, character in enumerate(line):
        before = line[at - 1] if at else ""
        if quote:
            ends = character == quote and not _escaped(line, at)
            if ends and not (quote == "'" and line[at + 1 : at + 2].isascii() and line[at + 1 : at + 2].isalpha()):
                quote = ""
        elif character == '"' or (character == "'" and not (before.isascii() and before.isalpha())):
            quote = character
        elif line.startswith("//", at) and "://" not in re.split(r"\s", line[: at + 2])[-1]:
            slashes = len(line[at:]) - len(line[at:].lstrip("/"))
            return line[:at] + "#" * (slashes // 2) + line[at + slashes :]
    return line


def _escaped(line: str, at: int) -> bool:
    before = line[:at]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def is_json(text: str, schema: Schema | None) -> Outcome:
    """The answer is JSON, and as the schema says."""
    try:
        value = parse_json(text, constants=False)
    except ValueError as error:
        return Outcome(False, f"not JSON: {error}")
    return _as_schema([value], schema)


def contains_json(text: str, schema: Schema | None) -> Outcome:
    """An object of JSON stands in the answer that is as the schema says."""
    found = list(json_objects(text))
    return _as_schema(found, schema) if found else Outcome(False, "contains no JSON")


def _as_schema(values: list[Any], schema: Schema | None) -> Outcome:
    if schema is None:
        return Outcome(True, "is JSON")
    validator = validator_of(schema)
    reason = ""
    for value in values:
        first = next(validator.iter_errors(value), None)
        if first is None:
            return Outcome(True, "is JSON as the schema says")
        reason = f"{first.json_path}: {short(first.message)}"
    return Outcome(False, reason)


def validator_of(schema: Schema) -> Any:
    """A validator of draft 7 with patterns of JavaScript, which looks nothing up in the network."""
    import jsonschema
    from jsonschema_specifications import REGISTRY

    def pattern(_: Any, wanted: str, value: Any, __: Any) -> Iterator[Any]:
        if isinstance(value, str) and not re.search(python_pattern(wanted, unicode=True), value):
            yield jsonschema.ValidationError(f"{value!r} does not match {wanted!r}")

    kind = jsonschema.validators.extend(jsonschema.Draft7Validator, {"pattern": pattern})
    return kind(schema, registry=REGISTRY)


# ── XML ──


@dataclass
class _Element:
    name: str
    attributes: str
    start: int
    end: int = 0
    children: list[_Element] = field(default_factory=list)


def _elements(text: str) -> list[_Element]:
    """The outermost elements of a text that are opened and closed properly, whatever stands around them."""
    outer: list[_Element] = []
    stack: list[_Element] = []
    at = text.find("<")
    while at >= 0:
        if aside := _ASIDE.match(text, at):
            at = text.find("<", aside.end())
            continue
        if opened := _OPEN_TAG.match(text, at):
            one = _Element(opened.group(1), opened.group(2), at, opened.end())
            if opened.group(2).rstrip().endswith("/"):
                (stack[-1].children if stack else outer).append(one)
            elif len(stack) < MAX_DEPTH:
                stack.append(one)
        elif closed := _CLOSE_TAG.match(text, at):
            if stack and stack[-1].name == closed.group(1):
                one = stack.pop()
                one.end = closed.end()
                (stack[-1].children if stack else outer).append(one)
            else:
                # What was opened is not closed: only whole elements within it remain.
                outer += [child for open_one in stack for child in open_one.children]
                stack.clear()
        at = text.find("<", match.end() if (match := opened or _CLOSE_TAG.match(text, at)) else at + 1)
    return outer + [child for open_one in stack for child in open_one.children]


def _tree(elements: list[_Element]) -> JsonObject:
    """Elements by name: several of one name are a list, one without anything inside is a text."""
    found: JsonObject = {}
    for one in elements:
        inside: Any = {f"@_{a.group(1)}": "" for a in _ATTRIBUTE.finditer(one.attributes.rstrip().rstrip("/"))}
        inside |= _tree(one.children)
        value = inside or ""
        if one.name in found:
            before = found[one.name]
            found[one.name] = [*before, value] if isinstance(before, list) else [before, value]
        else:
            found[one.name] = value
    return found


def _missing(tree: Any, wanted: list[str]) -> list[str]:
    return [path for path in wanted if not _has(tree, path.split("."))]


def _has(tree: Any, path: list[str]) -> bool:
    for name in path:
        if isinstance(tree, list) and name.isdecimal() and str(int(name)) == name and int(name) < len(tree):
            tree = tree[int(name)]
        elif isinstance(tree, dict) and name in tree:
            tree = tree[name]
        else:
            return False
    return True


def _well_formed(text: str) -> str:
    """What is wrong with an XML document; empty where nothing is. What a DOCTYPE declares is not taken in."""
    parser = expat.ParserCreate(namespace_separator=" ")
    problem: list[str] = []

    def doctype(_name: str, _system: str | None, _public: str | None, internal: int) -> None:
        if internal:
            problem.append("it declares its own document type")

    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        return problem[0] if problem else f"not XML: {error}"
    return problem[0] if problem else ""


def is_xml(text: str, wanted: list[str]) -> Outcome:
    """The answer is an XML document that has the elements, each named by its path."""
    if problem := _well_formed(text):
        return Outcome(False, problem)
    missing = _missing(_tree(_elements(text)), wanted)
    return Outcome(not missing, f"lacks {', '.join(missing)}")


def contains_xml(text: str, wanted: list[str]) -> Outcome:
    """Elements stand in the answer, and among them those that are named by their paths."""
    found = _elements(text)
    if not found:
        return Outcome(False, "contains no XML")
    missing = _missing(_tree(found), wanted)
    return Outcome(not missing, f"lacks {', '.join(missing)}")
