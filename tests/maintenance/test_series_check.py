"""A series read back: a byte that rots is found, named with all that need it, and spoils a bounded number of backups."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from llmops_tui.errors import LlmopsError
from llmops_tui.maintenance import encryption, series
from llmops_tui.maintenance.archive import read_manifest, verify
from llmops_tui.maintenance.series import backup_into
from llmops_tui.maintenance.series_check import verify_series
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops
from tests.maintenance.conftest import fill_traces
from tests.maintenance.test_series import WORDS, folder

__all__ = ["folder"]


def rot(path: Path, of: Path) -> None:
    """Flip a bit of the bytes that a file of the workspace has in a backup which is not encrypted."""
    raw, wanted = bytearray(path.read_bytes()), of.read_bytes()
    at = raw.find(wanted[:4096])
    assert at > 0
    raw[at + len(wanted) // 2] ^= 1
    path.write_bytes(raw)


def a_model(workspace: Workspace) -> Path:
    return max((p for p in workspace.models.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


@pytest.mark.slow
def test_a_byte_that_rots_is_found_with_all_that_need_it(lived: Workspace, folder: Path) -> None:
    made = [backup_into(lived, folder, incremental=True, full_every=2)]
    for number in range(3):
        fill_traces(lived, 1, 700 + number)
        made.append(backup_into(lived, folder, incremental=True, full_every=2))
    assert [one.manifest.increments for one in made] == [0, 1, 0, 1]
    assert [bool(one.manifest.elsewhere) for one in made] == [False, True, False, True]
    assert all(one.whole for one in verify_series(folder))
    rot(made[0].path, a_model(lived))
    found = verify_series(folder)
    assert [one.whole for one in found] == [False, False, True, True]
    name = a_model(lived).relative_to(lived.root).as_posix()
    assert found[0].trouble == (f"{name} is damaged",)
    assert found[1].trouble == (f"{name} of {made[0].path.name}, which it requires, is incomplete",)
    # A single one is read with what it needs, and the one that is damaged is named.
    with pytest.raises(LlmopsError, match=made[0].path.name):
        verify(made[1].path)


def test_the_command_line_names_the_first_damaged_and_the_newest_whole_one(lived: Workspace, folder: Path) -> None:
    made = [backup_into(lived, folder, incremental=True, full_every=2).path for _ in range(3)]
    rot(made[0], a_model(lived))
    # What is lost is no reason not to look.
    nowhere = Llmops(Workspace(folder.parent / "lost"))
    told = nowhere.run("backup", str(folder), "--verify", code=1)
    assert (told["first_damaged"], told["newest_whole"]) == (str(made[0]), str(made[2]))
    assert [one["whole"] for one in told["backups"]] == [False, False, True]
    assert nowhere.run("backup", str(made[1]), "--verify", code=3)["error"]["code"] == "backup_damaged"
    nowhere.run("backup", str(folder), "--verify", "--keep", "3", code=2)
    Llmops(lived).run("backup", str(folder), "--full-every", "3", code=2)


def test_a_folder_without_a_series_is_no_whole_series(tmp_path: Path) -> None:
    with pytest.raises(LlmopsError) as refused:
        verify_series(tmp_path)
    assert refused.value.code == "no_backups"


@pytest.mark.slow
def test_encrypted_ones_are_read_back_and_what_is_gone_or_cut_is_told(
    lived: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encryption, "_COST", 1 << 4)
    made = [backup_into(lived, folder, incremental=True, passphrase=WORDS) for _ in range(3)]
    assert all(one.whole for one in verify_series(folder, WORDS))
    with pytest.raises(LlmopsError) as refused:
        verify_series(folder)
    assert refused.value.code == "passphrase_needed"
    raw = bytearray(made[1].path.read_bytes())
    raw[len(raw) // 2] ^= 1
    made[1].path.write_bytes(raw)
    assert [one.whole for one in verify_series(folder, WORDS)] == [True, False, True]
    made[0].path.unlink()
    gone = verify_series(folder, WORDS)
    assert not any(one.whole for one in gone)
    assert gone[-1].trouble == (f"it requires {made[0].path.name}, which is missing",)


def test_where_there_is_no_space_for_a_full_one_it_is_incremental_and_told(
    lived: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        backup_into(lived, folder, incremental=True, full_every=2)
    real = series.backup

    def full_disk(*given: object, **named: object) -> object:
        if named["earlier"] is None:
            raise LlmopsError("disk_full", "no space left")
        return real(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(series, "backup", full_disk)
    third = backup_into(lived, folder, incremental=True, full_every=2)
    assert third.manifest.elsewhere
    assert any("no space" in note for note in third.manifest.notes)
    monkeypatch.undo()


def test_a_manifest_that_needs_what_it_does_not_name_is_told(
    lived: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backup_into(lived, folder)
    odd = replace(read_manifest(made.path), elsewhere={"no/file": made.path.name})
    monkeypatch.setattr("llmops_tui.maintenance.series_check.read_manifest", lambda *_given: odd)
    (one,) = verify_series(folder)
    assert "'no/file' does not belong in a backup" in one.trouble[0]
