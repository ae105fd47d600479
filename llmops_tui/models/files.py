"""The files of a model: which can be registered, which belong together, and their hash."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from llmops_tui.errors import InputRefusedError
from llmops_tui.models.gguf import read_header
from llmops_tui.models.gguf_header import GgufHeader
from llmops_tui.workspace.files import sha256_file, sha256_text

_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")


def check_model_file(path: Path) -> GgufHeader:
    """The header of a file that is to be registered.

    Raises:
        InputRefusedError: it is damaged, no model, a later one of several files, or its name is no text.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise InputRefusedError(
            "bad_file_name", f"the name of {path.name!r} is no text", "Rename the file, or make a link to it."
        ) from None
    header = read_header(path)
    if header.no_model:
        raise InputRefusedError(
            "not_a_model", f"{path} is {header.no_model}, and is no model itself", "Register the model it goes with."
        )
    if header.shard > 1:
        match = _SHARD.fullmatch(path.name)
        first = path.with_name(f"{match['stem']}-00001-of-{match['count']}.gguf") if match is not None else None
        raise InputRefusedError(
            "shard_not_first",
            f"{path} is file {header.shard} of the {header.shards} that one model is split into",
            f"Register the first one: {first}" if first is not None else "Register the first one of them.",
        )
    return header


def shards_of(path: Path) -> list[Path]:
    """The files of a model: those it is split into that are there, in order, or the one."""
    match = _SHARD.fullmatch(path.name)
    if match is None or int(match["count"]) > 1000:
        return [path]
    names = (f"{match['stem']}-{n:05}-of-{match['count']}.gguf" for n in range(1, int(match["count"]) + 1))
    return [file for name in names if (file := path.with_name(name)).exists() or file == path]


def digest_of(files: list[Path], progress: Callable[[float], None] | None) -> str:
    """The SHA-256 of a file; of several, that of the list of theirs."""
    if len(files) == 1:
        return sha256_file(files[0], progress)
    found = []
    for number, file in enumerate(files):

        def part(share: float, number: int = number) -> None:
            if progress is not None:
                progress((number + share) / len(files))

        found.append(f"{sha256_file(file, part)}  {file.name}")
    return sha256_text("\n".join(found))
