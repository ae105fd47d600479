"""Where work is, is said in the same words everywhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from llmops_tui.inference.experiments import records
from llmops_tui.jobs.store import JobState
from llmops_tui.states import STATES, mark_of, tone_of

ROOT = Path(__file__).resolve().parents[2]


def test_each_state_of_each_kind_of_work_is_in_the_list() -> None:
    assert {state.value for state in JobState} <= set(STATES)
    assert set(get_args(records.State)) <= set(STATES)
    # Those of runs, as the store tells them.
    assert {"starting", "paused", "stopped", "lost", "done"} <= set(STATES)


def test_the_page_of_jobs_tells_the_same_meanings() -> None:
    page = (ROOT / "docs" / "jobs.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| \*([a-z ]+)\* \| (.+) \|$", page, re.MULTILINE))
    assert told == {word: state.meaning for word, state in STATES.items()}


def test_no_screen_has_colours_or_marks_for_states_of_its_own() -> None:
    own = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "screens").rglob("*.py")
        if re.search(r"\"(killed|lost)\": \(?\"", path.read_text(encoding="utf-8"))
    ]
    assert own == []


def test_what_is_no_state_is_pale() -> None:
    assert (tone_of("failed"), mark_of("failed")) == ("bad", "✗")
    assert (tone_of("unheard of"), mark_of("unheard of")) == ("muted", "·")
