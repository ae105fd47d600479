"""One history of acts, over prompts and datasets, in the order in which they were done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.operations.base import apply
from llmops_tui.datasets.operations.splits import split_into
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.maintenance.acts import Act, newest
from llmops_tui.maintenance.archiving import Archivable, Archive
from llmops_tui.maintenance.undo import UndoHistory
from llmops_tui.prompts.chats.store import Chats
from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops


@pytest.fixture
def prompts(catalog: Catalog) -> PromptStore:
    store = PromptStore(catalog)
    for text in ("one", "two"):
        store.save("p", template=text)
    return store


def history(workspace: Workspace, catalog: Catalog) -> UndoHistory:
    """As a process that has just started has it."""
    return UndoHistory(catalog, EventLog(workspace))


def labels(store: PromptStore) -> dict[str, int]:
    return {label: version.number for version in store.versions("p") for label in version.labels}


def test_acts_are_taken_back_the_last_first_and_done_again(
    workspace: Workspace, catalog: Catalog, prompts: PromptStore
) -> None:
    history(workspace, catalog).move_label("p@1", "live")
    history(workspace, catalog).move_label("p@2", "live")
    history(workspace, catalog).remove_label("p", "live")
    assert [act.title for act in history(workspace, catalog).acts()] == [
        "label live of p: @2 → none", "label live of p: @1 → @2", "label live of p: none → @1",
    ]  # fmt: skip
    seen = []
    for _ in range(3):
        history(workspace, catalog).undo()
        seen.append(labels(prompts))
    assert seen == [{"live": 2}, {"live": 1}, {}]
    assert history(workspace, catalog).undo() is None
    seen = []
    for _ in range(3):
        history(workspace, catalog).redo()
        seen.append(labels(prompts))
    assert seen == [{"live": 1}, {"live": 2}, {}]
    assert history(workspace, catalog).redo() is None


def test_what_was_taken_back_is_gone_once_something_else_is_done(
    workspace: Workspace, catalog: Catalog, prompts: PromptStore
) -> None:
    made = history(workspace, catalog)
    made.move_label("p@1", "live")
    made.undo()
    made.move_label("p@1", "old")
    assert made.redo() is None
    assert [act.name for act in made.acts()] == ["old"]
    made.move_label("p@1", "old")
    assert len(made.acts()) == 1, "what changed nothing is no act"


def test_what_somebody_else_chose_since_stays(workspace: Workspace, catalog: Catalog, prompts: PromptStore) -> None:
    made = history(workspace, catalog)
    made.move_label("p@1", "first")
    made.move_label("p@1", "live")
    prompts.move_label("p@2", "live")
    with pytest.raises(InputRefusedError, match="@2 now"):
        made.undo()
    assert labels(prompts) == {"first": 1, "live": 2}
    made.undo()
    assert labels(prompts) == {"live": 2}


def test_the_rows_of_a_dataset_and_its_tags_go_back_and_forth(
    workspace: Workspace, catalog: Catalog, tmp_path: Path
) -> None:
    store, made = DatasetStore(catalog), history(workspace, catalog)
    file = tmp_path / "d.jsonl"
    file.write_text('{"a": 1}\n{"a": 2}\n')
    first = import_now(store, [file], "d", "tabular")
    second = apply(store, "sample", [first.ref], {"rows": 1})
    made.note_rows(second)
    made.move_tag(second.ref, "gold")
    assert [act.kind for act in made.acts()] == ["tag", "rows"]
    made.undo()
    assert store.get(second.ref).tags == ()
    made.undo()
    assert (store.get("d").number, store.get("d").sha256) == (3, first.sha256)
    made.redo()
    assert (store.get("d").number, store.get("d").sha256) == (4, second.sha256)
    store.restore(first.ref)
    with pytest.raises(InputRefusedError, match="made since"):
        made.undo()
    assert store.get("d").sha256 == first.sha256


def test_what_a_full_disk_kept_from_being_undone_is_undone_later(
    workspace: Workspace, catalog: Catalog, prompts: PromptStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = history(workspace, catalog)
    made.move_label("p@1", "live")
    with monkeypatch.context() as patched:

        def full(*_given: object) -> None:
            raise LlmopsError("disk_full", "no space left")

        patched.setattr(PromptStore, "remove_label", full)
        with pytest.raises(LlmopsError, match="no space"):
            made.undo()
    assert [act.undone for act in made.acts()] == [False]
    made.undo()
    assert labels(prompts) == {}


def test_undoing_brings_back_the_newest_rows_whatever_the_new_ones_were_made_of(
    workspace: Workspace, catalog: Catalog, tmp_path: Path
) -> None:
    store, made = DatasetStore(catalog), history(workspace, catalog)
    file = tmp_path / "d.jsonl"
    file.write_text('{"a": 1}\n{"a": 2}\n{"a": 3}\n')
    import_now(store, [file], "d", "tabular")
    second = apply(store, "sample", ["d@1"], {"rows": 2})
    made.note_rows(second)
    third = apply(store, "sample", ["d@1"], {"rows": 1})
    for _ in range(2):
        # The second time it was there already.
        made.note_rows(third)
    made.note_rows(apply(store, "filter", ["d@1"], {"where": "a = 3"}, name="other"))
    assert [(act.subject, act.before, act.after) for act in made.acts()] == [
        ("other", None, 1),
        ("d", 2, 3),
        ("d", 1, 2),
    ]
    made.undo()
    made.undo()
    assert store.get("d").sha256 == second.sha256


def test_an_import_a_change_and_a_split_are_three_acts(workspace: Workspace, catalog: Catalog, tmp_path: Path) -> None:
    store, made, archive = DatasetStore(catalog), history(workspace, catalog), Archive(EventLog(workspace))
    file = tmp_path / "d.jsonl"
    file.write_text("".join(f'{{"a": {n}}}\n' for n in range(4)))
    first = import_now(store, [file], "d", "tabular")
    made.note_rows(first)
    second = apply(store, "sample", ["d@1"], {"rows": 3})
    made.note_rows(second)
    parts = split_into(store, "d", {"train": 2, "eval": 1}, lambda _share, _told: None)
    made.note_rows(*parts)
    assert [act.told for act in made.acts()][-2:] == [f"d @1 → @2: {second.note}", "d@1 is new"]
    undone = made.undo()
    assert undone is not None
    # Both parts at once; nothing is deleted.
    assert undone.told.endswith(", and 1 more at once (archived, not deleted)")
    assert undone.holds.endswith(" and 1 more are archived, not deleted")
    assert archive.names(Archivable.DATASET) == {"d-train", "d-eval"}
    made.undo()
    assert store.get("d").sha256 == first.sha256
    made.undo()
    assert archive.names(Archivable.DATASET) == {"d-train", "d-eval", "d"}
    assert made.undo() is None
    for _ in range(3):
        made.redo()
    assert archive.names(Archivable.DATASET) == frozenset()
    assert store.get("d").sha256 == second.sha256
    # A part that was taken back and is made again is in the lists again, and an act of its own.
    made.undo()
    made.note_rows(*split_into(store, "d", {"train": 2, "eval": 1}, lambda _share, _told: None))
    assert archive.names(Archivable.DATASET) == frozenset()
    made.undo()
    assert archive.names(Archivable.DATASET) == {"d-train", "d-eval"}


def test_a_first_version_with_other_rows_since_is_not_put_away(
    workspace: Workspace, catalog: Catalog, tmp_path: Path
) -> None:
    store, made = DatasetStore(catalog), history(workspace, catalog)
    file = tmp_path / "d.jsonl"
    file.write_text('{"a": 1}\n{"a": 2}\n')
    made.note_rows(import_now(store, [file], "d", "tabular"))
    apply(store, "sample", ["d@1"], {"rows": 1})
    with pytest.raises(InputRefusedError, match="made since"):
        made.undo()
    assert Archive(EventLog(workspace)).all() == []


def test_parts_of_a_split_go_back_at_once_or_not_at_all(workspace: Workspace, catalog: Catalog, tmp_path: Path) -> None:
    store, made = DatasetStore(catalog), history(workspace, catalog)
    file = tmp_path / "d.jsonl"
    file.write_text("".join(f'{{"a": {n}}}\n' for n in range(6)))
    made.note_rows(import_now(store, [file], "d", "tabular"))
    assert made.note_rows(*split_into(store, "d", {"train": 4, "eval": 2}, lambda _share, _told: None))
    apply(store, "sample", ["d-train@1"], {"rows": 1})
    with pytest.raises(InputRefusedError, match="d-train@2 was made since"):
        made.undo()
    assert Archive(EventLog(workspace)).all() == []
    # What can never be taken back any more keeps nothing behind it.
    assert [act.subject for act in made.acts()] == ["d"]


def test_rows_of_before_are_nothing_that_was_done(workspace: Workspace, catalog: Catalog, tmp_path: Path) -> None:
    store, made = DatasetStore(catalog), history(workspace, catalog)
    for number, rows in ((1, 1), (2, 2)):
        file = tmp_path / f"{number}.jsonl"
        file.write_text("".join(f'{{"a": {n}}}\n' for n in range(rows)))
        version = import_now(store, [file], "d", "tabular")
    assert not made.note_rows(replace(version, created_at=version.created_at - 86_400))
    assert made.undo() is None


def test_what_was_done_at_once_is_remembered_whole() -> None:
    one = Act(1.0, "archive", "a", "suite", None, 1)
    many = [replace(one, at=2.0, subject=f"s{n}") for n in range(300)]
    assert newest([one, *many]) == [one, *many]
    apart = [replace(one, at=float(n)) for n in range(300)]
    assert newest(apart) == apart[-200:]
    assert newest([]) == []


def test_another_name_of_a_chat_is_taken_back(workspace: Workspace, catalog: Catalog) -> None:
    chats, made = Chats(EventLog(workspace)), history(workspace, catalog)
    chats.begin("one")
    made.rename_chat("one", "two")
    assert [(act.title, act.screen) for act in made.acts()] == [("chat one is called two", "chat")]
    made.undo()
    assert [chat.name for chat in chats.summaries()] == ["one"]
    made.redo()
    assert [chat.name for chat in chats.summaries()] == ["two"]
    chats.begin("one")
    with pytest.raises(InputRefusedError, match="there is a chat one"):
        made.undo()
    assert made.acts() == []


def test_of_a_damaged_history_what_is_none_is_left_out(workspace: Workspace, catalog: Catalog) -> None:
    made = history(workspace, catalog)
    event_log = EventLog(workspace)
    good = {"at": 1.0, "kind": "label", "subject": "p", "name": "l", "before": None, "after": 1, "undone": False}
    wrong = [3, {"kind": "rows"}, good | {"at": "yesterday"}, good | {"at": 1e300}, good | {"after": "1"}]
    for bodies in ([good, *wrong], "all of them", None):
        event_log.save_draft("undo", {"acts": bodies})
        assert [act.name for act in made.acts()] == (["l"] if isinstance(bodies, list) else [])


def test_commands_that_make_rows_or_move_labels_note_it(sample: Workspace, tmp_path: Path) -> None:
    llmops = Llmops(sample)
    llmops.run("data", "query", "SELECT * FROM triage LIMIT 30", "--save", "triage")
    llmops.run("data", "label", "triage", "--labels", "a,b", "--row", "0", "--value", "a")
    llmops.run("data", "label", "triage", "--labels", "a,b", "--finish")
    file = tmp_path / "p.yaml"
    file.write_text("prompt: triage\nversions:\n- {template: 'new {{ question }}', labels: [live]}\n")
    llmops.run("prompt", "import", str(file))
    acts = llmops.run("undo", "--list")["acts"]
    assert [(act["kind"], act["subject"], act["before"], act["after"]) for act in acts] == [
        ("label", "triage", None, acts[0]["after"]), ("rows", "triage", 2, 3), ("rows", "triage", 1, 2),
    ]  # fmt: skip
