"""How much files and folders take, also while others move them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from llmops_tui.workspace.files import bytes_in


def test_files_and_all_that_is_in_folders_is_counted(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "one").write_bytes(b"x" * 10)
    (tmp_path / "a" / "two").write_bytes(b"x" * 5)
    assert bytes_in(tmp_path / "a") == 15
    assert bytes_in(inner / "one", tmp_path / "a" / "two") == 15
    assert bytes_in(tmp_path / "a", apart="b") == 5
    assert bytes_in(tmp_path / "nothing") == 0


def test_what_is_removed_meanwhile_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A download failed where pip removed a folder of its own between two looks at how far it was."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"x" * 10)
    scan = os.scandir

    def scan_late(path: object) -> object:
        if Path(str(path)) == tmp_path / "b":
            shutil.rmtree(tmp_path / "b", ignore_errors=True)
        return scan(path)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", scan_late)
    assert bytes_in(tmp_path) in {10, 20}
