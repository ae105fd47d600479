"""Suites and recipes are deleted whole and come back whole; copies are acts of the history."""

from __future__ import annotations

import pytest

from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.maintenance import definition_removal
from llmops_tui.maintenance.archiving import Archivable, Archive, Kept
from llmops_tui.maintenance.definition_removal import plan_definition_removal, remove_definition
from llmops_tui.maintenance.undo import UndoHistory
from llmops_tui.prompts.store import PromptStore
from llmops_tui.training.runs import RunStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.commands import llmops


def versions(workspace: Workspace) -> list[object]:
    """All suites and recipes, as the stores read them."""
    return [*EvaluationStore(workspace).suites(), *RunStore(workspace).recipes()]


@pytest.mark.parametrize(("kind", "name"), [(Archivable.SUITE, "triage-cases"), (Archivable.RECIPE, "triage-qlora")])
def test_what_is_deleted_comes_back_whole_and_goes_again(sample: Workspace, kind: Archivable, name: str) -> None:
    suites, recipes = EvaluationStore(sample), RunStore(sample)
    suites.save_suite(suites.suites()[0].suite.model_copy(update={"name": "triage-cases"}))
    before, event_log = versions(sample), EventLog(sample)
    assert recipes.recipe("triage-qlora")
    history = UndoHistory(Catalog(sample), event_log)
    Archive(event_log).add(kind, [name])
    removed = history.remove_definition(kind, name)
    assert removed.done
    assert removed.versions[-1] == f"{name}@1"
    assert len(versions(sample)) == len(before) - len(removed.rows)
    assert Archive(event_log).names(kind) == frozenset()
    with pytest.raises(NotFoundError):
        remove_definition(sample, kind, name)
    act = history.undo()
    assert act is not None
    assert (act.title, act.screen) == (f"{kind} {name} is deleted", {"suite": "evaluation", "recipe": "training"}[kind])
    assert versions(sample) == before
    assert history.redo() is not None
    assert len(versions(sample)) < len(before)
    assert history.undo() is not None
    assert versions(sample) == before


def test_a_deleted_suite_does_not_come_back_over_another_one(sample: Workspace) -> None:
    suites, history = EvaluationStore(sample), UndoHistory(Catalog(sample), EventLog(sample))
    suite = suites.suites()[0].suite.model_copy(update={"name": "mine"})
    suites.save_suite(suite)
    history.remove_definition(Archivable.SUITE, "mine")
    suites.save_suite(suite.model_copy(update={"rules": []}))
    with pytest.raises(InputRefusedError) as refused:
        history.undo()
    assert refused.value.code == "undo_stale"
    assert history.acts() == []
    # What was kept of it goes with the act.
    history.remove_definition(Archivable.SUITE, "mine")
    assert len([key for key in EventLog(sample).draft_keys() if key.startswith("undo:deleted:")]) == 1


def test_a_suite_stays_while_runs_of_it_are_kept(sample: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(definition_removal, "at_work", lambda _: [])
    name = EvaluationStore(sample).suites()[0].suite.name
    Catalog(sample).write(
        lambda connection: connection.execute(
            "INSERT INTO evaluation_runs (name, suite, suite_number, job, asked, created_at) VALUES ('r', ?, 1, '', '{}', 1)",
            [name],
        )
    )
    assert plan_definition_removal(sample, Archivable.SUITE, name).in_the_way == ("1 run of it is kept",)
    with pytest.raises(InputRefusedError) as refused:
        remove_definition(sample, Archivable.SUITE, name)
    assert refused.value.code == "in_the_way"
    assert EvaluationStore(sample).suite(name)


@pytest.mark.parametrize(
    ("kind", "ref"),
    [(Kept.PROMPT, "support@1"), (Kept.DATASET, "triage@1"), (Archivable.RECIPE, "triage-qlora@1")],
)
def test_a_copy_is_an_act(sample: Workspace, kind: Kept | Archivable, ref: str) -> None:
    history = UndoHistory(Catalog(sample), EventLog(sample))
    assert history.copy(kind, ref, "another") == "another@1"
    (act,) = history.acts()
    assert act.title == f"another is a copy of {kind} {ref}"
    assert history.undo() is not None
    with pytest.raises(NotFoundError):
        history.copy(kind, "another@1", "third")
    assert history.redo() is not None
    assert history.copy(kind, "another@1", "third") == "third@1"


def test_a_copy_that_has_gone_on_is_not_taken_back(sample: Workspace) -> None:
    history, prompts = UndoHistory(Catalog(sample), EventLog(sample)), PromptStore(Catalog(sample))
    history.copy(Kept.PROMPT, "support@1", "another")
    prompts.save("another", template="Something else", system="", note="")
    with pytest.raises(InputRefusedError, match="more versions"):
        history.undo()
    assert len(prompts.versions("another")) == 2


def test_the_commands_say_what_goes_and_how_it_comes_back(sample: Workspace) -> None:
    shown = llmops("train", "remove-recipe", "triage-qlora", workspace=sample)
    assert "would be deleted: triage-qlora@1" in shown.stdout
    assert "undo" in llmops("train", "remove-recipe", "triage-qlora", "--yes", workspace=sample).stdout
    assert not [one for one in RunStore(sample).recipes() if one[0] == "triage-qlora"]
    llmops("undo", workspace=sample)
    assert RunStore(sample).recipe("triage-qlora")
