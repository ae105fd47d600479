"""The check of the clock before anything of a workspace goes by its age."""

from __future__ import annotations

from llmops_tui.jobs.store import JobStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.clock_check import refuse_if_ahead
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.ingest import ingest
from llmops_tui.workspace.layout import Workspace

_DAY = 86_400
# A clock that is so many days ahead of what was recorded last is believed when something was recorded on so many.
_LEAP_DAYS = 60
_PROOF_DAYS = 3


def refuse_implausible_clock(workspace: Workspace, now: float) -> None:
    """Refuse where the clock is far ahead of the last request and job.

    Raises:
        LlmopsError: ``clock_ahead``.
    """
    refuse_if_ahead(
        _recorded_days(workspace),
        now,
        unit=_DAY,
        leap=_LEAP_DAYS,
        proof=_PROOF_DAYS,
        hint="Set the clock; if it is correct and the workspace was not used for this long: llmops gc --trust-clock.",
    )


def _recorded_days(workspace: Workspace) -> set[int]:
    """The days since 1970 on which a request was answered or a job was started."""
    sql = "SELECT DISTINCT floor(started_at / ?)::BIGINT FROM requests WHERE started_at IS NOT NULL"
    catalog, event_log = Catalog(workspace), EventLog(workspace)
    try:
        ingest(catalog, event_log)
        days = {int(row[0]) for row in catalog.read(lambda connection: connection.execute(sql, [_DAY]).fetchall())}
        return days | {int(job.created_at) // _DAY for job in JobStore(event_log).all(100_000) if job.created_at}
    finally:
        event_log.close()
