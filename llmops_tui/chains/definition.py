"""A chain as its text says it: inputs, steps of six kinds and bounded repetition, and an output; read strictly.

Nothing is looked up here: whether prompts, models and indexes are there is asked by :mod:`llmops_tui.chains.resolution`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from llmops_tui.chains.yaml_lines import Lines, Place, line_of
from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.schema_keywords import Schema
from llmops_tui.inference.template_renderer import Variables
from llmops_tui.workspace.files import sha256_text

MOST_ROUNDS = 50
MOST_ROWS = 100_000
LONGEST_EXPRESSION = 2_000

InputType = Literal["text", "number", "boolean", "list", "object", "messages", "any"]
TYPES: tuple[InputType, ...] = ("text", "number", "boolean", "list", "object", "messages", "any")
Expression = Annotated[str, Field(min_length=1, max_length=LONGEST_EXPRESSION)]


@dataclass(frozen=True)
class Problem:
    """What is wrong with a chain: the line, the place such as ``steps.label.schema``, and what to do."""

    line: int
    place: str
    message: str
    hint: str = ""

    @property
    def told(self) -> str:
        """In one line."""
        return f"line {self.line}: {self.place}: {self.message}" if self.place else f"line {self.line}: {self.message}"


class ChainRefusedError(InputRefusedError):
    """A chain that cannot be run as it is written; ``problems`` are all that were found, the first in its message."""

    def __init__(self, problems: list[Problem]) -> None:
        problems = sorted(problems, key=lambda one: one.line)
        more = f" (and {len(problems) - 1} more: llmops chain check lists them)" if len(problems) > 1 else ""
        super().__init__("bad_chain", problems[0].told + more, problems[0].hint)
        self.problems = problems


class Fields(BaseModel):
    """What a step of a kind says, but for the steps inside of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    inside: ClassVar[tuple[str, ...]] = ()
    after: Annotated[
        tuple[str, ...], Field(description="Steps that come before, though their results are not used.")
    ] = ()
    note: Annotated[str, Field(max_length=2000)] = ""

    def expressions(self) -> dict[str, str]:
        """Its expressions, by the field that each stands in."""
        return {}


class _Given(Fields):
    given: Annotated[dict[str, Expression], Field(alias="with")] = {}

    def expressions(self) -> dict[str, str]:
        """Those of ``with``."""
        return {f"with.{name}": text for name, text in self.given.items()}


class PromptStep(_Given):
    """Asks a model with a prompt; its result is the text of the answer."""

    prompt: Annotated[str, Field(min_length=1, description="name, name@number or name@label.")]
    model: str = ""
    parameters: SamplingParameters = SamplingParameters()
    schema_: Annotated[
        Schema | None, Field(alias="schema", description="A JSON Schema that the answer is held to.")
    ] = None


class RetrieveStep(Fields):
    """Searches an index; its result has the ``text`` of all passages, numbered, and the ``passages``."""

    retrieve: Annotated[str, Field(min_length=1, description="An index, by name or name@number.")]
    query: Expression
    k: Annotated[int, Field(ge=1, le=100)] = 5
    by: str = ""
    check: Annotated[bool, Field(description="Leave out passages that try to command the model.")] = True

    def expressions(self) -> dict[str, str]:
        """The query."""
        return {"query": self.query}


class ParseStep(Fields):
    """Reads a text as JSON and holds it against a schema; its result is the value."""

    parse: Expression
    schema_: Annotated[Schema, Field(alias="schema")] = {}

    def expressions(self) -> dict[str, str]:
        """The text."""
        return {"parse": self.parse}


class BranchStep(Fields):
    """Goes on with ``then`` or ``else``, or with one of several ``cases`` by the value; its result is that part's."""

    inside = ("then", "else", "cases")
    branch: Expression

    def expressions(self) -> dict[str, str]:
        """The condition."""
        return {"branch": self.branch}


