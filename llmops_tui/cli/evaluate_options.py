"""Options shared by the evaluation commands: names of suites and runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.output import Session
from llmops_tui.user_files import with_home

if TYPE_CHECKING:
    from llmops_tui.evaluation.run import SuiteVersion
    from llmops_tui.evaluation.store import EvaluationStore

SuiteName = Annotated[
    str,
    typer.Argument(
        metavar="SUITE", help="A suite file (llmops or promptfoo format), or a saved suite as name or name@version."
    ),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Ask everything again; use no answer that was kept before.")]
RunName = Annotated[str, typer.Argument(help="The run's name.")]


def store_of(session: Session) -> EvaluationStore:
    """The evaluations of the workspace."""
    from llmops_tui.evaluation.store import EvaluationStore

    return EvaluationStore(session.workspace)


def suite_of(session: Session, store: EvaluationStore, given: str) -> SuiteVersion:
    """A suite by path or name; one from a file, or one that bundled, is kept as a version first.

    What a file of promptfoo says and what changes nothing here is narrated.
    """
    from llmops_tui.evaluation.bundled_suites import suite_named
    from llmops_tui.evaluation.suite_file import read_suite

    path = with_home(given)
    if path.is_file():
        return store.save_suite(read_suite(path, session.say), f"from {path.name}")
    return suite_named(store, given)
