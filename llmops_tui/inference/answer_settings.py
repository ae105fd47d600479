"""What makes an answer beside the texts of a prompt's version: model, sampling, variables, schema, tools, examples.

A version holds them where they are wanted, and is another version where they differ. All of it is data of the version itself:
examples are drawn from a version of a dataset when they are saved, and kept with its name, its hash and the numbers of their
rows, so that the version asks the same wherever it goes, and whatever becomes of the dataset.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Literal, Protocol

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator, model_validator

from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject, parse_json, parse_yaml
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.workspace.files import sha256_text

PARTS = ("model", "parameters", "variables", "schema", "tools", "examples")
"""What a version may hold, by the names of its fields."""
MOST_CHARACTERS = 256_000
MOST_EXAMPLES = 64
_HINT = "Its fields are " + ", ".join(PARTS) + "; llmops prompt show tells those of a version."
# As the server takes them.
_NO_PARAMETERS: JsonObject = {"type": "object", "properties": {}}
_FUNCTION = r"^[A-Za-z0-9_.-]{1,64}$"

VariableType = Literal["text", "integer", "number", "boolean", "json"]
_TYPES: dict[VariableType, tuple[str, tuple[type, ...]]] = {
    "text": ("a text", (str,)),
    "integer": ("a whole number", (int,)),
    "number": ("a number", (int, float)),
    "boolean": ("true or false", (bool,)),
    "json": ("a list or an object of JSON", (list, dict)),
}


class VariableUnfitError(InputRefusedError):
    """The value of a ``variable`` is not of its type."""

    def __init__(self, variable: str, message: str, hint: str) -> None:
        super().__init__("variable_unfit", message, hint)
        self.variable = variable


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class VariableRule(_Part):
    """What a variable takes: its type, and the value that it has where none is given; none where it has to be given."""

    type: VariableType = "text"
    default: JsonValue = None
    description: Annotated[str, Field(max_length=2_000)] = ""

    @model_validator(mode="after")
    def _default_fits(self) -> VariableRule:
        if self.default is not None and not _is_of(self.default, self.type):
            raise ValueError(f"the default {self.default!r} is not {_TYPES[self.type][0]}")
        return self


class ToolDefinition(_Part):
    """A function that the model may call; ``parameters`` is a JSON Schema of an object."""

    name: Annotated[str, Field(pattern=_FUNCTION)]
    description: Annotated[str, Field(max_length=20_000)] = ""
    parameters: JsonObject = {}

    @model_validator(mode="before")
    @classmethod
    def _as_openai_writes(cls, given: object) -> object:
        if isinstance(given, Mapping) and given.keys() == {"type", "function"} and given["type"] == "function":
            given = given["function"]
        # What a tool without parameters is offered with.
        if isinstance(given, Mapping) and given.get("parameters") == _NO_PARAMETERS:
            return {name: value for name, value in given.items() if name != "parameters"}
        return given

    def as_request(self) -> JsonObject:
        """The tool as a request offers it."""
        parameters = self.parameters or dict(_NO_PARAMETERS)
        function = {"name": self.name, "description": self.description, "parameters": parameters}
        return {"type": "function", "function": function}


class Example(_Part):
    """A question and its answer, which stand before the user's as if they had been said."""

    question: Annotated[str, Field(min_length=1)]
    answer: Annotated[str, Field(min_length=1)]


class Examples(_Part):
    """Few-shot examples, in their order.

    Attributes:
        dataset: the version they were drawn from, as ``faq@3``; empty where they are from none.
        sha256: the hash of that version's content.
        rows: the numbers of their rows in it.
        seed: by which the rows were drawn; none where they were named.
        question: the column of the questions; ``answer`` that of the answers.
        turns_sha256: :func:`turns_hash` of the turns as they were drawn. Other turns are no rows of that dataset, and lose
            all that says so; none where an earlier release drew them.
        variable: the variable that a question is the value of, so that it is asked in the words of the template; empty: a
            question is asked as it stands.
    """

    dataset: Annotated[str, Field(max_length=300)] = ""
    sha256: Annotated[str, Field(max_length=64)] = ""
    rows: tuple[Annotated[int, Field(ge=0)], ...] = ()
    seed: int | None = None
    question: Annotated[str, Field(max_length=300)] = ""
    answer: Annotated[str, Field(max_length=300)] = ""
    variable: Annotated[str, Field(max_length=300)] = ""
    turns_sha256: Annotated[str, Field(max_length=64)] = ""
    turns: Annotated[tuple[Example, ...], Field(min_length=1, max_length=MOST_EXAMPLES)]

    @field_validator("variable")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if name and not name.isidentifier():
            raise ValueError(f"{name!r} is no name of a variable")
        return name

    @model_validator(mode="after")
    def _rows_are_theirs(self) -> Examples:
        if self.turns_sha256 and self.turns_sha256 != turns_hash(self.turns):
            return Examples(variable=self.variable, turns=self.turns)
        if self.rows and len(self.rows) != len(self.turns):
            raise ValueError(f"{len(self.rows)} rows, and {counted(len(self.turns), 'turn')}: each turn is of one row")
        if bool(self.dataset) != bool(self.sha256) or bool(self.dataset) != bool(self.rows):
            raise ValueError("dataset, sha256 and rows belong together: llmops prompt save --examples writes them")
        return self

    def brief(self) -> str:
        """How many, and from where; that is only said where no hash tells whether they were edited since."""
        of = f" {'of' if self.turns_sha256 else 'said to be of'} {self.dataset}" if self.dataset else ""
        return counted(len(self.turns), "example") + of


