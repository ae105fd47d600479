"""Judges of answers in use: kept by name, asked within a budget when nobody else is answered, corrected by labels."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.evaluation.metrics.model_graded import JUDGE_SYSTEM
from llmops_tui.maintenance import check_catalog
from llmops_tui.maintenance.findings import Report
from llmops_tui.quality import judging
from llmops_tui.quality.judges import JudgeStore
from llmops_tui.quality.labels import LabelStore
from llmops_tui.quality.sampling import draw
from llmops_tui.traces.store import TraceFilter
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.ingest import ingest
from tests.quality.test_quality import NOW, fill

RUBRIC = "Does it help?"


class Asker:
    """A judge that gives refusals a 1 and all else a 5; what it was asked before is known."""

    known: dict[str, Any] = {}  # noqa: RUF012  shared on purpose, as a cache is
    waits = 0

    def __init__(self, *_given: Any, **_more: Any) -> None:
        self.cache = self

    def identity(self, model: str) -> dict[str, str]:
        return {"model": model}

    def key(self, identity: Any, path: str, body: Any) -> str:
        return json.dumps([identity, path, body])

    def find(self, keys: list[str]) -> dict[str, Any]:
        return {key: self.known[key] for key in keys if key in self.known}

    async def reply(self, model: str, path: str, body: Any, prompt: str = "") -> Any:
        grade = "1" if "can't help" in body["messages"][-1]["content"] else "5"
        told = {"choices": [{"message": {"content": grade}}], "usage": {"prompt_tokens": 50, "completion_tokens": 1}}
        return self.known.setdefault(self.key(self.identity(model), path, body), told)

    async def render(self, template: str, variables: Any) -> str:
        return "\n".join(str(value) for value in (variables if template != JUDGE_SYSTEM else {}).values())

    def supports_grammar(self, _model: str) -> bool:
        return True

    async def close(self) -> None: ...


@pytest.fixture
def context(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> Any:
    def add(connection: Any) -> None:
        row = ("m", "gguf", "m.gguf", "d" * 64, 1, '{"architecture": "llama"}', 1.0)
        connection.execute(
            "INSERT INTO models (name, kind, path, sha256, size_bytes, header, added_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            row,
        )

    catalog.write(add)
    Asker.known = {}
    monkeypatch.setattr(judging, "Asker", Asker)

    class Context:
        workspace, job_id = catalog.workspace, "job_1"
        told: list[str] = []  # noqa: RUF012

        def report(self, _share: float, told: str = "") -> None:
            self.told.append(told)

    return Context()


def judged(context: Any, **given: Any) -> Any:
    return judging.run(context, ["help"], NOW, NOW + 1000, **{"when_idle": False, **given})


def test_a_judge_is_kept_by_name_and_labels_hold_it_to_what_it_asks(event_log: EventLog) -> None:
    store = JudgeStore(event_log)
    kept = store.keep("help", "m", RUBRIC)
    assert store.get("help") == kept
    assert store.keep("help", "n", RUBRIC).metric.model == "n"
    LabelStore(event_log).give("run_1", "help", 1.0, ["run_1"])
    assert store.keep("help", "m", RUBRIC).as_record()["model"] == "m"
    for name, rubric, low, code in (
        ("help", "Is it kind?", 1, "judge_labelled"), ("help", RUBRIC, 2, "judge_labelled"), ("toxic", RUBRIC, 1, "name_taken"),
        ("a b", RUBRIC, 1, "bad_name"), ("other", "{{ expected }}", 1, "bad_metric"), ("other", RUBRIC, 7, "bad_metric"),
    ):  # fmt: skip
        with pytest.raises(InputRefusedError) as refused:
            store.keep(name, "m", rubric, low)
        assert refused.value.code == code, name
    store.remove("help")
    with pytest.raises(NotFoundError):
        store.get("help")
    # Its labels stay, and are of what it asked for.
    with pytest.raises(InputRefusedError, match="labels of what it asked"):
        store.keep("help", "m", "Is it kind?")
    assert store.keep("help", "m", RUBRIC).metric.rubric == RUBRIC
    LabelStore(event_log).give("run_1", "mine", 1.0, ["run_1"])
    with pytest.raises(InputRefusedError, match="something else"):
        store.keep("mine", "m", RUBRIC)


@pytest.mark.parametrize("body", ["{", "3", '{"model": "m"}', '{"model": "m", "rubric": "x", "low": 5, "high": 1}'])
def test_a_damaged_judge_is_named_and_the_others_are_there(catalog: Catalog, event_log: EventLog, body: str) -> None:
    store = JudgeStore(event_log)
    store.keep("help", "m", RUBRIC)
    store.keep("kind", "m", RUBRIC)
    with event_log.transaction() as connection:
        connection.execute("UPDATE quality_judges SET metric = ? WHERE name = 'kind'", (body,))
    assert [one.name for one in store.all()] == ["help"]
    assert list(store.damaged()) == ["kind"]
    with pytest.raises(LlmopsError, match="kind"):
        store.get("kind")
    report = Report()
    check_catalog.judges(catalog.workspace, report)
    assert [one.place for one in report.errors] == ["journal.db: judge kind"]


def test_a_judge_is_asked_within_its_budget_and_labels_correct_it(
    context: Any, catalog: Catalog, event_log: EventLog
) -> None:
    fill(event_log, 400)
    JudgeStore(event_log).keep("help", "m", RUBRIC)
    alone = judged(context)
    (one,) = alone["judges"]
    assert (alone["answers"], one["asked"], one["kept"], one["method"], one["labels"]) == (400, 100, 0, "check", 0)
    assert (one["prompt_tokens"], one["completion_tokens"], one["model"]) == (5000, 100, "m")
    # A quarter of the answers refuse, which it grades as the worst.
    assert one["low"] < 0.25 < one["high"]
    assert "100 questions, 5,100 tokens" in one["sentence"]
    # What was graded is not asked again.
    assert [(again["asked"], again["kept"]) for again in judged(context)["judges"]] == [(0, 100)]
    sample, labels = draw(catalog, TraceFilter(), NOW, NOW + 1000, 100), LabelStore(event_log)
    for trace in sample.stream[:100]:
        # The judge is wrong in half of what it finds.
        labels.give(trace, "help", float(int(trace[-6:]) % 8 == 0), sample.stream)
    (corrected,) = judged(context)["judges"]
    # A hundred others are judged beside those that are labelled.
    assert (corrected["method"], corrected["labels"], corrected["judged"]) == ("labels and check", 100, 200)
    assert (corrected["asked"], corrected["kept"]) == (100, 100)
    assert corrected["low"] <= 0.125 <= corrected["high"]
    assert corrected["high"] < one["value"]
    # Nothing is asked beyond the time that it may take.
    (none,) = judged(context, seconds=0.0)["judges"]
    assert (none["value"], none["asked"], math.isnan(none["low"])) == (None, 0, False)


def test_a_judge_waits_for_others_and_is_no_traffic_itself(
    context: Any, catalog: Catalog, event_log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(event_log, 20)
    asked = {
        "started_at": NOW + 5, "model": "m", "finish_reason": "stop", "parameters": {}, "output": "4",
        "messages": [{"role": "system", "content": JUDGE_SYSTEM}, {"role": "user", "content": "Grade"}],
    }  # fmt: skip
    event_log.append("request", "run_900000", asked)
    ingest(catalog, event_log)
    assert draw(catalog, TraceFilter(), NOW, NOW + 1000, 100).size == 20
    JudgeStore(event_log).keep("help", "m", RUBRIC)
    busy = iter([True, True])
    monkeypatch.setattr(judging._Judging, "_others_at_work", lambda _self: next(busy, False))
    monkeypatch.setattr(judging, "_LOOK_SECONDS", 0.001)
    (one,) = judged(context, when_idle=True)["judges"]
    assert (one["asked"], one["waited"]) == (20, pytest.approx(0.002))
    assert "help waits: others are answered" in context.told
    with pytest.raises(NotFoundError):
        judging.run(context, ["nobody"], NOW, NOW + 1000)
