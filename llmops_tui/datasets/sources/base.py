"""The interface of sources: batches of records, rejected records with reasons, and the position to resume from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from llmops_tui.datasets.records import Row
from llmops_tui.datasets.sources.streams import compression_of

if TYPE_CHECKING:
    import pyarrow as pa

# A line longer than this is rejected; a batch is about so many bytes of input.
MAX_LINE = 64 << 20
BATCH_BYTES = 8 << 20
BATCH_ROWS = 100_000
MAX_DOCUMENT = 1 << 30
KEPT_RAW = 1 << 20
# Ten thousand rows of a typed table are counted as so many bytes: nobody knows how many they were.
TYPED_BYTES = 2 << 20


class TurnFields(NamedTuple):
    """What a turn of a conversation has in a format: the fields that become role and content, and what roles become.

    Conversations with one of the ``refused`` roles, and rows with a column of those ``beside``, are read one by one.
    """

    who: str
    what: str
    roles: Mapping[str, str]
    refused: frozenset[str]
    beside: frozenset[str]


@dataclass(frozen=True)
class Reject:
    """A record that could not be read: where it is, why, and its bytes (the first MB of a longer one)."""

    source: str
    line: int
    offset: int
    length: int
    reason: str
    raw: bytes


@dataclass
class Batch:
    """Some records of one source, what was rejected, and from where to go on after them.

    ``position`` is a byte offset, or a number of records, as the source understands it; ``share`` how much of the
    source is done; ``size`` about how many bytes of it the batch was; ``told`` what a person should know of how it is read.
    ``columns`` are those that a table has, whether or not a row has a value of them. Where a ``table`` was asked for there may
    be one in the place of rows; ``by_row`` gives the same as rows then.
    """

    rows: list[Row] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    position: int = 0
    line: int = 0
    blank: int = 0
    share: float = 0.0
    size: int = BATCH_BYTES
    told: str = ""
    columns: tuple[str, ...] = ()
    table: pa.Table | None = None
    by_row: Callable[[], Batch] | None = None


# Tables of texts by their type: the sign between their cells, or none where their lines tell it.
TABLES: dict[str, str] = {"csv": "", "tsv": "\t"}


@dataclass(frozen=True)
class Source:
    """One file, folder or table to read.

    Attributes:
        path: where it is.
        type: ``jsonl``, ``json``, ``csv``, ``tsv``, ``parquet``, ``arrow``, ``text``, ``document``, ``sqlite``,
            ``workbook``, ``llm-log``.
        table: the table of a SQLite file, or the sheet of a workbook.
        split: the split it belongs to, of a dataset folder.
        unit: of a text: ``line``, ``paragraph`` or ``file``.
        encoding: of a text that is not UTF-8, as Python names it.
        member: the file inside the archive that the path is.
        told: what a person should know of how it was chosen.
    """

    path: Path
    type: str
    table: str = ""
    split: str = ""
    unit: str = "line"
    encoding: str = ""
    member: str = ""
    told: str = ""

    @property
    def untyped(self) -> bool:
        """Whether its values are texts that may stand for numbers."""
        return self.type in TABLES


def share_of(source: Source, position: int) -> float:
    """How much of a file is read at a byte offset; half, as nobody knows, where the bytes read are not the file's."""
    if source.encoding or source.member or compression_of(source.path):
        return 0.5
    return min(1.0, position / max(1, source.path.stat().st_size))
