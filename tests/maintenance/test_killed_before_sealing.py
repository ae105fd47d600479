"""A writer that is killed before it checksums leaves nothing that is taken for damage, and nobody's else writing is taken for ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmops_tui.cli.options import Globals
from llmops_tui.cli.output import Session
from llmops_tui.cli.serve_address import keys_of
from llmops_tui.maintenance.check import check
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.monitoring.rules import save_rules
from llmops_tui.workspace import trust, written
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.checksum_scope import notes_in
from llmops_tui.workspace.checksums import load, record_checksums
from llmops_tui.workspace.files import write_atomic
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.written import note_all, taking_away, write_noted
from tests.maintenance.full_workspace import RULE

NEW = RULE.replace("errors,", "failures,")
WRITES = "import os, sys, pathlib; from llmops_tui.workspace import written; path = pathlib.Path(sys.argv[1]); "
SAVES = "from llmops_tui.monitoring.rules import save_rules; save_rules(path, sys.argv[2]); os._exit(9)"


def killed(path: Path, text: str, code: str) -> None:
    """Have another process write a file and die of it."""
    ended = subprocess.run([sys.executable, "-c", WRITES + code, str(path), text], check=False, env=dict(os.environ))
    assert ended.returncode == 9


def errors_of(workspace: Workspace, name: str) -> list[str]:
    return [error.text for error in check(workspace).errors if error.place == name]


@pytest.fixture
def ruled(lived: Workspace) -> Workspace:
    """A workspace with rules that are checksummed."""
    save_rules(lived.alert_rules, RULE)
    record_checksums(lived)
    assert not notes_in(lived.root)
    return lived


def test_a_writer_that_is_killed_after_it_wrote_leaves_no_damage(ruled: Workspace) -> None:
    before = load(ruled).files["alerts.yaml"]
    killed(ruled.alert_rules, NEW, SAVES)
    assert ruled.alert_rules.read_text() == NEW
    report = check(ruled)
    assert not report.errors
    assert any(f.place == "alerts.yaml" and "interrupted" in f.text for f in report.findings)
    # Nobody had to accept it: the check, or the next command, has checksummed it.
    assert load(ruled).files["alerts.yaml"] != before
    assert not check(ruled).findings
    assert not notes_in(ruled.root)


def test_a_writer_that_is_killed_before_it_wrote_leaves_the_old_file_and_checksum(ruled: Workspace) -> None:
    before = load(ruled).files["alerts.yaml"]
    killed(ruled.alert_rules, NEW, "written.write_atomic = lambda *_: os._exit(9); " + SAVES)
    assert ruled.alert_rules.read_text() == RULE
    assert notes_in(ruled.root)
    assert not check(ruled).findings
    assert load(ruled).files["alerts.yaml"] == before
    assert not notes_in(ruled.root)


def test_what_others_write_is_told_however_often_this_process_wrote_the_file(ruled: Workspace) -> None:
    before = load(ruled).files["alerts.yaml"]
    write_atomic(ruled.alert_rules, NEW)
    record_checksums(ruled)
    assert load(ruled).files["alerts.yaml"] == before
    assert errors_of(ruled, "alerts.yaml")


def test_what_others_wrote_after_a_writer_that_was_killed_is_told(ruled: Workspace) -> None:
    killed(ruled.alert_rules, NEW, SAVES)
    write_atomic(ruled.alert_rules, NEW + "# and a line of somebody else\n")
    assert errors_of(ruled, "alerts.yaml")
    record_checksums(ruled)
    assert errors_of(ruled, "alerts.yaml")


def test_a_note_of_a_writer_at_work_is_not_settled(ruled: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def sealed_by_another(path: Path, data: bytes) -> None:
        record_checksums(ruled)
        write_atomic(path, data)

    monkeypatch.setattr(written, "write_atomic", sealed_by_another)
    write_noted(ruled.alert_rules, NEW)
    assert not check(ruled).errors


@pytest.mark.slow
def test_a_key_that_is_made_anew_and_not_checksummed_is_no_damage(lived: Workspace) -> None:
    session = Session(Globals(workspace=str(lived.root)))
    key = keys_of(session, None, no_key=False, host=None)[1]
    assert key is not None
    record_checksums(lived)
    with taking_away(key):
        key.unlink()
    assert not errors_of(lived, key.name)
    keys_of(session, None, no_key=False, host=None)
    assert not errors_of(lived, key.name)


def test_a_key_that_trust_puts_aside_is_not_missed(lived: Workspace) -> None:
    session = Session(Globals(workspace=str(lived.root)))
    key = keys_of(session, None, no_key=False, host=None)[1]
    assert key is not None
    record_checksums(lived)
    trust.withdraw(lived)
    assert trust.trust(lived) is not None
    assert not errors_of(lived, key.name)
    assert key.name not in load(lived).files


@pytest.mark.slow
def test_a_model_that_is_registered_anew_and_not_checksummed_is_no_damage(lived: Workspace) -> None:
    registry = ModelRegistry(Catalog(lived))
    path = registry.get("support-base-q4").path
    name = path.relative_to(lived.root).as_posix()
    registry.remove("support-base-q4")
    path.with_name("beside").write_bytes(registry.get("support-base").path.read_bytes())
    path.with_name("beside").replace(path)
    assert errors_of(lived, name)
    registry.add(path, "support-base-q4")
    assert not errors_of(lived, name)
    assert not notes_in(lived.root)


def test_a_folder_of_a_job_whose_supervisor_ended_before_it_checksummed_is_no_damage(lived: Workspace) -> None:
    folder = lived.runs / "job_old"
    write_atomic(folder / "state.json", '{"step": 5}')
    note_all(folder)
    assert not errors_of(lived, "runs/job_old/state.json")
    assert not notes_in(lived.root)
    checksummed = load(lived).files["runs/job_old/state.json"]
    write_atomic(folder / "state.json", '{"step": 6}')
    record_checksums(lived)
    assert load(lived).files["runs/job_old/state.json"] == checksummed


def test_a_note_that_cannot_be_made_leaves_the_file_as_it_was(
    ruled: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: Path) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(written, "wait_lock", full)
    with pytest.raises(OSError, match="No space"):
        save_rules(ruled.alert_rules, NEW)
    assert ruled.alert_rules.read_text() == RULE
