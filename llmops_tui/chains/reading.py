"""Reads a chain from its text, strictly: what is unknown or of the wrong form is refused by name, with its line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

import pydantic
import yaml

from llmops_tui.chains.definition import (
    KINDS,
    LONGEST_EXPRESSION,
    SIGNS,
    TYPES,
    Body,
    Chain,
    ChainRefusedError,
    Fields,
    Input,
    MapStep,
    Problem,
    Step,
    case_name,
    misfit,
    told_place,
)
from llmops_tui.chains.values import foreign
from llmops_tui.chains.yaml_lines import Lines, Place, line_of, parse_with_lines
from llmops_tui.inference.sampling import SamplingParameters

MOST_BYTES = 200_000
MOST_STEPS = 200
MOST_NESTED = 6
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
# Words of expressions, and names that every expression knows.
_RESERVED = {
    "and", "or", "not", "if", "else", "in", "is", "true", "false", "none", "True", "False", "None", "range", "dict", "lipsum",
    "cycler", "joiner", "namespace", "retrieve", "previous", "round", "loop", "self", "import", "recursive",
}  # fmt: skip


def parse_chain(text: str) -> Chain:
    """A chain from its text.

    Raises:
        ChainRefusedError: ``bad_chain``: what is wrong with its form, each with its line.
    """
    if len(text.encode()) > MOST_BYTES:
        raise ChainRefusedError([Problem(1, "", f"the chain is larger than {MOST_BYTES:,} bytes")])
    try:
        value, lines = parse_with_lines(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        told = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ChainRefusedError([Problem(mark.line + 1 if mark else 1, "", f"it is not valid YAML: {told}")]) from error
    if (odd := foreign(value)) is not None:
        place, told = odd
        problem = Problem(line_of(lines, place), told_place(place), told)
        raise ChainRefusedError([replace(problem, hint="Write it in quotes, as a text.")])
    reader = _Reader(lines)
    chain = reader.chain(text, value)
    if reader.problems or chain is None:
        raise ChainRefusedError(reader.problems)
    return chain


class _Reader:
    """Reads a chain and collects what is wrong with it."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self.problems: list[Problem] = []
        self._count = 0

    def chain(self, text: str, value: object) -> Chain | None:
        if not isinstance(value, dict):
            self._bad((), "a chain is a mapping", "It has steps, and usually inputs.")
            return None
        self._unknown(value, (), {"description", "inputs", "model", "steps", "output"})
        inputs = self._inputs(value.get("inputs", {}))
        body = self._body(value, (), 1)
        # What is written and left empty says nothing.
        told = {name: "" if value.get(name) is None else value[name] for name in ("description", "model")}
        for name, one in told.items():
            if not isinstance(one, str):
                self._bad((name,), "is not a text")
        for name in inputs:
            if name in body.steps:
                self._bad(("steps", name), f"{name!r} is an input, too", "Give one of both another name.")
        if self._count > MOST_STEPS:
            self._bad(
                ("steps",), f"there are {self._count} steps, more than {MOST_STEPS}", "Make several chains of it."
            )
        return Chain(text, str(told["description"]), inputs, str(told["model"]), body, self._lines)

    # ── parts ──

    def _inputs(self, value: object) -> dict[str, Input]:
        place: Place = ("inputs",)
        if not isinstance(value, dict):
            self._bad(place, "is not a mapping of names to types", f"Types are {', '.join(TYPES)}.")
            return {}
        found: dict[str, Input] = {}
        for name, given in value.items():
            at = (*place, str(name))
            if not self._name(name, at):
                continue
            spec = {"type": given} if isinstance(given, str) else given
            if not isinstance(spec, dict):
                self._bad(at, "is neither a type nor a mapping with a type", f"Types are {', '.join(TYPES)}.")
                continue
            self._unknown(spec, at, {"type", "default"})
            type_ = next((one for one in TYPES if one == spec.get("type")), None)
            if type_ is None:
                near = get_close_matches(str(spec.get("type")), TYPES, 1)
                self._bad(at, f"{spec.get('type')!r} is no type", _meant(near) or f"Types are {', '.join(TYPES)}.")
                continue
            one = Input(name, type_, "default" not in spec, spec.get("default"))
            if not one.required and (wrong := misfit(type_, one.default)):
                self._bad((*at, "default"), wrong)
            found[name] = one
        return found

    def _body(self, value: Mapping[Any, Any], place: Place, depth: int) -> Body:
        steps = value.get("steps")
        output = value.get("output", "")
        if not isinstance(output, str) or len(output) > LONGEST_EXPRESSION:
            self._bad((*place, "output"), f"is not an expression of at most {LONGEST_EXPRESSION:,} characters")
            output = ""
        below = (*place, "steps")
        if not isinstance(steps, dict) or not steps:
            self._bad(below if "steps" in value else place, "steps is not a mapping of names to steps, or is empty")
            return Body({}, "", place)
        found: dict[str, Step] = {}
        for name, given in steps.items():
            at = (*below, str(name))
            if self._name(name, at) and (step := self._step(name, given, at, depth)) is not None:
                found[name] = step
        return Body(found, output or (list(found)[-1] if found else ""), place)

    def _step(self, name: str, given: object, place: Place, depth: int) -> Step | None:
        self._count += 1
        if not isinstance(given, dict):
            self._bad(place, "is not a mapping", f"A step says what it does: {', '.join(KINDS)}.")
            return None
        kinds = list(dict.fromkeys(SIGNS[key] for key in given if key in SIGNS))
        if len(kinds) != 1:
            told = f"is of the kinds {' and '.join(kinds)} at once" if kinds else "says nothing of what it does"
            near = [one for key in given for one in get_close_matches(str(key), KINDS, 1)]
            self._bad(place, told, _meant(near[:1]) or f"A step has one of {', '.join(KINDS)}.")
            return None
        kind = kinds[0]
        made = KINDS[kind]
        own = {key: value for key, value in given.items() if key not in made.inside}
        bodies = self._bodies(kind, given, place, depth)
        try:
            fields = made.model_validate(own)
        except pydantic.ValidationError as error:
            for one in error.errors():
                self._invalid(made, one, place)
            return None
        if isinstance(fields, MapStep):
            self._name(fields.as_, (*place, "as"))
        return Step(name, kind, fields, place, bodies)  # type: ignore[arg-type]

    def _bodies(self, kind: str, given: Mapping[Any, Any], place: Place, depth: int) -> dict[str, Body]:
        if not KINDS[kind].inside:
            return {}
        if depth == MOST_NESTED:
            self._bad(place, f"it nests deeper than {MOST_NESTED} levels", "Make a chain of what is inside.")
            return {}
        if kind != "branch":
            return {"each" if kind == "map" else "round": self._body(given, place, depth + 1)}
        found: dict[str, Body] = {}
        if "then" in given:
            found["then"] = self._part(given["then"], (*place, "then"), depth)
        cases = given.get("cases")
        if cases is not None and (not isinstance(cases, dict) or not cases):
            self._bad((*place, "cases"), "is not a mapping of values to steps")
        for value, part in cases.items() if isinstance(cases, dict) else ():
            told = case_name(value)
            at = (*place, "cases", told)
            if f"case {told}" in found:
                self._bad(
                    at, f"there are two cases for {told[:60]}", "A text and a value that are written alike are one."
                )
            found[f"case {told}"] = self._part(part, at, depth)
        if "else" in given:
            found["else"] = self._part(given["else"], (*place, "else"), depth)
        if ("then" in found) == (cases is not None):
            self._bad(place, "a branch has then, or cases: one of both", "else comes beside either.")
        return found

    def _part(self, value: object, place: Place, depth: int) -> Body:
        if not isinstance(value, dict):
            self._bad(place, "is not a mapping with steps")
            return Body({}, "", place)
        self._unknown(value, place, {"steps", "output"})
        return self._body(value, place, depth + 1)

    # ── refusals ──

    def _bad(self, place: Place, message: str, hint: str = "") -> None:
        self.problems.append(Problem(line_of(self._lines, place), told_place(place), message, hint))

    def _unknown(self, value: Mapping[Any, Any], place: Place, known: set[str]) -> None:
        for key in value:
            if key not in known:
                near = get_close_matches(str(key), known, 1)
                told = f"{str(key)[:60]!r} is no key here"
                self._bad((*place, str(key)), told, _meant(near) or f"Known: {', '.join(sorted(known))}.")

    def _invalid(self, made: type[Fields], error: Any, place: Place) -> None:
        inner = error["loc"][0] == "parameters" if len(error["loc"]) > 1 else False
        fields = SamplingParameters.model_fields if inner else made.model_fields
        names = [info.alias or name for name, info in fields.items()]
        at = (*place, *(one for one in error["loc"] if isinstance(one, (str, int))))
        if error["type"] == "extra_forbidden":
            near = get_close_matches(str(error["loc"][-1]), names, 1)
            told = f"{str(error['loc'][-1])[:60]!r} is no {'parameter' if inner else 'key of this kind of step'}"
            self._bad(at, told, _meant(near) or f"Known: {', '.join([*names, *(() if inner else made.inside)])}.")
        else:
            self._bad(at, str(error["msg"]).removeprefix("Value error, "))

    def _name(self, name: object, place: Place) -> bool:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            rule = "Use a letter, then letters, digits and _ (at most 40)."
            self._bad(place, f"{str(name)[:60]!r} is not a valid name", rule)
            return False
        if name in _RESERVED:
            self._bad(place, f"{name!r} is a word of expressions", "Choose another name.")
            return False
        return True


def _meant(near: list[str]) -> str:
    return f"Did you mean {near[0]}?" if near else ""
