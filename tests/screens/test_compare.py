"""The comparison: columns that stream together, versions and models by few keys, votes, boards."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList, Static

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.run import Asked, EvalRun
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.prompts.compare.boards import CURRENT, TIE, Board, Boards
from llmops_tui.prompts.compare.columns import Column
from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from screens.compare import rows_screen
from screens.compare.column_view import ColumnView
from screens.compare.mark_dialog import MarkDialog
from screens.compare.over_dataset import column_of_run
from screens.compare.rows_screen import RowsScreen
from screens.compare.screen import CompareScreen
from screens.compare.state import CompareState
from tests.fakes import FakeModelServer, hostile_strings
from tests.screens.conftest import OpenApp, notices, settle, until


def shown(pilot: Pilot[int]) -> list[str]:
    """The texts of the columns that are seen."""
    return [view.stream.text for view in pilot.app.screen.query(ColumnView) if view.display]


def screen_of(pilot: Pilot[int]) -> CompareScreen:
    screen = pilot.app.screen
    assert isinstance(screen, CompareScreen)
    return screen


async def begun(pilot: Pilot[int]) -> CompareScreen:
    """The comparison with the draft of the playground."""
    await pilot.press("alt+v")
    await until(pilot, lambda: isinstance(pilot.app.screen, CompareScreen) and bool(pilot.app.screen.state.columns))
    await settle(pilot)
    return screen_of(pilot)


async def test_two_models_on_one_prompt_in_four_keys(
    open_app: OpenApp, server: FakeModelServer, sample: Workspace
) -> None:
    async with open_app(size=(160, 40)) as pilot:
        screen = await begun(pilot)
        await pilot.press("a")
        await until(pilot, lambda: bool(pilot.app.screen.query(OptionList)))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, CompareScreen) and len(screen.state.columns) == 2)
        await pilot.press("f5")
        await until(pilot, lambda: screen.state.answered)
        await settle(pilot)
        assert shown(pilot) == ["Hello world.", "Hello world."]
        assert len(server.requests) == 2
        # What is asked, and by which runs, is kept as it goes.
        kept = Boards(pilot.app.services.event_log).load(CURRENT)  # type: ignore[attr-defined]
        assert [bool(run) for run in kept.rounds[-1].runs] == [True, True]
        assert all(column.version is not None for column in kept.columns)


async def test_the_board_one_goes_to_is_not_replaced_by_the_one_that_was_still_being_read(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, late = Boards.load, threading.Event()
    asked: list[str] = []

    def slow_at_first(boards: Boards, name: str) -> Board:
        asked.append(name)
        slow, board = len(asked) == 1, load(boards, name)
        if slow:
            late.wait(60)
        return board

    monkeypatch.setattr(Boards, "load", slow_at_first)
    async with open_app(size=(160, 40)) as pilot:
        await pilot.press("alt+v")
        await until(pilot, lambda: isinstance(pilot.app.screen, CompareScreen) and bool(pilot.app.screen.state.columns))
        late.set()
        await settle(pilot)
        assert len(asked) == 2
        assert len(screen_of(pilot).state.columns) == 1


@pytest.mark.slow
async def test_five_versions_side_by_side_and_blind(
    open_app: OpenApp, server: FakeModelServer, sample: Workspace
) -> None:
    from llmops_tui.workspace.catalog import Catalog

    store = PromptStore(Catalog(sample))
    prompt = "support"  # which the playground opens
    for n in range(5):
        store.save(prompt, template=f"Version {n}: {{{{ question }}}}")
    async with open_app(size=(160, 24)) as pilot:
        screen = await begun(pilot)
        await pilot.press("v")
        await until(pilot, lambda: pilot.app.screen is not screen)
        await pilot.press("space", "space", "space", "space", "space", "enter")
        await until(pilot, lambda: pilot.app.screen is screen and len(screen.state.columns) == 5)
        server.turns = [[f"answer {n}"] for n in range(5)]
        await pilot.press("f5")
        await until(pilot, lambda: all(answer.end is not None for answer in screen.state.answers))
        await settle(pilot)
        assert sorted(shown(pilot)) == [f"answer {n}" for n in range(5)]
        await pilot.press("b")
        await settle(pilot)
        heads = [str(view._head.content) for view in screen.query(ColumnView) if view.display]
        assert [head.split()[1] for head in heads] == ["A", "B", "C", "D", "E"]
        # Whoever chooses again begins with those that are here.
        await pilot.press("v")
        await until(pilot, lambda: isinstance(pilot.app.screen, MarkDialog))
        assert "5 marked, at most 6" in str(pilot.app.screen.query_one("#mark-keys", Static).content)
        await pilot.press("escape")
        await settle(pilot)
        wanted = screen.state.order[2]
        await pilot.press("3")
        await settle(pilot)
        vote = screen.state.board.rounds[-1].votes[-1]
        assert (vote["winner"], vote["blind"]) == (wanted, True)
        assert not screen.state.blind
        # A difference by words from the column that is looked at.
        await pilot.press("d")
        await settle(pilot)
        assert screen.state.reference == wanted
        # Out of the difference first, and not out of the screen.
        await pilot.press("escape")
        await settle(pilot)
        assert (pilot.app.screen is screen, screen.state.reference) == (True, None)
        assert sorted(shown(pilot)) == [f"answer {n}" for n in range(5)]
        await pilot.press("d")
        await settle(pilot)
        text = "".join(
            str(view._changes.children[0].content) for view in screen.query(ColumnView) if view._changes.display
        )  # type: ignore[attr-defined]
        assert "[-" in text


@pytest.mark.slow
async def test_a_narrow_terminal_shows_pages_of_columns(open_app: OpenApp) -> None:
    async with open_app(size=(80, 24)) as pilot:
        screen = await begun(pilot)
        first = screen.state.columns[0]
        screen._set_columns((first, *(replace(first, version=n) for n in range(100, 105))))
        await settle(pilot)
        seen = [view for view in screen.query(ColumnView) if view.display]
        assert len(seen) == 2
        assert all(view.size.width >= 28 for view in seen)
        await pilot.press("h", "h", "h", "h", "h")
        await settle(pilot)
        assert screen.query(ColumnView).first().display


async def test_a_comparison_of_one_says_how_it_becomes_one(open_app: OpenApp) -> None:
    async with open_app(size=(120, 40)) as pilot:
        screen = await begun(pilot)
        await settle(pilot)
        stream = screen.query(ColumnView).first().stream
        assert "F7 adds another model" in stream._placeholder
        lines = [stream.render_line(y).text.rstrip() for y in range(stream.size.height)]
        assert "F5 runs it." in lines
        empty = str(screen.query_one("#compare-empty", Static).content)
        assert all(f"{key} " in empty for key in ("F7", "v", "F6", "F5", "B"))


@pytest.mark.slow
async def test_a_sweep_and_another_seed(open_app: OpenApp, server: FakeModelServer) -> None:
    async with open_app(size=(160, 40)) as pilot:
        screen = await begun(pilot)
        await pilot.press("s")
        await until(pilot, lambda: pilot.app.screen is not screen)
        await pilot.press("enter")
        await until(pilot, lambda: pilot.app.screen is screen and len(screen.state.columns) == 3)
        await pilot.press("f5")
        await until(pilot, lambda: screen.state.answered and not screen._columns.running)
        await settle(pilot)
        await pilot.press("r")
        await until(pilot, lambda: len(screen.state.board.rounds) == 2 and not screen._columns.running)
        await settle(pilot)
        assert sorted((r["temperature"], r["seed"]) for r in server.requests) == [
            (t, s) for t in (0, 0.5, 1) for s in (1, 2)
        ]


async def test_what_models_say_is_harmless_and_stopping_keeps_the_text(
    open_app: OpenApp, server: FakeModelServer
) -> None:
    server.pieces = [text for text in hostile_strings() if "\ud800" not in text]
    server.gated = True
    async with open_app(size=(120, 30)) as pilot:
        screen = await begun(pilot)
        await pilot.press("f5")
        server.release(20)
        await until(pilot, lambda: len(screen.state.answers[0].pieces) == 20)
        await pilot.press("escape")
        await until(pilot, lambda: not screen._columns.running)
        await settle(pilot)
        assert screen.state.answers[0].error is not None
        assert screen.state.answers[0].error.code == "cancelled"
        assert "PWN" in shown(pilot)[0]
        frame = "".join(strip.text for strip in pilot.app.screen._compositor.render_strips())
        assert "\x1b" not in frame
        await pilot.press("enter")
        await settle(pilot)
        assert "no two answers" in notices(pilot)


@pytest.mark.slow
async def test_a_board_is_pinned_and_opened_again(open_app: OpenApp, server: FakeModelServer) -> None:
    async with open_app(size=(160, 40)) as pilot:
        screen = await begun(pilot)
        first = screen.state.columns[0]
        screen._set_columns((first, replace(first, parameters=SamplingParameters(seed=9))))
        await settle(pilot)
        await pilot.press("f5")
        await until(pilot, lambda: screen.state.answered and not screen._columns.running)
        await settle(pilot)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: pilot.app.screen is not screen)
        await pilot.press("enter")
        await until(pilot, lambda: screen.state.board.name != CURRENT)
        await settle(pilot)
        name = screen.state.board.name
        await pilot.press("enter")
        await settle(pilot)
        boards = Boards(pilot.app.services.event_log)  # type: ignore[attr-defined]
        assert boards.names() == [name]
        assert len(boards.load(name).rounds[-1].votes) == 1
        screen.state.take(Board())
        await pilot.press("B")
        await until(pilot, lambda: pilot.app.screen is not screen)
        await pilot.press("enter")
        await until(pilot, lambda: len(screen.state.columns) == 2)
        await settle(pilot)
        assert shown(pilot) == ["Hello world.", "Hello world."]


def test_a_vote_is_about_the_columns_that_were_asked_whatever_columns_there_are_now() -> None:
    three = tuple(Column("p", 1, "", "x", "m", SamplingParameters(seed=n)) for n in (1, 2, 3))
    state = CompareState()
    state.take(Board(columns=three))
    state.begin(three)
    state.take(replace(state.board, columns=(three[2], three[1])))
    state.vote(0, "ann")
    assert state.board.rounds[-1].votes[-1]["winner"] == 2
    assert state.winners == [0]
    # A column that came later has said nothing, and one that is gone is nobody's place.
    state.take(replace(state.board, columns=(three[0], replace(three[0], model="other"))))
    assert (state.places, state.winners) == ([0, None], [None])
    with pytest.raises(InputRefusedError, match="not answered"):
        state.vote(1, "ann")
    state.vote(TIE, "ann")
    assert state.winners == [TIE]


def test_rows_over_a_dataset_have_the_columns_that_were_asked(catalog: Catalog) -> None:
    prompts = PromptStore(catalog)
    saved, _ = prompts.save("p", template="{{ x }}", system="s")
    column = Column("p", saved.number, "s", "{{ x }}", "m", SamplingParameters(seed=7, temperature=0.5))
    asked = Asked(column.ref, column.model, column.as_dict()["parameters"])
    run = EvalRun("r", "s", 1, "", asked, {}, {}, "", 0.0, 1.0, catalog.workspace.runs)
    assert column_of_run(prompts, run) == column


async def test_a_vote_that_is_given_while_the_votes_are_read_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    read = threading.Event()
    row = SimpleNamespace(case=SimpleNamespace(index=4, key="a"))

    def votes(_voter: str) -> dict[int, int]:
        read.wait(60)
        return {7: 1}

    table: Any = SimpleNamespace(runs=[], rows=lambda: [row], votes=votes, vote=lambda *_: None)
    services: Any = SimpleNamespace(evaluation=None)
    columns: Any = [None, None]
    screen = RowsScreen(services, table, columns)
    monkeypatch.setattr(rows_screen, "ColumnTable", lambda *_: table)
    monkeypatch.setattr(screen, "_show", lambda: None)
    monkeypatch.setattr(screen, "action_step", lambda _by: None)
    screen._rows = [row]  # type: ignore[list-item]
    reading = asyncio.ensure_future(screen._read())
    await asyncio.sleep(0)
    await screen._vote(0)
    read.set()
    await reading
    assert screen._votes == {4: TIE, 7: 1}
