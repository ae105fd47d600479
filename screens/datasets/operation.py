"""A requested operation on a version, and the message by which a pane requests it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textual.message import Message

from llmops_tui.datasets.version import DatasetVersion


@dataclass(frozen=True)
class Operation:
    """An operation of the engine on a version, and on ``others``, which are references. It makes a new version.

    That is of the version's dataset, or of ``name_of_made``.
    """

    version: DatasetVersion
    name: str
    parameters: dict[str, Any]
    others: tuple[str, ...] = ()
    name_of_made: str = ""


@dataclass(frozen=True)
class Split:
    """Parts of a version by their shares; the options are those of the engine's split."""

    version: DatasetVersion
    parts: dict[str, float]
    options: dict[str, Any]


@dataclass(frozen=True)
class Export:
    """A file that a version is written to."""

    version: DatasetVersion
    target: Path


@dataclass(frozen=True)
class Rejects:
    """The records that the import of a version did not take."""

    version: DatasetVersion


@dataclass(frozen=True)
class Synthesis:
    """Rows that a model is to write from a version, or that noise makes of it."""

    version: DatasetVersion


class OperationWanted(Message):
    """A pane asks for an operation."""

    def __init__(self, operation: Operation) -> None:
        super().__init__()
        self.operation = operation
