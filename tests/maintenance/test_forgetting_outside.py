"""Forgetting a person who stands in files outside of the workspace: the user's own, and those that jobs worked with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmops_tui.jobs.store import JobStore
from llmops_tui.maintenance.forgetting.erase import forget
from llmops_tui.maintenance.forgetting.plan import find_person
from llmops_tui.privacy.person import Person
from llmops_tui.snippets import load_snippets, snippets_path
from llmops_tui.user_entries import MACRO, SNIPPET, EntryChange, note_changes, noted_changes, noted_path
from llmops_tui.user_files import settings_folder, state_folder
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops

NAME = "Zelda Quixworth"
WHO = Person.read([NAME])


def written(text: str) -> None:
    snippets_path().parent.mkdir(parents=True, exist_ok=True)
    snippets_path().write_text(text)


def test_a_snippet_is_marked_and_undo_knows_nothing_of_it(workspace: Workspace) -> None:
    llmops = Llmops(workspace)
    llmops.run("snippet", "add", "zs", f"Kind regards, {NAME}")
    llmops.run("snippet", "add", "other", "Kind regards")
    found = {(one["place"], one["becomes"]) for one in llmops.run("privacy", "find", NAME)["found"]}
    assert {
        ("snippets of yours", "redacted"),
        ("what snippets, macros and keys of yours were before", "removed"),
    } <= found
    done = llmops.run("privacy", "forget", NAME, "--yes")["erasure"]
    assert done["receipt"]["searched"]["left"] == []
    assert done["receipt"]["counts"]["snippets of yours"] == 1
    assert load_snippets() == (load_snippets()[0], [])
    assert load_snippets()[0].texts == {"zs": "Kind regards, [NAME]", "other": "Kind regards"}
    assert [change.name for change in noted_changes()] == ["other"]
    assert "Quixworth" not in noted_path().read_text() + snippets_path().read_text()
    assert find_person(workspace, WHO).things == 0


def test_comments_stay_and_names_and_macros_are_told(workspace: Workspace) -> None:
    written(f'# mine\n[snippets]\nzelda_quixworth = "x"\nzs = "by {NAME}"\n[macros]\nm = {json.dumps(list(NAME))}\n')
    before = snippets_path().read_text()
    staying = "\n".join(find_person(workspace, WHO).staying)
    for command in ("remove zelda_quixworth,", "remove zs,", "remove m --macro,"):
        assert f"llmops snippet {command} and forget again" in staying
    assert snippets_path().read_text() == before
    written(f'# mine\n[snippets]\nzs = "by {NAME}"\n')
    assert forget(workspace, WHO, "redact") is not None
    assert snippets_path().read_text() == '# mine\n[snippets]\nzs = "by [NAME]"\n'


def test_undo_forgets_what_a_macro_typed_and_what_cannot_be_read(workspace: Workspace) -> None:
    typed = [*"Zelda", "space", *"Quixworth", "enter"]
    note_changes(5.0, [EntryChange(MACRO, "m", typed, None), EntryChange(SNIPPET, "a", None, "b")])
    assert forget(workspace, WHO, "redact") is not None
    assert noted_changes() == [EntryChange(SNIPPET, "a", None, "b")]
    noted_path().write_text(f'{{"9.0": [["snippet", "{NAME}"')
    note_changes(6.0, [EntryChange(SNIPPET, "c", None, NAME)])
    assert forget(workspace, WHO, "redact") is not None
    assert "Quixworth" not in noted_path().read_text()


def test_former_files_of_snippets_are_marked_and_nothing_else_has_the_person(workspace: Workspace) -> None:
    written(f'# of {NAME}\n[snippets]\na = "b"\n')
    Llmops(workspace).run("snippet", "add", "zs", f"Kind regards, {NAME}")
    (former,) = snippets_path().parent.glob("snippets.toml.*")
    own = settings_folder() / "notes.txt"
    own.write_text(f"of {NAME}\n")
    assert NAME in former.read_text()
    assert forget(workspace, WHO, "redact") is not None
    assert former.read_text() == '# of [NAME]\n[snippets]\na = "b"\n'
    left = [path for folder in (settings_folder(), state_folder()) for path in folder.rglob("*") if path.is_file()]
    assert [path for path in left if "Quixworth" in path.read_bytes().decode("utf-8", "replace")] == [own]


def test_other_files_of_the_user_are_named(workspace: Workspace) -> None:
    written("")
    own = settings_folder() / "settings.toml"
    own.write_text(f'theme = "dark"  # for {NAME}\n')
    assert any(text.startswith(f"{own}, a file of your own settings: ") for text in find_person(workspace, WHO).staying)
    assert own.read_text() == f'theme = "dark"  # for {NAME}\n'


@pytest.mark.parametrize("where", ["arguments", "result"])
def test_files_that_jobs_read_and_wrote_are_named(workspace: Workspace, tmp_path: Path, where: str) -> None:
    asked, other = tmp_path / "asked.jsonl", tmp_path / "other.jsonl"
    asked.write_text(json.dumps({"custom_id": "1", "body": {"prompt": NAME}}))
    other.write_text("nobody\n")
    event_log = EventLog(workspace)
    store = JobStore(event_log)
    weights = tmp_path / "m.gguf"
    weights.write_text(NAME)
    files = {
        "requests": str(asked), "more": [str(other), "no path", "/" + "x" * 5000, "/a\0b", str(tmp_path), str(weights)],
        "gone": str(tmp_path / "gone"),
    }  # fmt: skip
    job = store.add(kind="batch", title="t", spec={"entry": "e", "arguments": files if where == "arguments" else {}})
    with event_log.transaction() as connection:
        connection.execute("UPDATE jobs SET state = 'done', result = ? WHERE id = ?", (json.dumps(files), job.id))
    event_log.close()
    told = f"{asked}, which the job {job.id} (batch) read or wrote: delete it, or take the person out of it"
    assert find_person(workspace, WHO).staying == (told,)
