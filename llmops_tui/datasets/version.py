"""One version of a dataset: what it holds, the recipe that made it, and its rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from llmops_tui.datasets.records import SCHEME, Column, Row
from llmops_tui.datasets.reports import RecipeRecord, VersionRecord
from llmops_tui.errors import LlmopsError
from llmops_tui.workspace.files import sha256_text


@dataclass(frozen=True)
class Recipe:
    """How a version was made: an operation with its parameters, and the content it was applied to.

    ``inputs`` are references such as ``triage@3`` with the SHA-256 of their content, or paths with that of the file.
    """

    operation: str
    parameters: dict[str, Any]
    inputs: tuple[tuple[str, str], ...]

    def as_dict(self) -> RecipeRecord:
        """The recipe as JSON."""
        return {
            "operation": self.operation,
            "parameters": self.parameters,
            "inputs": [{"ref": ref, "sha256": digest} for ref, digest in self.inputs],
        }

    @property
    def sha256(self) -> str:
        """The hash of the recipe: of what is done and to what content, wherever that lay."""
        facts = {"operation": self.operation, "parameters": self.parameters, "inputs": [d for _, d in self.inputs]}
        return sha256_text(json.dumps(facts, sort_keys=True))


@dataclass(frozen=True)
class DatasetVersion:
    """One version of a dataset; its rows never change."""

    id: str
    dataset: str
    number: int
    sha256: str
    parent: int | None
    kind: str
    rows: int
    rejected: int
    columns: tuple[Column, ...]
    recipe: Recipe
    note: str
    size_bytes: int
    created_at: float
    folder: Path
    tags: tuple[str, ...] = ()
    # How the hash was made: see ``content_hash.py``.
    scheme: str = SCHEME

    @property
    def ref(self) -> str:
        """How to name it: ``triage@7``."""
        return f"{self.dataset}@{self.number}"

    @cached_property
    def present_hash(self) -> str:
        """The hash of its content by the present scheme, whichever it was saved with."""
        if self.scheme == SCHEME:
            return self.sha256
        from llmops_tui.datasets.content_hash import hash_of

        return hash_of(self.folder, self.columns)

    @cached_property
    def files(self) -> list[Path]:
        """Its Parquet files, in the order of the rows."""
        # A pipe in the place of a file would be waited for.
        found = sorted(path for path in self.folder.glob("part-*.parquet") if path.is_file())
        if not found:
            raise LlmopsError(
                "dataset_missing", f"the files of {self.ref} are not in {self.folder}", "Restore a backup."
            )
        return found

    @property
    def source(self) -> str:
        """A table function that reads its rows, in a connection that may read its files."""
        from llmops_tui.datasets.parts import source_sql

        return source_sql(self.files)

    def read(self, where: str = "", batch: int = 2000, limit: int | None = None) -> Iterator[list[tuple[int, Row]]]:
        """Its rows in their order, in batches, each with its number; ``where`` is SQL of our own."""
        from llmops_tui.datasets.parts import read_rows

        return read_rows(self.files, list(self.columns), where=where, batch=batch, limit=limit)

    def rows_at(self, numbers: list[int]) -> list[Row]:
        """Some rows by number, in the order asked for."""
        if not numbers:
            return []
        wanted = ", ".join(str(int(n)) for n in numbers)
        found = {n: row for batch in self.read(f"_row IN ({wanted})") for n, row in batch}
        return [found[n] for n in numbers if n in found]

    def as_dict(self) -> VersionRecord:
        """The version as the command line's JSON shows it."""
        return {
            "dataset": self.dataset,
            "version": self.number,
            "id": self.id,
            "sha256": self.sha256,
            "parent": self.parent,
            "format": self.kind,
            "rows": self.rows,
            "rejected": self.rejected,
            "tags": list(self.tags),
            "columns": [c.as_dict() for c in self.columns],
            "recipe": self.recipe.as_dict(),
            "note": self.note,
            "size_bytes": self.size_bytes,
            "created_at": self.created_at,
            "folder": str(self.folder),
        }
