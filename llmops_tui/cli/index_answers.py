"""``llmops index measure --answers``: what becomes of passages in answers, as evaluation runs that are compared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli import evaluate_report
from llmops_tui.cli.output import Session

if TYPE_CHECKING:
    from llmops_tui.evaluation.retrieval.answering import AnswersAsked
    from llmops_tui.evaluation.retrieval.records import AnswersRecord
    from llmops_tui.retrieval.store import Index

Answers = Annotated[
    list[str] | None,
    typer.Option(
        "--answers", metavar="PROMPT", help="A prompt or chain that retrieves; its answers are measured. Repeatable."
    ),
]
Models = Annotated[list[str] | None, typer.Option("--model", help="The model that answers; repeatable.")]
Judge = Annotated[
    str, typer.Option("--judge", help="A model that judges support sentence by sentence, beside the rules.")
]
Abstains = Annotated[
    list[str] | None,
    typer.Option("--abstains", metavar="WORDS", help="Words by which an answer abstains, too, such as NOT_FOUND."),
]
AbstainsRegex = Annotated[
    str, typer.Option("--abstains-regex", metavar="REGEX", help="The same by a regular expression.")
]
Variable = Annotated[str, typer.Option("--variable", help="The variable that has the query, where there are several.")]


def measure_answers(
    session: Session, index: Index, path: Path, asked: AnswersAsked, models: list[str] | None
) -> tuple[AnswersRecord, str]:
    """Ask the queries, as runs of one job, and compare them with the first: as JSON, and as text."""
    from llmops_tui.cli.evaluate import follow
    from llmops_tui.cli.evaluate_options import store_of
    from llmops_tui.evaluation.retrieval.answering import answers_suite, from_elsewhere
    from llmops_tui.evaluation.run_comparison import compare_runs

    store = store_of(session)
    # The job loads models by them; what is wrong in them is told here.
    _ = session.settings
    suite = answers_suite(store, index, path, asked)
    # What cannot be asked leaves no version behind.
    columns = store.columns(suite, models)
    version = store.save_suite(suite, f"queries of {index.ref}")
    names = [entry.name for entry in store.start(version, columns)]
    follow(session, store, names)
    states = store.states([store.get(name) for name in names])
    texts = [evaluate_report.run_text(session, state) for state in states]
    elsewhere = {state.run.name: from_elsewhere(state.run.manifest, index) for state in states}
    texts += [f"{name}: {told}" for name, told in elsewhere.items() if told]
    compared = [compare_runs(store, names[0], name, "") for name in names[1:]]
    texts += [
        f"{one.candidate.name} against {names[0]}\n{evaluate_report.compare_text(session, one, 20)}" for one in compared
    ]
    texts.append(f"llmops eval show {names[0]} --case N shows a query with its passages and its answer")
    data: AnswersRecord = {
        "suite": version.ref,
        "runs": [state.as_dict() for state in states],
        "elsewhere": {name: told for name, told in elsewhere.items() if told},
        "comparisons": [one.as_dict() for one in compared],
    }
    return data, "\n\n".join(texts)


def require_answered(session: Session, names: list[str]) -> None:
    """Fail where one of the runs has no answer at all.

    Raises:
        LlmopsError: ``all_failed``.
    """
    from llmops_tui.cli.evaluate_options import store_of
    from llmops_tui.evaluation.runner.failing import require_answers

    store = store_of(session)
    require_answers([store.get(name) for name in names])
