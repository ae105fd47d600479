"""Atomic deletion: files are renamed away first, all or none, and their bytes deleted after."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from llmops_tui.counts import agree
from llmops_tui.errors import LlmopsError
from llmops_tui.workspace.files import sync_folder

# What a kill leaves of it is rubbish by its name, wherever it lies.
BIN = ".cleared-"
_HINT = "It may be a mount point or not writable. Fix that and try again, or remove it yourself."


@contextlib.contextmanager
def renamed_away(paths: Sequence[Path]) -> Iterator[None]:
    """Files and folders without their names while the block runs, and deleted after it; where it fails they are put back.

    Raises:
        LlmopsError: ``not_taken_away``: one cannot be moved; the message says where they all are.
    """
    # The folder that each lies in meanwhile: beside it, because what is linked or mounted is on another disk.
    bins: dict[Path, Path] = {}
    try:
        for path in paths:
            try:
                _move(path, bins)
            except OSError as error:
                raise LlmopsError(
                    "not_taken_away", f"{path} cannot be deleted: {error.strerror}; nothing was removed", _HINT
                ) from error
        yield
    except BaseException as error:
        _put_back(bins, error)
        raise
    for folder in bins.values():
        shutil.rmtree(folder, ignore_errors=True)


def delete_paths(paths: Sequence[Path]) -> None:
    """Delete files and folders, one after the other.

    Raises:
        LlmopsError: ``not_taken_away``: some cannot be; the others are gone.
    """
    failed = []
    for path in paths:
        try:
            with renamed_away([path]):
                pass
        except LlmopsError as error:
            if error.code != "not_taken_away":
                raise
            failed.append((path, error))
    if failed:
        cause = failed[0][1].__cause__ or failed[0][1]
        names = ", ".join(str(path) for path, _ in failed[:3]) + (" …" if len(failed) > 3 else "")
        still = agree(len(failed), "is", "are")
        what = f"{len(failed)} of {len(paths)} files and folders cannot be removed and {still} unchanged: {names}"
        reason = getattr(cause, "strerror", None) or str(cause)
        raise LlmopsError("not_taken_away", f"{what} ({reason}); the rest was removed", _HINT) from failed[0][1]


def _move(path: Path, bins: dict[Path, Path]) -> None:
    with contextlib.suppress(FileNotFoundError):
        folder = Path(tempfile.mkdtemp(prefix=BIN, dir=path.parent))
        try:
            path.rename(folder / path.name)
        except OSError:
            folder.rmdir()
            raise
        bins[path] = folder
        sync_folder(path.parent)


def _put_back(bins: dict[Path, Path], why: BaseException) -> None:
    stuck = []
    for path, folder in bins.items():
        try:
            (folder / path.name).rename(path)
            folder.rmdir()
        except OSError as error:
            stuck.append(f"{path} lies in {folder}: {error.strerror}")
    if stuck:
        raise LlmopsError(
            "not_put_back",
            f"{why}; files deleted before that cannot be restored: {'; '.join(stuck)}",
            "Move it back yourself, before llmops gc removes that folder.",
        ) from why
