"""Prompts and datasets as resources: documents that a client lists, and gives to its model."""

from __future__ import annotations

import re
from dataclasses import dataclass

from llmops_tui.datasets.records import Row
from llmops_tui.datasets.reports import VersionRecord as DatasetRecord
from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.mcp_server.workbench import Workbench
from llmops_tui.prompts.records import VersionRecord

MIME = "application/json"
TEMPLATES = (
    ("llmops://prompt/{ref}", "prompt", "A version of a prompt: NAME, NAME@NUMBER or NAME@LABEL."),
    ("llmops://dataset/{ref}", "dataset", "A version of a dataset, with its first rows."),
)
_URI = re.compile(r"llmops://(prompt|dataset)/([A-Za-z0-9._@-]{1,300})")
_PAGE = 100
_ROWS = 20


@dataclass(frozen=True)
class Listed:
    """One of the resources."""

    uri: str
    name: str
    about: str


@dataclass(frozen=True)
class Page:
    """Some of them; ``more`` asks for the next ones, and is empty where there are none."""

    resources: list[Listed]
    more: str


class DatasetStart(DatasetRecord):
    """A version of a dataset with its first rows."""

    first_rows: list[Row]


def page(bench: Workbench, cursor: str) -> Page:
    """The newest version of each prompt and dataset.

    Raises:
        InputRefusedError: ``bad_cursor``.
    """
    if cursor and not cursor.isdecimal():
        raise InputRefusedError("bad_cursor", f"{cursor[:100]!r} is no cursor of this list", "Begin without one.")
    found = [
        Listed(f"llmops://prompt/{one.name}@{one.latest}", f"prompt {one.name}", f"{one.versions} versions")
        for one in bench.prompts.summaries()
    ]
    found += [
        Listed(f"llmops://dataset/{one.ref}", f"dataset {one.dataset}", f"{one.kind}, {one.rows:,} rows")
        for one in bench.datasets.all()
    ]
    start = int(cursor or 0)
    end = start + _PAGE
    return Page(found[start:end], str(end) if end < len(found) else "")


def read(bench: Workbench, uri: str) -> VersionRecord | DatasetStart:
    """A resource's content.

    Raises:
        NotFoundError: there is none of this address.
    """
    match = _URI.fullmatch(uri)
    if match is None:
        raise NotFoundError("resource", uri[:300], "They are llmops://prompt/REF and llmops://dataset/REF.")
    kind, ref = match.groups()
    if kind == "prompt":
        return bench.prompts.get(ref).as_dict()
    version = bench.datasets.get(ref)
    rows = [row for batch in version.read(limit=_ROWS) for _, row in batch]
    return {**version.as_dict(), "first_rows": rows}
