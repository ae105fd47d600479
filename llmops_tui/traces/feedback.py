"""Feedback on answers: thumbs, corrections, comments, and review verdicts."""

from __future__ import annotations

import contextlib
import time

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference.content import feedback_as_kept
from llmops_tui.settings import load_settings
from llmops_tui.traces.records import Given
from llmops_tui.traces.store import TraceStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.events import FeedbackRecord
from llmops_tui.workspace.ids import new_id
from llmops_tui.workspace.ingest import ingest

# How long many clients at once wait where the catalog has to be asked; and how long ingesting their feedback may take.
_CROWD_SECONDS = 60.0
_INGEST_SECONDS = 0.5
SCORES = {"up": 1, "down": -1}
VERDICTS = ("accepted", "dismissed")


def give(
    store: TraceStore,
    trace: str,
    *,
    score: str | None = None,
    correction: str | None = None,
    comment: str | None = None,
    verdict: str | None = None,
    source: str = "me",
) -> Given:
    """Say something of an answer; durable when this returns. What was said before is kept, and what is said last counts.

    Raises:
        NotFoundError: there is no such trace.
        InputRefusedError: ``empty_feedback``, ``bad_feedback``, or ``content_off``: the settings keep no texts.
    """
    if score is not None and score not in SCORES:
        raise InputRefusedError("bad_feedback", f"{score!r} is not a score", "Use up or down.")
    if verdict is not None and verdict not in VERDICTS:
        raise InputRefusedError("bad_feedback", f"{verdict!r} is not a verdict", " or ".join(VERDICTS) + ".")
    if score is None and not correction and not comment and verdict is None:
        raise InputRefusedError("empty_feedback", "the feedback is empty", "Give a score, a correction or a comment.")
    request = _request_of(store, trace)
    entry: FeedbackRecord = {
        "request": request,
        "score": SCORES.get(score or ""),
        "correction": correction or None,
        "comment": comment or None,
        "verdict": verdict,
        "source": source,
        "said_at": time.time(),
    }
    policy = load_settings()[0].trace_content
    if policy == "off" and (correction or comment):
        raise InputRefusedError(
            "content_off",
            "the setting trace_content is off: texts are not stored",
            "Give a score or a verdict, or change the setting.",
        )
    key = new_id("fb")
    store.event_log.append("feedback", key, {**feedback_as_kept(entry, policy), "source": source})
    with contextlib.suppress(LlmopsError):
        # It is durable in the event log; a catalog that is busy takes it with the next look.
        ingest(Catalog(store.catalog.workspace, lock_seconds=_INGEST_SECONDS), store.event_log)
    return {
        "feedback": key,
        "trace": request,
        "score": score,
        "correction": correction,
        "comment": comment,
        "verdict": verdict,
    }


def _request_of(store: TraceStore, trace: str) -> str:
    """The whole id of a trace."""
    if store.event_log.knows_request(trace):
        return trace
    patient = Catalog(store.catalog.workspace, lock_seconds=_CROWD_SECONDS)
    return TraceStore(patient, store.event_log).get(trace).line.id
