"""Moves of prompts' labels in the audit: each one once, whoever made it, also where a process was killed in between.

The catalog keeps the moves, the audit holds a chain of hashes over them. A move is in the catalog first; what is not in the
audit yet is added by the next one who looks, so nothing is missing where it is read.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmops_tui.inference.stages import label_hash
from llmops_tui.workspace.audit import AuditEntry, add_entry, entries
from llmops_tui.workspace.audit_reasons import keep_reason, reasons_of
from llmops_tui.workspace.files import sha256_text

if TYPE_CHECKING:
    from llmops_tui.prompts.store import LabelMove, PromptStore
    from llmops_tui.workspace.event_log import EventLog

PROMOTED, ROLLED_BACK, RESTORED, MOVED = "label.promoted", "label.rolled_back", "label.restored", "label.moved"
WITHDRAWN = "label.withdrawn"
"""Kinds of entries: a promotion, a way back, what an undo or redo brought back, a move by other means, and a stage that was
taken off its version."""
KINDS = (PROMOTED, ROLLED_BACK, RESTORED, MOVED, WITHDRAWN)


@dataclass(frozen=True)
class AuditedMove:
    """A move as the audit has it, and why it was made, in the words of whoever made it; ``by`` is the user's number.

    ``prompt_id`` is the id of the prompt's first version, ``before`` and ``after`` those of versions, empty for none.
    """

    seq: int
    at: float
    kind: str
    prompt_id: str
    label: str
    before: str
    after: str
    by: str
    reason: str = ""


@contextlib.contextmanager
def audited(store: PromptStore, event_log: EventLog, kind: str = MOVED, reason: str = "") -> Iterator[None]:
    """Move a label within: the move is in the audit as of this kind, and made for this reason, before anybody else adds it.

    Raises:
        LlmopsError: the event log cannot be written; nothing is moved then.
    """
    with event_log.transaction() as connection:
        yield
        _note(connection, store, kind, reason)


def note_moves(store: PromptStore, event_log: EventLog) -> None:
    """Add the moves that are not in the audit yet, where the workspace may be written."""
    if not event_log.workspace.read_only and _missing(event_log.connection(), store):
        with event_log.transaction() as connection:
            _note(connection, store, MOVED, "")


def audited_moves(event_log: EventLog, until: float = float("inf")) -> Iterator[AuditedMove]:
    """The moves of labels up to a moment, the oldest first."""
    reasons = reasons_of(event_log)
    for entry in _moves(event_log.connection()):
        at = float(entry.facts.get("moved_at") or entry.at)
        if at <= until:
            yield AuditedMove(
                entry.seq, at, entry.kind, str(entry.facts.get("prompt") or ""), str(entry.facts.get("label") or ""),
                str(entry.facts.get("before") or ""), entry.subject, entry.by, reasons.get(entry.seq, ""),
            )  # fmt: skip


def _moves(connection: sqlite3.Connection) -> Iterator[AuditEntry]:
    return (entry for entry in entries(connection) if entry.kind in KINDS)


def _missing(connection: sqlite3.Connection, store: PromptStore) -> list[LabelMove]:
    noted = {(entry.facts.get("label"), entry.facts.get("moved_at")) for entry in _moves(connection)}
    return [move for move in store.all_label_moves() if (label_hash(move.label), move.moved_at) not in noted]


def _note(connection: sqlite3.Connection, store: PromptStore, kind: str, reason: str) -> None:
    missing = _missing(connection, store)
    ids = store.version_ids({move.prompt for move in missing})
    for move in missing:
        newest = move is missing[-1]
        _add(connection, move, ids, kind if newest else MOVED, reason if newest else "")


def _add(
    connection: sqlite3.Connection, move: LabelMove, ids: dict[tuple[str, int | None], str], kind: str, reason: str
) -> None:
    facts = {
        "prompt": ids.get((move.prompt, 1), ""),
        "label": label_hash(move.label),
        "before": ids.get((move.prompt, move.before)),
        "moved_at": move.moved_at,
        "reason": sha256_text(reason)[:16] if reason else None,
    }
    entry = add_entry(connection, kind, ids.get((move.prompt, move.after), ""), facts)
    if reason:
        keep_reason(connection, entry.seq, reason)
