from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Input, Static

from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.labelling import Labelling, Task
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.maintenance.archiving import Kept
from llmops_tui.maintenance.record_removal import plan_record_removal
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from screens.datasets import apply_operation
from screens.datasets.checks_pane import ChecksPane
from screens.datasets.dataset_list_pane import DatasetListPane
from screens.datasets.record_pane import RecordPane
from screens.datasets.rows_pane import RowsPane
from screens.datasets.screen import DatasetsScreen
from screens.datasets.table import RowTable
from screens.services import Services
from screens.widgets.dialogs import ChoiceDialog, ConfirmDialog, LineDialog
from screens.widgets.panel import Panel
from screens.widgets.table import Table
from tests.fakes import hostile_strings
from tests.screens.conftest import OpenApp, notices, settle, until


async def go(pilot: Pilot[int]) -> DatasetsScreen:
    """Open the screen and wait until the rows are there."""
    await pilot.press("f9", "2")
    await until(pilot, lambda: any(pane.window is not None for pane in pilot.app.screen.query(RowsPane)))
    await settle(pilot)
    screen = pilot.app.screen
    assert isinstance(screen, DatasetsScreen)
    return screen


async def table(pilot: Pilot[int]) -> RowTable:
    found = pilot.app.screen.query_one(RowTable)
    found.focus()
    await settle(pilot)
    return found


async def typed(pilot: Pilot[int], text: str, *, dialog: bool = False) -> None:
    """Fill the field that has the focus, and send it; another dialog may follow, whose worker waits for it."""
    await until(pilot, lambda: isinstance(pilot.app.screen.focused, Input))
    field = pilot.app.screen.focused
    assert isinstance(field, Input)
    field.value = text
    await pilot.press("enter")
    if not dialog:
        await settle(pilot)


def shown(pilot: Pilot[int], name: str) -> str:
    return str(pilot.app.screen.query_one(name, Static).render())


