"""Which notices stand at once: what is no longer so goes, and few cover what one works on."""

from __future__ import annotations

import pytest
from rich.cells import cell_len
from textual.notifications import Notification
from textual.widgets._toast import Toast, ToastRack

from screens.shell.notices import Notice, displaced, shorten
from tests.screens.conftest import OpenApp, notices, settle, until


def _news(text: str) -> Notice:
    return Notice(text, "", "information", 60.0)


def _gone(there: list[Notification], coming: Notification) -> list[str]:
    return [one.message for one in displaced(there, coming)]


def test_news_that_the_undo_key_takes_back_goes_where_it_takes_back_something_later() -> None:
    there = [_news("production is now support@3; z undoes."), _news("import b is done: 3 rows")]
    assert _gone([*there], _news("faq@2: 12 rows. z undoes it.")) == [there[0].message]
    assert _gone([*there], _news("a copy of the text")) == []


def test_of_more_than_there_is_room_for_the_lightest_and_oldest_goes() -> None:
    failed, told = Notice("failed", "", "error", 60.0), [_news(f"told {n}") for n in range(2)]
    assert _gone([failed, *told], _news("told 2")) == ["told 0"]
    assert _gone([failed, Notice("hot", "", "warning", 60.0), told[0]], Notice("again", "", "error", 60.0)) == [
        "told 0"
    ]
    assert _gone([failed, told[0]], _news("told 1")) == []


def test_news_takes_no_failure_away_that_nobody_read() -> None:
    failed = [Notice(f"failed {n}", "", "error", 60.0) for n in range(3)]
    assert _gone([*failed], _news("saved")) == []
    assert _gone([*failed, _news("saved")], _news("copied")) == ["saved"]
    assert _gone([*failed], Notice("hot", "", "warning", 60.0)) == []
    again = Notice("failed 3", "", "error", 60.0)
    assert _gone([*failed, _news("saved")], again) == ["saved", "failed 0"]


def test_of_a_long_text_the_end_stays_which_says_what_to_do() -> None:
    text = f"it is in the way {'of many others ' * 40}F4 chooses another model."
    shown = shorten(text, 180)
    assert cell_len(shown) <= 180
    assert shown.startswith("it is in the way")
    assert "…" in shown
    assert shown.rstrip().endswith("F4 chooses another model.")
    assert shorten("short", 180) == "short"


async def test_a_long_failure_covers_no_more_than_some_lines(open_app: OpenApp) -> None:
    async with open_app(size=(80, 24)) as pilot:
        pilot.app.notify(
            f"{'a tensor is missing ' * 60} F4 chooses another model.", title="Failed", severity="error", timeout=60
        )
        await until(pilot, lambda: "F4 chooses another model." in notices(pilot))
        await until(pilot, lambda: any(toast.region.area for toast in pilot.app.screen.query(Toast)))
        await settle(pilot)
        assert {toast.region.height for toast in pilot.app.screen.query(Toast)} <= {1, 2, 3, 4}


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_what_is_told_takes_few_lines_above_the_status(open_app: OpenApp, size: tuple[int, int]) -> None:
    async with open_app(size=size) as pilot:
        app = pilot.app
        for number in range(6):
            app.notify(
                f"server {number} is above 5 % of failed requests", title="Alert", severity="warning", timeout=60
            )
        await until(pilot, lambda: "Alert: server 5" in notices(pilot))
        await until(pilot, lambda: len(app.screen.query(Toast)) == 3)
        await settle(pilot)
        assert "server 2" not in notices(pilot)
        assert app.screen.query_one(ToastRack).region.height <= 3
        assert {toast.region.height for toast in app.screen.query(Toast)} == {1}
