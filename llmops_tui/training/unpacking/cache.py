"""Where the folders are that are made of GGUF files, how large they get, and which are no longer needed."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llmops_tui.errors import LlmopsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from llmops_tui.models.registry import Model
    from llmops_tui.workspace.layout import Workspace

FOLDER = ".unpacked"
# Tokenizer and configuration, and what a file system takes besides.
_OTHER_BYTES = 40_000_000


@dataclass(frozen=True)
class Unpacked:
    """A model folder of a GGUF file's weights: whether it is there, and the bytes it has, or will have about."""

    path: Path
    size: int
    kind: str

    @property
    def present(self) -> bool:
        """Whether it is there, whole: it gets its name when it is."""
        return (self.path / "config.json").is_file()

    def use(self) -> None:
        """Note that it is used: garbage collection takes those that were not for long."""
        os.utime(self.path)


def unpacked_of(workspace: Workspace, base: Model, kind: str) -> Unpacked:
    """The folder of a GGUF model's weights in a type, ``F32``, ``F16`` or ``BF16``; named by the hash of the file."""
    path = workspace.models / FOLDER / f"{base.sha256}-{kind}"
    if (path / "config.json").is_file():
        return Unpacked(path, folder_bytes(path), kind)
    count = int(base.header.get("parameters") or 0)
    return Unpacked(path, count * (4 if kind == "F32" else 2) + _OTHER_BYTES, kind)


def announcement(workspace: Workspace, base: Model, compute: str) -> str:
    """What a run of a GGUF base will write first, with its size, in a sentence; empty where there is nothing to write.

    ``compute`` is the recipe's type of computation; ``auto`` is one of 16 bits.
    """
    kinds = {"float32": ["F32"], "float16": ["F16"], "bfloat16": ["BF16"]}.get(compute, ["BF16", "F16"])
    found = [unpacked_of(workspace, base, kind) for kind in kinds]
    if base.kind != "gguf" or any(each.present for each in found):
        return ""
    return (
        f"{base.name} is a GGUF file: its weights are dequantized first, once, to about {size_text(found[0].size)} in "
        f"{found[0].path.parent}"
    )


def refuse_if_full(unpacked: Unpacked, base: Model) -> None:
    """Refuse to unpack where the disk has no room for it.

    Raises:
        LlmopsError: ``disk_full``.
    """
    folder = next(parent for parent in unpacked.path.parents if parent.is_dir())
    free = shutil.disk_usage(folder).free
    if free < unpacked.size:
        raise LlmopsError(
            "disk_full",
            f"the weights of {base.name!r}, dequantized for training, take {size_text(unpacked.size)}, and "
            f"{size_text(free)} are free in {folder}",
            "Free some space: llmops gc shows what of the workspace is not needed.",
        )


def half_unpacked(workspace: Workspace) -> list[Path]:
    """What a process that is at work, or was killed, has not finished."""
    folder = workspace.models / FOLDER
    return [] if folder.is_symlink() else sorted(folder.glob(".*.part"))


def kept(workspace: Workspace, models: Iterable[Model]) -> Iterator[tuple[Path, str]]:
    """The folders that are there, and of which registered model each is; empty where there is none any more."""
    folder = workspace.models / FOLDER
    if folder.is_symlink() or not folder.is_dir():
        return
    names = {model.sha256: model.name for model in models}
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink() and not path.name.startswith("."):
            yield path, names.get(path.name.partition("-")[0], "")


def size_text(size: int) -> str:
    """Bytes in MB, or in GB where there are so many."""
    return f"{size / 1e6:,.0f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"


def folder_bytes(path: Path) -> int:
    """The bytes of the files in a folder."""
    return sum(file.stat().st_size for file in path.iterdir() if file.is_file())
