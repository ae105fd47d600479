"""What the filter of rows may ask by meaning, after ``??``: a text, or a sign with what it is about.

``#12`` rows like row 12 · ``@3,5`` rows of clusters 3 and 5 · ``~0.95`` semantic duplicates side by side · ``!`` outliers ·
``-NAME`` rows that dataset NAME covers least · ``+text`` by meaning and by words · anything else by meaning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from llmops_tui.counts import counted
from llmops_tui.datasets.meaning.coverage import measure_coverage
from llmops_tui.datasets.meaning.duplicates import THRESHOLD, find_outliers, find_semantic_duplicates
from llmops_tui.datasets.meaning.index import MeaningIndex, require_index
from llmops_tui.datasets.meaning.search import open_search
from llmops_tui.datasets.meaning.topics import TopicMap, require_map
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError

LIKE, CLUSTERS, DUPLICATES, OUTLIERS, COVERED, BOTH = "#", "@", "~", "!", "-", "+"
_SHOWN = 200
_BY_PARTS = " Only rows of the same part were compared."
Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Asked:
    """The rows that a filter asks for, in the order to show them, and a line on them; empty where there is none to say."""

    rows: list[int]
    told: str = ""


def rows_for(store: DatasetStore, version: DatasetVersion, asked: str) -> Asked:
    """The rows that a filter asks for.

    Raises:
        InputRefusedError: what stands behind the sign cannot be read, or the version is not embedded.
    """
    index = require_index(version)
    sign, rest = asked[:1], asked[1:].strip()
    if sign == DUPLICATES:
        return _duplicates(index, _number(rest or str(THRESHOLD), asked, float))
    if sign == OUTLIERS:
        return _outliers(index)
    if sign == COVERED:
        return _covered(index, require_index(store.get(rest)))
    if sign == CLUSTERS:
        return _of_clusters(require_map(version), [_number(n, asked, int) for n in rest.replace(",", " ").split()])
    search = open_search(store.catalog, index)
    alike = [_number(rest, asked, int)] if sign == LIKE else []
    if alike:
        found = search.like(alike[0], _SHOWN)
    else:
        found = search.find(rest, _SHOWN, "both") if sign == BOTH else search.find(asked, _SHOWN)
    approximate = found.compared < version.rows - index.about["without_text"] - len(alike)
    told = f"Approximate: the cosine of {found.compared:,} candidates of {counted(version.rows, 'row')}."
    # The row that the others are like is the first, to compare with.
    return Asked([*alike, *found.rows], told if approximate else "")


def _of_clusters(found: TopicMap, numbers: list[int]) -> Asked:
    known = len(found.record["topics"])
    if unknown := [number for number in numbers if not 0 <= number < known]:
        raise InputRefusedError("bad_search", f"the map has no cluster {unknown[0]}", f"It has 0 to {known - 1}.")
    return Asked(found.rows_of(numbers))


def _number(text: str, asked: str, kind: Callable[[str], Number]) -> Number:
    try:
        return kind(text)
    except ValueError as error:
        raise InputRefusedError(
            "bad_search", f"{asked!r} has no number after its sign", f"Such as ??{LIKE}12, ??{CLUSTERS}3,5, ??~0.95."
        ) from error


def _duplicates(index: MeaningIndex, threshold: float) -> Asked:
    found = find_semantic_duplicates(index, threshold)
    if not found.pairs:
        return Asked([], f"No two rows have a cosine of {threshold:g} or more.")
    first = found.pairs[0]
    told = (
        f"{counted(len(found.pairs), 'pair')} of rows that mean the same and differ in text, side by side; the nearest: rows "
        f"{first.left:,} and {first.right:,}, {first.similarity:.3f}. o, Deduplicate by meaning, "
        f"removes {len(found.dropped()):,}."
    )
    if found.by_parts:
        told += _BY_PARTS
    return Asked([row for group in found.groups for row in group], told)


def _outliers(index: MeaningIndex) -> Asked:
    found = find_outliers(index)
    told = f"{counted(len(found.rows), 'row')} far from all others, the farthest first"
    told += f": mean cosine below {found.limit:.2f}; in the middle {found.median:.2f}."
    told += _BY_PARTS if found.by_parts else ""
    return Asked([row for row, _ in found.rows], told)


def _covered(index: MeaningIndex, trained: MeaningIndex) -> Asked:
    found = measure_coverage(index, trained)
    levels = ", ".join(f"≥ {one['cosine']:.1f}: {one['rows'] / max(1, found['rows']):.0%}" for one in found["levels"])
    told = f"Cosine of each row to the nearest of {found['trained']}: mean {found['mean']:.2f}; {levels}. The farthest are shown."
    return Asked([one["row"] for one in found["farthest"]], told)
