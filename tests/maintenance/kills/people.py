"""Writers of what people say: boards of comparisons with votes, grades and votes on the answers of evaluation runs."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

from llmops_tui.evaluation.grading.opening import grade_sheet, vote_sheet
from llmops_tui.evaluation.grading.sheets import Sheet
from llmops_tui.evaluation.run import Asked
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.prompts.compare.boards import Boards
from llmops_tui.prompts.compare.columns import Column
from llmops_tui.workspace.event_log import EventLog
from tests.maintenance.kills.ledger import Kind, Known, Ledger, Place
from tests.maintenance.kills.records import each_once, rows
from tests.maintenance.kills.work import CASES, at_once, working

CRITERION, SCALE = "taste", "1-5"
COLUMNS = tuple(Column("hello", 1, "", "Hello", f"far-{one}", SamplingParameters()) for one in "kt")


# ── boards ──


def write_boards(place: Place, tell: Ledger, chance: Random) -> None:
    boards = Boards(EventLog(place.workspace))
    while True:
        board = replace(boards.load_or_new(f"b{tell.label[0]}{chance.randrange(2)}"), columns=COLUMNS)
        run = tell.fresh()
        with tell.doing("round", run=run):
            board = boards.save(board.asked([run, run]))
        voter = tell.fresh()
        with tell.doing("vote", voter=voter):
            boards.save(board.voted(chance.randrange(2), voter, blind=True))
        name = tell.fresh()
        with tell.doing("kept", name=name):
            boards.save(replace(boards.load_or_new(name), columns=COLUMNS))
        if chance.random() < 0.5:
            with tell.doing("forgotten", name=name):
                boards.remove(name)


def verify_boards(place: Place, known: Known, _whole: bool) -> None:
    boards = Boards(EventLog(place.workspace))
    names = boards.names()
    rounds = [one for name in names if name[0] == "b" for one in boards.load(name).rounds]
    each_once([one.runs[0] for one in rounds], _said(known, "round", "run"), _said(known, "round", "run", begun=True))
    voters = [vote["voter"] for one in rounds for vote in one.votes]
    each_once(voters, _said(known, "vote", "voter"), _said(known, "vote", "voter", begun=True))
    assert not _said(known, "forgotten", "name") & set(names)
    assert _said(known, "kept", "name") - _said(known, "forgotten", "name", begun=True) <= set(names)


def _said(known: Known, what: str, fact: str, *, begun: bool = False) -> set[str]:
    return {told.facts[fact] for told in (known.begun(what) if begun else known.acknowledged(what))}


# ── grades ──


def write_grades(place: Place, tell: Ledger, chance: Random) -> None:
    store = EvaluationStore(place.workspace)
    names = _two_runs(store, tell)
    while True:
        grader = tell.fresh()
        sheets: list[Sheet[Any]] = [
            grade_sheet(store, names, grader, criterion=CRITERION, scale=SCALE),
            vote_sheet(store, names, grader),
        ]
        for sheet in sheets:
            for item in sheet.queue():
                value = chance.choice(sheet.values())
                what = f"{sheet.task} {grader} {item}"
                with tell.doing(what, value=value):
                    sheet.say(item, value)
                if chance.random() < 0.2:
                    with tell.doing(what, value=""):
                        assert sheet.undo() == item


def _two_runs(store: EvaluationStore, tell: Ledger) -> list[str]:
    """Two finished runs of this writer's own, whose answers differ; those that a kill left half are gone on with."""
    seed = ord(tell.label[0])
    with working(tell, at_once):
        mine = [run for run in store.all() if run.asked.parameters == {"seed": seed}]
        if len(mine) < 2:
            asked = [Asked("hello@1", f"far-{one}", {"seed": seed}) for one in "kt"]
            there = {run.asked.model for run in mine}
            with tell.doing("started"):
                mine += store.start(store.suite("suite"), [one for one in asked if one.model not in there])
        for state in store.states(store.all()):
            if state.run.asked.parameters == {"seed": seed} and state.state not in {"done", "running", "queued"}:
                with tell.doing("resumed"):
                    store.resume(state.run.name)
    assert len({run.asked.model for run in mine}) == len(mine) == 2
    return [run.name for run in mine]


def verify_grades(place: Place, known: Known, whole: bool) -> None:
    store = EvaluationStore(place.workspace)
    by_seed: dict[int, list[str]] = {}
    for run in store.all():
        if run.summary is not None:
            by_seed.setdefault(run.asked.parameters["seed"], []).append(run.name)
    found: dict[str, str] = {}
    for names in by_seed.values():
        if len(names) < 2:
            continue
        sheets: list[Sheet[Any]] = [
            grade_sheet(store, names, "-", criterion=CRITERION, scale=SCALE),
            vote_sheet(store, names, "-"),
        ]
        assert [len(sheet.items) for sheet in sheets] == [2 * CASES, CASES]
        for sheet in sheets:
            found |= {f"{sheet.task} {said.grader} {said.item}": said.value for said in sheet.all_said()}
    words = {told.what for told in known.all if "value" in told.facts}
    for what in words:
        could = {told.facts["value"] for told in known.last(what)} | (set() if known.acknowledged(what) else {""})
        assert found.get(what, "") in could, what
    # Of those that told so far nothing else was kept, and no word twice.
    people = {what.split()[1] for what in words}
    assert {what for what in found if what.split()[1] in people} <= words
    kept = [row[0] for row in rows(place, "SELECT (task, annotator, sha256, row) FROM annotations")]
    assert len(kept) == len({str(one) for one in kept})
    assert not whole or all(len(names) == 2 for names in by_seed.values())


KINDS = {
    "boards": Kind(write_boards, verify_boards),
    "grades": Kind(write_grades, verify_grades),
}
