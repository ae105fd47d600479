"""What the programs share: each does one thing at a time with a client, as it was asked, and tells what came of it.

Lines of JSON come in, and lines of JSON go out. What a library prints goes to the standard error.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

QUESTION = "What is the weather in Rome and in Oslo?"
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "A city"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = [
    {"type": "function", "function": {"name": name, "description": told, "parameters": PARAMETERS}}
    for name, told in (("weather", "The weather of a city"), ("time", "The time in a city"))
]


@dataclass(frozen=True)
class Place:
    """Where the server is, and what it serves."""

    url: str
    key: str
    model: str


def calls_of(calls: Any) -> list[list[Any]]:
    """OpenAI's calls as names and arguments."""
    return [[c.function.name, json.loads(c.function.arguments)] for c in calls or ()]


def refusal(error: Any) -> dict[str, Any]:
    """What a client's exception says."""
    return {"error": type(error).__name__, "status": getattr(error, "status_code", None), "message": str(error)}


def serve(cases: dict[str, Callable[[Place], Any]], *packages: str) -> None:
    """Do what each line asks for until no more come; ``versions`` tells those of the packages."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if asked["case"] == "versions":
                answer = {"told": {name: version(name) for name in packages}}
            else:
                answer = {"told": cases[asked["case"]](Place(**asked["place"]))}
        except BaseException:  # noqa: BLE001 - whatever it is, the test shows it
            answer = {"failed": traceback.format_exc()}
        out.write(json.dumps(answer) + "\n")
        out.flush()
