"""The command line that runs one of the engine's modules as a process."""

from __future__ import annotations

import sys


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module with this Python.

    The folder it is started in is no place to import from (``-P``): a ``json.py`` that lies beside a dataset is a file,
    and no part of the program.
    """
    return [sys.executable, "-P", "-m", module, *arguments]
