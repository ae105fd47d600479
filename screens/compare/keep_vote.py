"""What becomes of a vote: a case of a suite, a preference pair in a dataset, a label on the winner's version."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.columns.kept_votes import keep_pairs
from llmops_tui.inference.answer_settings import values_filled
from llmops_tui.prompts.compare.boards import TIE
from llmops_tui.prompts.compare.columns import Column
from screens.compare.state import CompareState
from screens.playground.move_label import move_label
from screens.shell.shell import Shell
from screens.widgets.dialogs import Choice, ChoiceDialog, LineDialog


@dataclass(frozen=True)
class Decided:
    """An input, the answers to it, and the place of the best one.

    Attributes:
        sources: what each answer comes from, by hash or id, for the lineage of what is made of it.
    """

    columns: Sequence[Column]
    variables: Mapping[str, object]
    messages: Sequence[Mapping[str, str]]
    answers: Sequence[str]
    winner: int
    sources: Sequence[str]


async def keep_last_vote(shell: Shell, state: CompareState) -> None:
    """Ask what the last vote on the screen is to become, and make it."""
    winner = next(iter(state.winners[-1:]), None)
    if winner is None or winner == TIE or not state.answered:
        shell.say("Vote first: enter says that the column with the focus is the best.", severity="warning")
        return
    runs = await asyncio.to_thread(shell.services.history.several, [answer.run for answer in state.answers])
    run = runs.get(state.answers[winner].run)
    messages = run.messages if run is not None else []
    texts, sources = [answer.text for answer in state.answers], [answer.run for answer in state.answers]
    variables = values_filled(state.columns[winner].settings, state.board.variables)
    await keep_vote(shell, Decided(state.columns, variables, messages, texts, winner, sources))


async def keep_vote(shell: Shell, decided: Decided) -> bool:
    """Ask what the vote is to become, and make it; whether anything was made."""
    column, answer = decided.columns[decided.winner], decided.answers[decided.winner]
    choices = [
        Choice("case", "A case of a suite", "this input, with the winner's answer as the expected one"),
        Choice("pair", "Preference pairs of a dataset", "the winner chosen, each other answer rejected"),
        Choice("label", "A label", f"points at {column.ref}"),
    ]
    what = await shell.ask(ChoiceDialog("The vote becomes …", choices))
    if what == "case":
        hint = "the expected answer"
        suite = await shell.ask(
            LineDialog("Into the suite", "one with written cases, or a new one", f"{column.prompt}-cases")
        )
        expected = await shell.ask(LineDialog("The right answer", hint, answer.strip())) if suite else None
        if not suite or expected is None:
            return False
        version = await asyncio.to_thread(
            shell.services.evaluation.add_case, suite, column.prompt, dict(decided.variables), expected
        )
        undoes = " z undoes it." if await asyncio.to_thread(shell.services.undo.note_suite, version) else ""
        shell.say(f"{version.ref} has {counted(len(version.suite.cases), 'case')}.{undoes}")
    elif what == "pair":
        name = await shell.ask(
            LineDialog("Into the dataset", "a new version of it is made", f"{column.prompt}-preferences")
        )
        if not name:
            return False
        made = await asyncio.to_thread(
            keep_pairs,
            shell.services.datasets,
            name,
            decided.messages,
            decided.answers,
            decided.winner,
            decided.sources,
        )
        undoes = " z undoes it." if await asyncio.to_thread(shell.services.undo.note_rows, made) else ""
        shell.say(f"{made.ref}: {counted(made.rows, 'row')}.{undoes}")
    elif what == "label":
        if column.version is None:
            raise InputRefusedError("draft_column", f"{column.ref} is in no version yet", "Run it first.")
        version_of = await asyncio.to_thread(shell.services.prompts.get, column.ref)
        return await move_label(shell, version_of)
    return what is not None
