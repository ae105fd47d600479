"""A key as it is asked for in a form, and the moments at which keys end."""

from __future__ import annotations

import re
import time
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.access.keys import Scope

_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_Number = Annotated[int | None, Field(ge=1, le=10**12)]


class KeyAsked(BaseModel):
    """What a key is to be for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(max_length=60, description="What it is called, in lists and in traces.")] = ""
    owner: Annotated[str, Field(max_length=200, description="Who has it, for your own list.")] = ""
    models: Annotated[
        tuple[str, ...], Field(description='A registered model that it is for, or ["one", "two"]; empty: all.')
    ] = ()
    adapters: Annotated[tuple[str, ...], Field(description='An adapter, or ["one", "two"]; empty: all.')] = ()
    endpoints: Annotated[
        tuple[str, ...],
        Field(description='Such as ["chat", "embeddings"]; empty: all but keys, by which it makes others.'),
    ] = ()
    prompts: Annotated[
        tuple[str, ...], Field(description='Served prompts, such as ["support"]; then no model for itself; empty: all.')
    ] = ()
    expires: Annotated[str, Field(description="30m, 12h, 30d, 8w, or a date such as 2027-01-31; empty: never.")] = "30d"
    requests_per_minute: Annotated[_Number, Field(description="Empty: no limit.")] = None
    requests_per_day: Annotated[_Number, Field(description="Empty: no limit.")] = None
    tokens_per_minute: Annotated[_Number, Field(description="Of prompts and answers; empty: no limit.")] = None
    tokens_per_day: Annotated[_Number, Field(description="Of prompts and answers; empty: no limit.")] = None
    max_context: Annotated[
        _Number, Field(description="The most tokens of a prompt and its answer together; empty: as the model has.")
    ] = None
    max_output: Annotated[_Number, Field(description="The most tokens of an answer; empty: as the model has.")] = None

    @property
    def scope(self) -> Scope:
        """Its scope and limits."""
        return Scope(
            self.models or None,
            self.adapters or None,
            self.endpoints or None,
            self.max_context,
            self.max_output,
            self.requests_per_minute,
            self.requests_per_day,
            self.tokens_per_minute,
            self.tokens_per_day,
            self.prompts or None,
        )


def moment_of(said: str, now: float) -> float:
    """A moment to come, in seconds since 1970: ``30d`` from now, or the end of a day.

    Raises:
        InputRefusedError: ``bad_moment``.
    """
    if (found := re.fullmatch(r"(\d{1,6})([mhdw])", said.strip())) and int(found[1]):
        return now + int(found[1]) * _SECONDS[found[2]]
    try:
        day = time.strptime(said.strip(), "%Y-%m-%d")
        return time.mktime((*day[:3], 23, 59, 59, 0, 0, -1))
    except (ValueError, OverflowError) as error:
        hint = "Such as 30m, 12h, 30d, 8w, or a date: 2027-01-31."
        raise InputRefusedError("bad_moment", f"{said[:40]!r} is no time that a key could end", hint) from error


def check_known(scope: Scope, kinds: dict[str, str]) -> None:
    """Refuse a scope that names what is not registered; ``kinds`` are those of the registered models by name.

    Raises:
        InputRefusedError: ``model_not_found`` or ``adapter_not_found``.
    """
    for kind, names in (("model", scope.models or ()), ("adapter", scope.adapters or ())):
        for one in names:
            if one not in kinds or (kinds[one] == "adapter") != (kind == "adapter"):
                hint = "llmops model list shows the registered ones."
                raise InputRefusedError(f"{kind}_not_found", f"no {kind} {one[:100]!r} is registered here", hint)
