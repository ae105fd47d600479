"""Download of a model's files into a staging folder, verified and renamed when complete.

Whatever ends the work, and wherever, the same work again goes on with what is there, also where the folder has its name
already and only the registration is missing.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject, parse_json
from llmops_tui.jobs.worker import JobContext
from llmops_tui.models import download, hub
from llmops_tui.models.files import read_model_files
from llmops_tui.models.remote_file import RemoteFile, shown
from llmops_tui.regular_files import read_regular
from llmops_tui.workspace.checksum_scope import NOTE
from llmops_tui.workspace.files import make_folder_within, sha256_file, sha256_text, sync_folder, write_atomic
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.locks import try_lock

# Hidden, so that nothing takes it for a model and no backup has it; what is in it is called .part until its hash is known.
_STAGING = ".getting-"
_LOCK = "lock"
# What was fetched, with hashes, until it is registered; and addresses with what may be a secret in them.
_RECORD = ".fetched.json"
_ADDRESSES = ".addresses.json"
# What may lie in a model's folder and is of use to nobody else.
OWN_FILES = frozenset({_RECORD, _ADDRESSES})
# Behind an address that is kept without what stands behind its question mark.
_MORE = "?"


def staging_of(workspace: Workspace, files: list[RemoteFile]) -> Path:
    """Where what was fetched of these files so far lies: the same for whoever asks for them again."""
    return workspace.models / f"{_STAGING}{files_key(files)}"


def files_key(files: list[RemoteFile]) -> str:
    """A name for these files, wherever they come from."""
    # A mirror goes on with what another began, where the hash says that it is the same.
    return sha256_text("\n".join(f"{f.size} {f.sha256 or shown(f.url)}" for f in files))[:16]


def unfinished(workspace: Workspace) -> Iterator[Path]:
    """Folders of files that were fetched, wholly or in part, and not registered yet."""
    for path in sorted(workspace.models.iterdir()):
        if path.is_dir() and (path.name.startswith(_STAGING) or (path / _RECORD).exists()):
            yield path


def keep_addresses(workspace: Workspace, files: list[RemoteFile]) -> list[RemoteFile]:
    """The files as a job's record may have them: what stands behind a question mark goes into a file of its own.

    That file is readable by its owner alone, and goes with the work it is for.
    """
    if any(_MORE in file.url for file in files):
        staging = make_folder_within(staging_of(workspace, files))
        write_atomic(staging / _ADDRESSES, json.dumps({file.name: file.url for file in files}))
    return [replace(file, url=shown(file.url) + (_MORE if _MORE in file.url else "")) for file in files]


def bring(context: JobContext, name: str, files: list[RemoteFile]) -> tuple[Path, dict[str, str]]:
    """All files of a model, in a folder of its own below the workspace's models; returns the first, and their hashes.

    Raises:
        InputRefusedError: the folder has something else in it, the files are no model, or another job brings them.
        LlmopsError: they cannot be had, or are not what was announced.
    """
    final = context.workspace.models / name
    staging = make_folder_within(staging_of(context.workspace, files))
    lock = try_lock(staging / _LOCK)
    if lock is None:
        raise InputRefusedError("being_fetched", f"another job downloads {files[0].name}", "llmops job list shows it.")
    try:
        known = _take_back(context, final, staging, files)
        wanted = _with_addresses(staging, files)
        check_room(context.workspace, name, files)
        digests = {
            file.name: known.get(file.name) or _bring_one(context, staging, wanted, number)
            for number, file in enumerate(wanted)
        }
        _check(staging / files[0].name)
        (staging / _ADDRESSES).unlink(missing_ok=True)
        (staging / _LOCK).unlink()
        staging.rename(final)
        sync_folder(final.parent)
    finally:
        os.close(lock)
        if staging.exists() and all(path.name in {_LOCK, _ADDRESSES, _RECORD} for path in staging.iterdir()):
            shutil.rmtree(staging, ignore_errors=True)
    return final / files[0].name, digests


def registered(path: Path) -> None:
    """What begins with this file is in the catalog: nothing has to be known of how it came any more."""
    (path.parent / _RECORD).unlink(missing_ok=True)


def give_up_name(workspace: Workspace, path: Path, files: list[RemoteFile]) -> None:
    """The folder's name has become another model's: what was brought goes back to where it is found under any name."""
    # Where somebody began it anew meanwhile, the folder stays, and gc clears it away.
    with contextlib.suppress(OSError):
        path.parent.rename(staging_of(workspace, files))


def check_room(workspace: Workspace, name: str, files: list[RemoteFile]) -> None:
    """Refuse to fetch what the disk has no room for; what is here of it already is not counted.

    Raises:
        LlmopsError: ``disk_full``.
    """
    there = _bytes_in(staging_of(workspace, files))
    if (workspace.models / name / _RECORD).exists():
        there += _bytes_in(workspace.models / name)
    needed, free = sum(file.size for file in files) - there, shutil.disk_usage(workspace.models).free
    if needed > free:
        raise download.disk_full(
            workspace.models, f": {needed / 1e6:,.0f} MB are needed, {free / 1e6:,.0f} MB are free"
        )


def _bytes_in(folder: Path) -> int:
    try:
        return sum(path.stat().st_size for path in folder.iterdir())
    except OSError:  # it is not there, or another job renames what is in it
        return 0


def _take_back(context: JobContext, final: Path, staging: Path, files: list[RemoteFile]) -> dict[str, str]:
    """Bring what has its name already back to where it is checked, where it is nothing but these very files.

    Returns the hashes of those that need not be fetched.

    Raises:
        InputRefusedError: ``file_exists``: something else is there.
    """
    if not os.path.lexists(final):
        return {}
    if final.is_symlink() or not final.is_dir():
        raise _in_the_way(final)
    record, planned = _read(final / _RECORD), {file.name: file for file in files}
    there = [path for path in sorted(final.iterdir()) if path.name != _RECORD and not path.name.startswith(NOTE)]
    known = {}
    for path in there:
        file, told = planned.get(path.name), record.get(path.name, {})
        expected = file and (file.sha256 or told.get("sha256"))
        if file is None or path.is_symlink() or not path.is_file() or path.stat().st_size != file.size or not expected:
            raise _in_the_way(path)
        if (
            sha256_file(path, lambda share: context.report(0.98, f"hashing the partial download {share:.0%}"))
            != expected
        ):
            raise _in_the_way(path)
        if _surely(file, told):
            known[file.name] = expected
    _write_record(staging, _read(staging / _RECORD) | record)
    for path in there:
        path.replace(staging / path.name)
    (final / _RECORD).unlink(missing_ok=True)
    # Notes of what lay there; what is registered from here gets new ones.
    for note in final.glob(f"{NOTE}*"):
        note.unlink(missing_ok=True)
    final.rmdir()
    return known


def _in_the_way(path: Path) -> InputRefusedError:
    hint = "Choose another name with --name, or move the file away."
    return InputRefusedError("file_exists", f"{path} already exists, and differs from the file to download", hint)


def _with_addresses(staging: Path, files: list[RemoteFile]) -> list[RemoteFile]:
    """The files with their whole addresses.

    Raises:
        InputRefusedError: ``address_gone``: what stood behind a question mark was not kept.
    """
    kept = _read(staging / _ADDRESSES)
    missing = [file for file in files if file.url.endswith(_MORE) and file.name not in kept]
    if missing and not all((staging / file.name).exists() for file in missing):
        what = f"the query of {shown(missing[0].url)} was not stored: it may be a secret"
        raise InputRefusedError("address_gone", what, "Give the complete URL again: llmops model get URL")
    return [replace(file, url=kept.get(file.name, file.url)) for file in files]


def _check(first: Path) -> None:
    """What registering checks, where nothing has its name yet; whole files that are no model are of no use to anybody."""
    try:
        read_model_files(first)
    except InputRefusedError:
        shutil.rmtree(first.parent, ignore_errors=True)
        raise


def _bring_one(context: JobContext, staging: Path, files: list[RemoteFile], number: int) -> str:
    file = files[number]
    whole, part = staging / file.name, staging / f"{file.name}.part"
    total, before = sum(f.size for f in files), sum(f.size for f in files[:number])
    which = f", file {number + 1} of {len(files)}" if len(files) > 1 else ""

    def tell(done: int) -> None:
        share = (before + done) / max(1, total)
        context.report(0.98 * share, f"{(before + done) / 1e6:,.0f} of {total / 1e6:,.0f} MB{which}")

    record = _read(staging / _RECORD)
    if whole.exists():
        same = _surely(file, record.get(file.name, {}))
        if same and whole.stat().st_size == file.size:
            digest = sha256_file(whole, lambda share: tell(int(share * file.size)))
            if digest == same:
                return digest
        whole.unlink()
    digest = download.fetch(file, part, tell, hub.token_for(file.url))
    # Before the name: what is called as the file is in the record.
    _write_record(staging, record | {file.name: {"sha256": digest, "validator": file.validator}})
    part.rename(whole)
    return digest


def _surely(file: RemoteFile, told: dict[str, str]) -> str:
    """The hash that a file has to have to be what is asked for; empty where that cannot be known."""
    # Without a hash beforehand it is the same where the server's mark of it is.
    return file.sha256 or (told.get("sha256", "") if file.validator and told.get("validator") == file.validator else "")


def _write_record(folder: Path, record: dict[str, dict[str, str]]) -> None:
    write_atomic(folder / _RECORD, json.dumps(record))


def _read(path: Path) -> JsonObject:
    """A small file of ours; empty where there is none, or none that can be read."""
    try:
        found = parse_json(read_regular(path))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
