"""Records of maintenance in jobs, backups and ``--json``. Fields that a newer version added are preserved.

Sizes are bytes, moments seconds since 1970, paths those of this machine.
"""

from __future__ import annotations

from typing import TypedDict

from llmops_tui.workspace.audit import AnchorRecord


class OutsideModel(TypedDict):
    """A model whose file lies outside the workspace: named, not copied."""

    name: str
    path: str
    sha256: str
    size_bytes: int


class ManifestRecord(TypedDict):
    """What a backup says of itself; ``files`` are the SHA-256 and the size of each, ``elsewhere`` which are in another."""

    format: int
    made_at: float
    version: str
    schema: int
    workspace: str
    files: dict[str, tuple[str, int]]
    outside: list[OutsideModel]
    left_out: list[str]
    id: str
    elsewhere: dict[str, str]
    increments: int
    audit: AnchorRecord | None


class FindingRecord(TypedDict):
    """Something that is wrong in a workspace, where, and what helps."""

    level: str
    place: str
    text: str
    remedy: str


class ReportRecord(TypedDict):
    """What a look at a workspace found; ``looked_at`` counts what was looked at, by kind."""

    clean: bool
    errors: int
    looked_at: dict[str, int]
    findings: list[FindingRecord]


class TrashRecord(TypedDict):
    """Something that nobody needs any more."""

    what: str
    why: str
    size_bytes: int


class NodeRecord(TypedDict):
    """A thing in a lineage; ``again`` where it stands there already, ``more`` counts what is not shown, by kind."""

    id: str
    kind: str
    name: str
    how: str
    at: float | None
    again: bool
    more: dict[str, int]
    children: list[NodeRecord]


class LineageRecord(TypedDict):
    """What a thing was made of, and what was made of it."""

    id: str
    kind: str
    name: str
    sources: list[NodeRecord]
    results: list[NodeRecord]
    more: dict[str, int]


class ModelRemovalRecord(TypedDict):
    """A model that is or would be removed: ``uses`` are told, ``busy`` stands in the way."""

    model: str
    path: str
    removed_paths: list[str]
    size_bytes: int
    uses: list[str]
    busy: list[str]
    done: bool


class _Removal(TypedDict):
    kind: str
    name: str
    removed_paths: list[str]
    size_bytes: int
    uses: list[str]
    in_the_way: list[str]
    done: bool


class RecordRemovalRecord(_Removal):
    """A dataset or prompt that is or would be removed, with its versions."""

    versions: list[str]
    goes: list[str]


class WorkRemovalRecord(_Removal):
    """A run that is or would be removed, with its jobs."""

    jobs: list[str]
    answers: int


class TraceRemovalRecord(TypedDict):
    """Traces that are or would be removed, and the copies of what they say elsewhere."""

    done: bool
    traces: int
    files: list[str]
    staying: list[str]
    feedback: int
    answers: int
    copies_removed: list[str]
    kept_files: bool


# "from" is a word of Python's.
RestoreRecord = TypedDict(
    "RestoreRecord",
    {
        "made_at": float, "version": str, "from": str, "to": str, "files": int, "size_bytes": int, "new": int, "replaced": int,
        "taken_away": list[str], "missing_models": list[OutsideModel], "left_out": list[str],
    },
)  # fmt: skip
"""What a restore does, or would do, to the workspace ``to``."""


class LookedRecord(TypedDict):
    """A backup of a series, and what is wrong with it."""

    file: str
    files: int
    whole: bool
    trouble: list[str]


class BackupMade(TypedDict):
    """What the job that backs up tells; ``removed`` are older backups."""

    file: str
    files: int
    removed: list[str]


class RemoteModelRecord(TypedDict):
    """A model behind a URL, the variable its key is in, and whether that may be used."""

    name: str
    url: str
    variable: str
    key_set: bool
    approved: bool


class CommandRecord(TypedDict):
    """A command that a rule of the workspace runs."""

    rule: str
    command: str
    approved: bool


class ToolCommandRecord(TypedDict):
    """The command of a tool server, and the variables that it gets."""

    server: str
    command: str
    variables: tuple[str, ...]
    approved: bool


class TrustRecord(TypedDict):
    """What trusting a workspace would allow it."""

    root: str
    id: str
    owner: int
    why: str
    models: tuple[RemoteModelRecord, ...]
    commands: tuple[CommandRecord, ...]
    links: tuple[str, ...]
    jobs: tuple[str, ...]
    tool_servers: tuple[ToolCommandRecord, ...]
