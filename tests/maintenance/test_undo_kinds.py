"""What else the one history takes back: versions of suites, views, models, the user's own entries, and what jobs made."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.jobs.store import JobStore
from llmops_tui.keymap_file import read_keymap, write_keymap
from llmops_tui.maintenance.act_log import ActLog
from llmops_tui.maintenance.acts import RENAMED, Act
from llmops_tui.maintenance.archiving import Archivable
from llmops_tui.maintenance.undo import UndoHistory
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.prompts.chats.store import Chats
from llmops_tui.prompts.store import PromptStore
from llmops_tui.snippets import Snippets, load_snippets, save_snippets
from llmops_tui.user_entries import KEYS, MACRO, SNIPPET, EntryChange, changes_between
from llmops_tui.user_files import state_folder
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace


@pytest.fixture
def made(workspace: Workspace, catalog: Catalog) -> UndoHistory:
    return UndoHistory(catalog, EventLog(workspace))


def test_a_case_that_was_added_is_taken_back(workspace: Workspace, catalog: Catalog, made: UndoHistory) -> None:
    PromptStore(catalog).save("p", template="{{ x }}")
    suites = EvaluationStore(workspace)
    assert made.note_suite(suites.add_case("s", "p", {"x": "1"}, "one"))
    second = suites.add_case("s", "p", {"x": "2"}, "two")
    assert made.note_suite(second)
    # The same case again makes no version.
    assert not made.note_suite(second)
    told = [(act.title, act.screen) for act in made.acts()]
    assert told == [
        ("suite s @1 → @2: one more case", "evaluation"), ("suite s@1 is new: captured in the playground", "evaluation"),
    ]  # fmt: skip
    seen = []
    for _ in range(2):
        made.undo()
        seen.append([version.ref for version in suites.suites()])
    assert seen == [["s@1"], []]
    seen = []
    for _ in range(2):
        made.redo()
        seen.append([version.ref for version in suites.suites()])
    assert seen == [["s@1"], ["s@2", "s@1"]]
    assert suites.suite("s").suite == second.suite


@pytest.mark.parametrize("why", ["1 run of it is kept", "its newest version is @2 by now"])
def test_a_version_of_a_suite_that_was_used_stays(
    workspace: Workspace, catalog: Catalog, made: UndoHistory, why: str
) -> None:
    PromptStore(catalog).save("p", template="{{ x }}")
    suites = EvaluationStore(workspace)
    made.note_suite(suites.add_case("s", "p", {"x": "1"}, "one"))
    if "newest" in why:
        suites.add_case("s", "p", {"x": "2"}, "two")
    else:
        catalog.write(
            lambda connection: connection.execute(
                "INSERT INTO evaluation_runs (name, suite, suite_number, job, asked, created_at)"
                " VALUES ('r', 's', 1, 'j', '{}', 1)"
            )
        )
    with pytest.raises(InputRefusedError, match=why) as caught:
        made.undo()
    assert caught.value.code == "undo_stale"
    assert suites.suite("s@1").number == 1
    assert made.acts() == []


class KilledError(BaseException):
    """As a kill: nobody goes on from here."""


@pytest.mark.parametrize("place", [(EventLog, "save_draft"), (ActLog, "change")])
def test_a_kill_in_an_undo_loses_no_version_and_no_model(
    catalog: Catalog, made: UndoHistory, monkeypatch: pytest.MonkeyPatch, place: tuple[type, str]
) -> None:
    def killed(step: Callable[[], object]) -> None:
        def kill(*_given: object) -> None:
            raise KilledError

        with monkeypatch.context() as patch, pytest.raises(KilledError):
            patch.setattr(*place, kill)
            step()

    PromptStore(catalog).save("p", template="{{ x }}")
    suites, models = EvaluationStore(catalog.workspace), ModelRegistry(catalog)
    made.note_suite(suites.add_case("s", "p", {"x": "1"}, "one"))
    made.note_suite(suites.add_case("s", "p", {"x": "2"}, "two"))
    model = models.add_remote("http://127.0.0.1:1", "far", {"remote_model": "m", "lacks": {}})  # type: ignore[arg-type]
    made.note_registered(model)
    # Whoever asks again is told that it is undone, and it can be done again.
    for left in (["s@2", "s@1"], ["s@1"], []):
        killed(made.undo)
        assert made.undo() is not None
        assert ([one.ref for one in suites.suites()], models.all()) == (left, [])
    for left in (["s@1"], ["s@2", "s@1"]):
        assert made.redo() is not None
        assert [one.ref for one in suites.suites()] == left
    assert made.redo() is not None
    assert models.all() == [model]
    # Nor does one while a suite is deleted: the act is known before its versions go.
    killed(lambda: made.remove_definition(Archivable.SUITE, "s"))
    assert [one.ref for one in suites.suites()] == ["s@2", "s@1"]
    made.remove_definition(Archivable.SUITE, "s")
    made.undo()
    killed(made.redo)
    assert made.redo() is not None
    made.undo()
    assert [one.ref for one in suites.suites()] == ["s@2", "s@1"]


def test_a_view_goes_back_to_what_it_was(workspace: Workspace, catalog: Catalog, made: UndoHistory) -> None:
    datasets, views = DatasetStore(catalog), []
    for text in ("a", "b"):
        made.save_view("d", "v", {"filter": text, "sort": "", "descending": False})
    made.save_view("d", "v", {"filter": "b", "sort": "", "descending": False})
    assert [act.title for act in made.acts()] == ["view v of d is changed", "view v of d is kept"]
    for step in (made.undo, made.undo, made.redo, made.redo):
        step()
        views.append({name: view["filter"] for name, view in datasets.views("d").items()})
    assert views == [{"v": "a"}, {}, {"v": "a"}, {"v": "b"}]
    datasets.save_view("d", "v", {"filter": "c", "sort": "", "descending": False})
    with pytest.raises(InputRefusedError, match="saved anew"):
        made.undo()
    assert datasets.views("d")["v"]["filter"] == "c"


def test_a_model_that_was_registered_is_forgotten_and_known_again(catalog: Catalog, made: UndoHistory) -> None:
    models = ModelRegistry(catalog)
    facts = {"remote_model": "m", "lacks": {}}
    model = models.add_remote("http://127.0.0.1:1", "far", facts)  # type: ignore[arg-type]  # what a server without more says
    made.note_registered(model)
    made.note_registered(model)
    assert [act.title for act in made.acts()] == ["model far is registered: http://127.0.0.1:1"]
    made.undo()
    assert models.all() == []
    made.redo()
    assert models.all() == [model]
    made.rename(Archivable.MODEL, "far", "farther")
    assert "farther" in made.acts()[1].title


@pytest.mark.parametrize(
    ("kind", "name", "before", "after"),
    [(SNIPPET, "s", "old", "new"), (MACRO, "m", ["a"], ["b", "f5"]), (KEYS, "home.go", "enter", "enter,x")],
)
def test_entries_of_the_user_go_back_and_the_others_stay(
    made: UndoHistory, kind: str, name: str, before: str | list[str], after: str | list[str]
) -> None:
    def now() -> object:
        kept = load_snippets()[0]
        other = {SNIPPET: kept.texts, MACRO: kept.macros, KEYS: read_keymap()[0]}[kind]
        assert "other" in other
        found = other.get(name)
        return list(found) if isinstance(found, tuple) else found

    save_snippets(Snippets({"other": "x", "s": "new"}, {"other": ("x",), "m": ("b", "f5")}))
    write_keymap({"other": "x", "home.go": "enter,x"})
    assert not made.note_entries(EntryChange(kind, name, after, after))
    made.note_entries(EntryChange(kind, name, None, before))
    made.note_entries(EntryChange(kind, name, before, after))
    seen = []
    for step in (made.undo, made.undo, made.redo, made.redo):
        step()
        seen.append(now())
    assert seen == [before, None, before, after]
    assert {act.screen for act in made.acts()} == {"settings"}


def test_a_workspace_from_elsewhere_brings_nothing_into_the_files_of_a_user(made: UndoHistory) -> None:
    save_snippets(Snippets({}, {"m": ("x",)}))
    made.note_entries(EntryChange(MACRO, "m", ["q"], ["x"]))
    (state_folder() / "entry-changes.json").unlink()
    with pytest.raises(InputRefusedError, match="not known to this user"):
        made.undo()
    assert load_snippets()[0].macros == {"m": ("x",)}


def test_what_was_changed_in_the_file_at_once_goes_back_at_once(made: UndoHistory) -> None:
    before, after = Snippets({"a": "1", "b": "2"}, {"m": ("x",)}), Snippets({"a": "1", "b": "3"}, {})
    save_snippets(after)
    assert made.note_entries(*changes_between(before, after))
    assert made.acts()[0].told.endswith("and 1 more at once")
    made.undo()
    assert load_snippets()[0] == before
    made.redo()
    assert load_snippets()[0] == after


def test_what_a_detached_job_made_is_in_the_history(
    workspace: Workspace, catalog: Catalog, made: UndoHistory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    event_log = EventLog(workspace)
    jobs, datasets, models = JobStore(event_log), DatasetStore(catalog), ModelRegistry(catalog)
    job = jobs.add(kind="import", title="import d", spec={"entry": "x:y", "arguments": {}})
    added = jobs.add(kind="add", title="add far", spec={"entry": "x:y", "arguments": {}})
    file = tmp_path / "d.jsonl"
    file.write_text('{"text": "a"}\n')
    version = import_now(datasets, [file], "d", "text")
    model = models.add_remote("http://127.0.0.1:1", "far", {"remote_model": "m", "lacks": {}})  # type: ignore[arg-type]
    for one, result in ((job, version.as_dict()), (added, {**model.as_dict(), "new": True})):
        jobs.update(one.id, state="done", result=json.dumps(result), finished_at=time.time())
    # Listing writes nothing, and takes no redo away.
    for _ in range(2):
        assert [act.kind for act in made.acts()] == ["registered", "rows"]
    with monkeypatch.context() as patch:
        patch.setattr(Workspace, "read_only", True)
        assert [act.kind for act in made.acts()] == ["registered", "rows"]
    assert event_log.load_draft("undo") is None
    made.undo()
    assert models.all() == []
    # Who waited for it all the same notes it once.
    assert not made.note_rows(version)
    made.undo()
    assert made.undo() is None
    # What is forgotten is not noted again.
    PromptStore(catalog).save("p", template="x")
    made.move_label("p@1", "live")
    assert [act.kind for act in made.acts()] == ["label"]


def test_a_chat_is_known_by_its_id(workspace: Workspace, made: UndoHistory) -> None:
    chats = Chats(EventLog(workspace))
    chats.begin("one")
    made.rename_chat("one", "two")
    assert "chat" in RENAMED
    chats.remove("two")
    chats.begin("two")
    with pytest.raises(NotFoundError):
        made.undo()
    assert [chat.name for chat in chats.summaries()] == ["two"]
    assert made.acts() == []


def test_a_chat_from_before_has_an_id_once_it_has_another_name(workspace: Workspace, made: UndoHistory) -> None:
    event_log = EventLog(workspace)
    chats = Chats(event_log)
    old = {"system": "", "model": "", "parameters": {}, "head": "", "turns": [], "changed_at": 1.0}
    event_log.save_draft("chat:old", old)
    made.rename_chat("old", "new")
    kept = chats.load("new")
    assert kept.id
    assert kept.changed_at == 1.0
    made.undo()
    assert chats.load("old") == kept.__class__(**{**kept.__dict__, "name": "old"})


@pytest.mark.parametrize(("kind", "name", "before", "after", "told"), [
    ("rows", "import", None, 1, ("it is archived, not deleted", "it is in the lists again")),
    ("rows", "fix", 2, 3, ("it has the rows of @2 again", "it has the rows of @3 again")),
    ("label", "production", 2, 3, ("production is it@2 again", "production is it@3 again")),
    ("tag", "good", None, 3, ("good is on no version of it", "good is it@3 again")),
    ("dataset", "new", None, None, ("the dataset is called it again", "the dataset is called new again")),
    ("archive", "suite", None, 1, ("suite it is in the lists again", "suite it is archived, not deleted")),
    ("copy", "dataset faq@1", None, 1, ("the copy it is gone", "the copy it is there again")),
    ("deleted", "suite", 1, None, ("suite it is there again", "suite it is gone")),
    ("suite", "one more case", 1, 2, ("suite it is as in @1 again", "suite it is as in @2 again")),
    ("view", "long", 1, 1, ("view long of it is as before", "view long of it is changed again")),
    ("registered", "it.gguf", None, 1, ("model it is gone", "model it is there again")),
])  # fmt: skip
def test_what_holds_after_a_step_is_told_in_a_short_sentence(
    kind: str, name: str, before: int | None, after: int | None, told: tuple[str, str]
) -> None:
    assert tuple(Act(1.0, kind, "it", name, before, after, undone=undone).holds for undone in (True, False)) == told
