"""The files of a model: which can be registered, which belong together, and their hash."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from llmops_tui.errors import InputRefusedError
from llmops_tui.models.gguf import read_header
from llmops_tui.models.gguf_header import GgufHeader
from llmops_tui.models.shards import loadable_name, shard_of
from llmops_tui.workspace.files import sha256_file, sha256_text


def check_model_file(path: Path) -> GgufHeader:
    """The header of a file that is to be registered.

    Raises:
        InputRefusedError: it is damaged, no model, a later one of several files, or its name is no text.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise InputRefusedError(
            "bad_file_name", f"the file name {path.name!r} is not valid text", "Rename the file, or make a link to it."
        ) from None
    header = read_header(path)
    if header.no_model:
        raise InputRefusedError(
            "not_a_model", f"{path} is {header.no_model}, not a model", "Register the model that it belongs to."
        )
    if header.shard > 1:
        shard = shard_of(path.name)
        first = path.with_name(shard.all()[0]) if shard is not None else None
        raise InputRefusedError(
            "shard_not_first",
            f"{path} is file {header.shard} of the {header.shards} that one model is split into",
            f"Register the first one: {first}" if first is not None else "Register the first one of them.",
        )
    return header


def shards_of(path: Path) -> list[Path]:
    """The files of a model: those it is split into that are there, in order, or the one."""
    shard = shard_of(path.name)
    names = shard.all() if shard is not None else [path.name]
    return [file for name in names if (file := path.with_name(name)).exists() or file == path]


def read_model_files(path: Path) -> tuple[list[Path], list[GgufHeader]]:
    """The files of the model that begins with this one, in order, and their headers.

    Raises:
        InputRefusedError: as :func:`check_model_file`; or not all files are there, or llama.cpp would not find them.
    """
    header = check_model_file(path)
    files = shards_of(path)
    if len(files) != header.shards:
        raise InputRefusedError(
            "shards_missing",
            f"{path} is one of {header.shards} files, and {len(files)} can be found in its folder",
            "Register the first one, named …-00001-of-0000N.gguf, with the others in the same folder.",
        )
    if header.shards > 1 and path.name != (wanted := loadable_name(path.name)):
        raise InputRefusedError(
            "shard_name",
            f"llama.cpp finds the {header.shards} files of {path} only where their names are spelled as {wanted}",
            "Rename them all, or make links to them.",
        )
    return files, [header, *(read_header(file) for file in files[1:])]


def digest_of(
    files: list[Path], progress: Callable[[float], None] | None, known: Mapping[str, str] | None = None
) -> str:
    """The SHA-256 of a file; of several, that of the list of theirs. ``known``: as for :func:`digests_of`."""
    return joined_digest([(digest, file.name) for file, digest in digests_of(files, progress, known).items()])


def digests_of(
    files: list[Path], progress: Callable[[float], None] | None, known: Mapping[str, str] | None = None
) -> dict[Path, str]:
    """The SHA-256 of each file. ``known`` has those that were just found, by the files' names: they are not read again."""
    found: dict[Path, str] = {}
    for number, file in enumerate(files):

        def part(share: float, number: int = number) -> None:
            if progress is not None:
                progress((number + share) / len(files))

        found[file] = (known or {}).get(file.name) or sha256_file(file, part)
    return found


def joined_digest(files: list[tuple[str, str]]) -> str:
    """What stands for a model's files, given by SHA-256 and name, in order: of one file, its own."""
    if len(files) == 1:
        return files[0][0]
    return sha256_text("\n".join(f"{digest}  {name}" for digest, name in files))
