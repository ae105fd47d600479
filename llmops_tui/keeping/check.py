"""Check a workspace: every file against its seal, every row of the databases, every hash and reference in the book."""

from __future__ import annotations

from collections.abc import Callable

from llmops_tui.errors import LlmopsError
from llmops_tui.keeping import check_book, check_files
from llmops_tui.keeping.findings import Report
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.seals import seal

Progress = Callable[[float, str], None]


def check(workspace: Workspace, *, accept: bool = False, progress: Progress | None = None) -> Report:
    """Look at everything. Where nothing is wrong, everything is sealed anew; with ``accept`` it is in any case.

    Beside the seals only the times at which models were verified are written. The order matters: files are compared
    before anything opens them.
    """
    tell = progress or (lambda _share, _what: None)
    report = Report()
    check_files.against_seals(workspace, report, tell)
    for name, look in (
        ("the journal", check_book.journal),
        ("the book", check_book.book),
        ("datasets", check_book.datasets),
        ("models", check_book.models),
        ("evaluations", check_book.evaluations),
        ("references", check_book.references),
    ):
        tell(0.5, name)
        try:
            look(workspace, report)
        except LlmopsError as error:
            report.failed(name, error)
        except Exception as error:  # noqa: BLE001  whatever damage does to one look, the others are made
            report.error(name, f"cannot be looked at: {type(error).__name__}: {error}"[:400])
    tell(1.0, "done")
    if accept or not report.errors:
        report.count("files sealed", seal(workspace, again=accept, large=True))
    return report
