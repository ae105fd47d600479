"""The loop: what of feedback becomes data, what speaks for training anew, the gate, and models that take each other's place."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import pytest

from llmops_tui.datasets.authors import COLUMN, authors_of
from llmops_tui.deployment.promotions import Promotions
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.gates import Ruling
from llmops_tui.evaluation.run_search import NotEvaluatedError
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import check_suite
from llmops_tui.experiments.beginning import NewExperiment, begin
from llmops_tui.inference.experiments.records import Settings
from llmops_tui.inference.stages import Stage
from llmops_tui.loop import gate as gates
from llmops_tui.loop import gate_suites
from llmops_tui.loop.belonging import why_not_of
from llmops_tui.loop.canary import Fallen
from llmops_tui.loop.collecting import keep_suite
from llmops_tui.loop.distinct import clusters_of, new_clusters
from llmops_tui.loop.feedback import HELD_OUT, collect, gather_fresh, is_held_out, read_feedback
from llmops_tui.loop.gate import Gate, gate_of
from llmops_tui.loop.promotion import ClosedError
from llmops_tui.loop.proposal import Wanted, propose
from llmops_tui.loop.stations import Loop
from llmops_tui.loop.subject import Subject, subject_of
from llmops_tui.models.aliases import MODEL_PROMOTED, MODEL_ROLLED_BACK, AliasBook
from llmops_tui.monitoring.traffic_days import TrafficDays
from llmops_tui.traces.feedback import give
from llmops_tui.traces.store import TraceStore
from llmops_tui.training.recipe import check
from llmops_tui.training.runs import RunStore
from llmops_tui.workspace.audit import entries, problems
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace

SUBJECT = Subject("base", "base")
THINGS = [
    "parcel",
    "invoice",
    "refund",
    "address",
    "password",
    "voucher",
    "delivery",
    "return",
    "warranty",
    "receipt",
    "colour",
    "size",
]
NOW = 1_795_000_000.0


@pytest.fixture
def store(catalog: Catalog, event_log: EventLog) -> TraceStore:
    return TraceStore(catalog, event_log)


@pytest.fixture
def loop(catalog: Catalog, event_log: EventLog, workspace: Workspace) -> Loop:
    evaluations = EvaluationStore(workspace)
    return Loop(catalog, event_log, evaluations, Promotions(catalog, event_log, evaluations))


def question(number: int) -> str:
    thing = THINGS[number % len(THINGS)]
    return f"Number {number} of my questions is what I do about the {thing} that I was sent on day {number * 7} of this year"


def ask(
    event_log: EventLog, number: int, said: str = "", answer: str = "Here.", model: str = "base", **more: Any
) -> str:
    key = f"run_{number:08d}"
    body = {
        "started_at": NOW + number, "model": model, "messages": [{"role": "user", "content": said or question(number)}],
        "output": answer, "finish_reason": "stop", "parameters": {}, "total_ms": 5.0,
    }  # fmt: skip
    event_log.append("request", key, body | more)
    return key


def add_models(catalog: Catalog, *names: str) -> None:
    def work(connection: Any) -> None:
        for name in names:
            kind = "adapter" if name.startswith("ada") else "gguf"
            header = json.dumps({"architecture": "llama"})
            row = (name, kind, f"models/{name}.gguf", f"{name:0<64}", 1, header, NOW)
            connection.execute(
                "INSERT INTO models (name, kind, path, sha256, size_bytes, header, added_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )

    catalog.write(work)


def add_run(catalog: Catalog, name: str, data: str, model: str, at: float = NOW, **recipe: Any) -> None:
    body = check({"name": "support", "base": "folder", "data": [{"dataset": data}], "serving": "base"} | recipe)
    result = json.dumps({"run": name, "state": "done", "model": model, "sha256": "s", "serving": "base"})
    options = json.dumps({"beside": False, "make_room": False, "force": False, "measured": [], "start": []})
    values = (
        name,
        json.dumps(body.model_dump()),
        "job_000001",
        "b",
        json.dumps([[data, "d"]]),
        options,
        result,
        at,
        at + 1,
    )
    catalog.write(
        lambda connection: connection.execute(
            "INSERT INTO training_runs (name, recipe, job, base_sha256, data, options, result, created_at, finished_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            values,
        )
    )


# ── feedback becomes data ──


def test_what_was_reviewed_becomes_data_once_and_again_when_more_is_said(
    store: TraceStore, event_log: EventLog
) -> None:
    for number in range(6):
        ask(event_log, number)
    ask(event_log, 9, model="other")
    give(store, "run_00000000", score="up")
    give(store, "run_00000001", score="down", correction="Right.")
    give(store, "run_00000002", score="down", correction="No.", verdict="dismissed")
    give(store, "run_00000003", score="down")
    give(store, "run_00000009", score="up")
    said = read_feedback(store, SUBJECT)
    # The one that was corrected waits for somebody's look.
    assert (said.requests, said.up, said.down, said.corrected, said.in_queue) == (6, 1, 3, 2, 2)
    assert said.fresh == ("run_00000000",)
    give(store, "run_00000001", verdict="accepted")
    version, held, _ = collect(store, SUBJECT, "feedback", share=0.0)
    assert held is None
    rows = [row for batch in version.read() for _, row in batch]
    assert [(row["messages"][-1]["content"], row[COLUMN]) for row in rows] == [("Here.", "model"), ("Right.", "person")]
    assert (authors_of(version).share, authors_of(version).unsaid) == (0.5, 0)
    with pytest.raises(InputRefusedError, match="no version has yet"):
        collect(store, SUBJECT, "feedback", share=0.0)
    give(store, "run_00000000", correction="Better.")
    give(store, "run_00000000", verdict="accepted")
    assert read_feedback(store, SUBJECT).fresh == ("run_00000000",)
    again, _, _ = collect(store, SUBJECT, "feedback", share=0.0)
    assert (again.ref, again.rows, authors_of(again).model) == ("feedback@2", 1, 0)


def test_a_part_is_held_out_and_nothing_that_is_alike_is_in_both(store: TraceStore, event_log: EventLog) -> None:
    for number in range(12):
        # Each is asked twice, once with a word more.
        give(store, ask(event_log, 2 * number, question(number)), score="up")
        give(store, ask(event_log, 2 * number + 1, question(number) + " please"), score="up")
    said = read_feedback(store, SUBJECT)
    parts = gather_fresh(store, SUBJECT, said, "messages", "redact", 0.25)
    assert len(parts.learned.rows) + len(parts.held_out.rows) == 24
    assert 2 <= len(parts.held_out.rows) <= 12
    sides = [
        {row["messages"][0]["content"].removesuffix(" please") for row in part.rows}
        for part in (parts.learned, parts.held_out)
    ]
    assert not sides[0] & sides[1]
    version, held, _ = collect(store, SUBJECT, "feedback", share=0.25)
    assert held is not None
    assert (held.ref, held.rows, is_held_out(held), is_held_out(version)) == (
        "feedback-new@1",
        len(parts.held_out.rows),
        True,
        False,
    )
    assert held.recipe.parameters["part"] == HELD_OUT
    assert read_feedback(store, SUBJECT).fresh == ()
    with pytest.raises(InputRefusedError, match="share"):
        gather_fresh(store, SUBJECT, said, "messages", "redact", 1.0)


def test_pairs_are_of_what_is_fresh_and_personal_data_is_counted_there_alone(
    store: TraceStore, event_log: EventLog
) -> None:
    give(store, ask(event_log, 1, "Who is there?", "Write to ann@example.org"), score="up")
    give(store, ask(event_log, 2, "Who is there?", "Nobody."), score="down", verdict="accepted")
    give(store, ask(event_log, 3, "And where?", "Here."), score="down", correction="In Ulm.", verdict="accepted")
    version, held, parts = collect(store, SUBJECT, "pairs", shape="preference", share=0.0)
    rows = [row for batch in version.read() for _, row in batch]
    assert [(row["rejected"][0]["content"], row[COLUMN]) for row in rows] == [("Nobody.", "model"), ("Here.", "person")]
    assert rows[1]["chosen"][0]["content"] == "In Ulm."
    assert sum(parts.learned.personal.values()) == 1
    assert held is None
    assert "ann@example.org" not in json.dumps(rows)


def test_rewordings_are_one_thing_and_what_is_known_is_not_new() -> None:
    texts = [question(1), question(1) + " please", question(2), "", question(3)]
    assert sorted(map(len, clusters_of(texts))) == [1, 1, 1, 2]
    assert new_clusters([question(1)], texts) == 3
    assert new_clusters([], []) == 0


# ── the proposal ──


def filled(store: TraceStore, event_log: EventLog, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        give(store, ask(event_log, number), score="up")


def test_a_proposal_is_computed_and_fills_the_recipe_in(
    store: TraceStore, event_log: EventLog, catalog: Catalog, workspace: Workspace
) -> None:
    runs, days = RunStore(workspace), TrafficDays(event_log)
    filled(store, event_log, 12)
    wanted = Wanted(distinct=12)

    def now(fallen: tuple[Fallen, ...] = (), given: Wanted = wanted) -> Any:
        return propose(runs, SUBJECT, read_feedback(store, SUBJECT), days, fallen, given)

    nothing = now()
    assert not nothing.proposed
    assert "12 rated answers wait: llmops loop collect" in nothing.why_none
    collect(store, SUBJECT, "feedback", share=0.0)
    first = now()
    assert (first.proposed, first.reasons[0].found, first.recipe) == (True, 12, None)
    assert "no finished training" in first.why_none
    add_run(catalog, "support-1", "feedback@1", "ada-1")
    # All of it was learned from.
    assert not now().proposed
    filled(store, event_log, 8, 12)
    give(store, ask(event_log, 40, question(1)), score="up")
    collect(store, SUBJECT, "feedback", share=0.0)
    second = now()
    # What is like a row that was learned from is nothing new.
    assert (second.proposed, second.reasons[0].found) == (False, 8)
    assert now((Fallen("smoke", "a", "b", "smoke: exact 0.9 to 0.7"),)).proposed
    grown = now(given=Wanted(distinct=8))
    assert grown.proposed
    assert grown.recipe is not None
    assert [(one.dataset, one.weight) for one in grown.recipe.data] == [("feedback@1", 1.0), ("feedback@2", 1.0)]
    assert (grown.recipe.start, grown.replay) == ("", pytest.approx(12 / 21))
    on = now(given=Wanted(distinct=8, go_on=True, replay=0.2))
    assert on.recipe is not None
    assert (on.recipe.start, on.replay) == ("support-1", pytest.approx(0.2))
    assert on.as_dict()["authors"][0]["share"] == 1.0
    runs.save_recipe(check({"name": "pairs", "base": "folder", "data": "feedback", "method": "dpo"}))
    other = now(given=Wanted(distinct=8, recipe="pairs"))
    assert other.recipe is None
    assert "dpo learns from preference" in other.why_none
    with pytest.raises(InputRefusedError, match="replay"):
        now(given=Wanted(replay=1.0))


def test_a_drift_that_was_rated_speaks_for_it_and_an_alarm_alone_does_not(
    store: TraceStore, event_log: EventLog, workspace: Workspace
) -> None:
    filled(store, event_log, 5)
    collect(store, SUBJECT, "feedback", share=0.0)
    days = TrafficDays(event_log)

    def reason(labelled: int) -> Any:
        said = read_feedback(store, SUBJECT)
        return propose(RunStore(workspace), SUBJECT, said, days, (), Wanted(labelled=labelled)).reasons[2]

    assert reason(1).told == "no alarm of changed traffic"
    for back, p in ((9, 0.6), (1, 1e-9), (0, 1e-9)):
        days.record("all traffic", time.strftime("%Y-%m-%d", time.localtime(NOW - back * 86_400)), p, {})
    assert (reason(5).holds, reason(5).found) == (True, 5)
    assert not reason(6).holds
    days.begin_anew("all traffic")
    for back in (40, 30):
        days.record("base", time.strftime("%Y-%m-%d", time.localtime(NOW + back * 86_400)), 1e-9, {})
    assert reason(1).found == 0


# ── the gate ──


def gate(*outcomes: str, missing: tuple[str, ...] = (), has_new: bool = True) -> Gate:
    rulings = tuple(Ruling(f"rule {n}", one, "figures") for n, one in enumerate(outcomes))  # type: ignore[arg-type]
    return Gate(SUBJECT, "base+ada-1", rulings, missing, has_new)


@pytest.mark.parametrize(
    ("given", "passes"),
    [
        (gate("pass", "pass"), True),
        (gate("pass", "unsure"), False),
        (gate("pass", "fail"), False),
        (gate("pass", missing=("a run",)), False),
        (gate("pass", has_new=False), False),
        (gate(), False),
    ],
)
def test_only_what_is_sure_and_whole_passes(given: Gate, passes: bool) -> None:
    assert given.passes is passes
    assert bool(given.told) is not passes


def test_old_suites_must_hold_and_the_new_one_must_be_better(
    loop: Loop, catalog: Catalog, event_log: EventLog, store: TraceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_models(catalog, "base", "ada-1")
    filled(store, event_log, 10)
    _, held, _ = collect(store, SUBJECT, "feedback", share=0.5)
    assert held is not None
    old = {
        "cases": [{"message": "x", "expected": "y"}],
        "prompt": "p",
        "metrics": ["exact", "token-f1"],
        "rules": ["exact >= 0.5"],
    }
    loop.evaluations.save_suite(check_suite({**old, "prompt": ""}, "old"))
    loop.evaluations.save_suite(check_suite(old, "of-another-prompt"))
    new = keep_suite(loop.evaluations, held, "token-f1")
    assert new.ref == "feedback-new@1"
    asked: list[tuple[str, str | None, tuple[str, ...]]] = []

    class Run:
        def __init__(self, name: str) -> None:
            self.name = name

    def counts(_store: Any, _runs: Any, _subject: Any, suite: Any, model: str) -> Any:
        if (suite.suite.name, model) == ("feedback-new", "base"):
            raise NotEvaluatedError("no run", "make it", prompt="", model=model)
        return Run(f"{suite.suite.name} of {model}")

    def ruled(_store: Any, run: str, baseline: str | None, rules: Any) -> list[Ruling]:
        asked.append((run, baseline, tuple(rules)))
        return [Ruling(rule, "pass", "figures") for rule in rules]

    for module in (gates, gate_suites):
        monkeypatch.setattr(module, "run_that_counts", counts)
    monkeypatch.setattr(gates, "gate", ruled)
    found = gate_of(loop.evaluations, SUBJECT, "base+ada-1", margin=3)
    assert asked == [
        (
            "old of base+ada-1", "old of base",
            ("exact not worse than baseline by > 3 points", "token-f1 not worse than baseline by > 3 points"),
        ),
        ("old of base+ada-1", None, ("exact >= 0.5",)),
    ]  # fmt: skip
    assert (found.has_new, found.missing, found.passes) == (True, ("no run: make it",), False)
    assert [(one["suite"], one["asks"]) for one in found.suites] == [("old@1", "before"), ("feedback-new@1", "new")]
    assert found.as_dict()["left_out"] == [
        {"what": "of-another-prompt@1", "why": "it asks p, not what base is asked with"}
    ]
    monkeypatch.setattr(
        gates, "run_that_counts", lambda _a, _b, _c, suite, model: Run(f"{suite.suite.name} of {model}")
    )
    asked.clear()
    assert gate_of(loop.evaluations, SUBJECT, "base+ada-1").passes
    assert asked[-1] == ("feedback-new of base+ada-1", "feedback-new of base", ("token-f1 better than baseline",))
    for candidate, margin, code in (("base", 2.0, "same_model"), ("base+ada-1", 60.0, "bad_margin")):
        with pytest.raises(InputRefusedError) as refused:
            gate_of(loop.evaluations, SUBJECT, candidate, margin=margin)
        assert refused.value.code == code


def test_what_was_held_out_of_other_feedback_judges_nothing_here(
    loop: Loop, catalog: Catalog, event_log: EventLog, store: TraceStore
) -> None:
    add_models(catalog, "base", "other", "ada-1")
    loop.promotions.prompts.save("legal", template="{{ q }}")
    loop.promotions.prompts.move_label("legal@1", "production")
    loop.promotions.define(Stage("legal", "production", "base"))
    AliasBook(catalog).add("base", "shop")
    filled(store, event_log, 10)
    for number in range(100, 110):
        give(store, ask(event_log, number, model="other"), score="up")
        give(store, ask(event_log, number + 100, prompt="legal", prompt_version=1), score="up")
    names = {"legal@production": "laws", "shop": "parcels", "other": "others"}
    subjects = {name: subject_of(catalog, event_log, name) for name in names}
    for name, dataset in names.items():
        _, held, _ = collect(store, subjects[name], dataset, share=0.5)
        assert held is not None
        keep_suite(loop.evaluations, held, "token-f1")

    def judged(name: str, **given: Any) -> tuple[list[str], dict[str, str]]:
        gate = gate_of(loop.evaluations, subjects[name], "base+ada-1", **given)
        return [f"{one['asks']} {one['suite']}" for one in gate.suites], {
            one["what"]: one["why"] for one in gate.left_out
        }

    laws, others, parcels = "laws-new@1", "others-new@1", "parcels-new@1"
    by_name = {
        laws: "its rows are feedback on prompt/legal@production",
        others: "its rows are feedback on other",
        parcels: "its rows are feedback on shop",
    }
    # The same model answers both, so what it is asked through the prompt is of its loop, too; not the other way round.
    assert judged("shop") == ([f"new {laws}", f"new {parcels}"], {others: by_name[others]})
    assert judged("legal@production") == ([f"new {laws}"], {one: by_name[one] for one in (others, parcels)})
    assert judged("other") == ([f"new {others}"], {one: by_name[one] for one in (laws, parcels)})
    # Whoever names one means it.
    assert judged("other", new=["parcels-new"]) == ([f"new {parcels}"], {})
    # Two aliases of one model are one loop, also after both have moved on; in another case it is the same alias.
    AliasBook(catalog).add("base", "till")
    assert judged_by("till", loop, catalog, event_log) == [f"new {laws}", f"new {parcels}"]
    catalog.write(lambda db: db.execute("UPDATE model_aliases SET model = 'other'"))
    assert judged_by("till", loop, catalog, event_log) == [f"new {others}", f"new {parcels}"]
    assert subject_of(catalog, event_log, "TILL") == subject_of(catalog, event_log, "till")
    catalog.write(lambda db: db.execute("UPDATE model_aliases SET model = 'base'"))
    # Of versions from before this was noted their traces say it, as long as these are there.
    version = loop.evaluations.datasets.get(others)
    bare = replace(version, recipe=replace(version.recipe, parameters={"part": HELD_OUT}))
    assert why_not_of(catalog, subjects["other"], bare) == ""
    assert "other answers than those of shop" in why_not_of(catalog, subjects["shop"], bare)
    catalog.write(lambda connection: connection.execute("DELETE FROM requests"))
    assert "their traces are gone" in why_not_of(catalog, subjects["other"], bare)


def judged_by(name: str, loop: Loop, catalog: Catalog, event_log: EventLog) -> list[str]:
    found = gate_of(loop.evaluations, subject_of(catalog, event_log, name), "base+ada-1")
    return [f"{one['asks']} {one['suite']}" for one in found.suites]


def test_a_damaged_suite_or_trace_is_named_and_the_rest_goes_on(
    loop: Loop, catalog: Catalog, event_log: EventLog, store: TraceStore
) -> None:
    add_models(catalog, "base", "ada-1")
    filled(store, event_log, 10)
    _, held, _ = collect(store, SUBJECT, "feedback", share=0.5)
    assert held is not None
    keep_suite(loop.evaluations, held, "token-f1")
    loop.evaluations.save_suite(
        check_suite({"cases": [{"message": "x", "expected": "y"}], "metrics": ["exact"]}, "broken")
    )
    loop.promotions.prompts.save("support", template="{{ q }}")
    loop.promotions.prompts.move_label("support@1", "production")
    filled(store, event_log, 3, 20)

    def spoil(connection: Any) -> None:
        connection.execute("UPDATE evaluation_suites SET body = '3' WHERE name = 'broken'")
        connection.execute("UPDATE requests SET messages = '3' WHERE id = 'run_00000021'")

    said = read_feedback(store, SUBJECT)
    catalog.write(spoil)
    found = gate_of(loop.evaluations, SUBJECT, "base+ada-1")
    assert [one["suite"] for one in found.suites] == ["feedback-new@1"]
    (out,) = found.left_out
    assert (out["what"], "row broken@1" in out["why"]) == ("broken@1", True)
    # A suite that the stage asks for is missed by its name, and nothing passes without it.
    staged = replace(SUBJECT, stage=Stage("support", "production", "base", ("broken",)))
    missing = gate_of(loop.evaluations, staged, "base+ada-1").missing
    assert "broken, which the stage asks for, cannot be read" in missing[0]
    parts = gather_fresh(store, SUBJECT, said, "messages", "redact", 0.0)
    assert parts.learned.traces == ["run_00000020", "run_00000022"]
    assert [("run_00000021" in why, count) for why, count in parts.learned.left_out.items()] == [(True, 1)]


# ── into use, and back ──


def test_a_candidate_takes_the_place_that_the_gate_opens_and_gives_it_back(
    loop: Loop, catalog: Catalog, event_log: EventLog
) -> None:
    add_models(catalog, "base", "ada-1", "ada-2")
    AliasBook(catalog).add("base", "shop")
    subject = subject_of(catalog, event_log, "shop")
    assert (subject.model, subject.alias, subject.traces.model) == ("base", "shop", "base")
    shut = Gate(subject, "base+ada-1", (Ruling("old: exact", "fail", "0.9 to 0.4"),), (), True)
    replacements = loop.replacements()
    with pytest.raises(ClosedError, match=r"0\.9 to 0\.4"):
        replacements.promote(shut)
    with pytest.raises(InputRefusedError, match="reason"):
        replacements.promote(shut, force=True)
    opened = Gate(subject, "base+ada-1", (Ruling("old: exact", "pass", "fine"),), (), True)
    replacements.promote(opened, reason="it knows the new parcels")
    # Whoever judged beside the model of before is told.
    with pytest.raises(InputRefusedError) as refused:
        replacements.promote(opened)
    assert refused.value.code in {"alias_moved", "model_moved"}
    now = subject_of(catalog, event_log, "shop")
    assert now.model == "base+ada-1"
    replacements.promote(Gate(now, "base+ada-2", (), (), True), force=True, reason="a trial")
    for expected in ("base+ada-1", "base"):
        replacements.roll_back(subject_of(catalog, event_log, "shop"), reason="")
        assert subject_of(catalog, event_log, "shop").model == expected
    with pytest.raises(InputRefusedError, match="before"):
        replacements.roll_back(subject_of(catalog, event_log, "shop"))
    moves = replacements.history("shop")
    assert [(one.kind, one.before, one.after) for one in moves] == [
        (MODEL_ROLLED_BACK, "base+ada-1", "base"), (MODEL_ROLLED_BACK, "base+ada-2", "base+ada-1"),
        (MODEL_PROMOTED, "base+ada-1", "base+ada-2"), (MODEL_PROMOTED, "base", "base+ada-1"),
    ]  # fmt: skip
    assert moves[-1].reason == "it knows the new parcels"
    connection = event_log.connection()
    assert problems(connection, {}) == []
    # The audit holds hashes alone.
    told = json.dumps(
        [
            [one.subject, dict(one.facts)]
            for one in entries(connection)
            if one.kind in {MODEL_PROMOTED, MODEL_ROLLED_BACK}
        ]
    )
    assert "shop" not in told
    assert "parcels" not in told
    own = subject_of(catalog, event_log, "base")
    with pytest.raises(InputRefusedError, match="own name"):
        replacements.promote(Gate(own, "base+ada-1", (Ruling("r", "pass", ""),), (), True))


def test_a_stage_has_its_new_model_with_its_entry_or_not_at_all(
    loop: Loop, catalog: Catalog, event_log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_models(catalog, "base", "ada-1", "ada-2")
    loop.promotions.prompts.save("support", template="{{ q }}")
    loop.promotions.prompts.move_label("support@1", "production")
    loop.promotions.define(Stage("support", "production", "base"))
    subject = subject_of(catalog, event_log, "support@production")
    opened = Gate(subject, "base+ada-1", (Ruling("r", "pass", ""),), (), True)
    replacements, before = loop.replacements(), len(list(entries(event_log.connection())))

    def ended(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("llmops_tui.loop.promotion.add_entry", ended)
        replacements.promote(opened)
    assert subject_of(catalog, event_log, "support@production").model == "base"
    assert len(list(entries(event_log.connection()))) == before
    made = replacements.promote(opened)
    newest = list(entries(event_log.connection()))[-2:]
    assert [one.kind for one in newest] == ["stage.set", MODEL_PROMOTED]
    assert (made.at, made.audit) == (newest[-1].at, newest[-1].seq)
    # Of two that were judged beside the same model one is put there.
    with pytest.raises(InputRefusedError) as refused:
        replacements.promote(Gate(subject, "base+ada-2", (Ruling("r", "pass", ""),), (), True))
    assert refused.value.code == "model_moved"


# ── where it stands ──


def test_each_station_says_what_the_stores_say(
    loop: Loop, store: TraceStore, catalog: Catalog, event_log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_models(catalog, "base", "ada-1")

    def standing() -> dict[str, tuple[str, int]]:
        found = loop.standing(subject_of(catalog, event_log, "base"), Wanted(distinct=3))
        return {one.station: (one.state, one.count) for one in found.stations}

    def step() -> str:
        found = loop.standing(subject_of(catalog, event_log, "base"), Wanted(distinct=3)).step
        return found.next if found is not None else ""

    assert {state for state, _ in standing().values()} == {"empty"}
    filled(store, event_log, 6)
    give(store, ask(event_log, 90, "Odd?"), score="down")
    assert (standing()["feedback"], standing()["review"], standing()["dataset"][0]) == (
        ("done", 7),
        ("to do", 1),
        "to do",
    )
    assert step() == "llmops loop collect base feedback"
    collect(store, SUBJECT, "feedback", share=0.0)
    assert (standing()["dataset"], standing()["proposal"][0]) == (("done", 6), "to do")
    assert step() == "llmops train new"
    add_run(catalog, "support-1", "feedback@1", "ada-1")
    assert (standing()["training"], standing()["gate"]) == (("done", 1), ("stopped", 0))
    open_gate = Gate(subject_of(catalog, event_log, "base"), "base+ada-1", (Ruling("r", "pass", ""),), (), True)
    monkeypatch.setattr("llmops_tui.loop.stations.gate_of", lambda *_: open_gate)
    assert (standing()["gate"], step()) == (("done", 1), "llmops experiment start base --b base+ada-1 --kind shadow")
    settings: Settings = {
        "a": "base", "b": "base+ada-1", "share": 0.5, "by": "conversation", "metric": {"type": "answered"}, "budget": 0.02,
        "alpha": 0.01, "slower": 1.2,
    }  # fmt: skip
    shadow = loop.experiments.start("base", "shadow", settings)
    assert (standing()["shadow"], step()) == (
        ("at work", 0),
        f"llmops experiment stop {shadow.id} && llmops experiment start base --b base+ada-1 --kind canary",
    )
    # What is surely worse as a shadow answers nobody.
    worse = {"verdict": {"pairs": 40, "better": "a", "sentence": "base is better"}}
    with monkeypatch.context() as patched:
        patched.setattr("llmops_tui.loop.stations.shown", lambda *_: worse)
        assert (standing()["shadow"], standing()["canary"][0]) == (("stopped", 40), "empty")
    loop.experiments.stop(shadow.id, "")
    canary = loop.experiments.start("base", "canary", settings)
    assert standing()["promotion"][0] == "empty"
    loop.experiments.assign(canary.id, "u", "b")
    assert (standing()["canary"], step()) == (("at work", 1), "llmops loop promote base base+ada-1")
    # A canary that stopped itself opens nothing.
    for number in range(20):
        loop.experiments.assign(canary.id, f"v{number}", "b")
        loop.experiments.fail(canary, f"v{number}")
    assert (standing()["canary"][0], standing()["promotion"][0]) == ("stopped", "empty")


def test_a_subject_is_a_stage_an_alias_or_a_model(loop: Loop, catalog: Catalog, event_log: EventLog) -> None:
    add_models(catalog, "base")
    with pytest.raises(InputRefusedError, match="nothing"):
        subject_of(catalog, event_log, "nothing")
    with pytest.raises(InputRefusedError, match="no stage"):
        subject_of(catalog, event_log, "prompt/support@production")
    prompts = loop.promotions.prompts
    prompts.save("support", template="{{ q }}")
    prompts.move_label("support@1", "production")
    loop.promotions.define(Stage("support", "production", "base"))
    found = subject_of(catalog, event_log, "support@production")
    assert (found.name, found.model, found.traces.prompt) == ("prompt/support@production", "base", "support")
    # A candidate stands against its model with the same version of the prompt.
    add_models(catalog, "ada-1")
    made = begin(catalog, loop.experiments, NewExperiment(name=found.name, b="base+ada-1", kind="shadow"))
    assert (made.settings["a"], made.settings["b"]) == ("prompt/support@1+base", "prompt/support@1+base+ada-1")
    loop.experiments.stop(made.id, "")
    with pytest.raises(InputRefusedError, match="both"):
        begin(catalog, loop.experiments, NewExperiment(name=found.name, b="base", kind="shadow"))
    loop.promotions.define(Stage("support", "production"))
    for ask_for in (
        lambda: subject_of(catalog, event_log, found.name),
        lambda: begin(catalog, loop.experiments, NewExperiment(name=found.name, b="base+ada-1")),
    ):
        with pytest.raises(InputRefusedError) as refused:
            ask_for()
        assert "stage set support@production" in refused.value.hint
