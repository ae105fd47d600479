"""The table of all lists: what it shows in which width, order, filter, selection, and what stays when it is filled anew."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.containers import Vertical
from textual.pilot import Pilot
from textual.widgets import OptionList

from screens.actions import ACTIONS
from screens.theme import VARIABLE_DEFAULTS
from screens.widgets.arrangement import Arrangement
from screens.widgets.columns import GAP, Column, ColumnPlan, common_of, fit, fit_columns, sort_rows
from screens.widgets.dialogs import Choice, ChoiceDialog
from screens.widgets.row_filter import RowFilter, is_filter
from screens.widgets.table import TABLE_KEYS, Table
from screens.widgets.table_filter import TableFilter
from tests.screens.conftest import OpenApp, settle, until

FAMILY = "👩‍👩‍👧‍👦"


@dataclass(frozen=True)
class Thing:
    name: str
    state: str
    took: float | None


COLUMNS: list[Column[Thing]] = [
    Column("thing", lambda thing: thing.name, share=1, least=5),
    Column("state", lambda thing: (thing.state, "bad" if thing.state == "failed" else "good"), rank=2),
    Column(
        "took",
        lambda thing: "–" if thing.took is None else f"{thing.took:,.0f}",
        lambda thing: thing.took,
        unit="ms",
        right=True,
        falling=True,
        rank=1,
    ),
    Column("empty", lambda _thing: "", spare=True, rank=3),
]
THINGS = [
    Thing("alpha", "done", 120.0),
    Thing("beta", "failed", None),
    Thing("gamma", "done", 4300.0),
    Thing("delta", "failed", 7.0),
]


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("abc", 5, "abc  "),
        ("abcdef", 4, "abc…"),
        ("abcdef", 6, "abcdef"),
        (f"ab{FAMILY}cd", 5, f"ab{FAMILY}…"),
        (f"ab{FAMILY}cd", 4, "ab… "),
        ("日本語です", 5, "日本…"),
        ("日本語です", 4, "日… "),
        ("abc", 0, ""),
        ("abc", 1, "…"),
    ],
)
def test_what_is_cut_says_so_and_no_character_is_cut_in_two(text: str, width: int, shown: str) -> None:
    assert fit(text, width) == shown
    assert cell_len(fit(text, width)) == width


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("abcdefghi", 9, "abcdefghi"),
        ("abcdefghi", 8, "abcd…ghi"),
        ("abcdefghi", 2, "a…"),
        ("abcdefghi", 1, "…"),
        ("日本語です", 6, "日…す "),
        (f"abcd{FAMILY}", 5, f"ab…{FAMILY}"),
    ],
)
def test_a_name_is_cut_in_the_middle_since_names_differ_at_their_ends(text: str, width: int, shown: str) -> None:
    assert fit(text, width, middle=True) == shown
    assert cell_len(shown) == width


def test_two_names_that_are_cut_still_differ() -> None:
    names: list[Column[Thing]] = [replace(COLUMNS[0], names=True)]
    rows = [Thing(f"support-base-finetuned-{end}", "done", None) for end in ("q4_k_m", "q8_0")]
    plan = ColumnPlan(names, rows, "", 20, 0)
    shown = [plan.line(row)[0][0] for row in rows]
    assert len(set(shown)) == len(rows)
    assert all("…" in text for text in shown)


@pytest.mark.parametrize("room", [20, 31, 57, 90])
def test_no_cell_is_left_empty_while_a_column_wants_more(room: int) -> None:
    shares: list[Column[Thing]] = [
        Column("one", lambda _: "", share=2), Column("two", lambda _: "", share=3), Column("three", lambda _: "", share=1),
        Column("most", lambda _: "", most=6),
    ]  # fmt: skip
    wanted = {"one": 8, "two": 50, "three": 9, "most": 30}
    widths = {column.name: cells for column, cells in fit_columns(shares, wanted, room)}
    left = room - sum(widths.values()) - GAP * (len(widths) - 1)
    assert left == 0 or widths == wanted
    # What takes no share takes more only where the others have all they want.
    assert widths["most"] <= 6 or all(widths[name] == wanted[name] for name in ("one", "two", "three"))


def test_what_names_do_not_need_is_for_what_is_cut() -> None:
    columns: list[Column[Thing]] = [
        Column("name", lambda _: "", share=3, least=10), Column("labels", lambda _: "", share=1, least=6),
    ]  # fmt: skip
    widths = {column.name: cells for column, cells in fit_columns(columns, {"name": 7, "labels": 12}, 21)}
    assert widths == {"name": 7, "labels": 12}


def test_figures_stand_at_the_right() -> None:
    assert fit("12", 5, right=True) == "   12"


@pytest.mark.parametrize("room", range(4, 60))
def test_columns_fit_into_any_room(room: int) -> None:
    widths = fit_columns(COLUMNS, {"thing": 20, "state": 6, "took": 7, "empty": 5}, room)
    assert widths[0][0].name == "thing"
    assert sum(cells for _, cells in widths) + GAP * (len(widths) - 1) <= room
    # What matters least goes first.
    ranks = {column.rank for column, _ in widths}
    assert ranks == set(sorted({0, 1, 2, 3})[: len(ranks)])


def test_rows_without_a_value_are_last_either_way() -> None:
    assert [t.name for t in sort_rows(THINGS, COLUMNS[2], falling=True)] == ["gamma", "alpha", "delta", "beta"]
    assert [t.name for t in sort_rows(THINGS, COLUMNS[2], falling=False)] == ["delta", "alpha", "gamma", "beta"]


def test_columns_that_say_more_make_room_for_texts_that_say_too_little() -> None:
    columns: list[Column[str]] = [
        Column("text", str, share=1, least=5, good=20), Column("speed", str, extra=True, rank=9), Column("size", str, rank=1),
    ]  # fmt: skip
    wanted = {"text": 40, "speed": 5, "size": 5}
    fits = 20 + 2 * (5 + GAP)
    assert {column.name: cells for column, cells in fit_columns(columns, wanted, fits)} == {
        "text": 20,
        "speed": 5,
        "size": 5,
    }
    assert {column.name: cells for column, cells in fit_columns(columns, wanted, fits - 1)} == {"text": 26, "size": 5}
    # Texts that are short need no more, and what is no extra stays with the least of others.
    assert len(fit_columns(columns, wanted | {"text": 12}, fits - 8)) == 3
    assert {column.name: cells for column, cells in fit_columns(columns, wanted, 12)} == {"text": 5, "size": 5}


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ("", "alpha beta gamma delta"), ("A", "alpha beta gamma delta"), ("state:failed", "beta delta"), ("done alp", "alpha"),
        ("took>100", "alpha gamma"), ("took<100", "delta"), ("~^(alpha|beta)\\b", "alpha beta"), ("unknown:failed", ""),
        ("took>x", ""), ("4,300", "gamma"),
    ],
)  # fmt: skip
def test_a_filter_leaves_what_matches(said: str, names: str) -> None:
    keeps = RowFilter(said, COLUMNS)
    assert " ".join(thing.name for thing in THINGS if keeps.shows(thing)) == names


def test_what_was_kept_of_a_table_comes_back_and_nonsense_does_not() -> None:
    kept = Arrangement(("took", "thing"), "took", falling=True, said="state:failed")
    assert Arrangement.from_json(kept.as_json()) == kept
    for nonsense in (None, 7, [], {"columns": "took", "order": 3, "falling": "yes", "filter": None}):
        assert Arrangement.from_json(nonsense) == Arrangement()


def test_a_kept_filter_may_be_none() -> None:
    assert [said for said in ("", "~a+", "~(", "took>5", "~[") if not is_filter(said)] == ["~(", "~["]


def test_no_action_takes_a_key_of_tables() -> None:
    taken = {key.strip(): action.id for action in ACTIONS for key in action.keys.split(",")}
    assert not [(key, taken[key]) for key in TABLE_KEYS if key in taken]


class Shown(App[None]):
    def __init__(self, *, reads: bool = False) -> None:
        super().__init__()
        self.table = Table(COLUMNS, id="things", key=lambda thing: thing.name, empty="None yet.", reads=reads)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return VARIABLE_DEFAULTS

    def compose(self) -> ComposeResult:
        with Vertical():
            yield self.table


def lines(table: Table[Thing]) -> list[str]:
    return ["".join(segment.text for segment in table.render_line(y)).rstrip() for y in range(table.size.height)]


async def test_what_all_rows_have_in_common_is_for_the_title_and_no_column() -> None:
    async with (app := Shown()).run_test(size=(60, 12)) as pilot:
        table = app.table
        table.columns = [replace(column, told=column.name == "state") for column in COLUMNS]

        def names() -> list[str]:
            return [column.name for column in table.chosen_columns]

        table.fill(THINGS)
        assert "state" in names()
        failed = [thing for thing in THINGS if thing.state == "failed"]
        table.fill(failed)
        await pilot.pause()
        assert common_of(table.columns, table.shown, table.order) == {"state": "failed"}
        assert "state" not in names()
        assert "failed" not in "".join(lines(table))
        # Whoever sorts by it or chose it has it, and one row has nothing in common.
        table.order_by("state")
        assert "state" in names()
        table.restore(Arrangement(("thing", "state")))
        assert names() == ["thing", "state"]
        table.restore(Arrangement())
        table.fill(failed[:1])
        assert "state" in names()


async def test_it_does_not_say_that_there_are_none_before_they_were_read() -> None:
    app = Shown(reads=True)
    async with app.run_test(size=(40, 6)):
        app.table.restore(Arrangement())
        assert app.table.placeholder == "Reading …"
        app.table.fill([])
        assert app.table.placeholder == "None yet."


async def test_keys_of_a_table() -> None:
    """Order, filter, selection and cursor, in one app: starting one takes longer than all that is pressed."""
    app = Shown()
    async with app.run_test(size=(40, 10)) as pilot:
        table = app.table
        table.fill([])
        assert lines(table)[0] == "None yet."
        table.fill(THINGS)
        await pilot.pause()
        table.focus()
        assert lines(table)[0] == "  thing  state   took ms"
        assert lines(table)[3] == "  gamma  done      4,300"
        await _order_and_fill(pilot, table)
        await _filter(pilot, table)
        await _select(pilot, table)
        await _choose_columns(pilot, table)


async def _order_and_fill(pilot: Pilot[None], table: Table[Thing]) -> None:
    await pilot.press("down", "greater_than_sign", "greater_than_sign", "greater_than_sign")
    assert (table.order, table.falling, table.cursor) == ("took", True, 0)
    assert lines(table)[0].endswith("▾took ms")
    assert table.current == THINGS[2]
    await pilot.press("S")
    assert [thing.name for thing in table.shown] == ["delta", "alpha", "gamma", "beta"]
    await pilot.press("down")
    # Its row has the cursor still, wherever that is now.
    table.fill([Thing("alpha", "done", 1.0), *THINGS[1:]])
    assert (table.cursor, table.current_key) == (0, "alpha")
    await pilot.click("#things", offset=(3, 0))
    assert table.order == "thing"
    table.fill(THINGS)
    await pilot.press("less_than_sign")
    assert table.order == ""


async def _filter(pilot: Pilot[None], table: Table[Thing]) -> None:
    await pilot.press("slash", *"fail")
    assert [thing.name for thing in table.shown] == ["beta", "delta"]
    field = pilot.app.query_one(TableFilter)
    assert field.display
    await pilot.press(*"x~", "enter")
    assert lines(table)[1].startswith("Nothing matches “failx~”.")
    assert table.has_focus
    await pilot.press("escape")
    assert (len(table.shown), field.display) == (4, False)
    # A regular expression that is being written takes nothing away until it is one.
    await pilot.press("slash", "~", "(")
    assert field.has_class("-wrong")
    assert len(table.shown) == 4
    await pilot.press("escape")
    assert table.has_focus


async def _select(pilot: Pilot[None], table: Table[Thing]) -> None:
    await pilot.press("g", "space", "down", "down", "V", "down")
    assert list(table.selected) == ["alpha", "gamma", "delta"]
    assert lines(table)[1].startswith("● alpha")
    assert [thing.name for thing in table.picked] == ["alpha", "gamma", "delta"]
    # Going back takes back what the range had, and not what was selected before it.
    await pilot.press("up")
    assert list(table.selected) == ["alpha", "gamma"]
    await pilot.press("V", "g", "space")
    assert list(table.selected) == ["gamma"]
    table.fill(THINGS[:2])
    assert not table.selected
    assert table.picked == [THINGS[0]]
    table.fill(THINGS)
    await pilot.press("ctrl+a")
    assert len(table.selected) == 4
    await pilot.press("escape")
    assert not table.selected


async def _choose_columns(pilot: Pilot[None], table: Table[Thing]) -> None:
    await pilot.press("vertical_line", "down", "space", "right_square_bracket", "enter")
    await pilot.pause()
    assert [column.name for column in table.chosen_columns] == ["thing", "took", "empty"]
    await asyncio.sleep(0)
    assert lines(table)[0] == "  thing  took ms"


async def test_a_pane_has_room_for_all_that_its_empty_table_says(open_app: OpenApp) -> None:
    async with open_app(size=(80, 24)) as pilot:
        await pilot.press("f9", "2")
        await until(pilot, lambda: bool(pilot.app.screen.query("#check-list")))
        await settle(pilot)
        pane = pilot.app.screen.query_one("#datasets-checks")
        table = pilot.app.screen.query_one("#check-list", Table)
        pane.open(None)  # type: ignore[attr-defined]
        await settle(pilot)
        said = "".join(table.render_line(y).text.strip() + " " for y in range(table.size.height))
        assert "personal data and more." in said


@pytest.mark.parametrize("width", [28, 38, 76])
def test_a_run_has_its_state_in_every_width(width: int) -> None:
    from screens.evaluation.rendering import RUN_COLUMNS

    run = SimpleNamespace(
        name="triage-support-base-12",
        summary=None,
        created_at=0.0,
        suite="triage@1",
        asked=SimpleNamespace(model="support-base", prompt="triage@3", limit=None),
    )
    job = SimpleNamespace(message="120 of 300 · 4 min", progress=0.4)
    states: list[Any] = [
        SimpleNamespace(run=run, state="done", job=None, all_errors=False),
        SimpleNamespace(run=run, state="running", job=job, all_errors=False),
    ]  # fmt: skip
    plan = ColumnPlan([column for column in RUN_COLUMNS if column.chosen], states, "", width, 2)
    text = "".join(part for part, _ in plan.line(states[1]))
    assert "▶ 120 of 300" in text
    assert [name for name, _ in plan.widths][:2] == ["run", "state"]


async def test_two_long_names_in_a_choice_still_differ(open_app: OpenApp) -> None:
    async with open_app(size=(80, 24)) as pilot:
        names = [f"{'support-base-finetuned-' * 5}{end}" for end in ("q4_k_m", "q8_0")]
        await pilot.app.push_screen(ChoiceDialog("Which?", [Choice(name, name) for name in names]))
        await settle(pilot)
        await pilot.press("down")
        options = pilot.app.screen.query_one(OptionList)
        for width in (80, 60, 200):
            await pilot.resize_terminal(width, 24)
            await settle(pilot)
            shown = [str(options.get_option_at_index(at).prompt).rstrip() for at in range(2)]
            assert all(cell_len(text) <= options.content_size.width for text in shown)
            assert [text.endswith(("q4_k_m", "q8_0")) for text in shown] == [True, True]
            assert options.highlighted == 1
