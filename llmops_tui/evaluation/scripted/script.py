"""The script of a case: further user turns, tools with mock results, the calls that are right, and the state at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import pydantic
from pydantic import BaseModel, ConfigDict, Field, field_validator

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.schema_keywords import Schema

FIELDS = ("user", "tools", "calls", "state", "end_state")
# Types of BFCL's function descriptions that JSON Schema has under another name.
_TYPES = {"dict": "object", "float": "number", "tuple": "array"}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MockResult(_Part):
    """What a tool returns where the arguments fit: each one named in ``when`` has that value.

    ``set`` changes the state: values by their paths. In texts of both, and in paths, ``{{ NAME }}`` is the argument of that
    name and ``{{ state.PATH }}`` a value of the state; a text that is nothing else becomes the value itself.
    """

    when: JsonObject = {}
    result: Any = None
    set: JsonObject = {}


class Tool(_Part):
    """A tool that is offered to the model, and its results: the first that fits."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    description: str = ""
    parameters: Schema = {"type": "object", "properties": {}}
    results: list[MockResult] = []

    def offered(self) -> JsonObject:
        """The tool as a request has it, with types as JSON Schema names them."""
        described = {"name": self.name, "description": self.description, "parameters": as_schema(self.parameters)}
        return {"type": "function", "function": described}


class ModelUser(_Part):
    """A user whom a model plays, until it says ``stop`` or after so many turns."""

    model: str
    goal: Annotated[str, Field(min_length=1, description="What the user wants, and how the user behaves.")]
    turns: Annotated[int, Field(ge=1, le=50)] = 6
    stop: Annotated[str, Field(min_length=1)] = "[DONE]"


class Script(_Part):
    """What happens in a case after its first message.

    ``calls`` are those that are right, each as ``{NAME: {ARGUMENT: [alternatives]}}``; ``""`` among the alternatives says
    that the argument may be left out. None says nothing of calls; an empty list says that there must be none.
    """

    user: list[str] | ModelUser = []
    tools: list[Tool] = []
    calls: list[dict[str, dict[str, list[Any]]]] | None = None
    state: JsonObject = {}
    end_state: JsonObject | None = None

    @field_validator("calls")
    @classmethod
    def _one_name_each(cls, calls: Any) -> Any:
        for number, call in enumerate(calls or ()):
            if len(call) != 1:
                raise ValueError(f"calls[{number}] names {len(call)} functions; each call is one")
        return calls

    @field_validator("tools")
    @classmethod
    def _names_once(cls, tools: list[Tool]) -> list[Tool]:
        names = [tool.name for tool in tools]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two tools are called {', '.join(twice)}")
        return tools


def read_script(given: Mapping[str, object], where: str) -> Script:
    """A script from what a suite or a row says.

    Raises:
        InputRefusedError: ``bad_script``: what is wrong, and where.
    """
    try:
        return Script.model_validate(dict(given))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputRefusedError("bad_script", f"{where}: {place}: {first['msg']}") from error


def as_schema(parameters: Any) -> Any:
    """Parameters with the types that BFCL's descriptions name otherwise; ``any`` is no type."""
    if isinstance(parameters, list):
        return [as_schema(part) for part in parameters]
    if not isinstance(parameters, dict):
        return parameters
    made = {name: as_schema(part) for name, part in parameters.items()}
    kind = parameters.get("type")
    if isinstance(kind, str):
        if kind == "any":
            del made["type"]
        else:
            made["type"] = _TYPES.get(kind, kind)
    return made