def turns_hash(turns: Sequence[Example]) -> str:
    """SHA-256 of examples, by which it is seen whether they were edited."""
    return sha256_text(json.dumps([[one.question, one.answer] for one in turns], ensure_ascii=False))


class AnswerSettings(_Part):
    """What a version holds beside its texts; each part may be missing, and at least one is there."""

    model: Annotated[str, Field(max_length=300)] = ""
    parameters: SamplingParameters = SamplingParameters()
    variables: dict[str, VariableRule] = {}
    answer_schema: Annotated[JsonObject | None, Field(alias="schema")] = None
    tools: tuple[ToolDefinition, ...] = ()
    examples: Examples | None = None

    @field_validator("variables")
    @classmethod
    def _are_names(cls, variables: dict[str, VariableRule]) -> dict[str, VariableRule]:
        if wrong := next((name for name in variables if not name.isidentifier()), None):
            raise ValueError(f"{wrong!r} is no name of a variable")
        return variables

    @field_validator("tools")
    @classmethod
    def _differ(cls, tools: tuple[ToolDefinition, ...]) -> tuple[ToolDefinition, ...]:
        names = [tool.name for tool in tools]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"{twice} is there twice")
        return tools

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that it has, of :data:`PARTS`."""
        return tuple(name for name in PARTS if name in self.as_record())

    def as_record(self) -> JsonObject:
        """What it has, as JSON; no part, and no field of one, that says nothing."""
        record: JsonObject = {}
        if self.model:
            record["model"] = self.model
        if self.parameters.model_fields_set:
            record["parameters"] = self.parameters.model_dump(mode="json", exclude_unset=True)
        if self.variables:
            record["variables"] = {
                name: rule.model_dump(mode="json", exclude_defaults=True) for name, rule in self.variables.items()
            }
        if self.answer_schema is not None:
            record["schema"] = self.answer_schema
        if self.tools:
            record["tools"] = [tool.model_dump(mode="json", exclude_defaults=True) for tool in self.tools]
        if self.examples is not None:
            record["examples"] = self.examples.model_dump(mode="json", exclude_defaults=True)
        return record

    def as_text(self) -> str:
        """The JSON that is kept and hashed: the same for the same settings, but for the order in a schema."""
        return json.dumps(self.as_record(), ensure_ascii=False, separators=(",", ":"))

    def as_yaml(self) -> str:
        """What people read and write."""
        return str(yaml.safe_dump(self.as_record(), sort_keys=False, allow_unicode=True, width=100))

    def brief(self) -> str:
        """What it has, in one line."""
        told = [f"model {self.model}"] if self.model else []
        given = self.parameters.model_dump(mode="json", exclude_unset=True)
        told += [f"{name} {_short(value)}" for name, value in given.items()]
        told += [counted(len(self.variables), "variable")] if self.variables else []
        told += ["schema"] if self.answer_schema is not None else []
        told += [counted(len(self.tools), "tool")] if self.tools else []
        told += [self.examples.brief()] if self.examples is not None else []
        return " · ".join(told)

    def changed(self, **parts: object) -> AnswerSettings | None:
        """With other parts, which are read as :func:`read_settings` does; none where nothing is left.

        A part that is none is taken out.
        """
        record = {**self.as_record(), **parts}
        return read_settings({name: value for name, value in record.items() if value is not None}, "the settings")


class HasSettings(Protocol):
    """A version of a prompt."""

    @property
    def ref(self) -> str:
        """How it is called."""

    @property
    def settings(self) -> AnswerSettings | None:
        """What it holds beside its texts."""


def read_settings(body: object, source: str) -> AnswerSettings | None:
    """Settings from JSON; none where they say nothing.

    Raises:
        InputRefusedError: ``bad_settings``: a field is unknown or of no use, with its place.
    """
    try:
        if body is None or body == {}:
            return None
        found = AnswerSettings.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        why = str(first["msg"]).removeprefix("Value error, ")
        raise InputRefusedError("bad_settings", f"{source}: {place + ': ' if place else ''}{why}", _HINT) from error
    if len(found.as_text()) > MOST_CHARACTERS:
        told = f"{source} has {len(found.as_text()):,} characters, more than {MOST_CHARACTERS:,}"
        raise InputRefusedError("bad_settings", told, "Take fewer examples, or smaller ones.")
    if found.answer_schema is not None:
        _refuse_unreadable(found.answer_schema, f"{source}: schema", held=True)
    for tool in found.tools:
        _refuse_unreadable(tool.parameters, f"{source}: the parameters of the tool {tool.name}")
    return found if found.as_record() else None


def settings_body(text: str, source: str) -> object:
    """What people wrote as settings, in YAML or JSON, not read yet; none where it says nothing.

    Raises:
        InputRefusedError: ``bad_settings``.
    """
    try:
        return parse_yaml(text)
    except (ValueError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
        raise InputRefusedError("bad_settings", f"{source} is no YAML: {why}", _HINT) from error


def kept_settings(text: str, ref: str) -> AnswerSettings:
    """The settings that a version keeps as :meth:`AnswerSettings.as_text` wrote them.

    Raises:
        InputRefusedError: ``bad_settings``: they are damaged, or a later release wrote what is not known here.
    """
    try:
        return AnswerSettings.model_validate(parse_json(text))
    except ValueError as error:
        why = " ".join(str(error).split())[:300]
        raise InputRefusedError(
            "bad_settings",
            f"the settings of {ref} cannot be read: {why}",
            "A later release may have written them: use that one, or restore a backup.",
        ) from error


def refuse_settings(version: HasSettings, what: str, *, honoured: Collection[str] = (), hint: str = "") -> None:
    """Refuse a version that holds what somebody cannot follow; ``what`` is who, and ``honoured`` are the parts that it can.

    Raises:
        InputRefusedError: ``settings_unsupported``, with the names of the parts.
    """
    settings = version.settings
    if settings is None or not (left := [part for part in settings.parts if part not in honoured]):
        return
    raise InputRefusedError(
        "settings_unsupported",
        f"{version.ref} holds {_listed(left)}, which {what} cannot follow",
        hint
        or f"llmops prompt save {version.ref.partition('@')[0]} --no-settings makes a version with its texts alone.",
    )


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 30 else f"{text[:29]}…"


def _is_of(value: object, kind: VariableType) -> bool:
    # A boolean is a number to Python.
    return isinstance(value, _TYPES[kind][1]) and (kind == "boolean" or not isinstance(value, bool))


def defaults_of(settings: AnswerSettings | None) -> dict[str, object]:
    """The values of the variables that need not be given."""
    rules = settings.variables if settings is not None else {}
    return {name: rule.default for name, rule in rules.items() if rule.default is not None}


def values_filled(settings: AnswerSettings | None, fields: Mapping[str, str]) -> dict[str, str]:
    """What a person filled into fields, by variable: there an empty one says nothing where the variable has a default."""
    defaults = defaults_of(settings)
    return {name: text for name, text in fields.items() if text or name not in defaults}


def fields_with(settings: AnswerSettings | None, values: Mapping[str, object]) -> dict[str, str]:
    """Values as fields of text have them, so that they are read as what they are: as JSON where their type is none of text.

    A variable whose value is none has no field, and so its default.
    """
    rules = settings.variables if settings is not None else {}
    return {
        name: json.dumps(value, ensure_ascii=False)
        if not isinstance(value, str) and name in rules and rules[name].type != "text"
        else str(value)
        for name, value in values.items()
        if value is not None or name not in rules
    }


def values_of(settings: AnswerSettings | None, given: Mapping[str, object]) -> dict[str, object]:
    """The values of all variables: those given, as their types, and the defaults of the others.

    A text is read as the type of its variable; an empty one is none where the type is another than text.

    Raises:
        VariableUnfitError: a value is not of its variable's type.
    """
    values = dict(given)
    for name, rule in (settings.variables if settings is not None else {}).items():
        value = values.get(name)
        if value is None or (value == "" and rule.type != "text"):
            values.pop(name, None)
            if rule.default is not None:
                values[name] = rule.default
            continue
        values[name] = _typed(name, rule, value)
    return values


def _typed(name: str, rule: VariableRule, value: object) -> object:
    if _is_of(value, rule.type):
        return value
    if isinstance(value, str):
        try:
            read = parse_json(value.strip(), constants=False)
        except ValueError:
            read = None
        if _is_of(read, rule.type):
            return read
    elif rule.type == "text" and not isinstance(value, (list, dict)):
        return json.dumps(value)
    told = f"the variable {name} is to be {_TYPES[rule.type][0]}, not {_short(value)!r}"
    raise VariableUnfitError(name, told, "Give such a value, or change the type in the prompt's settings.")


def _refuse_unreadable(schema: JsonObject, where: str, *, held: bool = False) -> None:
    """Refuse what is no schema; where answers are held to it, also what the server would refuse, as what nothing satisfies."""
    from llmops_tui.inference.schema_loosening import loosened
    from llmops_tui.inference.schema_validation import unreadable

    if wrong := unreadable(schema):
        raise InputRefusedError("bad_settings", f"{where} is no JSON Schema: {wrong}", _HINT)
    try:
        loosened(schema if held else {})
    except InputRefusedError as error:
        raise InputRefusedError("bad_settings", f"{where}: {error.message}", error.hint or _HINT) from error
