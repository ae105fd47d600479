"""Who wrote the answers of a dataset's rows: a person, or a model whose answer was found good.

A model that learns from answers of its own kind learns its own faults, too; so each row that was made of an answer in use
says who wrote it, and the share of a version can be told. The column goes wherever the row goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from llmops_tui.datasets import origins

if TYPE_CHECKING:
    from llmops_tui.datasets.version import DatasetVersion

COLUMN = "answered_by"
PERSON, MODEL = "person", "model"


class AuthorsRecord(TypedDict):
    """Rows of a version by who wrote them; ``share`` is the part of them that a model wrote, as far as rows say it."""

    version: str
    rows: int
    model: int
    person: int
    unsaid: int
    share: float


@dataclass(frozen=True)
class Authors:
    """As :class:`AuthorsRecord`."""

    version: str
    rows: int
    model: int
    person: int

    @property
    def unsaid(self) -> int:
        """Rows that do not say it, such as those of a file."""
        return self.rows - self.model - self.person

    @property
    def share(self) -> float:
        """The part of the rows that a model wrote, from 0 to 1."""
        return self.model / self.rows if self.rows else 0.0

    def as_dict(self) -> AuthorsRecord:
        """For JSON."""
        return {
            "version": self.version,
            "rows": self.rows,
            "model": self.model,
            "person": self.person,
            "unsaid": self.unsaid,
            "share": self.share,
        }


def authors_of(version: DatasetVersion) -> Authors:
    """Count the rows of a version by who wrote them: a model the answer (:data:`COLUMN`), or the whole row."""
    names = {column.name: column.type for column in version.columns}
    written = origins.has_column(version)
    if names.get(COLUMN) != "text" and not written:
        return Authors(version.ref, version.rows, 0, 0)
    from llmops_tui.workspace.sandbox import quote_name, reading

    answered = quote_name(COLUMN) if names.get(COLUMN) == "text" else "NULL"
    row = f"json_extract_string({quote_name(origins.COLUMN)}, '$.by')" if written else "NULL"
    by_model = f"coalesce({row} = '{MODEL}', false) OR coalesce({answered} = '{MODEL}', false)"
    with reading(version.files, memory="1GB") as connection:
        found = connection.execute(
            f"SELECT count(*) FILTER ({by_model}), "
            f"count(*) FILTER (NOT ({by_model}) AND coalesce({answered} = '{PERSON}', false)) FROM {version.source}"
        ).fetchone()
    assert found is not None
    return Authors(version.ref, version.rows, int(found[0]), int(found[1]))
