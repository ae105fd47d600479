"""The difference of two versions: rows added, removed and changed, matched by key or position."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from difflib import SequenceMatcher

from llmops_tui.datasets.records import ROW, Row, Type, whole_text
from llmops_tui.datasets.reports import DiffRecord
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.workspace.sandbox import quote_name, reading

_KEYS = ("id", "_id", "uuid", "key", "guid")
# Rows between two rows that both versions have are paired while their texts are at least so alike.
_ALIKE = 0.5
_COMPARED = 4000


@dataclass(frozen=True)
class VersionDiff:
    """Row numbers: of the second version those added, of the first those removed, and pairs of both that differ.

    ``key`` is the column by which rows were matched; empty where it was by content and order.
    """

    left: str
    right: str
    key: str
    added: list[int]
    removed: list[int]
    changed: list[tuple[int, int]]
    same: int

    def as_dict(self) -> DiffRecord:
        """The difference as JSON."""
        return {
            "left": self.left,
            "right": self.right,
            "key": self.key,
            "added": len(self.added),
            "removed": len(self.removed),
            "changed": len(self.changed),
            "same": self.same,
            "added_rows": self.added[:1000],
            "removed_rows": self.removed[:1000],
            "changed_rows": self.changed[:1000],
        }


def diff_versions(left: DatasetVersion, right: DatasetVersion) -> VersionDiff:
    """Compare two versions of a dataset, or two datasets."""
    if set(left.columns) == set(right.columns) and left.sha256 == right.sha256:
        return VersionDiff(left.ref, right.ref, "", [], [], [], left.rows)
    key = _shared_key(left, right)
    a, b = _rows(left, right, key), _rows(right, left, key)
    return _by_key(left, right, key, a, b) if key else _by_order(left, right, [h for _, h in a], [h for _, h in b])


def _shared_key(left: DatasetVersion, right: DatasetVersion) -> str:
    names = {c.name for c in left.columns} & {c.name for c in right.columns}
    for name in _KEYS:
        if name in names and all(_unique(v, name) for v in (left, right)):
            return name
    return ""


def _unique(version: DatasetVersion, name: str) -> bool:
    with reading(version.files) as connection:
        row = connection.execute(
            f"SELECT count(DISTINCT {quote_name(name)}), count(*) FROM {version.source}"
        ).fetchone()
    return row is not None and row[0] == row[1]


def _rows(version: DatasetVersion, other: DatasetVersion, key: str) -> list[tuple[str, str]]:
    """Key and hash of each row; columns that only the other version has count as empty."""
    own = {c.name: c.type for c in version.columns}
    others = {c.name: c.type for c in other.columns}
    names = sorted({**own, **others})
    fields = ", ".join(f"{quote_name(n)} := {_comparable(n, own.get(n), others.get(n))}" for n in names)
    shown = f"CAST({quote_name(key)} AS VARCHAR)" if key else "''"
    with reading(version.files, memory="1GB") as connection:
        text = (
            f"SELECT {shown}, md5(CAST(to_json(struct_pack({fields})) AS VARCHAR)) FROM {version.source} ORDER BY {ROW}"
            if names
            else f"SELECT '', '' FROM {version.source}"
        )
        return connection.execute(text).fetchall()


def _comparable(name: str, own: Type | None, other: Type | None) -> str:
    """SQL for a column's values, written alike where both versions hold the same value under different types."""
    column = quote_name(name)
    if own is None:
        return "NULL"
    if own == other or other is None:
        return column
    if {own, other} == {"integer", "number"}:
        return f"CAST({column} AS DOUBLE)"
    return column if own == "json" else f"CAST(to_json({column}) AS VARCHAR)"


def _by_key(
    left: DatasetVersion, right: DatasetVersion, key: str, a: list[tuple[str, str]], b: list[tuple[str, str]]
) -> VersionDiff:
    where = {k: n for n, (k, _) in enumerate(a)}
    added, changed, same = [], [], 0
    for number, (value, digest) in enumerate(b):
        before = where.pop(value, None)
        if before is None:
            added.append(number)
        elif a[before][1] != digest:
            changed.append((before, number))
        else:
            same += 1
    return VersionDiff(left.ref, right.ref, key, added, sorted(where.values()), changed, same)


