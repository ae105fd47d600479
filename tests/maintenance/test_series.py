"""Backups as a series: earlier ones kept, taken away when they may be, not copied twice, and encrypted."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_tui.errors import InputRefusedError
from llmops_tui.maintenance import encryption, series
from llmops_tui.maintenance.archive import read_manifest, verify
from llmops_tui.maintenance.backup import backup
from llmops_tui.maintenance.check import check
from llmops_tui.maintenance.encryption import EncryptedReader, EncryptedWriter
from llmops_tui.maintenance.restore import restore
from llmops_tui.maintenance.series import backup_as_set, backup_into, generations, is_due, read_passphrase
from llmops_tui.settings import Settings
from llmops_tui.workspace.layout import Workspace
from screens.services import Services
from screens.shell.background_tasks import start_if_due
from tests.commands import Llmops
from tests.maintenance.conftest import fill_traces
from tests.waiting import wait_for

WORDS = "correct horse battery staple"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deriving a key is slow on purpose; what is tested here is not how slow."""
    monkeypatch.setattr(encryption, "_COST", 1 << 4)
    monkeypatch.setattr(encryption, "_PIECE", 64)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for backups; each gets a second of its own."""
    seconds = iter(range(1_800_000_000, 1_900_000_000))
    strftime = time.strftime
    monkeypatch.setattr(
        series.time, "strftime", lambda form, *_: strftime(form, time.gmtime(next(seconds))), raising=True
    )
    made = tmp_path / "backups"
    made.mkdir()
    return made


@given(data=st.binary(max_size=400), cut=st.integers(0, 400), place=st.integers(0, 500), length=st.integers(0, 200))
@settings(max_examples=60, deadline=None)
@pytest.mark.usefixtures("quick")
def test_what_is_encrypted_is_read_from_any_place_and_no_change_goes_unnoticed(
    data: bytes, cut: int, place: int, length: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("enc") / "x"
    with path.open("wb") as file:
        writer = EncryptedWriter(file, WORDS)
        for begin in range(0, len(data), cut or 400):
            writer.write(data[begin : begin + (cut or 400)])
        writer.close()
    with EncryptedReader(path, WORDS) as reader:
        reader.seek(place)
        assert b"".join(iter(lambda: reader.read(length or 7) or b"", b"")) == data[place:]
    raw = path.read_bytes()
    changes = [raw[:-1], raw + b"\0", raw[:place] + bytes([raw[min(place, len(raw) - 1)] ^ 1]) + raw[place + 1 :]]
    if len(raw) > 42 + 160:  # two pieces at least: one less, or two exchanged
        changes += [raw[: 42 + 80], raw[:42] + raw[42 + 80 : 42 + 160] + raw[42 : 42 + 80] + raw[42 + 160 :]]
    for changed in changes[: 2 if place >= len(raw) else None]:
        path.write_bytes(changed)
        with pytest.raises(InputRefusedError), EncryptedReader(path, WORDS) as reader:
            reader.read()
            reader.seek(0)
            while reader.read(64):
                pass


@pytest.mark.slow
def test_an_encrypted_backup_is_read_by_its_passphrase_alone(lived: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "b.tar"
    made = backup(lived, path, passphrase=WORDS)
    assert b"support-base" not in path.read_bytes()
    assert verify(path, passphrase=WORDS).files == made.files
    for words, code in (("", "passphrase_needed"), ("another one of these", "passphrase_wrong")):
        with pytest.raises(InputRefusedError) as refused:
            read_manifest(path, words)
        assert refused.value.code == code
    other = Workspace(tmp_path / "other")
    restore(path, other, passphrase=WORDS)
    assert check(other).errors == []


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("words", ["", pytest.param(WORDS, marks=pytest.mark.slow)])
def test_a_series_copies_what_is_new_and_any_of_it_restores(
    lived: Workspace, folder: Path, tmp_path: Path, words: str
) -> None:
    first = backup_into(lived, folder, incremental=True, passphrase=words)
    assert first.manifest.elsewhere == {}
    fill_traces(lived, 5, 500)
    second = backup_into(lived, folder, incremental=True, passphrase=words)
    assert any(name.startswith("models/") for name in second.manifest.elsewhere)
    assert set(second.manifest.elsewhere.values()) == {first.path.name}
    assert second.path.stat().st_size < first.path.stat().st_size / 2
    third = backup_into(lived, folder, incremental=True, passphrase=words)
    # What one needs it needs of where the bytes are, and not by way of another.
    assert set(third.manifest.elsewhere.values()) <= {first.path.name, second.path.name}
    second.path.rename(second.path.with_suffix(".gone"))
    for number, made in enumerate((first, third)):
        needs_second = second.path.name in made.manifest.elsewhere.values()
        other = Workspace(tmp_path / f"other{number}")
        if needs_second:
            with pytest.raises(InputRefusedError, match="is missing"):
                restore(made.path, other, passphrase=words)
            continue
        restore(made.path, other, passphrase=words)
        assert check(other).errors == []


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_links_generations_and_encryption_go_together(lived: Workspace, folder: Path, tmp_path: Path) -> None:
    """Rows and models on another disk, three generations of which one goes, all encrypted: the newest restores whole."""
    for kept in (lived.datasets, lived.models):
        there = tmp_path / f"disk-{kept.name}"
        kept.rename(there)
        kept.symlink_to(there)
    for number in range(3):
        fill_traces(lived, 2, 700 + 2 * number)
        made = backup_into(lived, folder, incremental=True, keep=1, passphrase=WORDS)
    first, *_ = reversed(generations(lived, folder))
    assert len(generations(lived, folder)) == 2
    assert set(made.manifest.elsewhere.values()) == {first.name}
    other = Workspace(tmp_path / "other")
    restore(made.path, other, passphrase=WORDS)
    for before, after in ((lived.datasets, other.datasets), (lived.models, other.models)):
        assert not after.is_symlink()
        names = {path.relative_to(before).as_posix() for path in before.rglob("*") if path.is_file()}
        assert {path.relative_to(after).as_posix() for path in after.rglob("*") if path.is_file()} == names
    assert check(other).errors == []


@pytest.mark.slow
def test_of_the_earlier_ones_the_newest_stay_and_what_they_need(lived: Workspace, folder: Path, tmp_path: Path) -> None:
    theirs = folder / "holiday.tar"
    theirs.write_bytes(b"pictures")
    first = backup_into(lived, folder, incremental=True)
    alike = folder / first.path.name.replace("-20", "-19", 1)
    shutil.copy(theirs, alike)
    for number in range(4):
        fill_traces(lived, 1, 600 + number)
        made = backup_into(lived, folder, incremental=True, keep=2)
    stay = generations(lived, folder)
    assert stay[0] == made.path
    # The first has the bytes of what did not change; what is no backup, or cannot be read, is not taken away.
    assert first.path in stay
    assert {alike, theirs} <= set(folder.iterdir())
    assert len(stay) == 4
    restore(made.path, Workspace(tmp_path / "other"))
    assert check(Workspace(tmp_path / "other")).errors == []


def test_a_name_that_is_no_moment_is_no_backup_of_ours(lived: Workspace, folder: Path) -> None:
    stem = series._stem(lived)
    for stamp in ("20261399-000000", "20270115-080000"):
        (folder / f"{stem}-{stamp}.tar").write_bytes(b"x")
    assert [path.name for path in series.generations(lived, folder)] == [f"{stem}-20270115-080000.tar"]


def test_a_clock_that_was_ahead_costs_no_backup(lived: Workspace, folder: Path) -> None:
    first = backup_into(lived, folder)
    ahead = first.path.with_name(first.path.name.replace("-2027", "-2099"))
    first.path.rename(ahead)
    made = backup_into(lived, folder, keep=1)
    assert made.path.exists()
    assert ahead in made.removed
    wanted = Settings(backup_folder=str(folder))
    assert is_due(lived, wanted, made.path.stat().st_mtime - 1)


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_an_earlier_one_that_cannot_be_read_stops_no_series(lived: Workspace, folder: Path) -> None:
    first = backup_into(lived, folder, incremental=True)
    second = backup_into(lived, folder, incremental=True)
    raw = bytearray(second.path.read_bytes())
    raw[-4000:] = bytes(4000)
    second.path.write_bytes(raw[: len(raw) // 2])
    third = backup_into(lived, folder, incremental=True, keep=1)
    assert set(third.manifest.elsewhere.values()) == {first.path.name}
    assert any("it is not used" in note for note in third.manifest.notes)
    # Another passphrase, or none any more: a whole one is made, and what cannot be read stays.
    fourth = backup_into(lived, folder, incremental=True, keep=2, passphrase=WORDS)
    assert fourth.manifest.elsewhere == {}
    assert first.path.exists()
    assert any("no earlier backup was deleted" in note for note in fourth.manifest.notes) or not fourth.removed


def test_settings_that_cannot_be_read_make_no_backup(
    lived: Workspace, folder: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = own_home / ".config" / "llmops" / "settings.toml"
    settings.parent.mkdir(parents=True, exist_ok=True)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for text in (
        f'backup_folder = "{folder}"\nbackup_pasphrase_file = "/x"\n',
        f'backup_folder = "{folder}"\nbackup_passphrase_file = 3\n',
        f'backup_folder = "{folder}\n',
        "",
    ):
        settings.write_text(text)
        with pytest.raises(InputRefusedError, match="no backup is made"):
            backup_as_set(lived)
    assert list(folder.iterdir()) == []
    assert list(here.iterdir()) == []


def test_a_backup_that_fails_takes_no_earlier_one_away(lived: Workspace, folder: Path) -> None:
    backup_into(lived, folder)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    part = next(lived.datasets.glob("*/*.parquet"))
    raw = bytearray(part.read_bytes())
    raw[len(raw) // 2] ^= 1
    part.write_bytes(raw)
    with pytest.raises(InputRefusedError, match="no backup was made"):
        backup_into(lived, folder, keep=1)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_one_is_made_when_it_is_due(lived: Workspace, folder: Path) -> None:
    wanted = Settings(backup_folder=str(folder), backup_hours=24, backup_keep=2)
    assert not is_due(lived, Settings(), time.time())
    assert is_due(lived, wanted, time.time())
    made = backup_into(lived, folder)
    assert not is_due(lived, wanted, made.path.stat().st_mtime + 86_000)
    assert is_due(lived, wanted, made.path.stat().st_mtime + 86_500)
    with pytest.raises(InputRefusedError, match="is not a folder"):
        is_due(lived, Settings(backup_folder=str(folder / "unmounted")), time.time())


def test_the_app_makes_it_as_a_job(lived: Workspace, tmp_path: Path, own_home: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    config = own_home / ".config" / "llmops"
    config.mkdir(parents=True, exist_ok=True)
    (config / "settings.toml").write_text(f'backup_folder = "{folder}"\n')
    services = Services(lived)
    assert start_if_due(services)
    assert not start_if_due(services), "one is at work, or was made"
    job = services.jobs.store.all(1)[0]
    wait_for(lambda: services.jobs.store.get(job.id).state.final)
    assert [path.suffix for path in folder.iterdir()] == [".tar"]
    services.close()


def test_the_command_line(lived: Workspace, tmp_path: Path) -> None:
    llmops = Llmops(lived)
    folder, words = tmp_path / "backups", tmp_path / "words"
    folder.mkdir()
    words.write_text(WORDS + "\n")
    with pytest.raises(InputRefusedError, match="other users can read"):
        words.chmod(0o644)
        read_passphrase(words)
    words.chmod(0o600)
    made = llmops.run("backup", str(folder), "--incremental", "--keep", "3", "--passphrase-file", str(words))
    assert made["copied"] == made["files"]
    seen = llmops.run("restore", made["file"], "--passphrase-file", str(words))
    assert seen["done"] is False
    assert llmops.run("restore", made["file"], code=3)["error"]["code"] == "passphrase_needed"
    assert llmops.run("backup", "--due")["made"] is False
    for unfit in ([], ["--keep", "2"], [str(tmp_path / "x.tar"), "--incremental"], ["--due", "--damaged"]):
        llmops.run("backup", *unfit, code=2)
