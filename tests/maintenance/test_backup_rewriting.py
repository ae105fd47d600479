"""Backups written anew without whom the ledger has: each is whole at any moment, and keeps its name and moment."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

import pytest

from llmops_tui.errors import InputRefusedError
from llmops_tui.maintenance import backup_rewriting
from llmops_tui.maintenance.archive import read_manifest, verify
from llmops_tui.maintenance.backup_rewriting import rewrite_backups
from llmops_tui.maintenance.erasure_ledger import ledger_folder
from llmops_tui.maintenance.forgetting.erase import forget
from llmops_tui.maintenance.series import backup_into, generations
from llmops_tui.privacy.person import Person
from llmops_tui.prompts.store import PromptStore
from llmops_tui.settings import Settings, save_settings
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace

NAME = "Zwiebelinde Turmuhr"
PERSON = Person.read([NAME])


@pytest.mark.slow
def test_all_backups_of_a_series_are_written_anew(
    workspace: Workspace, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    PromptStore(catalog).save("about", template=f"know {NAME}")
    (workspace.logs / "app.log").write_text("a line\n")
    (workspace.root / "alerts.yaml").write_text(f"# by {NAME}\n[]\n")
    for stamp in ("20260101-000000", ""):
        made = backup_into(workspace, folder, incremental=True).path
        if stamp:
            # Two within a second have one name.
            made.rename(made.with_name(re.sub(r"\d{8}-\d{6}", stamp, made.name)))
    newest, oldest = generations(workspace, folder)
    before = read_manifest(newest)
    assert before.elsewhere
    save_settings(Settings(backup_folder=str(folder)))
    forget(workspace, PERSON, "remove")
    assert NAME in _bytes(oldest)

    # The newest first: what is left of a killed rewriting is whole.
    done: list[str] = []
    rewrite = backup_rewriting.rewrite_backup

    def killed(path: Path, passphrase: str = "") -> None:
        if done:
            raise KeyboardInterrupt
        rewrite(path, passphrase)
        done.append(path.name)

    monkeypatch.setattr(backup_rewriting, "rewrite_backup", killed)
    with pytest.raises(KeyboardInterrupt):
        rewrite_backups(workspace)
    assert done == [newest.name]
    for path in (newest, oldest):
        verify(path)
    monkeypatch.setattr(backup_rewriting, "rewrite_backup", rewrite)

    assert rewrite_backups(workspace) == [newest, oldest]
    for path in (newest, oldest):
        manifest = verify(path)
        assert manifest.elsewhere == {}
        assert NAME not in _bytes(path)
    after = read_manifest(newest)
    assert (after.made_at, after.workspace, after.id) == (before.made_at, before.workspace, before.id)
    assert sorted(path.name for path in folder.iterdir()) == sorted([newest.name, oldest.name])


def _bytes(path: Path) -> str:
    """All members of an archive, as text."""
    with tarfile.open(path) as archive:
        raw = b"".join(archive.extractfile(member).read() for member in archive if member.isfile())  # type: ignore[union-attr]
    return raw.decode("utf-8", "replace")


def test_a_backup_is_as_it_was_where_somebody_cannot_be_taken_out_of_it(
    workspace: Workspace, catalog: Catalog, tmp_path: Path
) -> None:
    PromptStore(catalog).save("about", template=f"know {NAME}")
    made = backup_into(workspace, tmp_path).path
    save_settings(Settings(backup_folder=str(tmp_path)))
    forget(workspace, PERSON, "remove")
    before = made.read_bytes()
    (ledger_folder() / "key").unlink()
    with pytest.raises(InputRefusedError, match="its key"):
        rewrite_backups(workspace)
    assert made.read_bytes() == before
