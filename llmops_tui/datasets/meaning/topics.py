"""The map of a version: clusters of rows that mean alike, with words that name them, and where each row lies.

A job makes it and keeps it beside the vectors; opening it reads arrays.
"""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import TypedDict, cast

import numpy as np

from llmops_tui.counts import counted
from llmops_tui.datasets.label_columns import label_column
from llmops_tui.datasets.meaning.clustering import (
    Labels,
    Points,
    fit_clusters,
    nearest_clusters,
    place_centres,
    place_rows,
    usual_count,
)
from llmops_tui.datasets.meaning.index import MeaningIndex, find_index, read_record, require_index
from llmops_tui.datasets.progress import Report, no_report
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.embeddings.embedder import Vectors
from llmops_tui.errors import InputRefusedError
from llmops_tui.jobs.entries import JobEntry
from llmops_tui.jobs.worker import JobContext
from llmops_tui.words import WORD
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.written import remove_noted, write_noted

NO_CLUSTER = -1
MOST_CLUSTERS = 500
_WORDS = 6
_LABELS = 5
_EXAMPLES = 5
# Words that are kept of a cluster while they are counted.
_COUNTED = 20_000
# A word that names a cluster is so many times as common in it as in the others.
_LIFT = 2.0
_WORD = re.compile(WORD)
_MAP, _OF, _POINTS, _CENTRES = "map.json", "map-clusters.npy", "map-points.npy", "map-centres.npy"


class ShareRecord(TypedDict):
    """A label, and how many rows have it."""

    label: str
    rows: int


class TopicRecord(TypedDict):
    """A cluster: its number, rows, the words that name it, its commonest labels, its middle, and rows next to that."""

    cluster: int
    rows: int
    words: list[str]
    labels: list[ShareRecord]
    x: float
    y: float
    examples: list[int]


class MapRecord(TypedDict):
    """A map: of which version by which model, its clusters, the largest first, and which column the labels are."""

    version: str
    sha256: str
    model: str
    embedded: str
    rows: int
    placed: int
    label: str
    topics: list[TopicRecord]


ENTRY: JobEntry[MapRecord] = JobEntry("llmops_tui.datasets.meaning.topics:run_map_job")
KIND = "map"


class TopicMap:
    """A map that was made: its record, and of each row its cluster and its place, mapped from files."""

    def __init__(self, index: MeaningIndex) -> None:
        self.index = index
        self._folder = index.folder

    @property
    def ready(self) -> bool:
        """Whether it was made."""
        return (self._folder / _MAP).exists()

    @cached_property
    def record(self) -> MapRecord:
        """What is said of it."""
        return cast("MapRecord", read_record(self._folder / _MAP, MapRecord.__required_keys__))

    @cached_property
    def clusters(self) -> Labels:
        """Of each row the number of its cluster, -1 where it has no text."""
        return np.asarray(np.load(self._folder / _OF, mmap_mode="r"))

    @cached_property
    def points(self) -> Points:
        """Of each row its place, rows × 2, from 0 to 1; NaN where it has no text."""
        return np.asarray(np.load(self._folder / _POINTS, mmap_mode="r"))

    @cached_property
    def centres(self) -> Vectors:
        """The middles of the clusters, clusters × dimensions."""
        return np.asarray(np.load(self._folder / _CENTRES))

    def rows_of(self, clusters: Sequence[int]) -> list[int]:
        """The rows of some clusters, in ascending order."""
        return [int(row) for row in np.flatnonzero(np.isin(self.clusters, list(clusters)))]

    def keep(self, record: MapRecord, clusters: Labels, points: Points, centres: Vectors) -> None:
        """Keep a map; one that was there before is replaced, and there is none meanwhile."""
        remove_noted(self._folder / _MAP)
        for name, array in ((_OF, clusters), (_POINTS, points), (_CENTRES, centres)):
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            write_noted(self._folder / name, buffer.getvalue())
        write_noted(self._folder / _MAP, json.dumps(record))


def find_map(version: DatasetVersion) -> TopicMap | None:
    """The map of a version, where it has one."""
    index = find_index(version)
    found = TopicMap(index) if index is not None else None
    return found if found is not None and found.ready else None


def require_map(version: DatasetVersion) -> TopicMap:
    """The same.

    Raises:
        InputRefusedError: ``not_mapped``: there is none.
    """
    require_index(version)
    found = find_map(version)
    if found is None:
        raise InputRefusedError(
            "not_mapped", f"{version.ref} has no map", f"llmops data topics {version.ref} makes it."
        )
    return found


