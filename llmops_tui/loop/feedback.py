"""Feedback that may become data: what was said, what waits for a look, and what no dataset version has yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

from llmops_tui.datasets.records import question_text
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError
from llmops_tui.loop.belonging import OF, owner_of
from llmops_tui.loop.distinct import clusters_of
from llmops_tui.traces.store import TRACES
from llmops_tui.traces.to_dataset import UNRATED, Gathered, gather, look_for_personal, make_version
from llmops_tui.workspace.files import sha256_text
from llmops_tui.workspace.ingest import ingest

if TYPE_CHECKING:
    import duckdb

    from llmops_tui.datasets.version import DatasetVersion
    from llmops_tui.loop.subject import Subject
    from llmops_tui.traces.store import TraceStore

OPERATION = "traces"
"""The operation of versions that are made of traces."""
HELD_OUT = "held out"
"""The part of what was gathered that no training may see: by it a retrained model is judged on what is new."""
_SUFFIX = "-new"


class FeedbackRecord(TypedDict):
    """What was said of a subject's answers: ``rated`` of all, some both down and corrected.

    ``usable`` are those of which rows can be made, ``fresh`` those in no version yet.
    """

    requests: int
    rated: int
    up: int
    down: int
    corrected: int
    in_queue: int
    usable: int
    fresh: int
    last_at: float | None


@dataclass(frozen=True)
class Feedback:
    """As :class:`FeedbackRecord`; ``fresh`` are the traces, the oldest first, and ``usable`` has when each was asked."""

    requests: int = 0
    rated: int = 0
    up: int = 0
    down: int = 0
    corrected: int = 0
    in_queue: int = 0
    usable: Mapping[str, float] = field(default_factory=dict)
    fresh: tuple[str, ...] = ()
    last_at: float | None = None

    def as_dict(self) -> FeedbackRecord:
        """For JSON."""
        return {
            "requests": self.requests,
            "rated": self.rated,
            "up": self.up,
            "down": self.down,
            "corrected": self.corrected,
            "in_queue": self.in_queue,
            "usable": len(self.usable),
            "fresh": len(self.fresh),
            "last_at": self.last_at,
        }


@dataclass(frozen=True)
class Parts:
    """What would be collected: the rows to learn from, and those that are held out."""

    learned: Gathered
    held_out: Gathered


def versions_of_traces(datasets: DatasetStore) -> list[DatasetVersion]:
    """The versions that were made of feedback on traces, the oldest first; not those of answers that nobody rated."""
    found = [
        one
        for log in datasets.logs().values()
        for one in log
        if one.recipe.operation == OPERATION and one.recipe.parameters.get("part") != UNRATED
    ]
    return sorted(found, key=lambda one: one.created_at)


def is_held_out(version: DatasetVersion) -> bool:
    """Whether a version is what training may not see."""
    return version.recipe.parameters.get("part") == HELD_OUT


def read_feedback(store: TraceStore, subject: Subject) -> Feedback:
    """What was said of a subject's answers, and which of it is in no dataset version.

    A trace is fresh where nothing was made of it since something was last said of it, and nobody has to look at it first:
    what is in the review queue waits there.
    """
    ingest(store.catalog, store.event_log)
    taken: dict[str, float] = {}
    for version in versions_of_traces(DatasetStore(store.catalog)):
        taken |= dict.fromkeys((trace for trace, _ in version.recipe.inputs), version.created_at)
    condition, values = subject.traces.sql()
    queue = "(f.score = -1 OR f.correction IS NOT NULL OR f.comment IS NOT NULL) AND f.verdict = ''"
    usable = "(f.score = 1 OR f.correction IS NOT NULL) AND coalesce(f.verdict, '') <> 'dismissed'"
    counts = (
        "SELECT count(*), count(*) FILTER (f.score IS NOT NULL OR f.correction IS NOT NULL), count(*) FILTER (f.score = 1), "
        f"count(*) FILTER (f.score = -1), count(f.correction), count(*) FILTER ({queue}) FROM {TRACES} WHERE {condition}"
    )
    rows = (
        f"SELECT r.id, r.started_at, max(s.said_at), any_value({queue}) FROM {TRACES} JOIN feedback s ON s.request = r.id "
        f"WHERE {condition} AND {usable} AND r.finish_reason <> 'error' GROUP BY r.id, r.started_at ORDER BY 2, 1"
    )
    last = f"SELECT max(s.said_at) FROM {TRACES} JOIN feedback s ON s.request = r.id WHERE {condition}"

    def work(
        connection: duckdb.DuckDBPyConnection,
    ) -> tuple[list[int], list[tuple[str, float, float, bool]], float | None]:
        counted = connection.execute(counts, values).fetchone()
        newest = connection.execute(last, values).fetchone()
        assert counted is not None
        assert newest is not None
        return [int(one) for one in counted], connection.execute(rows, values).fetchall(), newest[0]

    (requests, rated, up, down, corrected, queued), found, last_at = store.catalog.read(work)
    fresh = tuple(
        trace for trace, _, said_at, waits in found if not waits and (trace not in taken or taken[trace] < said_at)
    )
    moments = {str(trace): float(started) for trace, started, _, _ in found}
    return Feedback(requests, rated, up, down, corrected, queued, moments, fresh, last_at)


def gather_fresh(
    store: TraceStore, subject: Subject, feedback: Feedback, shape: str, privacy: str, share: float
) -> Parts:
    """The rows that fresh feedback makes, in two parts: of what is alike all is in the same one.

    ``share`` is that of clusters that are held out; which ones follows from their texts, so it is the same whenever it is asked.
    What is held out are conversations with their right answers, whatever the shape of the other part is.

    Raises:
        InputRefusedError: ``bad_shape``.
    """
    if not 0 <= share < 1:
        raise InputRefusedError("bad_share", f"{share:g} is no share to hold out", "Give one from 0 up to 0.9.")
    whole = gather(store, subject.traces, "messages", privacy, frozenset(feedback.fresh))
    aside = (
        _held_out([question_text("messages", row) for row in whole.rows], whole.traces, share) if share else frozenset()
    )
    held = gather(store, subject.traces, "messages", privacy, aside)
    wanted = frozenset(feedback.fresh) - aside
    if shape == "messages":
        return Parts(gather(store, subject.traces, shape, privacy, wanted), held)
    # A pair is of the better answer's trace; the worse one may be anybody's to the same conversation.
    every = gather(store, subject.traces, shape, "keep")
    learned = Gathered(left_out=every.left_out)
    for row, trace in zip(every.rows, every.traces, strict=True):
        if trace in wanted:
            learned.rows.append(row)
            learned.traces.append(trace)
    look_for_personal(learned, privacy)
    return Parts(learned, held)


def _held_out(texts: Sequence[str], traces: Sequence[str], share: float) -> frozenset[str]:
    chosen: set[str] = set()
    for members in clusters_of(texts):
        draw = int(sha256_text(min(texts[one] for one in members))[:8], 16) / 2**32
        if draw < share:
            chosen |= {traces[one] for one in members}
    return frozenset(chosen)


def collect(
    store: TraceStore,
    subject: Subject,
    name: str,
    *,
    shape: str = "messages",
    privacy: str = "redact",
    share: float = 0.2,
) -> tuple[DatasetVersion, DatasetVersion | None, Parts]:
    """Keep fresh feedback as the next version of a dataset, and the part that is held out as one of ``NAME-new``.

    Raises:
        InputRefusedError: ``no_rows``: nothing is fresh; ``bad_shape``, ``bad_share``.
    """
    parts = gather_fresh(store, subject, read_feedback(store, subject), shape, privacy, share)
    datasets = DatasetStore(store.catalog)
    if not parts.learned.rows:
        told = f"no answer of {subject.name} that was rated up or corrected makes a row that no version has yet"
        hint = "Look through the review queue first: llmops traces list --filter is:queue."
        raise InputRefusedError("no_rows", told, hint)
    held, more = None, {OF: owner_of(store.catalog, subject)}
    if parts.held_out.rows:
        # First, so that who is killed between the two has not trained on what should be held out.
        held = make_version(datasets, f"{name}{_SUFFIX}", parts.held_out, "messages", privacy, HELD_OUT, more)
    return make_version(datasets, name, parts.learned, shape, privacy, more=more), held, parts


def of_subject(versions: Iterable[DatasetVersion], feedback: Feedback) -> list[DatasetVersion]:
    """Those of some versions that have a row of a subject's traces."""
    return [one for one in versions if any(trace in feedback.usable for trace, _ in one.recipe.inputs)]