def _by_order(left: DatasetVersion, right: DatasetVersion, a: list[str], b: list[str]) -> VersionDiff:
    anchors = _anchors(a, b)
    added: list[int] = []
    removed: list[int] = []
    changed: list[tuple[int, int]] = []
    same = 0
    last_a = last_b = 0
    for at_a, at_b in [*anchors, (len(a), len(b))]:
        gap_a, gap_b, equal = _same_in_gap(a, b, range(last_a, at_a), range(last_b, at_b))
        same += equal
        pairs, rest_a, rest_b = _paired(left, right, gap_a, gap_b)
        changed += pairs
        removed += rest_a
        added += rest_b
        same += at_a < len(a)
        last_a, last_b = at_a + 1, at_b + 1
    return VersionDiff(left.ref, right.ref, "", added, removed, changed, same)


def _anchors(a: list[str], b: list[str]) -> list[tuple[int, int]]:
    """Rows that are unique in both and in the same order in both: the longest such sequence (patience sorting)."""
    counts_a, counts_b = Counter(a), Counter(b)
    where = {digest: n for n, digest in enumerate(a) if counts_a[digest] == 1}
    common = [(where[d], n) for n, d in enumerate(b) if counts_b[d] == 1 and d in where]
    ends: list[int] = []
    tails: list[int] = []
    before: list[int] = []
    for index, (at_a, _) in enumerate(common):
        place = bisect_left(ends, at_a)
        before.append(tails[place - 1] if place else -1)
        if place == len(ends):
            ends.append(at_a)
            tails.append(index)
        else:
            ends[place] = at_a
            tails[place] = index
    out = []
    at = tails[-1] if tails else -1
    while at >= 0:
        out.append(common[at])
        at = before[at]
    return out[::-1]


def _same_in_gap(a: list[str], b: list[str], gap_a: range, gap_b: range) -> tuple[list[int], list[int], int]:
    """The rows of a gap that are not in the other's gap too: rows that stand several times cannot be anchors."""
    left = Counter(a[i] for i in gap_a)
    right = Counter(b[i] for i in gap_b)
    both = left & right
    spent_a, spent_b = Counter(both), Counter(both)
    return _left_over(a, gap_a, spent_a), _left_over(b, gap_b, spent_b), both.total()


def _left_over(digests: list[str], gap: range, spent: Counter[str]) -> list[int]:
    out = []
    for index in gap:
        if spent[digests[index]] > 0:
            spent[digests[index]] -= 1
        else:
            out.append(index)
    return out


def _paired(
    left: DatasetVersion, right: DatasetVersion, a: list[int], b: list[int]
) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """Rows of a gap that are alike enough to be one row changed; the rest was removed or added."""
    if not a or not b:
        return [], a, b
    if len(a) == len(b):
        # As many rows as before at this place: a rewriting changes rows where they stand.
        return list(zip(a, b, strict=True)), [], []
    if len(a) * len(b) > _COMPARED:
        return [], a, b
    rows_a, rows_b = left.rows_at(a), right.rows_at(b)
    pairs: list[tuple[int, int]] = []
    taken: set[int] = set()
    begin = 0
    for index, row in zip(a, rows_a, strict=True):
        for other in range(begin, len(b)):
            if _alike(left.kind, row, right.kind, rows_b[other]):
                pairs.append((index, b[other]))
                taken.add(other)
                begin = other + 1
                break
    matched = {i for i, _ in pairs}
    return pairs, [i for i in a if i not in matched], [b[n] for n in range(len(b)) if n not in taken]


def _alike(left_kind: str, left: Row, right_kind: str, right: Row) -> bool:
    a, b = whole_text(left_kind, left)[:2000], whole_text(right_kind, right)[:2000]
    matcher = SequenceMatcher(None, a, b, autojunk=False)
    return matcher.real_quick_ratio() >= _ALIKE and matcher.quick_ratio() >= _ALIKE and matcher.ratio() >= _ALIKE
