"""Records of datasets in jobs, the catalog and ``--json``. Fields that a newer version added are preserved.

Rows are counts, or numbers from 0 where they are named; shares are from 0 to 1, sizes in bytes, times in seconds since 1970.
"""

from __future__ import annotations

from typing import Any, NotRequired, Required, TypedDict


class ColumnRecord(TypedDict):
    """A column and its type."""

    name: str
    type: str


class InputRecord(TypedDict):
    """What a version was made of: a reference or a path, and the SHA-256 of its content."""

    ref: str
    sha256: str


class RecipeRecord(TypedDict):
    """How a version was made; the parameters are the operation's own."""

    operation: str
    parameters: dict[str, Any]
    inputs: list[InputRecord]


class VersionRecord(TypedDict):
    """A version of a dataset; ``format`` is the kind of its rows, ``parent`` the number it was made of."""

    dataset: str
    version: int
    id: str
    sha256: str
    parent: int | None
    format: str
    rows: int
    rejected: int
    tags: list[str]
    columns: list[ColumnRecord]
    recipe: RecipeRecord
    note: str
    size_bytes: int
    created_at: float
    folder: str


class ImportedRecord(VersionRecord):
    """A version that was just imported, how many lines of its files were blank, and which columns had no value at all."""

    blank_lines: int
    without_values: list[str]


class ImportArguments(TypedDict):
    """What an import job is told: files, and how their rows are read."""

    paths: list[str]
    name: str
    form: str
    mapping: dict[str, str]
    table: str
    unit: str
    encoding: str


class ReadSettings(TypedDict):
    """How the rows of files are read: which table or unit of a file, as which format, and which columns as which.

    ``encoding`` is there where the texts were said to be in another one than UTF-8, ``member_splits`` where rows got a
    ``split`` by the file of an archive that they are in. Imports that did not know of those have none.
    """

    table: str
    unit: str
    format: str
    mapping: dict[str, str]
    encoding: NotRequired[str]
    member_splits: NotRequired[bool]


class ExportedRecord(TypedDict):
    """A file that was written; ``differs`` says why importing it would give something else, where ``reads_back`` is false."""

    path: str
    format: str
    type: str
    rows: int
    bytes: int
    reads_back: bool
    differs: str


class SplitOptions(TypedDict, total=False):
    """How rows are split: columns whose shares stay, or whose rows stay together, and whether near duplicates do.

    ``synthetic`` is the part for rows that nobody wrote, or ``spread``.
    """

    seed: int | None
    stratify: str | None
    group: str | None
    near: bool | None
    synthetic: str | None


class SplitParameters(SplitOptions, total=False):
    """The parameters of one part of a split: the share of each part, and which one this is."""

    parts: Required[dict[str, float]]
    part: str


class SplitRecord(TypedDict):
    """The versions that a split made."""

    parts: list[VersionRecord]


class Example(TypedDict):
    """A row with a problem."""

    row: int
    reason: str


class ProblemCount(TypedDict):
    """How many rows have a kind of problem."""

    kind: str
    rows: int


class Problem(ProblemCount):
    """What a check found. ``row_numbers`` and ``groups`` have the first of many."""

    title: str
    why: str
    fix: str
    example: Example | None
    examples: list[Example]
    note: str
    row_numbers: list[int]
    groups: list[list[int]]
    group_count: int


class OverlapExample(TypedDict):
    """A row of the one that stands in the other."""

    kind: str
    left: int
    right: int


class OverlapRecord(TypedDict):
    """How many rows of one stand in another, by how they were found."""

    left: str
    right: str
    left_rows: int
    right_rows: int
    exact: int
    ngram: int
    near: int
    rows: int
    clean_right_rows: int
    examples: list[OverlapExample]


class _CheckReport(TypedDict):
    version: str
    sha256: str
    looked_at: int
    of: int
    problems: list[Problem]
    clean: list[str]


class CheckReport(_CheckReport, total=False):
    """What all checks found on ``looked_at`` of the rows, and the names of those that found nothing."""

    overlaps: list[OverlapRecord]


class Checked(TypedDict):
    """What the job that checks tells; the report is kept beside the version."""

    version: str
    problems: list[ProblemCount]


class DiffRecord(TypedDict):
    """How two versions differ, with the first thousand rows of each sort; ``key`` is the column that rows were matched by."""

    left: str
    right: str
    key: str
    added: int
    removed: int
    changed: int
    same: int
    added_rows: list[int]
    removed_rows: list[int]
    changed_rows: list[tuple[int, int]]


class Kappa(TypedDict):
    """Cohen's kappa of two people, none where it is not defined, and how many rows both said something of."""

    kappa: float | None
    rows: int


class Steadiness(Kappa):
    """How far somebody agrees with what they said the first time."""

    agreed: int


class AgreementRecord(TypedDict):
    """How far people agree: of each how many rows they did, of all together, of two and two, and of each with oneself."""

    annotators: dict[str, int]
    krippendorff_alpha: float | None
    rows_with_several: int
    cohen_kappa: dict[str, Kappa]
    with_oneself: dict[str, Steadiness]


class ViewRecord(TypedDict):
    """A saved view: as :class:`llmops_tui.datasets.window.View`."""

    filter: str
    sort: str
    descending: bool


class Proposed(TypedDict):
    """What the rows of files look like, and why: as :class:`llmops_tui.datasets.formats.detection.Proposal`."""

    format: str
    share: float
    evidence: list[str]
    mapping: dict[str, str]
    others: dict[str, float]
    columns: list[str]


class PersonalExample(TypedDict):
    """Where personal data stands; the text is half hidden."""

    row: int
    place: str
    text: str


class PersonalData(TypedDict):
    """Personal data by kind: spans, rows, and some places; and what was not searched."""

    rows: int
    rows_with_any: int
    spans: dict[str, int]
    rows_by_kind: dict[str, int]
    examples: dict[str, list[PersonalExample]]
    not_searched: list[str]


class Profiled(TypedDict):
    """What the job that profiles tells; the profile is kept beside the version."""

    version: str
    rows: int


class Indexed(TypedDict):
    """A full-text index that was made."""

    version: str
    bytes: int
