"""Other names of prompts, datasets and models, and copies of them: what goes along, what stays, what is refused."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from llmops_tui.chains.store import ChainStore
from llmops_tui.datasets.operations.base import remake
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.inference.experiments.records import Settings
from llmops_tui.inference.experiments.store import ExperimentStore
from llmops_tui.maintenance import model_renaming, renaming
from llmops_tui.maintenance.archiving import Archivable, Archive, Kept
from llmops_tui.maintenance.model_removal import plan_removal
from llmops_tui.maintenance.record_removal import plan_record_removal
from llmops_tui.maintenance.renaming import copy_definition, copy_record, plan_renaming
from llmops_tui.maintenance.undo import UndoHistory
from llmops_tui.models.aliases import AliasBook
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.prompts.drafts import Draft, Drafts, Session
from llmops_tui.prompts.store import PromptStore
from llmops_tui.training.runs import RunStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace


def test_a_prompt_takes_its_versions_labels_drafts_and_places_along(sample: Workspace) -> None:
    catalog, event_log = Catalog(sample), EventLog(sample)
    store, history = PromptStore(catalog), UndoHistory(catalog, event_log)
    history.move_label("support@1", "staging")
    before = [(v.number, v.sha256, v.labels) for v in store.versions("support")]
    Drafts(event_log).save("support", Draft(template="not saved yet"))
    Drafts(event_log).save_session(Session("support", "support-base"))
    event_log.save_draft(
        "board:current", {"columns": [{"prompt": "support"}], "variables": {"prompt": "support"}, "name": "support"}
    )
    done = history.rename(Kept.PROMPT, "support", "Stütze", force=True)
    assert done.done
    assert [(v.number, v.sha256, v.labels) for v in store.versions("Stütze")] == before
    with pytest.raises(NotFoundError):
        store.versions("support")
    drafts = Drafts(event_log)
    assert drafts.load("support") is None
    assert (drafts.load("Stütze") or Draft()).template == "not saved yet"
    assert drafts.load_session().prompt == "Stütze"
    # What somebody wrote is text, whatever it says.
    assert event_log.load_draft("board:current") == {
        "columns": [{"prompt": "Stütze"}],
        "variables": {"prompt": "support"},
        "name": "support",
    }
    assert history.acts()[0].title == "prompt support is called Stütze"
    undone = history.undo()
    assert undone is not None
    assert undone.called == "support"
    # What was done before can still be taken back: the act is about the prompt, not about its name.
    assert history.undo() is not None
    assert all("staging" not in v.labels for v in store.versions("support"))


def test_a_dataset_takes_its_tags_and_views_along_and_its_rows_stay(sample: Workspace) -> None:
    catalog, event_log = Catalog(sample), EventLog(sample)
    store, history = DatasetStore(catalog), UndoHistory(catalog, event_log)
    history.move_tag("triage@1", "good")
    store.save_view("triage", "urgent", {"filter": "urgent", "sort": "", "descending": False})
    event_log.save_draft("view", {"place": {"last": {"kind": "DatasetPlace", "version": "triage@1"}}})
    old = store.get("triage")
    history.rename(Kept.DATASET, "triage", "requests", force=True)
    new = store.get("requests@good")
    assert (new.sha256, new.folder, new.number) == (old.sha256, old.folder, 1)
    assert list(store.views("requests")) == ["urgent"]
    assert json.dumps(event_log.load_draft("view")).count("requests@1") == 1
    assert history.undo() is not None
    assert store.get("triage@good").sha256 == old.sha256


def test_what_names_it_is_told_and_keeps_it_from_being_renamed(sample: Workspace) -> None:
    history = UndoHistory(Catalog(sample), EventLog(sample))
    planned = plan_renaming(sample, Kept.DATASET, "triage-test", "other")
    assert any("suite" in use for use in planned.uses)
    with pytest.raises(InputRefusedError, match="would not find it"):
        history.rename(Kept.DATASET, "triage-test", "other")
    assert DatasetStore(Catalog(sample)).get("triage-test").number == 1


def test_chains_and_experiments_that_stand_on_a_prompt_are_told_before_it_goes(sample: Workspace) -> None:
    settings: Settings = {
        "a": "prompt/support@production", "b": "prompt/product@production", "share": 0.5, "by": "conversation",
        "metric": {"type": "rating"}, "budget": None, "alpha": 0.05, "slower": 1.5,
    }  # fmt: skip
    begun = ExperimentStore(EventLog(sample)).start("prompt/support@production", "ab", settings)
    told = f"the experiment {begun.id} on prompt/support@production is running"
    for name, uses in (("support", ["chain desk@1 asks it", told]), ("product", [told])):
        for planned in (
            plan_renaming(sample, Kept.PROMPT, name, "other").uses,
            plan_record_removal(sample, Kept.PROMPT, name).uses,
        ):
            assert set(uses) <= set(planned)
            assert any("chain" in use for use in planned) == (name == "support")
    chains = ChainStore(Catalog(sample))
    chains.save(
        "rows", "model: m\nsteps:\n  all:\n    dataset: triage-test\n    steps:\n      one: {prompt: product}\n"
    )
    # A version without a label that is not the newest asks nobody any more.
    chains.save(
        "rows", "model: m\nsteps:\n  all:\n    dataset: triage-test@1\n    steps:\n      one: {prompt: triage}\n"
    )
    assert "chain rows@2 maps its rows" in plan_renaming(sample, Kept.DATASET, "triage-test", "other").uses
    assert "chain rows@2 maps its rows" in plan_record_removal(sample, Kept.DATASET, "triage-test@1").uses
    assert not any("rows@" in use for use in plan_renaming(sample, Kept.PROMPT, "product", "other").uses)
    with pytest.raises(InputRefusedError, match="chain desk@1 asks it"):
        UndoHistory(Catalog(sample), EventLog(sample)).rename(Kept.PROMPT, "support", "help")


def test_a_name_that_cannot_be_taken_back_does_not_keep_what_was_done_before_it(sample: Workspace) -> None:
    store, history = PromptStore(Catalog(sample)), UndoHistory(Catalog(sample), EventLog(sample))
    history.move_label("support@1", "staging")
    history.rename(Kept.PROMPT, "support", "help", force=True)
    copy_record(sample, Kept.PROMPT, "help@1", "support")
    with pytest.raises(InputRefusedError, match="there is a prompt support already") as refused:
        history.undo()
    assert refused.value.code == "undo_stale"
    assert store.get("help").prompt == "help"
    undone = history.undo()
    assert undone is not None
    assert (undone.kind, undone.subject) == ("label", "help")


def test_what_names_a_dataset_does_not_keep_a_prompt_of_that_name(sample: Workspace) -> None:
    assert copy_record(sample, Kept.PROMPT, "support", "triage-test") == "triage-test@1"
    assert plan_renaming(sample, Kept.PROMPT, "triage-test", "other").uses == ()
    assert plan_renaming(sample, Kept.DATASET, "triage-test", "other").uses


@pytest.mark.parametrize(("name", "code"), [("triage", "name_taken"), ("no/name", "bad_name")])
def test_a_name_that_is_taken_or_none_is_refused(sample: Workspace, name: str, code: str) -> None:
    for kind, ref in ((Kept.PROMPT, "support"), (Kept.DATASET, "triage-test")):
        for refuse in (plan_renaming, copy_record):
            with pytest.raises(InputRefusedError) as refused:
                refuse(sample, kind, ref, name)
            assert refused.value.code == code


def test_a_text_that_is_not_saved_yet_keeps_its_name(sample: Workspace) -> None:
    event_log = EventLog(sample)
    history, drafts = UndoHistory(Catalog(sample), event_log), Drafts(event_log)
    drafts.save("begun", Draft(template="written for an hour"))
    with pytest.raises(InputRefusedError, match="unsaved text") as refused:
        history.rename(Kept.PROMPT, "support", "begun", force=True)
    assert refused.value.code == "name_taken"
    assert (drafts.load("begun") or Draft()).template == "written for an hour"
    # What a version says is not lost.
    saved = PromptStore(Catalog(sample)).get("support")
    drafts.save("begun", Draft(system=saved.system, template=saved.template))
    assert history.rename(Kept.PROMPT, "support", "begun", force=True).done


def test_copies_begin_with_the_version_and_can_be_made_again(sample: Workspace) -> None:
    assert copy_record(sample, Kept.PROMPT, "support@1", "second") == "second@1"
    store = PromptStore(Catalog(sample))
    assert store.get("second").template == store.get("support@1").template
    datasets = DatasetStore(Catalog(sample))
    assert copy_record(sample, Kept.DATASET, "triage-test@1", "held-out") == "held-out@1"
    made, original = datasets.get("held-out"), datasets.get("triage-test")
    assert (made.sha256, made.folder, made.note) == (original.sha256, original.folder, "copy of triage-test@1")
    assert remake(datasets, "held-out")[1] == made.sha256


def test_a_name_that_was_given_although_something_names_it_is_given_again(sample: Workspace) -> None:
    store, history = DatasetStore(Catalog(sample)), UndoHistory(Catalog(sample), EventLog(sample))
    history.rename(Kept.DATASET, "triage-test", "other", force=True)
    assert history.undo() is not None
    assert store.get("triage-test").number == 1
    done = history.redo()
    assert done is not None
    assert (done.called, store.get("other").number) == ("other", 1)
    assert history.undo() is not None


def test_where_the_catalog_cannot_be_written_nothing_has_the_new_name(
    sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    event_log = EventLog(sample)
    history, drafts = UndoHistory(Catalog(sample), event_log), Drafts(event_log)
    drafts.save("support", Draft(template="not saved yet"))
    drafts.save_session(Session("support", "support-base"))

    def full(*_: object) -> None:
        raise LlmopsError("disk_full", "no room")

    monkeypatch.setattr(renaming, "_rename", full)
    with pytest.raises(LlmopsError, match="no room"):
        history.rename(Kept.PROMPT, "support", "help", force=True)
    assert ((drafts.load("support") or Draft()).template, drafts.load("help")) == ("not saved yet", None)
    assert drafts.load_session().prompt == "support"
    assert history.acts() == []


def test_a_models_file_has_a_second_name_and_that_one_another(sample: Workspace) -> None:
    catalog, event_log = Catalog(sample), EventLog(sample)
    registry, history = ModelRegistry(catalog), UndoHistory(catalog, event_log)
    assert history.copy(Archivable.MODEL, "support-base", "second") == "second"
    first, second = registry.get("support-base"), registry.get("second")
    assert (second.path, second.sha256, second.kind) == (first.path, first.sha256, first.kind)
    # It goes with the name; the file stays with the other one.
    assert plan_removal(sample, "second").paths == ()
    AliasBook(catalog).add("second", "gpt:1")
    event_log.save_draft("board:current", {"columns": [{"model": "second+tone", "prompt": "second"}]})
    history.archive(Archivable.MODEL, ["second"])
    done = history.rename(Archivable.MODEL, "second", "third")
    assert done.as_dict() == {
        "kind": "model", "name": "second", "new_name": "third", "uses": [], "in_the_way": [], "done": True,
    }  # fmt: skip
    assert {model.name for model in registry.all()} >= {"support-base", "third"}
    assert AliasBook(catalog).all() == {"gpt:1": "third"}
    assert event_log.load_draft("board:current") == {"columns": [{"model": "third+tone", "prompt": "second"}]}
    assert Archive(event_log).names(Archivable.MODEL) == {"third"}
    assert history.acts()[0].title == "model second is called third"
    with pytest.raises(NotFoundError):
        registry.get("second")
    # Name, archive, copy: each is taken back, and the copy is made again.
    assert [history.undo() is not None for _ in range(3)] == [True] * 3
    assert "second" not in {model.name for model in registry.all()}
    assert history.redo() is not None
    assert registry.get("second").path == first.path


def test_what_names_a_model_keeps_it_from_another_name(sample: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = Catalog(sample)
    registry, history = ModelRegistry(catalog), UndoHistory(catalog, EventLog(sample))
    with pytest.raises(InputRefusedError, match="chain desk@1 names it") as refused:
        history.rename(Archivable.MODEL, "support-base", "other")
    assert "llmops model copy support-base other" in refused.value.hint
    AliasBook(catalog).add("support-base", "qwen3:8b")
    for name in ("support-base", "not a name", "qwen3-8b:", "support+base"):
        for way in (history.copy, history.rename):
            with pytest.raises(InputRefusedError):
                way(Archivable.MODEL, "support-base", name)
    history.rename(Archivable.MODEL, "support-base", "other", force=True)
    assert AliasBook(catalog).all() == {"qwen3:8b": "other"}
    assert history.undo() is not None
    assert "support-base" in {model.name for model in registry.all()}
    monkeypatch.setattr(model_renaming, "busy_with", lambda *_: ("it is loaded",))
    with pytest.raises(InputRefusedError, match="it is loaded"):
        history.rename(Archivable.MODEL, "support-base", "other", force=True)


def test_a_second_name_that_something_names_stays(sample: Workspace) -> None:
    history = UndoHistory(Catalog(sample), EventLog(sample))
    history.copy(Archivable.MODEL, "support-base", "second")
    recipes = RunStore(sample)
    recipes.save_recipe(recipes.recipe("triage-qlora").model_copy(update={"name": "later", "base": "second"}), "")
    with pytest.raises(InputRefusedError, match="training recipe later names it"):
        history.undo()
    assert "second" in {model.name for model in ModelRegistry(Catalog(sample)).all()}


def test_of_a_training_run_the_recipe_is_copied_and_an_evaluation_run_is_told_to_be_one(
    sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = RunStore(sample).recipe("triage-qlora")
    monkeypatch.setattr(RunStore, "get", lambda _self, _name: SimpleNamespace(recipe=recipe))
    assert copy_definition(sample, Archivable.RECIPE, "triage-qlora-1", "second") == "second@1"
    assert RunStore(sample).recipe("second").base == recipe.base
    monkeypatch.setattr(EvaluationStore, "get", lambda _self, _name: SimpleNamespace(suite_ref="triage@1"))
    with pytest.raises(InputRefusedError, match="measured once") as refused:
        copy_definition(sample, Archivable.SUITE, "triage-1", "third")
    assert "llmops eval run triage@1" in refused.value.hint


@pytest.mark.parametrize("kind", [Archivable.SUITE, Archivable.RECIPE])
def test_suites_and_recipes_are_copied_under_a_name_of_their_own(sample: Workspace, kind: Archivable) -> None:
    suites, recipes = EvaluationStore(sample), RunStore(sample)
    name = suites.suites()[0].suite.name if kind is Archivable.SUITE else recipes.recipes()[0][0]

    def body(of: str) -> dict[str, object]:
        return dict((suites.suite(of).suite if kind is Archivable.SUITE else recipes.recipe(of)).body)

    assert copy_definition(sample, kind, name, "second") == "second@1"
    assert {**body("second"), "name": name} == {**body(name), "name": name}
    with pytest.raises(InputRefusedError, match=f"there is a {kind} second already"):
        copy_definition(sample, kind, name, "second")
    with pytest.raises(NotFoundError):
        copy_definition(sample, kind, "nowhere", "third")
