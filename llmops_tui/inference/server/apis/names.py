"""What an API calls the fields of the chat completion that its request became, so that refusals name what was sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from llmops_tui.foreign_text import JsonObject


@dataclass
class Turn:
    """A turn of the chat, and the place in the request that it came from."""

    place: str
    message: JsonObject


@dataclass(frozen=True)
class Names:
    """The names of one API: of fields, of fields within a turn, and of fields within a tool's function."""

    fields: Mapping[str, str]
    turn: Mapping[str, str]
    tool: Mapping[str, str]
    turns: str

    def called(self, turns: Sequence[Turn], tools: Sequence[int]) -> Callable[[str], str]:
        """Names a field by its path in the chat; ``tools`` are the places that its tools had in the request."""

        def called(param: str) -> str:
            name = re.split(r"\W", param, maxsplit=1)[0]
            if name in self.fields:
                return self.fields[name]
            at = re.match(r"\[(\d+)\]", param.removeprefix(name))
            rest = param.removeprefix(name)[at.end() :] if at is not None else ""
            if name == "messages":
                place = turns[int(at[1])].place if at is not None else self.turns
                return place + (self.turn.get(rest, "") if place.endswith("]") else "")
            if name == "tools" and at is not None:
                rest = rest.removeprefix(".function")
                return f"tools[{tools[int(at[1])]}]{self.tool.get(rest, rest)}"
            return param

        return called