async def test_it_shows_data_versions_columns_rows_and_the_record(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        screen = await go(pilot)
        assert screen.version is not None
        assert screen.version.ref == "triage@1"
        rows = await table(pilot)
        assert rows.window is not None
        assert rows.window.columns == ("id", "user", "assistant")
        await until(pilot, lambda: "Triage the customer message" in shown(pilot, "#record-text"))
        await pilot.press("down", "down")
        await until(pilot, lambda: screen.query_one(RecordPane).number == 2)
        assert "messages" in shown(pilot, "#column-facts")
        assert "3 rejected" in str(screen.query_one("#datasets-rows", Panel).border_title)


@pytest.mark.slow
async def test_tokens_that_are_trained_are_told_apart(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        screen = await go(pilot)
        await table(pilot)
        await until(pilot, lambda: screen.query_one(RecordPane).row is not None)
        await pilot.press("w")
        await until(
            pilot,
            lambda: "trained 21 of 71 tokens ✓" in str(screen.query_one("#datasets-record", Panel).border_subtitle),
        )
        await pilot.press("w", "w")
        await until(pilot, lambda: '"messages"' in shown(pilot, "#record-text"))


@pytest.mark.slow
async def test_filters_of_all_kinds_sorting_and_saved_views(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        screen = await go(pilot)
        rows = await table(pilot)
        assert rows.window is not None
        for text, least, most in (
            ("refund", 100, 1999),
            ("= id = 'train-0007'", 1, 1),
            ("~^train-000[12]$", 2, 2),
            ("?kettle", 10, 1999),
        ):
            await pilot.press("slash")
            await typed(pilot, text)
            assert least <= rows.window.count <= most, text
        await pilot.press("slash")
        await typed(pilot, "= nothing = 1")
        assert "failed" in notices(pilot)
        await pilot.press("slash")
        await typed(pilot, "= id < 'train-0010'")
        await pilot.press("s", "s")
        await settle(pilot)
        assert rows.window.view.descending
        assert rows.window.lines(0, 1)[0].cells[0] == "train-0009"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        await typed(pilot, "first ten")
        assert screen.services.datasets.views("triage")["first ten"]["sort"] == "id"
        await pilot.press("escape")
        await settle(pilot)
        assert rows.window.count == 2000


@pytest.mark.slow
async def test_a_check_shows_its_rows_is_mended_with_one_key_and_taken_back(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        screen = await go(pilot)
        await pilot.press("f5")
        checks = screen.query_one(ChecksPane)
        await until(pilot, lambda: checks.report is not None)
        await settle(pilot)
        assert checks.report is not None
        kinds = [p["kind"] for p in checks.report["problems"]]
        checks.table.focus()
        checks.table.move_to(kinds.index("duplicate"))
        await pilot.press("enter")
        await settle(pilot)
        window = screen.query_one(RowsPane).window
        assert window is not None
        # The duplicates, each beside the row that it repeats.
        assert 40 < window.count <= 80
        await pilot.press("f")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        assert "40 rows of 2,000" in "".join(str(text.content) for text in pilot.app.screen.query(Static))
        await pilot.press("y")
        await until(pilot, lambda: screen.version is not None and screen.version.number == 2)
        await settle(pilot)
        assert screen.version is not None
        assert screen.version.rows == 1960
        assert "z undoes it" in notices(pilot)
        await pilot.press("z")
        await until(pilot, lambda: screen.version is not None and screen.version.number == 3)
        await settle(pilot)
        assert screen.version.rows == 2000
        # From any screen, and forth again.
        await pilot.press("f9", "8", "Z")
        await settle(pilot)
        assert "Done again (datasets): triage has the rows of @2 again. z undoes it." in notices(pilot)
        await pilot.press("U")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press("enter")
        await until(
            pilot, lambda: "Undone (datasets): triage has the rows of @1 again. Z does it again." in notices(pilot)
        )


async def test_an_import_is_looked_at_mapped_and_confirmed(open_app: OpenApp, tmp_path: Path) -> None:
    path = tmp_path / "faq.jsonl"
    path.write_text(
        "".join(json.dumps({"question": f"q{n}", "answer": f"a{n}"}) + "\n" for n in range(30)) + "broken\n"
    )
    async with open_app() as pilot:
        screen = await go(pilot)
        await pilot.press("i")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        await typed(pilot, str(path), dialog=True)
        await until(pilot, lambda: bool(pilot.app.screen.query("#import-evidence")))
        assert "question" in shown(pilot, "#import-evidence")
        assert "cannot be read: line 31" in shown(pilot, "#import-evidence")
        await pilot.press("r")
        assert '{"question": "q0"' in shown(pilot, "#import-text")
        await pilot.press("m")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        await pilot.press("enter")
        await until(pilot, lambda: bool(pilot.app.screen.query("#import-evidence")))
        assert "messages" in shown(pilot, "#import-evidence")
        await pilot.press("enter")
        await until(pilot, lambda: screen.version is not None and screen.version.dataset == "faq")
        await settle(pilot)
        assert screen.version is not None
        assert (screen.version.rows, screen.version.rejected, screen.version.kind) == (30, 1, "messages")
        # Undone, it is archived: the list has it no more, nor have the other panes.
        await pilot.press("z")
        await until(pilot, lambda: screen.version is not None and screen.version.dataset == "triage")
        await settle(pilot)
        listed = screen.query_one(DatasetListPane).table
        assert listed.current is not None
        assert ([one.dataset for one in listed.shown], listed.current.dataset) == (["triage", "triage-test"], "triage")
        assert "triage@" in str(screen.query_one("#datasets-rows", Panel).border_title)


@pytest.mark.slow
async def test_an_import_that_is_given_up_leaves_nothing(open_app: OpenApp, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    async with open_app() as pilot:
        screen = await go(pilot)
        await pilot.press("i")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        await typed(pilot, str(tmp_path / "nothing.csv"))
        assert "there is no file" in notices(pilot)
        await pilot.press("i")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        await typed(pilot, str(tmp_path / "a.csv"), dialog=True)
        await until(pilot, lambda: bool(pilot.app.screen.query("#import-evidence")))
        await pilot.press("escape")
        await settle(pilot)
        assert set(screen.logs) == {"triage", "triage-test"}


@pytest.mark.slow
async def test_rows_are_flagged_and_taken_out(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        screen = await go(pilot)
        await table(pilot)
        await pilot.press("space", "down", "down", "space", "x")
        await until(pilot, lambda: screen.version is not None and screen.version.number == 2)
        await settle(pilot)
        assert screen.version is not None
        assert screen.version.rows == 1998
        first = next(iter(screen.version.read(limit=2)))
        assert [row["id"] for _, row in first] == ["train-0001", "train-0003"]


@pytest.mark.slow
async def test_an_operation_from_the_menu(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        screen = await go(pilot)
        await table(pilot)
        await pilot.press("o")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press(*"sample", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        await typed(pilot, "100 7")
        await until(pilot, lambda: screen.version is not None and screen.version.rows == 100)
        await settle(pilot)
        await pilot.press("d")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press("enter")
        await until(pilot, lambda: "−1,900" in shown(pilot, "#data-diff-head"))
        await pilot.press("escape")
        await pilot.press("o")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press(*"sample", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        await typed(pilot, "many")
        assert "cannot be read" in notices(pilot)


@pytest.mark.slow
async def test_a_menu_that_is_left_does_not_replace_what_is_at_work(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = asyncio.Event()

    async def follow(services: Services, _panel: Panel, _job: object) -> dict[str, object]:
        await done.wait()
        made = await asyncio.to_thread(services.datasets.restore, "triage@1")
        return {"dataset": made.dataset, "version": made.number}

    monkeypatch.setattr(apply_operation, "follow_job", follow)
    async with open_app() as pilot:
        screen = await go(pilot)
        monkeypatch.setattr(screen.services.jobs, "start", lambda **_: None)
        await table(pilot)
        await pilot.press("o")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press(*"dedup", "enter")
        await until(pilot, lambda: pilot.app.screen is screen)
        for key in ("o", "i"):
            await pilot.press(key)
            await until(pilot, lambda: pilot.app.screen is not screen)
            await pilot.press("escape")
            await until(pilot, lambda: pilot.app.screen is screen)
        done.set()
        await until(pilot, lambda: screen.version is not None and screen.version.ref == "triage@2")
        await settle(pilot)


async def test_one_key_labels_a_row_and_the_next_one_comes(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        screen = await go(pilot)
        await table(pilot)
        await pilot.press("l")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press(*"classify", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        await typed(pilot, "quality good bad", dialog=True)
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        await typed(pilot, "anna", dialog=True)
        await until(
            pilot, lambda: bool(pilot.app.screen.query("#label-head")) and "0 of 2,000" in shown(pilot, "#label-head")
        )
        for key, done in (("1", 1), ("2", 2), ("z", 1), ("1", 2)):
            await pilot.press(key)
            await until(pilot, lambda done=done: f"{done} of 2,000" in shown(pilot, "#label-head"))  # type: ignore[misc]
        workspace = screen.services.workspace
        assert "labels its rows" in plan_record_removal(workspace, Kept.DATASET, "triage@1").in_the_way[0]
        await pilot.press("s")
        await until(pilot, lambda: pilot.app.screen is screen)
        await settle(pilot)
        assert plan_record_removal(workspace, Kept.DATASET, "triage@1").in_the_way == ()
        assert screen.version is not None
        assert screen.version.recipe.operation == "label"
        store = screen.services.datasets
        said = Labelling(store, store.get("triage@1"), Task.make("quality", "classify", ("good", "bad")), "anna")
        assert [a.value for a in said.annotations()] == ["good", "good"]


@pytest.mark.slow
async def test_the_console_answers_refuses_and_keeps(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        screen = await go(pilot)
        await pilot.press("Q")
        await until(pilot, lambda: bool(pilot.app.screen.query("#sql-text")))
        await settle(pilot)
        assert "triage" in shown(pilot, "#sql-note")
        await typed(pilot, "SELECT * FROM read_text('/etc/passwd')")
        assert "failed" in shown(pilot, "#sql-note")
        await typed(pilot, "SELECT id FROM triage ORDER BY id LIMIT 3")
        assert pilot.app.screen.query_one(DataTable).row_count == 3
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        await typed(pilot, "three")
        await until(pilot, lambda: "saved as three@1" in shown(pilot, "#sql-note"))
        await pilot.press("escape")
        await until(pilot, lambda: screen.version is not None and screen.version.ref == "three@1")


@pytest.mark.slow
async def test_the_profile_is_drawn(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        await go(pilot)
        await pilot.press("p")
        await until(
            pilot,
            lambda: bool(pilot.app.screen.query("#profile-text")) and "Tokens by role" in shown(pilot, "#profile-text"),
        )
        assert "1,000 of 2,000 rows" in shown(pilot, "#profile-head")


@pytest.mark.slow
async def test_an_empty_workspace_says_what_to_do(open_app: OpenApp, sample: Workspace) -> None:
    Catalog(sample).write(lambda db: db.execute("DELETE FROM dataset_versions"))
    async with open_app() as pilot:
        await pilot.press("f9", "2")
        await until(pilot, lambda: isinstance(pilot.app.screen, DatasetsScreen))
        await settle(pilot)
        assert "i imports" in pilot.app.screen.query_one("#dataset-list", Table).placeholder
        for key in (
            "slash",
            "s",
            "f",
            "d",
            "t",
            "e",
            "x",
            "p",
            "l",
            "o",
            "z",
            "y",
            "c",
            "w",
            "space",
            "enter",
            "v",
            "escape",
        ):
            await pilot.press(key)
            await settle(pilot)
            if pilot.app.screen_stack[-1] is not pilot.app.screen_stack[0]:
                await pilot.press("escape")


@pytest.mark.slow
async def test_nothing_stays_of_datasets_that_are_gone(open_app: OpenApp, sample: Workspace) -> None:
    async with open_app() as pilot:
        screen = await go(pilot)
        await table(pilot)
        await until(pilot, lambda: screen.query_one(RecordPane).row is not None)
        Catalog(sample).write(lambda db: db.execute("DELETE FROM dataset_versions"))
        await pilot.press("f9", "8")
        await until(pilot, lambda: pilot.app.screen is not screen)
        await pilot.press("f9", "2")
        await until(pilot, lambda: pilot.app.screen is screen and screen.version is None)
        await settle(pilot)
        assert screen.query_one(RowsPane).window is None
        assert screen.query_one(RowsPane).title == "Rows"
        assert shown(pilot, "#record-text") == ""
        assert screen.copy_choices() == []


@pytest.mark.slow
async def test_hostile_texts_stay_in_their_cells(open_app: OpenApp, sample: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "hostile.jsonl"
    lines = [
        {"messages": [{"role": t, "content": t}, {"role": "assistant", "content": t}], "[red]x\x1b[31m": t}
        for t in hostile_strings()
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    made = import_now(DatasetStore(Catalog(sample)), [path], "aaa", "messages")
    async with open_app() as pilot:
        screen = await go(pilot)
        assert screen.version is not None
        assert screen.version.ref == made.ref
        await table(pilot)
        for _ in range(made.rows):
            await pilot.press("down")
        await settle(pilot)
        for shape in range(4):
            await pilot.press("w")
            await settle(pilot)
            for strip in pilot.app.screen._compositor.render_strips():
                assert not any(ord(c) < 32 or c == "\x7f" for segment in strip for c in segment.text), shape


@pytest.mark.parametrize(
    "size", [(60, 16), *(pytest.param(size, marks=pytest.mark.slow) for size in ((200, 50), (80, 24)))]
)
async def test_it_fits_every_terminal(open_app: OpenApp, size: tuple[int, int]) -> None:
    async with open_app(size=size) as pilot:
        screen = await go(pilot)
        rows = screen.query_one(RowTable)
        assert rows.size.height >= 3
        assert screen.query_one("#record-scroll").size.height >= 2
        assert screen.query_one("#data-side").display == (size[0] >= 100)
        await pilot.press("f9", "d")
        await settle(pilot)
        assert screen.query_one("#data-side").display


@pytest.mark.slow
async def test_rows_without_end_are_a_window(open_app: OpenApp, sample: Workspace) -> None:
    from llmops_tui.datasets.records import Column
    from llmops_tui.datasets.version import Recipe
    from llmops_tui.workspace.catalog_file import connect_memory

    store = DatasetStore(Catalog(sample))

    def make() -> None:
        folder = store.staging()
        connection = connect_memory()
        connection.execute(
            f"COPY (SELECT range AS _row, range AS n, 'row ' || range AS text FROM range(300000)) TO '{folder}/part-00000.parquet'"
            " (FORMAT parquet, ROW_GROUP_SIZE 10000)"
        )
        connection.close()
        columns = [Column("n", "integer"), Column("text", "text")]
        store.keep(folder, "aaa", kind="tabular", columns=columns, recipe=Recipe("test", {}, ()))

    await asyncio.to_thread(make)
    async with open_app() as pilot:
        await go(pilot)
        rows = await table(pilot)
        assert rows.window is not None
        await pilot.press("end")
        await settle(pilot)
        await until(pilot, lambda: rows.window is not None and rows.window.remembered(299_999) is not None)
        assert rows.row == 299_999
        # Only what was looked at was read.
        assert sum(len(b) for b in rows.window._selected.blocks.values()) <= 2000
