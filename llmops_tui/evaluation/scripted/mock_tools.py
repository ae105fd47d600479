"""Tools that return what a script says, and the state that they change."""

from __future__ import annotations

import copy
import re
from typing import Any

from llmops_tui.evaluation.paths import value_at
from llmops_tui.evaluation.scripted.script import Script, Tool
from llmops_tui.foreign_text import JsonObject, parse_json

_NAMED = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")


class World:
    """The state of one case, and the tools that act on it."""

    def __init__(self, script: Script) -> None:
        self._tools: dict[str, Tool] = {tool.name: tool for tool in script.tools}
        self.state: JsonObject = copy.deepcopy(script.state)

    def call(self, name: str, arguments: str) -> tuple[Any, JsonObject | None]:
        """What a tool returns, and the arguments as they were read; none where they are no object.

        Whatever is wrong with a call is what the tool returns: a model may then correct itself.
        """
        try:
            given = parse_json(arguments or "{}")
        except ValueError as error:
            return {"error": f"the arguments are not JSON: {error}"}, None
        if not isinstance(given, dict):
            return {"error": "the arguments are not an object"}, None
        tool = self._tools.get(name)
        if tool is None:
            return {"error": f"there is no tool {name!r}"}, given
        for mock in tool.results:
            if all(name in given and given[name] == value for name, value in mock.when.items()):
                result = self._filled(mock.result, given)
                for path, value in mock.set.items():
                    self._set(str(self._text(path, given)), self._filled(value, given))
                return result, given
        if tool.results:
            return {"error": "no result for these arguments"}, given
        return None, given

    def _filled(self, value: Any, given: JsonObject) -> Any:
        """A value with what its texts name."""
        if isinstance(value, str):
            whole = _NAMED.fullmatch(value.strip())
            return self._named(whole[1], given) if whole else self._text(value, given)
        if isinstance(value, dict):
            return {self._text(name, given): self._filled(part, given) for name, part in value.items()}
        return [self._filled(part, given) for part in value] if isinstance(value, list) else value

    def _text(self, text: str, given: JsonObject) -> str:
        return _NAMED.sub(lambda found: str(self._named(found[1], given)), text)

    def _named(self, name: str, given: JsonObject) -> Any:
        """An argument, or a value of the state; none where there is none."""
        if name.startswith("state."):
            try:
                return copy.deepcopy(value_at(self.state, name.removeprefix("state.")))
            except KeyError:
                return None
        return given.get(name)

    def _set(self, path: str, value: Any) -> None:
        """Put a value at a path of names, each after a dot; what is missing on the way is made."""
        *way, last = path.split(".")
        place = self.state
        for name in way:
            inner = place.get(name)
            if not isinstance(inner, dict):
                inner = place[name] = {}
            place = inner
        place[last] = value


def differences(state: JsonObject, expected: JsonObject, where: str = "") -> list[str]:
    """What of an expected state is not so: each name of it must have the same value; others may be there."""
    found: list[str] = []
    for name, value in expected.items():
        place = f"{where}{name}"
        if name not in state:
            found.append(f"{place} is missing")
        elif isinstance(value, dict) and isinstance(state[name], dict):
            found += differences(state[name], value, f"{place}.")
        elif state[name] != value or isinstance(state[name], bool) != isinstance(value, bool):
            found.append(f"{place} is {state[name]!r}, not {value!r}")
    return found