class MapStep(Fields):
    """Does its steps for each member of a list, or each row of a dataset; its result is the list of their outputs."""

    inside = ("steps", "output")
    map: Annotated[str, Field(max_length=LONGEST_EXPRESSION)] = ""
    dataset: Annotated[str, Field(description="Instead of a list: the rows of a dataset version.")] = ""
    as_: Annotated[str, Field(alias="as", description="What a member is called in its steps.")] = "item"
    limit: Annotated[int, Field(ge=1, le=MOST_ROWS)] = MOST_ROWS

    @model_validator(mode="after")
    def _one(self) -> MapStep:
        if bool(self.map) == bool(self.dataset):
            raise ValueError("give map, an expression, or dataset: one of both")
        return self

    def expressions(self) -> dict[str, str]:
        """The list."""
        return {"map": self.map} if self.map else {}


class RepeatStep(Fields):
    """Does its steps again until a condition holds, so many times at most; its result is the last round's."""

    inside = ("steps", "output")
    repeat: Annotated[int, Field(ge=1, le=MOST_ROUNDS)]
    until: Annotated[str, Field(max_length=LONGEST_EXPRESSION)] = ""


class CallStep(_Given):
    """Calls a Python function that an installed package declares; its result is what that returns."""

    call: Annotated[str, Field(min_length=1, description="The name of a plugin of the kind steps.")]


KINDS: dict[str, type[Fields]] = {
    "prompt": PromptStep, "retrieve": RetrieveStep, "parse": ParseStep, "branch": BranchStep, "map": MapStep,
    "repeat": RepeatStep, "call": CallStep,
}  # fmt: skip
# A map over a dataset has no list.
SIGNS = {**{kind: kind for kind in KINDS}, "dataset": "map"}
AnyStep = PromptStep | RetrieveStep | ParseStep | BranchStep | MapStep | RepeatStep | CallStep


@dataclass(frozen=True)
class Input:
    """What a chain is given; without ``required`` there is a ``default``."""

    name: str
    type: InputType
    required: bool = True
    default: Any = None


@dataclass(frozen=True)
class Step:
    """One step. ``bodies`` are the steps inside of it by the part that they are of: ``each``, ``then``, ``else``, ``case …``."""

    name: str
    kind: str
    fields: AnyStep
    place: Place
    bodies: Mapping[str, Body] = field(default_factory=dict)


@dataclass(frozen=True)
class Body:
    """Steps by name, in the order of the text, and an expression for what they come to: by default the last one's result."""

    steps: Mapping[str, Step]
    output: str
    place: Place

    def walk(self) -> Iterator[Step]:
        """All steps, those inside of others behind them."""
        for step in self.steps.values():
            yield step
            for body in step.bodies.values():
                yield from body.walk()


@dataclass(frozen=True)
class Chain:
    """A chain. ``model`` answers steps that name none; where it is empty, the run says which."""

    text: str
    description: str
    inputs: Mapping[str, Input]
    model: str
    body: Body
    lines: Lines

    @property
    def sha256(self) -> str:
        """What addresses it: the hash of its text."""
        return sha256_text(self.text)

    def problem(self, place: Place, message: str, hint: str = "") -> Problem:
        """A problem at a place of it."""
        return Problem(line_of(self.lines, place), told_place(place), message, hint)

    def defaults(self) -> Variables:
        """The values of inputs that need not be given."""
        return {one.name: one.default for one in self.inputs.values() if not one.required}


def case_name(value: Any) -> str:
    """How a value and the case for it are called: a text as it stands, all else as JSON has it."""
    return value.strip() if isinstance(value, str) else json.dumps(value)


def told_place(place: Place) -> str:
    """A place in words."""
    return "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in place).removeprefix(".")


def misfit(type_: str, value: Any) -> str:
    """Why a value is not of an input's type; empty where it is."""
    fits = {
        "text": isinstance(value, str),
        "number": isinstance(value, (int, float)) and not isinstance(value, bool),
        "boolean": isinstance(value, bool),
        "list": isinstance(value, list),
        "object": isinstance(value, dict),
        "messages": isinstance(value, list) and all(isinstance(one, dict) and "role" in one for one in value),
        "any": True,
    }
    return "" if fits[type_] else f"{str(value)[:60]!r} is not of the type {type_}"
