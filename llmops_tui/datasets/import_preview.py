"""What files seem to hold, before anything is imported: their format with the evidence, and some rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from llmops_tui.datasets.formats.base import RowRefusedError
from llmops_tui.datasets.formats.detection import Proposal, recognise
from llmops_tui.datasets.formats.readers import reader
from llmops_tui.datasets.raw import RawFile
from llmops_tui.datasets.records import Row, dump_json
from llmops_tui.datasets.sources.base import KEPT_RAW, Batch, Reject, Source
from llmops_tui.datasets.sources.discovery import find_all, is_plain, read_batches
from llmops_tui.datasets.sources.json_lines import parse_object
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.user_files import with_home

_LOOK_ROWS = 200


@dataclass(frozen=True)
class Preview:
    """What files seem to hold, before anything is imported.

    Attributes:
        sources: the files and tables that would be read.
        proposal: their format, with the evidence.
        rows: some rows as they are in the files.
        rejects: records among the first that cannot be read.
        kept_mapping: the mapping that was used last for a table with these columns.
    """

    sources: tuple[Source, ...]
    proposal: Proposal
    rows: tuple[Row, ...]
    rejects: tuple[Reject, ...]
    kept_mapping: dict[str, str]

    def canonical(self, form: str, mapping: dict[str, str]) -> list[Row | str]:
        """The rows as they would be imported; of one that does not fit, why."""
        read = reader(form, mapping)
        out: list[Row | str] = []
        for row in self.rows:
            try:
                out.append(read(orjson.loads(dump_json(row))))
            except RowRefusedError as error:
                out.append(str(error))
        return out


def preview(
    store: DatasetStore, paths: Sequence[Path], *, table: str = "", unit: str = "line", encoding: str = ""
) -> Preview:
    """Look at the first rows of files, and at some further on.

    Raises:
        InputRefusedError: nothing there can be imported.
    """
    sources = find_all([with_home(path) for path in paths], table=table, unit=unit, encoding=encoding)
    rows: list[Row] = []
    rejects: list[Reject] = []
    told: list[str] = []
    for source in sources[:8]:
        batch = _inspect(source)
        # From all over the batch: files are often sorted by label.
        rows += batch.rows[:: max(1, len(batch.rows) // _LOOK_ROWS)][:_LOOK_ROWS]
        rejects += batch.rejects[:_LOOK_ROWS]
        told += [f"{source.path.name}: {text}" for text in (source.told, batch.told) if text]
    proposal = recognise(rows)
    # Of the files of an archive each says the same.
    proposal = replace(proposal, evidence=(*proposal.evidence, *dict.fromkeys(told)))
    forced = {"llm-log": "messages", "text": "text", "document": "text"}.get(sources[0].type)
    if forced and not proposal.mapping:
        words = {"llm-log": "the conversations in a log of llm", "text": f"plain text, one row a {sources[0].unit}"}
        evidence = words.get(sources[0].type, "texts, one row a file")
        proposal = Proposal(forced, 1.0, (evidence, *proposal.evidence), columns=proposal.columns)
    return Preview(sources, proposal, tuple(rows[:_LOOK_ROWS]), tuple(rejects), store.mapping(proposal.columns))


def _inspect(source: Source) -> Batch:
    """The first records of a source, and of a mapped file of lines some from further on."""
    if source.type != "jsonl" or not is_plain(source):
        return next(iter(read_batches(source)), Batch())
    batch = Batch()
    with RawFile(source.path, json_lines=False) as raw:
        places = [raw.lines(0, _LOOK_ROWS // 2)]
        places += [raw.lines_at(raw.size * n // 6, _LOOK_ROWS // 10) for n in range(1, 6)] if raw.size > 1 << 18 else []
        with source.path.open("rb") as file:
            for line in (line for lines in places for line in lines if 0 < line.length <= KEPT_RAW):
                file.seek(line.offset)
                data = file.read(line.length)
                if data.isspace():
                    continue
                try:
                    batch.rows.append(parse_object(data.removeprefix(b"\xef\xbb\xbf")))
                except ValueError as error:
                    batch.rejects.append(
                        Reject(str(source.path), line.number, line.offset, line.length, str(error), data[:200])
                    )
    return batch
