"""What a tool is: its name, what it takes and gives, what it may change, and the function that does it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Annotated, Any

import pydantic

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.schema_keywords import Schema
from llmops_tui.mcp_server.result_schemas import schema_of

if TYPE_CHECKING:
    from llmops_tui.mcp_server.workbench import Workbench

Progress = Callable[[float, float | None, str], Awaitable[None]]
"""Tells how far a call is: what is done, of how much where that is known, and a word on it."""

Limit = Annotated[int, pydantic.Field(ge=1, le=1000, description="The most items to return.")]


class Arguments(pydantic.BaseModel):
    """What a tool takes; a name that it does not know is refused."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Tool:
    """One ability of the workspace.

    Attributes:
        about: what it does, for the agent that chooses.
        work: called with the workbench, the arguments, and with a :data:`Progress` where it is a coroutine function; any
            other is called in a thread. It gives a value of the type ``result``, which is a ``TypedDict``.
        writes: offered only where writing was allowed.
        changes: whether anything is another afterwards, if only by an entry in a history.
        destroys: whether it ends or replaces something.
        repeatable: whether doing it twice is the same as doing it once.
        leaves: whether it may ask something outside of this machine.
    """

    name: str
    title: str
    about: str
    takes: type[Arguments]
    result: type
    work: Callable[..., Any] = field(repr=False)
    writes: bool = False
    changes: bool = False
    destroys: bool = False
    repeatable: bool = True
    leaves: bool = False

    @cached_property
    def input_schema(self) -> Schema:
        """What the arguments have to be."""
        return self.takes.model_json_schema()

    @cached_property
    def output_schema(self) -> Schema:
        """What comes back; ``left_out`` says what had to be left out of it."""
        found = schema_of(self.result)
        told = {"type": "array", "items": {"type": "string"}, "description": "What was cut, and by how much."}
        return {**found, "properties": {**found["properties"], "left_out": told}}

    @property
    def waits(self) -> bool:
        """Whether it is a coroutine function, which can be stopped."""
        return inspect.iscoroutinefunction(self.work)

    def check(self, given: JsonObject) -> Arguments:
        """The arguments, checked.

        Raises:
            InputRefusedError: ``bad_arguments``: says which and why.
        """
        try:
            return self.takes.model_validate(given)
        except pydantic.ValidationError as error:
            told = "; ".join(
                f"{'.'.join(map(str, one['loc'])) or 'arguments'}: {one['msg']}"
                for one in error.errors(include_url=False)
            )
            names = ", ".join(self.takes.model_fields) or "none"
            raise InputRefusedError("bad_arguments", f"{self.name}: {told}"[:1000], f"It takes: {names}.") from error

    def bound(self, bench: Workbench, arguments: Arguments) -> Callable[[], Mapping[str, object]]:
        """The work with what it is to be done on, for a thread."""
        return partial(self.work, bench, arguments)
