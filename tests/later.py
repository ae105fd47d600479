"""Modules that are loaded by the first test that asks something of them: each worker collects all tests, and runs a part."""

from __future__ import annotations

import importlib
from typing import Any


class Later:
    """Stands for a module; its names are found once it is loaded, which the first of them does."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        # Who collects tests asks each object of a module whether it is one; no module is loaded for that.
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(importlib.import_module(self._name), name)
