"""Maintenance that runs as a job."""

from __future__ import annotations

from llmops_tui.jobs.worker import JobContext
from llmops_tui.maintenance.records import BackupMade
from llmops_tui.maintenance.series import backup_as_set


def back_up(context: JobContext) -> BackupMade:
    """Make the backup that the settings describe."""
    made = backup_as_set(context.workspace, context.report)
    return {"file": str(made.path), "files": len(made.manifest.files), "removed": [str(path) for path in made.removed]}
