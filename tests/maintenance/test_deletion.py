"""Taking away where disks are linked or mounted, where something stands in the way, and after a kill."""

from __future__ import annotations

import errno
import os
import shutil
import time
from pathlib import Path

import pytest

from llmops_tui.errors import LlmopsError
from llmops_tui.maintenance.backup import backup
from llmops_tui.maintenance.deletion import delete_paths, renamed_away
from llmops_tui.maintenance.gc import collect, plan
from llmops_tui.maintenance.model_removal import remove_model
from llmops_tui.maintenance.restore import restore
from llmops_tui.models.registration import add_file
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.settings import Settings
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace, find_workspace
from llmops_tui.workspace.marker import make_workspace
from tests.engine.engines import MODEL

LONG_AFTER = 1_000_000.0


def copied(target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(MODEL, target)
    return target


def moved_away(folder: Path, disk: Path) -> Path:
    """A folder of the workspace on another disk, with a link in its place."""
    folder.rename(disk)
    folder.symlink_to(disk)
    return disk


def disks(monkeypatch: pytest.MonkeyPatch, other: Path) -> None:
    """Nothing is renamed from or to this folder, as if it were another disk."""
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if self.parent.resolve().is_relative_to(other) != Path(target).parent.resolve().is_relative_to(other):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(self))
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)


def would_go(workspace: Workspace) -> list[str]:
    return [removal.what for removal in plan(workspace, Settings(), now=time.time() + LONG_AFTER)]


@pytest.mark.parametrize("found", [True, False])
def test_gc_leaves_models_of_a_workspace_that_is_a_link(tmp_path: Path, *, found: bool) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (tmp_path / "disk").mkdir()
    (project / ".llmops").symlink_to(tmp_path / "disk")
    workspace = make_workspace(find_workspace(start=project) if found else Workspace(project / ".llmops"))
    if found:
        assert workspace.root == tmp_path / "disk"
    registry = ModelRegistry(Catalog(workspace))
    model = registry.add(copied(workspace.models / "m.gguf"), "m")
    copied(workspace.models / "left.gguf")
    # As it was kept once: the place behind the link.
    away = model.path.resolve()
    registry.catalog.write(lambda connection: connection.execute("UPDATE models SET path = ?", [str(away)]))
    assert [what for what in would_go(workspace) if what.startswith("models/")] == ["models/left.gguf"]
    assert registry.get("m").present


def test_models_on_a_linked_disk_are_the_workspaces_own(workspace: Workspace, tmp_path: Path) -> None:
    moved_away(workspace.models, tmp_path / "disk")
    registry = ModelRegistry(Catalog(workspace))
    first = add_file(registry, copied(workspace.models / "m.gguf"), "m")
    assert add_file(registry, tmp_path / "disk" / "m.gguf", "m").notes == first.notes
    assert registry.get("m").path == first.model.path == workspace.models / "m.gguf"
    manifest = backup(workspace, tmp_path / "b.tar")
    assert "models/m.gguf" in manifest.files
    assert manifest.outside == []
    with pytest.raises(LlmopsError, match="inside the workspace"):
        backup(workspace, tmp_path / "disk" / "b.tar")
    fresh = Workspace(tmp_path / "restored")
    restore(tmp_path / "b.tar", fresh)
    (tmp_path / "disk" / "m.gguf").unlink()
    assert ModelRegistry(Catalog(fresh)).get("m").present
    assert would_go(fresh) == []


def test_gc_leaves_what_may_be_the_only_copy_of_a_model_that_is_missing(workspace: Workspace, tmp_path: Path) -> None:
    registry = ModelRegistry(Catalog(workspace))
    away = registry.add(copied(tmp_path / "old-disk" / "m.gguf"), "m")
    copied(workspace.models / "brought" / "m.gguf")
    assert would_go(workspace) == ["models/brought"]
    away.path.unlink()
    assert would_go(workspace) == []


def test_gc_leaves_a_file_of_a_model_that_was_replaced_by_a_link(workspace: Workspace, tmp_path: Path) -> None:
    registry = ModelRegistry(Catalog(workspace))
    model = registry.add(copied(workspace.models / "mine" / "m.gguf"), "m")
    model.path.rename(tmp_path / "m.gguf")
    model.path.symlink_to(tmp_path / "m.gguf")
    assert would_go(workspace) == []
    assert [outside["name"] for outside in backup(workspace, tmp_path / "b.tar").outside] == ["m"]


