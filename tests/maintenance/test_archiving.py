"""What is archived is left out of lists, stays usable, and comes back; acts on it are undone."""

from __future__ import annotations

import pytest

from llmops_tui.errors import NotFoundError
from llmops_tui.maintenance.archiving import KEY, Archivable, Archive, Kept
from llmops_tui.maintenance.record_removal import remove_record
from llmops_tui.maintenance.undo import UndoHistory
from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops, llmops


def test_what_is_archived_comes_back_by_undo_and_goes_again_by_redo(sample: Workspace) -> None:
    event_log = EventLog(sample)
    history, archive = UndoHistory(Catalog(sample), event_log), Archive(event_log)
    history.archive(Archivable.PROMPT, ["support", "product"])
    assert archive.names(Archivable.PROMPT) == {"support", "product"}
    # It is whole, and found by its name.
    assert PromptStore(Catalog(sample)).versions("support")
    # What is away already is no act.
    history.archive(Archivable.PROMPT, ["support"])
    assert [act.title for act in history.acts()] == ["prompt product is archived", "prompt support is archived"]
    undone = history.undo()
    assert undone is not None
    # They went at once, and come back at once.
    assert (undone.told, undone.screen) == ("prompt product is archived, and 1 more at once", "playground")
    assert archive.names(Archivable.PROMPT) == frozenset()
    assert history.redo() is not None
    assert archive.names(Archivable.PROMPT) == {"support", "product"}
    history.archive(Archivable.PROMPT, ["product"], away=False)
    assert history.acts()[0].title == "prompt product is no longer archived"
    assert history.undo() is not None
    assert archive.names(Archivable.PROMPT) == {"support", "product"}


@pytest.mark.parametrize("kind", list(Archivable))
def test_only_what_is_there_is_archived(sample: Workspace, kind: Archivable) -> None:
    event_log = EventLog(sample)
    with pytest.raises(NotFoundError):
        UndoHistory(Catalog(sample), event_log).archive(kind, ["nowhere"])
    assert Archive(event_log).all() == []


def test_it_goes_with_another_name_and_with_what_is_deleted(sample: Workspace) -> None:
    event_log = EventLog(sample)
    history, archive = UndoHistory(Catalog(sample), event_log), Archive(event_log)
    history.archive(Archivable.PROMPT, ["product"])
    history.rename(Kept.PROMPT, "product", "goods", force=True)
    assert archive.names(Archivable.PROMPT) == {"goods"}
    history.undo()
    assert archive.names(Archivable.PROMPT) == {"product"}
    history.redo()
    history.undo()
    history.undo()
    assert archive.names(Archivable.PROMPT) == frozenset()
    history.archive(Archivable.PROMPT, ["product"])
    remove_record(sample, Kept.PROMPT, "product", force=True)
    # Another one of that name is seen.
    assert archive.names(Archivable.PROMPT) == frozenset()


def test_what_another_workspace_says_of_it_is_read_as_far_as_it_makes_sense(sample: Workspace) -> None:
    event_log = EventLog(sample)
    event_log.save_draft(KEY, {"prompt": {"a": 1.0, "b": "soon"}, "people": {"c": 1}, "model": ["d"]})
    assert [(one["kind"], one["name"]) for one in Archive(event_log).all()] == [("prompt", "a")]


def test_lists_of_the_command_line_leave_it_out_until_they_are_asked(sample: Workspace) -> None:
    shop = Llmops(sample)

    def names(*options: str) -> set[str]:
        return {one["prompt"] for one in shop.run("prompt", "list", *options)["prompts"]}

    shop.run("archive", "add", "prompt", "support")
    assert "support" not in names()
    assert "support" in names("--archived")
    listed = llmops("prompt", "list", workspace=sample)
    assert "1 archived; --archived lists them, too" in listed.stderr
    assert [(one["kind"], one["name"]) for one in shop.run("archive", "list")["archived"]] == [("prompt", "support")]
    refused = llmops("archive", "remove", "prompt", "product", workspace=sample)
    assert (refused.returncode, "no prompt product is archived" in refused.stderr) == (3, True)
    shop.run("archive", "remove", "prompt", "support")
    assert shop.run("archive", "list") == {"archived": [], "total": 0}
    unknown = llmops("archive", "add", "person", "support", workspace=sample)
    assert "One of: prompt, dataset" in unknown.stderr
