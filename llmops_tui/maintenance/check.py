"""Integrity check of a workspace: checksums, database rows, hashes and references."""

from __future__ import annotations

from collections.abc import Callable

from llmops_tui.errors import LlmopsError
from llmops_tui.maintenance import check_catalog, check_files
from llmops_tui.maintenance.findings import Report
from llmops_tui.workspace.checksums import record_checksums
from llmops_tui.workspace.layout import Workspace

Progress = Callable[[float, str], None]


def check(workspace: Workspace, *, accept: bool = False, progress: Progress | None = None) -> Report:
    """Look at everything. Where nothing is wrong, everything is checksummed again; with ``accept`` it is in any case.

    Beside the checksums only the times at which models were verified are written. The order matters: files are compared
    before anything opens them.
    """
    tell = progress or (lambda _share, _what: None)
    report = Report()
    check_files.against_checksums(workspace, report, tell)
    for name, inspect in (
        ("the event log", check_catalog.event_log),
        ("the audit", check_catalog.audit),
        ("access keys", check_catalog.access_keys),
        ("judges", check_catalog.judges),
        ("the catalog", check_catalog.catalog),
        ("datasets", check_catalog.datasets),
        ("models", check_catalog.models),
        ("evaluations", check_catalog.evaluations),
        ("references", check_catalog.references),
    ):
        tell(0.5, name)
        try:
            inspect(workspace, report)
        except LlmopsError as error:
            report.failed(name, error)
        except Exception as error:  # noqa: BLE001  whatever damage does to one look, the others are made
            report.error(name, f"cannot be checked: {type(error).__name__}: {error}"[:400])
    tell(1.0, "done")
    if accept or not report.errors:
        report.count("checksums recorded", record_checksums(workspace, again=accept, large=True))
    return report