def make_map(index: MeaningIndex, count: int = 0, report: Report = no_report) -> TopicMap:
    """Make the map of a version and keep it; ``count`` clusters, or as many as its rows invite.

    Raises:
        InputRefusedError: ``no_text``: no row has a text; ``bad_clusters``: it is no such number.
    """
    if count and not 1 <= count <= MOST_CLUSTERS:
        raise InputRefusedError("bad_clusters", f"{count:,} clusters cannot be made", f"Give 1 to {MOST_CLUSTERS}.")
    version, file = index.version, index.file
    vectors = file.vectors()
    rows = np.flatnonzero(file.has_text())
    if not len(rows):
        raise InputRefusedError("no_text", f"no row of {version.ref} has a text that was embedded", index.text.told)
    report(0.02, "clustering")
    centres = fit_clusters(vectors, rows, count or usual_count(len(rows)))
    report(0.3, "assigning rows")
    of = nearest_clusters(vectors, rows, centres)
    # The largest is number 0; one that nobody is nearest to goes.
    sizes = np.bincount(of, minlength=len(centres))
    order = np.array([c for c in np.argsort(-sizes, kind="stable") if sizes[c]])
    centres = centres[order]
    of = np.argsort(order).astype(np.int32)[np.searchsorted(np.sort(order), of)]
    report(0.4, "placing rows")
    placed = place_centres(centres)
    points = place_rows(vectors, rows, centres, placed)
    low = points.min(axis=0)
    spread = np.maximum(points.max(axis=0) - low, 1e-9)
    clusters = np.full(version.rows, NO_CLUSTER, np.int32)
    clusters[rows] = of
    places = np.full((version.rows, 2), np.nan, np.float32)
    places[rows] = (points - low) / spread
    label = label_column(version.columns)
    report(0.5, "naming clusters")
    words, labels = _count(index, clusters, len(centres), label, report)
    middles = [places[rows][of == c].mean(axis=0) for c in range(len(centres))]
    names = name_clusters(words)
    topics: list[TopicRecord] = []
    for cluster in range(len(centres)):
        members = rows[of == cluster]
        cosines = np.asarray(vectors[members[:5000]], np.float32) @ centres[cluster]
        nearest = np.argsort(-cosines, kind="stable")[:_EXAMPLES]
        topics.append(
            {
                "cluster": cluster,
                "rows": len(members),
                "words": names[cluster],
                "labels": [{"label": name, "rows": n} for name, n in labels[cluster].most_common(_LABELS)],
                "x": round(float(middles[cluster][0]), 4),
                "y": round(float(middles[cluster][1]), 4),
                "examples": [int(row) for row in members[nearest]],
            }
        )
    record: MapRecord = {
        "version": version.ref,
        "sha256": version.sha256,
        "model": index.spec.model,
        "embedded": index.text.told,
        "rows": version.rows,
        "placed": len(rows),
        "label": label,
        "topics": topics,
    }
    made = TopicMap(index)
    made.keep(record, clusters, places, centres)
    return TopicMap(index)


def _count(
    index: MeaningIndex, clusters: Labels, count: int, label: str, report: Report
) -> tuple[list[Counter[str]], list[Counter[str]]]:
    """Of each cluster the words of its rows, each once a row, and its labels."""
    words: list[Counter[str]] = [Counter() for _ in range(count)]
    labels: list[Counter[str]] = [Counter() for _ in range(count)]
    done = 0
    for batch in index.version.read():
        for number, row in batch:
            cluster = int(clusters[number])
            if cluster == NO_CLUSTER:
                continue
            words[cluster].update(set(words_of(index.text.text(row))))
            if label and row.get(label) is not None:
                labels[cluster][str(row[label])[:100]] += 1
        for cluster, counter in enumerate(words):
            if len(counter) > 2 * _COUNTED:
                words[cluster] = Counter(dict(counter.most_common(_COUNTED)))
        done += len(batch)
        total = index.version.rows
        report(0.5 + 0.48 * done / max(1, total), f"{done:,} of {counted(total, 'row')}")
    return words, labels


def words_of(text: str) -> list[str]:
    """The words of a text that may name what it is about."""
    return [w for w in _WORD.findall(text[:4000].lower()) if (len(w) > 2 or not w.isascii()) and not w.isdigit()]


def name_clusters(words: Sequence[Counter[str]]) -> list[list[str]]:
    """The words that name each cluster: those with the highest c-TF-IDF that are commoner in it than elsewhere.

    c-TF-IDF is tf · log(1 + A / f): tf the word's share of the cluster's words, f its count in all, A the mean number of
    words of a cluster (Grootendorst, "BERTopic", 2022).
    """
    everywhere: Counter[str] = Counter()
    for counter in words:
        everywhere.update(counter)
    total = sum(everywhere.values())
    mean = total / max(1, len(words))
    named = []
    for counter in words:
        size = max(1, sum(counter.values()))
        scored = {
            word: n / size * float(np.log1p(mean / everywhere[word]))
            for word, n in counter.items()
            if (n > 1 or size < 50) and n / size >= _LIFT * (everywhere[word] - n) / max(1, total - size)
        }
        best = sorted(scored.items(), key=lambda item: (-item[1], item[0]))
        named.append([word for word, _ in best[:_WORDS]])
    return named


def run_map_job(context: JobContext, ref: str, model: str = "", clusters: int = 0) -> MapRecord:
    """The job: make the map of a version that was embedded."""
    version = DatasetStore(Catalog(context.workspace)).get(ref)
    return make_map(require_index(version, model), clusters, context.report).record
