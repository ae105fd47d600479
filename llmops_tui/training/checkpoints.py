"""Atomic checkpoints: staged, hashed and renamed; and which one a run resumes from.

A checkpoint is written into a staging folder. Then every file is hashed and synced, a marker with the hashes is written
last, and the folder is renamed. What has no marker, or whose files differ from it, is never resumed from.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from llmops_tui.errors import LlmopsError
from llmops_tui.foreign_text import parse_json
from llmops_tui.regular_files import read_regular
from llmops_tui.workspace.files import bytes_in, make_folder_within, sha256_file, sync_folder, write_atomic

MARKER = "complete.json"
_STAGING = ".staging"
_DAMAGED = "damaged-"


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint: the step it was taken after, its folder, and the loss measured there, where one was."""

    step: int
    path: Path
    eval_loss: float | None

    @property
    def size_bytes(self) -> int:
        """What it takes on disk."""
        return bytes_in(self.path)


def staging(folder: Path) -> Path:
    """A fresh folder to write the next checkpoint in; what a killed write left there is gone.

    Raises:
        FileNotFoundError: the run's own folder is not there, such as where its workspace was moved away.
    """
    path = staged(make_folder_within(folder))
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700)
    return path


def staged(folder: Path) -> Path:
    """Where the next checkpoint is written."""
    return folder / _STAGING


def commit(folder: Path, step: int, eval_loss: float | None) -> Checkpoint:
    """Make what lies in the staging folder the checkpoint of a step.

    Raises:
        OSError: the disk is full; earlier checkpoints are as they were.
    """
    source = folder / _STAGING / f"checkpoint-{step}"
    target = folder / f"checkpoint-{step}"
    hashes = {}
    for file in sorted(source.rglob("*")):
        if file.is_file():
            file.chmod(0o600)
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
            hashes[str(file.relative_to(source))] = sha256_file(file)
    write_atomic(source / MARKER, json.dumps({"step": step, "eval_loss": eval_loss, "sha256": hashes}))
    if target.exists():
        # The same step again, after a resume from before it.
        shutil.rmtree(target)
    source.rename(target)
    sync_folder(folder)
    shutil.rmtree(folder / _STAGING, ignore_errors=True)
    return Checkpoint(step, target, eval_loss)


def complete(folder: Path) -> list[Checkpoint]:
    """All checkpoints that have their marker, the newest first; their files are not read."""
    found = []
    for path in folder.glob("checkpoint-*"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            marker = parse_json(read_regular(path / MARKER))
            loss = marker.get("eval_loss")
            found.append(Checkpoint(int(marker["step"]), path, None if loss is None else float(loss)))
    return sorted(found, key=lambda checkpoint: -checkpoint.step)


def verify(checkpoint: Checkpoint) -> str:
    """What is wrong with a checkpoint, by its hashes; empty where it is as it was written."""
    try:
        hashes = parse_json(read_regular(checkpoint.path / MARKER))["sha256"]
        for name, digest in hashes.items():
            if sha256_file(checkpoint.path / name) != digest:
                return f"{name} differs from what was written"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"it cannot be read ({error})"
    return ""


def newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is as it was written, and what was found about newer ones, which are quarantined."""
    unfinished = [path for path in sorted(folder.glob("checkpoint-*")) if not (path / MARKER).is_file()]
    notes = [_quarantine(path, "it is incomplete") for path in unfinished]
    for checkpoint in complete(folder):
        trouble = verify(checkpoint)
        if not trouble:
            return checkpoint, notes
        notes.append(_quarantine(checkpoint.path, trouble))
    return None, notes


def _quarantine(path: Path, why: str) -> str:
    target = path.with_name(_DAMAGED + path.name)
    shutil.rmtree(target, ignore_errors=True)
    path.rename(target)
    return f"{path.name} is not used: {why}; it was moved to {target.name}"


def best(folder: Path) -> Checkpoint | None:
    """The checkpoint with the lowest evaluation loss, where one was measured."""
    measured = [c for c in complete(folder) if c.eval_loss is not None and not math.isnan(c.eval_loss)]
    return min(measured, key=lambda c: (c.eval_loss, -c.step), default=None)


def prune(folder: Path, keep: int) -> None:
    """Delete old checkpoints: the newest ``keep`` stay, and the best."""
    spared = best(folder)
    for checkpoint in complete(folder)[keep:]:
        if spared is None or checkpoint.step != spared.step:
            # Without its marker first: a delete that is cut short leaves nothing that looks whole.
            (checkpoint.path / MARKER).unlink(missing_ok=True)
            shutil.rmtree(checkpoint.path, ignore_errors=True)


def disk_full(folder: Path, needed: int) -> LlmopsError:
    """The error of a checkpoint that did not fit."""
    kept = complete(folder)
    last = f"the last valid checkpoint, of step {kept[0].step}, is kept" if kept else "there is no earlier checkpoint"
    free = shutil.disk_usage(folder).free
    return LlmopsError(
        "disk_full",
        f"no space for a checkpoint in {folder} ({needed / 1e6:.0f} MB needed, {free / 1e6:.0f} MB free); {last}",
        "Free some space, then: llmops train resume.",
    )
