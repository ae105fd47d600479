"""Python functions that installed packages declare as steps of chains."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmops_tui.chains.values import kept
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.plugins import Plugins
from llmops_tui.workspace.files import sha256_file

_MOST = 4_000_000


@dataclass(frozen=True)
class StepFunction:
    """A function of a package: called with what ``with`` gives, by name; it returns what JSON can hold."""

    call: Callable[..., Any]


def _accept(_name: str, given: object) -> StepFunction:
    if isinstance(given, type) or not callable(given):
        raise TypeError("it is not a function")
    return StepFunction(given)


PLUGINS: Plugins[StepFunction] = Plugins("steps", _accept, tuple)


def source_of(name: str) -> str:
    """What a function's code comes from: its package, the version, and the hash of its file.

    The file changes without a new version while somebody writes it.

    Raises:
        LlmopsError: ``step_not_found``: no installed package declares it, or it does not work.
    """
    plugin = PLUGINS.find(name)
    if plugin is None:
        known = ", ".join(PLUGINS.all()) or "none is installed"
        raise LlmopsError(
            "step_not_found",
            f"no installed package declares a step {name!r}",
            f"Declared: {known}. llmops plugin list shows all.",
        )
    if plugin.problem:
        raise LlmopsError("step_not_found", plugin.told, "Report it to the author, or install another version.")
    found = PLUGINS.get(name)
    return " ".join([plugin.package, plugin.version, *([_file_hash(found.call)] if found is not None else [])]).strip()


def _file_hash(call: Callable[..., Any]) -> str:
    """The beginning of the hash of the file that a function stands in; empty where it stands in none."""
    try:
        return sha256_file(Path(inspect.getfile(inspect.unwrap(call))))[:16]
    except (TypeError, OSError, ValueError):
        return ""


def call_step(name: str, given: JsonObject) -> Any:
    """What a function returns, as JSON has it.

    Raises:
        LlmopsError: ``step_not_found``; ``plugin_failed``: it raised something. InputRefusedError: ``bad_result``: it returned
            what JSON cannot hold, or too much; ``bad_value``: a run cannot keep it.
    """
    found = PLUGINS.get(name)
    if found is None:
        source_of(name)
        raise AssertionError("a plugin that works is known")
    with PLUGINS.at_work(name):
        value = found.call(**given)
    try:
        made = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        told = f"{name} returned what JSON cannot hold: {error}"
        raise InputRefusedError("bad_result", told[:300], "Return texts, numbers, lists and objects.") from error
    if len(made) > _MOST:
        raise InputRefusedError("bad_result", f"{name} returned more than {_MOST:,} characters")
    return kept(json.loads(made), f"what {name} returned")
