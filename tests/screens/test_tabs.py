from __future__ import annotations

import time
from dataclasses import replace

import pytest

from llmops_tui.jobs.store import Job, JobState
from screens.actions import SCREEN_KEYS
from screens.shell.tab_badges import BADGED, Badge, BadgeCounts, screens_of
from screens.shell.tab_line import TabLine
from tests.representatives import representatives
from tests.screens.conftest import OpenApp, settle


def job(job_id: str, entry: str = "llmops_tui.training.worker:run", state: JobState = JobState.RUNNING) -> Job:
    spec = {"entry": entry, "arguments": {}}
    return Job(job_id, "", job_id, spec, state, "", None, 0.0, "", None, 0.0, 0.0, None, None, None)  # type: ignore[arg-type]


def test_a_job_is_counted_on_the_tab_of_jobs_and_of_what_it_works_on() -> None:
    assert screens_of(job("a")) == ("jobs", "training")
    assert screens_of(job("a", "llmops_tui.datasets.operations.job:run")) == ("jobs", "datasets")
    assert screens_of(job("a", "llmops_tui.maintenance.backup:run")) == ("jobs",)


def test_what_ended_is_news_until_its_screen_is_looked_at() -> None:
    counts = BadgeCounts()
    good, bad, left = job("a"), job("b"), job("c")
    assert counts.look([good, bad, left], [], 0)["training"] == Badge(running=3)
    ended = [
        replace(good, state=JobState.DONE),
        replace(bad, state=JobState.FAILED),
        replace(left, state=JobState.CANCELLED),
    ]
    found = counts.look([], ended, 2)
    assert found == {"training": Badge(failed=1, new=1), "jobs": Badge(failed=1, new=1), "monitor": Badge(alerts=2)}
    assert counts.look([], ended, 0, "training") == {"jobs": Badge(failed=1, new=1)}
    assert counts.look([], ended, 0) == {"jobs": Badge(failed=1, new=1)}


def test_what_ends_on_the_screen_in_front_is_no_news_there() -> None:
    counts = BadgeCounts()
    assert counts.look([job("a"), job("b")], [], 0, "training")["training"] == Badge(running=2)
    ended = [replace(job("a"), state=JobState.DONE), replace(job("b"), state=JobState.FAILED)]
    assert counts.look([], ended, 0, "training") == {"jobs": Badge(failed=1, new=1)}


def test_a_job_whose_record_was_removed_is_no_news() -> None:
    counts = BadgeCounts()
    counts.look([job("a")], [], 0)
    assert counts.look([], [], 0) == {}


def test_a_job_that_failed_between_two_looks_is_told_and_one_of_before_is_not() -> None:
    counts = BadgeCounts()
    counts.look([], [], 0)
    failed = replace(job("a", "llmops_tui.models.verify:run"), state=JobState.FAILED, finished_at=time.time() + 1)
    before = replace(failed, id="b", finished_at=time.time() - 3600)
    for _ in range(2):
        assert counts.look([], [failed, before], 0) == {"models": Badge(failed=1), "jobs": Badge(failed=1)}


@pytest.mark.parametrize(
    ("width", "names"), representatives([(60, ("Play",)), (80, ("Home", "Play", "Set")), (120, ("Playground",))], 1)
)
async def test_all_screens_are_seen_and_the_one_in_front_is_marked(
    open_app: OpenApp, width: int, names: tuple[str, ...]
) -> None:
    async with open_app(size=(width, 24)) as pilot:
        line = pilot.app.screen.query_one(TabLine)
        line.show({"training": Badge(running=1), "jobs": Badge(failed=2)})
        told = line.render()
        assert told.cell_length <= width
        assert not set("▶✗") - set(told.plain)
        assert all(digit in told.plain for digit in SCREEN_KEYS)
        assert all(name in told.plain for name in names)
        assert " 1 Play" in told.plain


@pytest.mark.parametrize("width", representatives([60, 80, 120, 200], 2))
async def test_no_tab_moves_when_a_badge_comes_or_goes(open_app: OpenApp, width: int) -> None:
    async with open_app(size=(width, 24)) as pilot:
        line = pilot.app.screen.query_one(TabLine)

        def places() -> list[int]:
            plain = line.render().plain
            return [plain.index(digit) for digit in SCREEN_KEYS]

        line.show({})
        bare = places()
        line.show({name: Badge(running=12) for name in BADGED})
        assert places() == bare
        line.show({name: Badge(running=1, failed=30, new=2) for name in BADGED})
        assert places() == bare
        # Of several the one that matters most; where there is room with its count.
        told = line.render().plain
        assert told.count("✗") == len(BADGED)
        assert not set("▶✓") & set(told)
        assert ("✗+" in told) == (width >= 134)
        line.show({"jobs": Badge(failed=3)})
        assert ("✗3" in line.render().plain) == (width >= 134)


@pytest.mark.slow
async def test_a_click_on_a_tab_goes_there(open_app: OpenApp) -> None:
    async with open_app(size=(80, 24)) as pilot:
        line = pilot.app.screen.query_one(TabLine)
        await pilot.click(line, offset=(line.render().plain.index("8 Jobs") + 2, 0))
        await settle(pilot)
        assert pilot.app.current_mode == "jobs"
        assert " 8 Jobs " in pilot.app.screen.query_one(TabLine).render().plain
