"""Improvements on their screen: begun with nothing there, listed, drawn, held against the seed, and a candidate promoted."""

from __future__ import annotations

from typing import Any

import pytest

from llmops_tui.improvement.plan import check_plan
from llmops_tui.improvement.records import CandidateRecord, ImprovedRecord
from llmops_tui.improvement.store import ImprovementStore
from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from screens.improvement.candidates_pane import CandidatesPane
from screens.improvement.detail_pane import DetailPane
from screens.improvement.list_pane import ListPane
from screens.improvement.screen import ImprovementScreen
from screens.improvement.start_improvement import ImprovementAsked
from screens.widgets.dialogs import ChoiceDialog
from tests.screens.conftest import OpenApp, notices, settle, until

VERDICT = "triage@4 is better than triage@3 on exact by 12 points (95 % interval +4 to +20, 120 sealed rows)."


def _candidate(version: int, parent: int | None, mean: float, words: int, **changes: Any) -> CandidateRecord:
    made: CandidateRecord = {
        "version": version, "parent": parent, "kind": "instruction" if parent else "seed", "words": words,
        "prompt_tokens": None, "heat": 0.1, "heat_rows": 16, "mean": mean, "low": mean - 0.1, "high": mean + 0.1, "rows": 120,
        "gain": None if parent is None else 0.12, "front": True, "fate": "",
    }  # fmt: skip
    return made | changes  # type: ignore[return-value]


@pytest.fixture
def improved(sample: Workspace) -> ImprovementStore:
    """An improvement of the sample's prompt that has ended."""
    catalog = Catalog(sample)
    store, prompts = ImprovementStore(catalog), PromptStore(catalog)
    prompts.save(
        "triage", template="{{ message }}", system="Answer with one JSON object.", parent=3, candidate_of="job_1"
    )
    suite = {"cases": "triage@1", "metrics": [{"type": "exact"}]}
    body = {"prompt": "triage@3", "suite": suite, "metric": "exact", "model": "support-base"}
    store.note("job_1", "triage", 3, check_plan(body))
    store.note_parts("job_1", {"reflect": ["a"], "select": ["b"], "sealed": ["c"]})
    store.note_look("job_1", 4, 1)
    found: ImprovedRecord = {
        "improvement": "job_1", "prompt": "triage", "seed": 3, "metric": "exact", "better": 1, "model": "support-base",
        "reflector": "support-base", "data": "triage@1", "rows": {"reflect": 60, "select": 120, "sealed": 120}, "step": "done",
        "done": True, "verdict": VERDICT, "told": ["models under 3 billion reflect badly"],
        "candidates": [_candidate(3, None, 0.5, 12), _candidate(4, 3, 0.62, 8)],
        "refused": [{"turn": 2, "why": "copies row 7 of the reflect part"}], "best": 4, "p_select": 0.01, "opened_at": 0.25,
        "sealed": {
            "version": 4, "seed": 0.5, "candidate": 0.62, "difference": 0.12, "low": 0.04, "high": 0.2, "level": 0.95,
            "method": "Tango score", "p": 0.004, "n": 120, "wins": 20, "ties": 94, "losses": 6, "left_out": 0,
            "smallest_effect": 0.11, "look": 1, "verdict": "better",
        },
        "stopped": "", "taken": {"calls": 800, "cached": 9, "reflections": 6, "seconds": 90.0, "joules": None},
    }  # fmt: skip
    store.finish("job_1", found)
    return store


async def test_an_improvement_is_shown_with_its_front_and_change_and_a_candidate_is_promoted(
    open_app: OpenApp, sample: Workspace, improved: ImprovementStore
) -> None:
    async with open_app() as pilot:
        app = pilot.app
        await pilot.press("f9", "1")
        await settle(pilot)
        await pilot.press("alt+p")
        await until(pilot, lambda: isinstance(app.screen, ImprovementScreen))
        await settle(pilot)
        screen = app.screen
        # The playground's prompt has none; those of all prompts have.
        screen.query_one(ListPane).prompt = "triage"
        await pilot.press("f5")
        detail = screen.query_one(DetailPane)
        await until(pilot, lambda: VERDICT in detail.told)
        assert "●@4" in detail.told
        assert "○@3" in detail.told
        assert "20 better, 94 alike, 6 worse" in detail.told
        assert "copies row 7" in detail.told
        listed = screen.query_one(ListPane).current
        assert listed is not None
        assert (listed.record["state"], listed.improvement.id) == ("done", "job_1")
        await pilot.press("f9", "c", "down")
        await until(
            pilot, lambda: (current := screen.query_one(CandidatesPane).current) is not None and current["version"] == 4
        )
        await pilot.press("w")
        await until(pilot, lambda: "triage@3 → triage@4  candidate" in detail.told)
        assert "one JSON" in detail.told
        await pilot.press("p")
        await until(pilot, lambda: "triage@4 is a version" in notices(pilot))
        assert PromptStore(Catalog(sample)).versions("triage")[0].number == 4
        await pilot.press("w")
        await until(pilot, lambda: "were removed with its job" in detail.told)


async def test_without_an_improvement_the_screen_says_what_to_do_and_n_asks(open_app: OpenApp) -> None:
    async with open_app() as pilot:
        app = pilot.app
        await pilot.press("f9", "1")
        await settle(pilot)
        await pilot.press("alt+p")
        await until(pilot, lambda: isinstance(app.screen, ImprovementScreen))
        await settle(pilot)
        assert "n begins an improvement" in app.screen.query_one(DetailPane).told
        await pilot.press("x")
        await until(pilot, lambda: "None is at work" in notices(pilot))
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, ImprovementScreen))


def test_the_form_gives_the_plan_its_limits_and_ways() -> None:
    plan = ImprovementAsked(by="examples", calls=500).plan()
    assert (plan["ways"], plan["calls"], plan["minutes"], plan["watt_hours"]) == (["examples"], 500, None, None)
    suite = {"cases": "x@1", "metrics": ["exact"]}
    assert check_plan({"prompt": "p", "suite": suite, "metric": "exact", "model": "m", **plan}).turns == 12
