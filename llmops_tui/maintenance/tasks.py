"""Maintenance that runs as a job."""

from __future__ import annotations

from typing import TypedDict

from llmops_tui.errors import InputRefusedError
from llmops_tui.jobs.worker import JobContext
from llmops_tui.maintenance.erasure_ledger import ledger_key, unseal
from llmops_tui.maintenance.erasure_records import ForgotDone, How
from llmops_tui.maintenance.forgetting.erase import forget
from llmops_tui.maintenance.records import BackupMade
from llmops_tui.maintenance.retention import apply_retention
from llmops_tui.maintenance.series import backup_as_set
from llmops_tui.settings import load_settings


def back_up(context: JobContext) -> BackupMade:
    """Make the backup that the settings describe."""
    made = backup_as_set(context.workspace, context.report)
    return {"file": str(made.path), "files": len(made.manifest.files), "removed": [str(path) for path in made.removed]}


class RetentionApplied(TypedDict):
    """What the job of retention tells: how many things went, and what stays with why."""

    removed: int
    stays: list[str]


def keep_retention(context: JobContext) -> RetentionApplied:
    """Apply the rules of retention of the settings, as they are now."""
    settings, problems = load_settings()
    if unclear := [problem for problem in problems if "retention" in problem]:
        raise InputRefusedError("settings_unclear", f"nothing was removed: {unclear[0]}", "Fix the settings.")
    done = apply_retention(context.workspace, settings, tell=context.report)
    return {
        "removed": sum(one.done for one in done),
        "stays": [f"{one.what}: {one.stays}" for one in done if one.stays],
    }


def forget_person(context: JobContext, name: str, sealed: str, how: How) -> ForgotDone:
    """Forget a person; the record of the job has them sealed with the key of the ledger, under a ``name``."""
    key = ledger_key()
    if key is None:
        raise InputRefusedError("erasure_sealed", "the key of the ledger of erasures is gone", "Ask again.")
    done = forget(context.workspace, unseal(sealed, name, key), how, tell=context.report, own_job=context.job_id)
    if done is None or done["receipt"] is None:
        return {"erasure": "", "things": 0, "left": []}
    receipt = done["receipt"]
    return {"erasure": done["id"], "things": sum(receipt["counts"].values()), "left": receipt["searched"]["left"]}
