"""A check of a workspace's traffic: what was said in a window beside the time before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.decisions.numbers import Floats
from llmops_tui.drift.new_topics import Topic, grown_topics
from llmops_tui.drift.samples import Sample, read_sample, thinned
from llmops_tui.drift.traffic import MOST_ROWS, Traffic, compare
from llmops_tui.embeddings.embedder import EmbedderSpec
from llmops_tui.embeddings.opened import opened_embedder
from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.traces.store import TraceFilter, TraceStore
from llmops_tui.traces.to_dataset import UNRATED, Gathered, gathered_requests, make_version
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.ingest import ingest

# Texts that are embedded between two looks at whether to go on.
_BATCH = 64


@dataclass(frozen=True)
class Checked:
    """A check: the two samples, what they say, and the topics that grew."""

    reference: Sample
    window: Sample
    traffic: Traffic
    topics: list[Topic]
    embedder: EmbedderSpec

    @property
    def new(self) -> list[int]:
        """The rows of the window that are of topics that grew, or unlike all that was said before."""
        return sorted({*self.traffic.new, *(row for topic in self.topics for row in topic.rows)})

    def facts(self) -> JsonObject:
        """The figures, as they are kept and as the command line's JSON shows them; no content but words that name topics."""
        told = self.traffic
        return {
            "changed": told.changed,
            "p": told.p,
            "rows": list(told.rows),
            "conversations": list(told.units),
            "without_content": [self.reference.without_content, self.window.without_content],
            "looks": [
                {"look": one.name, "effect": one.effect, "interval": [one.low, one.high], "unit": one.unit, "p": one.p}
                for one in told.looks
            ],
            "smallest_share_seen": told.smallest,
            "unlike": len(told.new),
            "new_rows": len(self.new),
            "languages": {name: list(shares) for name, shares in told.languages.items()},
            "embedder": self.embedder.key,
        }


async def check_traffic(
    catalog: Catalog,
    event_log: EventLog,
    spec: EmbedderSpec,
    wanted: TraceFilter,
    moments: tuple[float, float, float],
    report: Callable[[float], None],
) -> Checked:
    """Compare what was said from the second to the third of three moments with what was said from the first to the second.

    Raises:
        LlmopsError: the embedder cannot be started, or the catalog cannot be read.
    """
    ingest(catalog, event_log)
    begin, middle, end = moments
    reference = thinned(read_sample(catalog, wanted, begin, middle), MOST_ROWS)
    window = thinned(read_sample(catalog, wanted, middle, end), MOST_ROWS)
    texts = [*reference.texts, *window.texts]
    found: list[Floats] = []
    if texts:
        async with opened_embedder(catalog, spec) as embedder:
            for start in range(0, len(texts), _BATCH):
                found.append(np.asarray(await embedder.rows(texts[start : start + _BATCH]), np.float64))
                report(min(1.0, (start + _BATCH) / len(texts)))
    vectors = np.concatenate(found) if found else np.zeros((0, 1))
    return of_vectors(reference, window, vectors, spec)


def of_vectors(reference: Sample, window: Sample, vectors: Floats, spec: EmbedderSpec) -> Checked:
    """The same from the vectors of all rows, the reference's first."""
    sides = vectors[: len(reference.rows)], vectors[len(reference.rows) :]
    traffic = compare(reference, window, sides)
    topics = grown_topics((reference, window), sides) if traffic.changed is not None else []
    return Checked(reference, window, traffic, topics, spec)


def keep_new(store: TraceStore, checked: Checked, name: str, privacy: str) -> tuple[DatasetVersion, Gathered]:
    """Keep the conversations of a window that are of topics that grew, or unlike those before, as the next version of a dataset.

    Raises:
        InputRefusedError: ``no_rows``: nothing is new.
    """
    requests = [checked.window.rows[row].request for row in checked.new]
    if not requests:
        raise InputRefusedError("no_rows", "nothing in the window is new", "Nothing was kept.")
    gathered = gathered_requests(store, requests, privacy)
    return make_version(DatasetStore(store.catalog), name, gathered, "messages", privacy, UNRATED), gathered
