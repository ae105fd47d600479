"""Tools with mock results for runs of prompts and chats: described as in suites, and nothing happens when they are called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import yaml

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.scripted.mock_tools import World
from llmops_tui.evaluation.scripted.script import Script, read_script
from llmops_tui.foreign_text import JsonObject, parse_yaml, text_of
from llmops_tui.mcp_client.connection import Called
from llmops_tui.mcp_client.messages import ToolRecord
from llmops_tui.mcp_client.rules import ANY_TOOL, ToolRule
from llmops_tui.mcp_client.toolbox import OfferedTool
from llmops_tui.workspace.files import reason, sha256_text

MOCK = "mock"
"""What stands in the place of their server's name."""
# Nothing happens, so that nobody is asked.
_RULES = (ToolRule(tool=ANY_TOOL, allow=True),)


class MockToolbox:
    """The tools of a script, for one run or chat: the state that they change goes on from call to call."""

    def __init__(self, script: Script) -> None:
        self._world = World(script)
        self.tools = []
        for tool in script.tools:
            function = tool.offered()["function"]
            record: ToolRecord = {
                "name": tool.name,
                "title": "",
                "description": function["description"],
                "parameters": function["parameters"],
                "digest": sha256_text(json.dumps(function, sort_keys=True)),
                "problem": "",
                "reads_only": True,
                "destroys": False,
            }
            self.tools.append(OfferedTool(tool.name, MOCK, record, _RULES))

    def find(self, function: str) -> OfferedTool | None:
        """The tool that a model calls so."""
        return next((tool for tool in self.tools if tool.function == function), None)

    async def call(self, tool: OfferedTool, arguments: JsonObject) -> Called:
        """What the script says to the call, as JSON unless it is a text."""
        result, _ = self._world.call(tool.record["name"], json.dumps(arguments))
        failed = isinstance(result, dict) and set(result) == {"error"}
        return Called(result if isinstance(result, str) else json.dumps(result, ensure_ascii=False), failed)


def read_mock_tools(path: Path) -> Script:
    """Tools from a file in YAML or JSON: a list of tools as in a suite, or a mapping with ``tools`` and ``state``.

    Raises:
        InputRefusedError: ``file_unreadable``; ``bad_tools``; ``bad_script``, with the place.
    """
    try:
        body = parse_yaml(text_of(path))
    except (OSError, UnicodeDecodeError) as error:
        told = reason(error) if isinstance(error, OSError) else str(error)
        raise InputRefusedError("file_unreadable", f"cannot read {path}: {told}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise InputRefusedError("bad_tools", f"{path} is no YAML: {' '.join(str(error).split())}") from error
    given = {"tools": body} if isinstance(body, list) else body
    if not isinstance(given, dict) or not given.get("tools") or not given.keys() <= {"tools", "state"}:
        raise InputRefusedError(
            "bad_tools",
            f"{path} has no tools",
            "It is a list of tools, each with name, parameters and results, as in a suite.",
        )
    return read_script(cast("JsonObject", given), str(path))
