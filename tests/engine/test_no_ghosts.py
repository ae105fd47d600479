"""No part of the engine makes the folders above its own: a workspace that was moved away would come back as a ghost."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import llmops_tui
from llmops_tui.datasets.privacy.replacement import Key, Pseudonyms
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.training.checkpoints import staging
from llmops_tui.training.export.merge import merge_safetensors
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace

ENGINE = Path(llmops_tui.__file__).parent
# Where the folder is the user's own, of no workspace, or named by whoever asks; and the two that begin a workspace.
ALLOWED = {
    ("datasets/file_types.py", "_markdown"): "inside the folder that is just exported",
    ("datasets/privacy/replacement.py", "load"): "a key, where the user wants it",
    ("inference/fallback.py", "remember"): "the user's cache",
    ("inference/kept_formats.py", "keep"): "the user's state folder",
    ("inference/server/serving.py", "stay_reachable"): "sockets, in the user's runtime folder",
    ("jobs/leases.py", "_locked"): "the user's runtime folder",
    ("keymap_file.py", "write_keymap"): "the user's settings",
    ("maintenance/erasure_ledger.py", "keep_all"): "beside the user's key",
    ("maintenance/archive.py", "_read"): "inside the folder that is just unpacked",
    ("maintenance/restore.py", "restore"): "the workspace that is restored",
    ("models/known_models.py", "fetch_known"): "the user's cache",
    ("settings.py", "save_settings"): "the user's settings",
    ("snippets.py", "save_snippets"): "the user's settings",
    ("training/export/merge.py", "merge_safetensors"): "inside the folder that is just exported",
    ("training/device_queue.py", "_turn"): "the user's runtime folder",
    ("training/worker/blobs.py", "__init__"): "the user's cache on a node",
    ("training/worker/node.py", "__init__"): "the user's cache on a node",
    ("training/worker/node.py", "node_folder"): "the user's cache on a node",
    ("user_entries.py", "note_changes"): "the user's state folder",
    ("workspace/files.py", "make_private_folder"): "what the others call",
    ("workspace/layout.py", "make_sockets"): "the user's runtime folder",
    ("workspace/marker.py", "make_workspace"): "the workspace that is begun",
    ("workspace/consent_file.py", "change_own"): "files of the user's own",
}


def makers() -> Iterator[tuple[str, str]]:
    """Each function of the engine that makes a folder with those above it: its file and its name."""
    for path in sorted(ENGINE.rglob("*.py")):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and _with_parents(call):
                    yield path.relative_to(ENGINE).as_posix(), function.name


def _with_parents(call: ast.Call) -> bool:
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    parents = any(each.arg == "parents" and getattr(each.value, "value", True) for each in call.keywords)
    return name in {"makedirs", "make_private_folder", "copytree"} or (name == "mkdir" and parents)


@pytest.mark.slow
def test_whoever_makes_the_folders_above_is_named_with_the_reason() -> None:
    assert set(makers()) == ALLOWED.keys()


def test_a_checkpoint_of_a_run_that_was_moved_away_makes_no_folder(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    assert staging(tmp_path / "job" / "checkpoints").is_dir()
    (tmp_path / "job").rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError):
        staging(tmp_path / "job" / "checkpoints")
    assert {path.name for path in tmp_path.iterdir()} == {"elsewhere", "home"}


def test_a_vault_of_a_workspace_that_was_moved_away_makes_no_folder(tmp_path: Path) -> None:
    stand_ins = Pseudonyms(Key(b"k" * 64))
    stand_ins.stand_in("email", "a@example.org")
    (tmp_path / "datasets").mkdir()
    stand_ins.save(tmp_path / "datasets" / "vaults", "work")
    assert len(list((tmp_path / "datasets" / "vaults").glob("*/work.json"))) == 1
    (tmp_path / "datasets").rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError):
        stand_ins.save(tmp_path / "datasets" / "vaults", "work")
    assert {path.name for path in tmp_path.iterdir()} == {"elsewhere", "home"}


def test_a_merged_model_makes_no_folder_above_its_own(sample: Workspace, tmp_path: Path) -> None:
    base = ModelRegistry(Catalog(sample)).get("support-base-hf").path
    with pytest.raises(FileNotFoundError):
        merge_safetensors([], base, tmp_path / "gone" / "merged", lambda _share, _told: None)
    assert not (tmp_path / "gone").exists()
