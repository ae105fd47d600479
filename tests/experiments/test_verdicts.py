"""Verdicts on made-up traffic: by conversation, with what was said of answers, and none where the split is broken."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.experiments.beginning import NewExperiment
from llmops_tui.experiments.metrics import decider
from llmops_tui.experiments.outcomes import by_conversation, by_pairs, exchanges, unpaired
from llmops_tui.experiments.records import Exchange, ShownRecord
from llmops_tui.experiments.reports import shown
from llmops_tui.experiments.verdict import Course, canary_course
from llmops_tui.inference.experiments.records import Arm, Experiment, Kind
from llmops_tui.inference.experiments.store import ExperimentStore
from llmops_tui.monitoring.recorder import Recorder
from llmops_tui.traces.store import TraceFilter, TraceStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.events import FeedbackRecord, RequestRecord
from llmops_tui.workspace.layout import Workspace


class Traffic:
    """An experiment, and the requests that were part of it."""

    def __init__(self, workspace: Workspace, kind: Kind = "ab", **more: Any) -> None:
        self.catalog, self.event_log = Catalog(workspace), EventLog(workspace)
        self.store = ExperimentStore(self.event_log)
        asked = NewExperiment(name="one", a="one", b="two", kind=kind, **more)
        self.experiment: Experiment = self.store.start("one", kind, asked.settings())
        self._events: list[tuple[str, str, Any]] = []
        self._count = 0

    def ask(
        self, unit: str, arm: Arm, *, rating: int | None = None, pair: str = "", refused: int = 0, **more: Any
    ) -> str:
        self._count += 1
        key = f"run_{self._count:06}"
        body: RequestRecord = {
            "started_at": self.experiment.started_at + self._count / 100, "model": arm, "messages": [], "parameters": {},
            "output": "fine", "finish_reason": "stop", "total_ms": 100.0, **more,
            "client": {
                "key": None, "metadata": {}, **({"status": refused} if refused else {}),
                "experiment": {"id": self.experiment.id, "arm": arm, "unit": unit, **({"pair": pair} if pair else {})},
            },
        }  # type: ignore[typeddict-item]  # fmt: skip
        self._events.append(("request", key, body))
        if rating is not None:
            said: FeedbackRecord = {"request": key, "score": rating, "source": "x", "said_at": body["started_at"] + 1}
            self._events.append(("feedback", f"fb_{self._count}", said))
        return key

    def keep(self, *, assign: bool = True) -> None:
        self.event_log.append_many(self._events)
        if assign:
            units = {
                (e[2]["client"]["experiment"]["unit"], e[2]["client"]["experiment"]["arm"])
                for e in self._events
                if e[0] == "request"
            }
            with self.event_log.transaction() as connection:
                connection.executemany(
                    "INSERT OR IGNORE INTO assignments VALUES (?, ?, ?, ?, NULL)",
                    [(self.experiment.id, unit, arm, time.time()) for unit, arm in sorted(units)],
                )

    def shown(self) -> ShownRecord:
        return shown(self.catalog, self.store, self.store.get(self.experiment.id))


def test_a_clear_difference_is_told_with_its_interval_and_what_was_looked_at(workspace: Workspace) -> None:
    traffic = Traffic(workspace)
    random = np.random.default_rng(1)
    for k in range(300):
        arm: Arm = "b" if random.random() < 0.5 else "a"
        traffic.ask(f"u{k}", arm, rating=1 if random.random() < (0.9 if arm == "b" else 0.4) else -1)
    traffic.keep()
    found = traffic.shown()
    verdict = found["verdict"]
    assert verdict["better"] == "b"
    assert verdict["low"] is not None
    assert 0 < verdict["low"] < 0.5 < (verdict["high"] or 0)
    assert verdict["evidence"] >= verdict["threshold"] == 20
    assert sum(verdict["scored"].values()) == 300
    assert found["course"][-1] == (300, pytest.approx(math.log(verdict["evidence"])))
    assert "two is better than one: rating differs by +0." in verdict["sentence"]
    assert "95% at all looks together" in verdict["sentence"]
    assert "100.0% of A's and 100.0% of B's" in verdict["sentence"]
    assert verdict["looked_at"][0] == "rating, which decides"
    assert {g["metric"]: g["state"] for g in verdict["guardrails"]} == {
        "failures": "open", "seconds, at most 1.2 times": "not worse",
    }  # fmt: skip


def test_turns_of_one_conversation_are_one_score_and_what_was_said_last_counts() -> None:
    def said(unit: str, arm: Arm, rating: float | None, at: float) -> Exchange:
        return Exchange(f"t{at}", at, arm, unit, "", False, 1000.0, "", (), rating, None if rating is None else at + 10)

    found = [said("u", "a", 1.0, 1), said("u", "a", 0.0, 2), said("u", "a", None, 3), said("v", "b", 1.0, 0)]
    made = by_conversation(found, lambda one: one.rating)
    assert [(one.arm, one.value, one.known_at) for one in made] == [("b", 1.0, 10), ("a", 0.5, 12)]


def test_nothing_is_told_of_a_split_that_is_broken(workspace: Workspace) -> None:
    traffic = Traffic(workspace)
    for k in range(200):
        arm: Arm = "b" if k % 10 == 0 else "a"
        traffic.ask(f"u{k}", arm, rating=1 if arm == "b" else -1)
    traffic.keep()
    verdict = traffic.shown()["verdict"]
    assert verdict["split_broken"]
    assert verdict["better"] is None
    assert "20 of 200 conversations went to B, and 50% of them should" in verdict["sentence"]


def test_pairs_are_joined_and_decided_by_the_sign_of_each_conversation(workspace: Workspace) -> None:
    traffic = Traffic(workspace, "shadow", metric='{"type": "contains", "value": "open"}')
    for k in range(40):
        for turn in range(3):
            pair = f"pair_{k}_{turn}"
            traffic.ask(f"u{k}", "a", pair=pair, output="We are closed.")
            traffic.ask(f"u{k}", "b", pair=pair, output="We are open." if k % 8 else "No.")
    traffic.ask("late", "a", pair="pair_late")
    traffic.keep(assign=False)
    traces = TraceStore(traffic.catalog, traffic.event_log)
    for terms, count in ((f"experiment:{traffic.experiment.id}@b", 120), (f"experiment:{traffic.experiment.id}", 241)):
        assert traces.page(TraceFilter.parse(terms, 0.0), 1)[1] == count
    with pytest.raises(InputRefusedError, match="a and b"):
        TraceFilter.parse("experiment:x@c", 0.0)
    found = traffic.shown()["verdict"]
    assert (found["pairs"], found["unpaired"], found["better"]) == (40, 1, "b")
    assert found["effect"] == pytest.approx(35 / 40)
    # 35 signs, and not 105 turns.
    assert found["evidence"] < 2**35
    assert "from 40 conversations, each answered by both (1 requests have no answer of two)" in found["sentence"]
    assert [g["metric"] for g in found["guardrails"]] == ["failures"]
    assert found["split_evidence"] is None


def test_pairs_are_decided_for_whom_the_signs_speak_whatever_the_turns_come_to(workspace: Workspace) -> None:
    """B wins in most conversations by one turn of four, and A in few by all of them: the evidence is of conversations."""
    traffic = Traffic(workspace, "shadow", metric='{"type": "contains", "value": "open"}', alpha=0.005)
    for k in range(80):
        for turn in range(4):
            better: Arm | None = "a" if k % 4 == 3 else "b" if turn == 0 else None
            for arm in ("a", "b"):
                output = "open" if arm == better else "closed"
                traffic.ask(f"u{k}", arm, pair=f"pair_{k}_{turn}", output=output)  # type: ignore[arg-type]
    traffic.keep(assign=False)
    found = traffic.shown()["verdict"]
    assert (found["values"]["a"] or 0) > (found["values"]["b"] or 0)
    assert (found["better"], found["effect"]) == ("b", pytest.approx((60 - 20) / 80))
    assert "two is better than one: by contains, the share of conversations with the better answer" in found["sentence"]
    assert "99.5% at all looks together" in found["sentence"]


def test_what_was_decided_is_told_for_whom_and_not_beyond_its_interval(workspace: Workspace) -> None:
    traffic = Traffic(workspace, "shadow", metric='{"type": "contains", "value": "open"}')
    for k in range(44):
        for arm in ("a", "b"):
            better = "b" if k < 21 else "a"
            traffic.ask(f"u{k}", arm, pair=f"pair_{k}", output="open" if arm == better else "")  # type: ignore[arg-type]
    traffic.keep(assign=False)
    found = traffic.shown()["verdict"]
    # The sign of the effect is A's by now; what was decided was for B.
    assert found["effect"] == pytest.approx(-2 / 44)
    assert (found["better"], found["decided_after"]) == ("b", 15)
    assert "decided after 15 conversations" in found["sentence"]
    assert "includes no difference" in found["sentence"]
    # Where the interval says the opposite, neither is.
    turned = Course(np.array([0.0, 9.0, 0.0]), np.array([1.0, 2.0, -9.0]), -0.5, -0.7, -0.3)
    assert turned.decided(0.05) == (2, "b")
    assert turned.excludes("b")
    assert not turned.excludes("a")


def test_a_shadow_that_failed_pairs_with_an_answer_that_did_not() -> None:
    def one(arm: Arm, pair: str, failed: bool | None) -> Exchange:
        return Exchange(f"{arm}{pair}", 0.0, arm, "u", pair, failed, 1.0, "", (), None, None)

    answered = decider({"type": "answered"}, "shadow")
    found = [
        one("a", "1", False),
        one("b", "1", True),
        one("a", "2", False),
        one("b", "2", False),
        one("a", "3", False),
    ]
    assert [each.value for each in by_pairs(found, answered.score)] == [-0.5]
    assert unpaired(found) == 1
    # Whose client left says nothing.
    assert by_pairs([one("a", "1", None), one("b", "1", True)], answered.score) == []


def test_a_canary_says_how_many_failed_and_what_stopped_it(workspace: Workspace) -> None:
    traffic = Traffic(workspace, "canary", split=0.5, budget=0.02)
    for k in range(6):
        traffic.store.assign(traffic.experiment.id, f"u{k}", "b")
    why = [traffic.store.fail(traffic.experiment, f"u{k}") for k in range(4)]
    assert [bool(one) for one in why] == [False, False, True, False]
    found = traffic.shown()
    assert found["experiment"]["state"] == "rolled back"
    assert found["verdict"]["sentence"].startswith("4 of 6 conversations failed with two; 2 % of them may.")
    assert found["course"][-1][0] == 6
    assert found["course"][-1][1] > math.log(100)


def test_what_went_back_by_itself_is_an_alert_until_it_is_ended(workspace: Workspace) -> None:
    traffic = Traffic(workspace, "canary", split=0.5)
    recorder = Recorder(workspace)
    try:
        assert "stopped canary" not in {one.rule.name for one in recorder.inspect().alerts}
        for k in range(3):
            traffic.store.assign(traffic.experiment.id, f"u{k}", "b")
            traffic.store.fail(traffic.experiment, f"u{k}")
        (alert,) = (one for one in recorder.inspect().alerts if one.rule.name == "stopped canary")
        assert alert.series == "experiment.one.rolled_back"
        assert "one is answered by one again: 2 of 2 conversations failed with two" in alert.note
    finally:
        recorder.stop()


def test_the_course_of_a_canary_is_that_of_its_counts() -> None:
    course = canary_course([(1.0, 1.5), (2.0, None), (3.0, 9.0)], 0.02)
    assert [n for n, _ in course] == [1, 2, 3]
    assert course[1][1] < course[0][1] < course[2][1]
    assert canary_course([], 0.02) == []


def test_requests_of_others_are_none_of_it(workspace: Workspace) -> None:
    traffic = Traffic(workspace)
    other: RequestRecord = {
        "started_at": time.time() + 5,
        "model": "one",
        "messages": [],
        "output": "x",
        "finish_reason": "stop",
    }
    traffic.event_log.append("request", "run_other", other)
    assert exchanges(traffic.catalog, traffic.event_log, traffic.experiment.id, 0.0) == []
    verdict = traffic.shown()["verdict"]
    assert verdict["effect"] is None
    assert "Nothing is known of rating yet" in verdict["sentence"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"kind": "shadow", "split": 0.2}, "split"),
        ({"kind": "shadow", "budget": 0.2}, "budget"),
        ({"kind": "shadow", "metric": "rating"}, "rate no shadow"),
        ({"by": "header:"}, "header:NAME"),
        ({"by": "mood"}, "mood"),
        ({"metric": "exact"}, "compares with"),
        ({"metric": "contains"}, "which text"),
        ({"metric": "bleu"}, "bleu"),
        ({"metric": "{"}, "no JSON"),
        ({"metric": "no_such"}, "not a metric"),
    ],
)
def test_what_does_not_fit_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(InputRefusedError, match=told):
        NewExperiment(name="one", b="two", **given).settings()


def test_what_is_left_out_follows_from_the_kind() -> None:
    canary = NewExperiment(name="one", b="two", kind="canary").settings()
    assert (canary["a"], canary["share"], canary["budget"], canary["alpha"]) == ("one", 0.05, 0.02, 0.01)
    shadow = NewExperiment(name="one", b="two", kind="shadow").settings()
    assert (shadow["metric"], shadow["budget"]) == ({"type": "answered"}, None)


def test_an_experiment_is_not_begun_on_what_is_not_served(workspace: Workspace) -> None:
    from llmops_tui.experiments.beginning import begin

    catalog, store = Catalog(workspace), ExperimentStore(EventLog(workspace))
    with pytest.raises(LlmopsError) as refused:
        begin(catalog, store, NewExperiment(name="nothing", b="two"))
    assert refused.value.code == "model_not_found"
    assert store.all() == []


@pytest.mark.parametrize("kind", ["ab", "canary", "shadow"])
def test_requests_that_were_refused_are_no_failures_of_either_model(workspace: Workspace, kind: Kind) -> None:
    traffic = Traffic(workspace, kind, metric="answered")
    for k in range(40):
        arm: Arm = "b" if k % 2 else "a"
        traffic.ask(f"u{k}", arm, finish_reason="error", error="the prompt is too long", refused=400)
    traffic.ask("last", "b", finish_reason="error", error="the engine died")
    traffic.keep()
    found = exchanges(traffic.catalog, traffic.event_log, traffic.experiment.id, traffic.experiment.started_at)
    assert [one.failed for one in found] == [None] * 40 + [True]
    chosen = decider(traffic.experiment.settings["metric"], kind)
    assert [one.value for one in by_conversation(found, chosen.score)] == [0.0]
