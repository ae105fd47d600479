"""Global options, accepted at any position and read before the command line parser."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmops_tui.errors import ExitCode, LlmopsError

_FLAGS = {"--json": "json", "--quiet": "quiet", "--no-color": "no_color"}


@dataclass(frozen=True)
class Globals:
    """The options every command takes."""

    workspace: str | None = None
    json: bool = False
    quiet: bool = False
    color: bool = True


def called_as() -> str:
    """How this command is called from here: by its path, where the shell does not find it by its name."""
    import shutil

    called = sys.argv[0]
    return called if os.path.basename(called) == "llmops" and shutil.which("llmops") is None else "llmops"  # noqa: PTH119


def split_globals(arguments: Sequence[str]) -> tuple[Globals, list[str]]:
    """Take the global options out of a command line, wherever they stand before a ``--``."""
    found: dict[str, Any] = {}
    rest: list[str] = []
    items = iter(arguments)
    for item in items:
        if item == "--":
            rest += [item, *items]
        elif item in _FLAGS:
            found[_FLAGS[item]] = True
        elif item == "--workspace":
            value = next(items, None)
            if value is None:
                raise LlmopsError("usage", "--workspace needs a folder", exit_code=ExitCode.USAGE)
            found["workspace"] = value
        elif item.startswith("--workspace="):
            found["workspace"] = item.partition("=")[2]
        else:
            rest.append(item)
    no_color = bool(found.pop("no_color", False)) or bool(os.environ.get("NO_COLOR"))
    return Globals(**found, color=not no_color), rest