def test_a_model_on_another_disk_goes_with_its_file(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = moved_away(workspace.models, tmp_path / "disk")
    registry = ModelRegistry(Catalog(workspace))
    registry.add(copied(workspace.models / "m.gguf"), "m")
    registry.add(copied(workspace.models / "deep" / "n.gguf"), "n")
    disks(monkeypatch, disk)
    assert remove_model(workspace, "m").paths == (workspace.models / "m.gguf",)
    assert remove_model(workspace, "n").paths == (workspace.models / "deep",)
    assert list(disk.iterdir()) == []
    assert registry.all() == []


def test_what_cannot_be_taken_away_stays_registered(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = ModelRegistry(Catalog(workspace))
    model = registry.add(copied(workspace.models / "mount" / "m.gguf"), "m")
    disks(monkeypatch, workspace.models / "mount")
    other = copied(workspace.models / "mount" / "n.gguf")
    # A mount is moved by nobody, and neither is a folder on one.
    real = Path.rename
    monkeypatch.setattr(
        Path,
        "rename",
        lambda self, target: real(self, target) if self != model.path else (_ for _ in ()).throw(OSError(16, "busy")),
    )
    with pytest.raises(LlmopsError, match=r"m\.gguf cannot be deleted: busy; nothing was removed") as caught:
        remove_model(workspace, "m")
    assert caught.value.code == "not_taken_away"
    assert registry.get("m").present
    with pytest.raises(LlmopsError, match=r"1 of 2 files and folders .*m\.gguf \(busy\); the rest was removed"):
        delete_paths([model.path, other])
    assert not other.exists()
    assert list(workspace.models.rglob(".cleared-*")) == []


def test_a_catalog_that_cannot_be_told_keeps_the_file(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = ModelRegistry(Catalog(workspace))
    model = registry.add(copied(workspace.models / "mine" / "m.gguf"), "m")

    def fails(_self: ModelRegistry, _name: str) -> None:
        assert not model.path.exists()
        raise LlmopsError("workspace_locked", "somebody has it")

    monkeypatch.setattr(ModelRegistry, "remove", fails)
    with pytest.raises(LlmopsError, match="somebody has it"):
        remove_model(workspace, "m")
    assert registry.get("m").present
    assert list(workspace.models.iterdir()) == [workspace.models / "mine"]


def test_what_cannot_be_put_back_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_text("x")
    with (
        pytest.raises(LlmopsError, match=rf"no catalog; .*{path} lies in {tmp_path}/\.cleared-") as caught,
        renamed_away([path]),
    ):
        path.mkdir()
        (path / "another").touch()
        raise LlmopsError("no_book", "no catalog")
    assert caught.value.code == "not_put_back"
    assert [file.read_text() for file in tmp_path.glob(".cleared-*/m")] == ["x"]


def test_gc_clears_what_killed_ones_left_wherever_it_lies(lived: Workspace, tmp_path: Path) -> None:
    # One of our own number, as a process of a container has it again and again.
    places = [lived.root / f".cleared-{os.getpid()}", lived.models / "qwen" / ".cleared-x", lived.logs / ".cleared-y"]
    precious = copied(lived.models / "qwen" / "q8.gguf")
    ModelRegistry(Catalog(lived)).add(precious, "q8")
    disk = moved_away(lived.datasets, tmp_path / "disk")
    old, young = disk / ".cleared-old", disk / ".cleared-young"
    for place in (*places, old, young):
        place.mkdir()
        (place / "m.gguf").write_text("x")
    os.utime(old, (0, 0))
    tools = tmp_path / "another-tool"
    (tools / ".cleared-theirs").mkdir(parents=True)
    (lived.runs / "linked").symlink_to(tools)
    (lived.root / ".cleared-link").symlink_to(tools)
    collect(lived, Settings())
    assert not [place for place in (*places, old) if place.exists()]
    # Another workspace may be at work there.
    assert young.exists()
    assert (tools / ".cleared-theirs").exists()
    assert precious.exists()
