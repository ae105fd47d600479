from __future__ import annotations

import pytest

from llmops_tui.jobs.launcher import JobLauncher
from llmops_tui.jobs.store import JobStore
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from screens.jobs.jobs_pane import COLUMNS, JobsPane
from screens.jobs.log_pane import LogPane, overwritten, quiet
from screens.widgets.motions import TextScroll
from screens.widgets.table import Table
from tests.screens.conftest import OpenApp, settle, until
from tests.waiting import wait_for


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("a\nb\n", "a\nb\n"),
        ("a\r\nb\r\n", "a\nb\n"),
        ("\rLoading:  0%\rLoading: 11%\rLoading: 100%\nend", "Loading: 100%\nend"),
        ("\rLoading: 11%\r", "Loading: 11%"),
    ],
)
def test_what_a_line_was_overwritten_with_is_shown(written: str, shown: str) -> None:
    assert overwritten(written) == shown


def test_warnings_of_packages_are_counted_and_not_shown() -> None:
    written = [
        "step 1 of 2  loss 3",
        "/a/b.py:365: FutureWarning: this goes",
        "  warnings.warn(",
        "Loading weights: 100%|████| 12/12",
        "step 2 of 2  loss 1",
        "  kept",
    ]
    told = "· 3 lines of packages' warnings and progress bars; llmops job logs has all"
    assert quiet(written) == [written[0], told, *written[4:]]
    assert quiet([]) == []


def test_of_a_log_only_the_one_line_below_a_warning_goes_with_it() -> None:
    own = ['  File "reward.py", line 3', "    return 1 / 0", "ZeroDivisionError: division by zero"]
    told = "· 1 line of packages' warnings and progress bars; llmops job logs has all"
    assert quiet(["Loading: 45%|██", *own]) == [told, *own]
    two = told.replace("1 line", "2 lines")
    assert quiet(["/a.py:3: UserWarning: odd", "  warnings.warn(", *own]) == [two, *own]


async def test_the_outcome_of_a_job_stands_in_the_list_and_above_its_log(open_app: OpenApp, sample: Workspace) -> None:
    launcher = JobLauncher(sample)
    verified = launcher.start(
        kind="verify", title="verify support-base", entry="llmops_tui.models.tasks:verify",
        arguments={"name": "support-base"},
    )  # fmt: skip
    wait_for(lambda: launcher.store.get(verified.id).state.final)
    async with open_app(size=(120, 40)) as pilot:
        await pilot.app.switch_mode("jobs")
        await settle(pilot)
        listed = pilot.app.screen.query_one(JobsPane)
        await until(pilot, lambda: bool(listed.jobs))
        await settle(pilot)
        column = next(column for column in COLUMNS if column.name == "outcome")
        assert column.part(listed.jobs[0])[0] == "intact yes"
        # Among the last that go where there is little room.
        assert "outcome" in [name for name, _ in listed.query_one(Table)._planned().widths]
        shown = str(pilot.app.screen.query_one("#log-head").render())
        assert "✓ done" in shown
        assert "intact" in shown
        assert "D delete" in str(pilot.app.screen.query_one(LogPane).border_subtitle)


async def test_a_long_log_begins_with_a_whole_line_and_is_shown_at_its_end(
    open_app: OpenApp, sample: Workspace
) -> None:
    store = JobStore(EventLog(sample))
    job = store.add(kind="train", title="train brief-1", spec={"entry": "none:none", "arguments": {}})
    folder = store.folder(job)
    folder.mkdir(parents=True)
    lines = [f"step {number} of 4000 begins and ends" for number in range(1, 4001)]
    (folder / "output.log").write_text("\n".join(lines) + "\n", encoding="utf-8")
    store.update(job.id, state="failed", cause="it broke")
    async with open_app(size=(120, 40)) as pilot:
        await pilot.app.switch_mode("jobs")
        screen = pilot.app.screen
        await until(pilot, lambda: "step 4000" in str(screen.query_one("#log-text").render()))
        shown = str(screen.query_one("#log-text").render()).splitlines()
        assert shown[0] in lines
        assert "it broke" in str(screen.query_one("#log-head").render())
        scroll = screen.query_one("#log-scroll", TextScroll)
        await until(pilot, lambda: scroll.is_vertical_scroll_end and scroll.scroll_y > 0)
        # Whoever reads further above is left there.
        scroll.scroll_home(animate=False)
        await screen.query_one(LogPane).show(store.get(job.id))
        await settle(pilot)
        assert scroll.scroll_y == 0
