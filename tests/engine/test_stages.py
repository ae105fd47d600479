"""Stages of prompts: promotion as compare-and-swap, policy, the way back, and what was in force at a moment."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from llmops_tui.deployment import promotions
from llmops_tui.deployment.moments import in_force_at
from llmops_tui.deployment.promotions import PolicyError, Promotions, way_back
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.gates import Ruling
from llmops_tui.evaluation.promotion import held_last
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.experiments.beginning import NewExperiment, begin
from llmops_tui.inference.experiments.store import ExperimentStore
from llmops_tui.inference.stages import Stage, StageStore, StageSubject
from llmops_tui.maintenance.archiving import Kept
from llmops_tui.maintenance.record_removal import plan_record_removal, remove_record
from llmops_tui.maintenance.undo import UndoHistory
from llmops_tui.models.alias_acts import Act
from llmops_tui.models.aliases import AliasBook
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.prompts.label_audit import PROMOTED, ROLLED_BACK, WITHDRAWN, audited_moves, note_moves
from llmops_tui.prompts.store import LabelMove, PromptStore
from llmops_tui.workspace.audit import entries, problems
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import sha256_text
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops
from tests.engine.engines import MODEL


@pytest.fixture
def moving(workspace: Workspace, catalog: Catalog) -> Promotions:
    store = PromptStore(catalog)
    for text in "abc":
        store.save("support", template=text)
    return Promotions(catalog, EventLog(workspace), EvaluationStore(workspace))


def kinds(workspace: Workspace) -> list[str]:
    return [move.kind for move in audited_moves(EventLog(workspace))]


def test_of_two_who_promote_at_once_one_moves_the_label_and_the_other_is_told(
    workspace: Workspace, moving: Promotions
) -> None:
    moving.promote("support@1", "production")
    both, told = threading.Barrier(2), []

    def promote(number: int) -> None:
        mine = Promotions(Catalog(workspace), EventLog(workspace), EvaluationStore(workspace))
        both.wait()
        try:
            mine.promote(f"support@{number}", "production", expected=1)
            told.append("moved")
        except InputRefusedError as error:
            told.append(error.code)

    threads = [threading.Thread(target=promote, args=(number,)) for number in (2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == ["label_moved", "moved"]
    assert kinds(workspace) == [PROMOTED, PROMOTED]


def test_each_promotion_rollback_undo_and_foreign_move_is_an_entry_of_the_audit_once(
    workspace: Workspace, moving: Promotions
) -> None:
    moving.promote("support@1", "production", reason="the first")
    moving.promote("support@2", "production")
    assert moving.roll_back("support", "production", reason="it was rude").version.number == 1
    UndoHistory(Catalog(workspace), EventLog(workspace)).undo()
    assert moving.held("support", "production") == 2
    # What moves it past all of that, such as a process that is killed in between, is found by who looks next.
    moving.prompts.move_label("support@3", "production")
    for _ in range(2):
        note_moves(moving.prompts, EventLog(workspace))
    moves = list(audited_moves(EventLog(workspace)))
    assert [move.kind for move in moves] == [PROMOTED, PROMOTED, ROLLED_BACK, "label.restored", "label.moved"]
    assert [move.reason for move in moves] == ["the first", "", "it was rude", "", ""]
    assert [number for number, _ in moving.history("support", "production")] == moving.prompts.label_moves(
        "support", "production"
    )[::-1]
    connection = EventLog(workspace).connection()
    assert problems(connection, {}) == []
    # It holds ids and hashes: neither the name of a label nor what was said.
    text = str(connection.execute("SELECT kind, subject, facts FROM audit").fetchall())
    assert not any(word in text for word in ("production", "rude", "support"))


def test_the_way_back_goes_further_each_time_and_no_further_than_the_first(moving: Promotions) -> None:
    for number in (1, 2, 3):
        moving.promote(f"support@{number}", "production")
    assert moving.roll_back("support", "production").version.number == 2
    assert moving.roll_back("support", "production").version.number == 1
    with pytest.raises(InputRefusedError, match="no other version"):
        moving.roll_back("support", "production")
    assert way_back([LabelMove("p", "l", None, 1, 1.0), LabelMove("p", "l", 1, None, 2.0)]) == 1
    assert way_back([LabelMove("p", "l", None, 1, 1.0)]) is None


def test_a_policy_is_asked_by_every_way_that_moves_a_label(
    workspace: Workspace, moving: Promotions, monkeypatch: pytest.MonkeyPatch
) -> None:
    moving.promote("support@1", "production")
    StageStore(EventLog(workspace)).set(Stage("support", "production", "", ("smoke",)), StageSubject("pv"))
    said = [Ruling("smoke: exact >= 0.9", "fail", "it is 0.4")]
    monkeypatch.setattr(moving, "rulings", lambda _ref, _stage: said)
    with pytest.raises(PolicyError, match=r"0\.4"):
        moving.promote("support@2", "production")
    with pytest.raises(InputRefusedError) as refused:
        UndoHistory(Catalog(workspace), EventLog(workspace)).move_label("support@2", "production")
    assert refused.value.code == "stage_policy"
    with pytest.raises(InputRefusedError, match="reason"):
        moving.promote("support@2", "production", force=True)
    assert moving.held("support", "production") == 1
    assert moving.promote("support@2", "production", force=True, reason="the shop is closed").before == 1
    said[0] = Ruling("smoke: exact >= 0.9", "pass", "it is 0.95")
    assert moving.promote("support@3", "production").rulings == tuple(said)
    with pytest.raises(InputRefusedError, match="rule"):
        moving.define(Stage("support", "production", rules=("exact >= 0.9",)))


def test_a_stage_is_taken_off_its_version_by_name_and_comes_back(workspace: Workspace, moving: Promotions) -> None:
    moving.promote("support@1", "production")
    moving.promote("support@2", "production")
    StageStore(EventLog(workspace)).set(Stage("support", "production", "", ("smoke",)), StageSubject("pv"))
    history = UndoHistory(Catalog(workspace), EventLog(workspace))
    with pytest.raises(InputRefusedError) as refused:
        history.remove_label("support", "production")
    assert (refused.value.code, "llmops stage withdraw support@production" in refused.value.hint) == (
        "stage_policy",
        True,
    )
    with pytest.raises(InputRefusedError, match="nothing would answer by it"):
        moving.withdraw("support", "production")
    with pytest.raises(InputRefusedError, match="is @2 now and not @1"):
        moving.withdraw("support", "production", reason="closed", expected=1)
    assert moving.withdraw("support", "production", reason="the shop is closed") == 2
    assert moving.held("support", "production") is None
    newest = list(audited_moves(EventLog(workspace)))[-1]
    assert (newest.kind, newest.reason) == (WITHDRAWN, "the shop is closed")
    # What a policy compares with stays: else taking the label away first would pass it over.
    store = moving.prompts
    assert held_last(store, store.get("support@3"), "production").number == 2
    assert held_last(store, store.get("support@3"), "staging").number == 3
    assert moving.roll_back("support", "production").version.number == 2
    moving.withdraw("support", "production", reason="closed again")
    history.undo()
    assert moving.held("support", "production") == 2
    with pytest.raises(InputRefusedError, match="no version of support has the label staging"):
        moving.withdraw("support", "staging")


def test_the_command_shows_first_what_answers_and_a_free_label_goes_from_the_named_version_alone(
    workspace: Workspace, moving: Promotions
) -> None:
    llmops = Llmops(workspace)
    moving.promote("support@1", "beta")
    shown = llmops.run("stage", "withdraw", "support@beta")
    assert (shown["withdrawn"], shown["version"], moving.held("support", "beta")) == (False, 1, 1)
    assert llmops.run("prompt", "tag", "support@2", "beta", "--remove", code=3)["error"]["code"] == "label_moved"
    assert llmops.run("prompt", "tag", "support", "alpha", "--remove", code=3)["error"]["code"] == "no_label"
    llmops.run("prompt", "tag", "support@1", "beta", "--remove")
    assert moving.held("support", "beta") is None
    moving.promote("support@1", "beta")
    assert llmops.run("stage", "withdraw", "support@beta", "--expect", "1", "--yes")["withdrawn"]
    assert moving.held("support", "beta") is None
    assert shown["refused"] == ["prompt/support@beta"]
    moving.promote("support@1", "production")
    shown = llmops.run("stage", "withdraw", "support@production")
    assert shown["refused"] == ["prompt/support@production", "prompt/support"]


def test_a_stage_loses_its_policy_or_changes_its_model_only_by_name(
    workspace: Workspace, moving: Promotions, monkeypatch: pytest.MonkeyPatch
) -> None:
    moving.promote("support@1", "production")
    asked: list[tuple[object, ...]] = []
    said = [Ruling("exact >= 0.9", "fail", "it is 0.4")]

    def promotion(_store: object, *given: object) -> list[Ruling]:
        asked.append(given)
        return said

    monkeypatch.setattr(promotions, "promotion", promotion)
    monkeypatch.setattr(moving, "checked", lambda stage: StageSubject(moving.prompts.get("support@1").id, stage.model))
    guarded = Stage("support", "production", "a", ("canary",), ("exact >= 0.9",))
    moving.define(guarded)
    for loosened in (replace(guarded, suites=(), rules=()), replace(guarded, rules=())):
        with pytest.raises(InputRefusedError, match=r"without .*exact >= 0\.9"):
            moving.define(loosened)
    with pytest.raises(InputRefusedError, match="without canary"):
        moving.forget(guarded)
    # By the policy as it was, though it is taken away in the same breath; and held against the model that answers now.
    for other in (replace(guarded, model="b"), replace(guarded, model="b", suites=(), rules=())):
        with pytest.raises(PolicyError, match=r"0\.4"):
            moving.define(other, reason="b is cheaper")
    assert set(asked) == {("support@1", "production", "canary", ("b",), ("exact >= 0.9",), "a")}
    with pytest.raises(InputRefusedError, match="reason"):
        moving.define(replace(guarded, model="b"), force=True)
    kept = moving.stages.get("support", "production")
    assert kept is not None
    assert replace(kept, changed_at=0.0) == guarded
    moving.define(replace(guarded, model="b"), force=True, reason="a is gone")
    said[0] = Ruling("exact >= 0.9", "pass", "it is 0.95")
    assert moving.define(replace(guarded, model="c"))[1] == [replace(said[0], rule="canary: exact >= 0.9")]
    moving.forget(guarded, reason="it is over")
    told = [(one.kind, one.model, one.policy_changed, one.reason) for one in moving.changes("support", "production")]
    assert told == [
        ("stage.removed", None, True, "it is over"), ("stage.set", "c", False, ""), ("stage.set", "b", False, "a is gone"),
        ("stage.set", "a", True, ""),
    ]  # fmt: skip


def test_what_answered_is_as_it_was_since_the_newest_of_what_decides(workspace: Workspace, moving: Promotions) -> None:
    catalog, event_log = Catalog(workspace), EventLog(workspace)
    registry, book = ModelRegistry(catalog), AliasBook(catalog)
    registry.add(MODEL, "m")
    digest = registry.get("m").sha256
    book.add("m", "shop")

    def newest() -> tuple[str | None, str | None, bool]:
        (one,) = (one for one in in_force_at(catalog, event_log, time.time()) if one.kind == "prompt")
        last = list(entries(event_log.connection()))[-1]
        return one.model, one.model_sha256, (one.audit, one.since >= last.at - 1) == (last.seq, True)

    moving.promote("support@1", "production")
    assert newest() == (None, None, True)
    moving.define(Stage("support", "production", "shop"))
    assert newest() == ("m", digest, True)
    facts = {"before": digest, "after": "f" * 64}
    book.move("shop", "m", "other", Act("model.promoted", sha256_text("shop")[:16], facts))
    assert newest() == ("a model that is registered no more", "f" * 64, True)
    moving.promote("support@2", "production")
    assert newest()[1:] == ("f" * 64, True)
    moving.forget(Stage("support", "production"))
    assert newest() == (None, None, True)


def test_what_was_in_force_is_told_for_every_moment(workspace: Workspace, moving: Promotions) -> None:
    catalog, event_log = Catalog(workspace), EventLog(workspace)
    start = time.time()
    moving.promote("support@1", "production")
    moving.define(Stage("support", "production"))
    first = time.time()
    moving.promote("support@2", "production")
    asked = NewExperiment(name="prompt/support@production", b="prompt/support@3", kind="canary")
    experiment = begin(catalog, ExperimentStore(event_log), asked)
    assert experiment.settings["a"] == "prompt/support@2"
    second = time.time()
    ExperimentStore(event_log).stop(experiment.id, "")
    UndoHistory(catalog, event_log).rename(Kept.PROMPT, "support", "helpdesk", force=True)
    third = time.time()

    def told(moment: float) -> list[tuple[str, str]]:
        return [(one.name, one.what) for one in in_force_at(catalog, event_log, moment)]

    assert told(start - 1) == []
    # Under the name that it has today.
    assert told(first) == [("prompt/helpdesk@production", "helpdesk@1")]
    assert told(third) == [("prompt/helpdesk@production", "helpdesk@2")]
    (_, (name, what)) = told(second)
    assert name == "prompt/support@production"
    assert what == f"canary {experiment.id}: A prompt/support@2, B prompt/support@3, 5% to B"
    assert StageStore(event_log).get("helpdesk", "production") is not None
    # Whoever removes or renames it is told that clients ask for it; the stage goes with it.
    planned = plan_record_removal(workspace, Kept.PROMPT, "helpdesk")
    assert "clients ask for it as prompt/helpdesk@production" in planned.uses
    remove_record(workspace, Kept.PROMPT, "helpdesk", force=True)
    assert StageStore(event_log).all() == []
    (removed,) = in_force_at(catalog, event_log, first)
    assert removed.name.startswith("a prompt that is removed")
