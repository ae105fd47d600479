"""Removing a model: what goes, what stays, what stands in the way."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.server_record import ServerHandle
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.jobs.launcher import JobLauncher
from llmops_tui.jobs.process import identify
from llmops_tui.maintenance.check import check
from llmops_tui.maintenance.model_removal import plan_removal, remove_model
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.checksums import record_checksums
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops
from tests.engine.engines import MODEL
from tests.fakes import start_no_processes


def copied(target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(MODEL, target)
    return target


def test_a_file_of_ours_goes_and_a_file_elsewhere_stays(workspace: Workspace, tmp_path: Path) -> None:
    registry = ModelRegistry(Catalog(workspace))
    ours = registry.add(copied(workspace.models / "mine" / "m.gguf"), "mine")
    away = registry.add(copied(tmp_path / "m.gguf"), "away")
    cli = Llmops(workspace)
    shown = cli.run("model", "remove", "mine")
    assert (shown["done"], shown["size_bytes"]) == (False, MODEL.stat().st_size)
    assert ours.path.exists()
    done = cli.run("model", "remove", "mine", "--yes")
    assert done["removed_paths"] == [str(workspace.models / "mine")]
    assert list(workspace.models.iterdir()) == []
    assert cli.run("model", "remove", "away", "--yes")["removed_paths"] == []
    assert away.path.exists()
    assert registry.all() == []
    assert not list(workspace.root.glob(".cleared-*"))
    with pytest.raises(NotFoundError):
        remove_model(workspace, "mine")


def test_what_another_model_needs_stays(workspace: Workspace) -> None:
    registry = ModelRegistry(Catalog(workspace))
    path = copied(workspace.models / "both" / "m.gguf")
    other = workspace.models / "both" / "n.gguf"
    other.write_bytes(MODEL.read_bytes() + b"\0")
    for name, file in (("one", path), ("two", path), ("three", other)):
        registry.add(file, name)
    assert remove_model(workspace, "one").paths == ()
    assert path.exists()
    assert remove_model(workspace, "two").paths == (path,)
    assert not path.exists()
    assert registry.get("three").present


def test_only_the_models_own_files_go(workspace: Workspace) -> None:
    registry = ModelRegistry(Catalog(workspace))
    folder = workspace.models / "deep" / "qwen"
    registry.add(copied(folder / "q4.gguf"), "q4")
    other = copied(folder / "q8.gguf")
    assert remove_model(workspace, "q4").paths == (folder / "q4.gguf",)
    assert other.exists()
    registry.add(other, "q8")
    (folder / ".fetched.json").write_text("{}")
    # Nothing but what is ours is left in the folders.
    assert remove_model(workspace, "q8").paths == (workspace.models / "deep",)
    assert list(workspace.models.iterdir()) == []


def test_what_lies_beside_a_folder_of_safetensors_stays(sample: Workspace) -> None:
    registry = ModelRegistry(Catalog(sample))
    folder = sample.models / "top" / "hf"
    shutil.copytree(registry.get("support-base-hf").path, folder)
    registry.add(folder, "again")
    note = sample.models / "top" / "note.txt"
    note.write_text("mine")
    # A model in the folder itself keeps it.
    inside = registry.add(copied(folder / "m.gguf"), "inside")
    assert folder not in plan_removal(sample, "again").paths
    remove_model(sample, "inside", force=True)
    assert not inside.path.exists()
    assert remove_model(sample, "again", force=True).paths == (folder,)
    assert note.exists()
    assert registry.get("support-base-hf").present


def test_a_model_beside_or_guessing_for_another_is_in_use(sample: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    me = identify(os.getpid())
    assert me is not None
    handle = ServerHandle("support-base+tone", "", "", "", me, asked={"draft": "small"})
    monkeypatch.setattr(ServerSupervisor, "running", lambda _self: [handle])
    registry = ModelRegistry(Catalog(sample))
    for name in ("support-base", "tone", "small", "base", "ton"):
        if name not in {model.name for model in registry.all()}:
            registry.add(copied(sample.models / f"{name}.gguf"), name)
    loaded = ("it is loaded (llmops model stop support-base+tone)",)
    assert plan_removal(sample, "support-base").in_the_way == loaded
    assert plan_removal(sample, "tone").in_the_way == loaded
    assert plan_removal(sample, "small").in_the_way == (
        "it is the draft model of support-base+tone (llmops model stop support-base+tone)",
    )
    assert plan_removal(sample, "base").in_the_way == plan_removal(sample, "ton").in_the_way == ()


def test_a_model_in_use_or_once_used_is_not_removed_unasked(sample: Workspace) -> None:
    registry = ModelRegistry(Catalog(sample))
    supervisor = ServerSupervisor(sample)
    supervisor.ensure(registry.get("support-base"), LoadOptions(threads=1, parallel=1))
    with pytest.raises(InputRefusedError, match="it is loaded") as caught:
        remove_model(sample, "support-base", force=True)
    assert caught.value.code == "model_busy"
    supervisor.stop("support-base")
    # The sample's GGUF files were made of its weights.
    assert "support-base" in plan_removal(sample, "support-base-hf").uses[0]
    with pytest.raises(InputRefusedError, match="model made of it"):
        remove_model(sample, "support-base-hf")
    assert registry.get("support-base-hf").present
    removed = remove_model(sample, "support-base-hf", force=True)
    assert removed.done
    assert not removed.model.path.exists()
    record_checksums(sample)
    assert check(sample).errors == []


def test_a_job_at_work_on_a_model_is_named(sample: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    start_no_processes(monkeypatch)
    arguments = {"name": "support-base-q4", "nested": [{"model": "support-base+tone"}]}
    job = JobLauncher(sample).start(kind="x", title="quantize it", entry="llmops_tui.x:y", arguments=arguments)
    for name in ("support-base", "support-base-q4"):
        assert plan_removal(sample, name).in_the_way == (f"{job.id} is using it (quantize it)",)
    assert plan_removal(sample, "support-base-hf").in_the_way == ()
