"""Whether llama.cpp can load a file, as far as header and library tell in advance."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import mmap
import os
from pathlib import Path

from llmops_tui.models.records import ModelHeader

_LIBRARY = "libllama."


def library_files() -> list[Path]:
    """The files of the installed llama.cpp; it is not loaded for this."""
    place = importlib.util.find_spec("llama_cpp")
    packaged = [Path(folder) / "lib" for folder in (place.submodule_search_locations or ())] if place else []
    # The variable by which llama-cpp-python is told of another build.
    given = os.environ.get("LLAMA_CPP_LIB_PATH")
    folders = [Path(given)] if given else packaged
    return sorted(file for folder in folders for file in folder.glob("*") if file.is_file())


def knows_architecture(name: str) -> bool:
    """Whether the installed llama.cpp may know an architecture: false only where its library has no such word.

    The names are strings of the library, each ended by a zero byte. A longer string may end alike, so a yes is no promise.
    """
    libraries = [file for file in library_files() if file.name.startswith(_LIBRARY)]
    for file in libraries:
        with contextlib.suppress(OSError, ValueError), file.open("rb") as opened:
            with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
                if data.find(name.encode("utf-8", "replace") + b"\0") >= 0:
                    return True
    # Where no library can be looked at, nothing is known against it.
    return not libraries


def doubts(kind: str, header: ModelHeader) -> list[str]:
    """Why llama.cpp will not load a registered file of this kind, by the summary of its header; empty where it may."""
    if kind not in {"gguf", "adapter"}:
        return []
    found = []
    architecture = str(header.get("architecture"))
    if not knows_architecture(architecture):
        found.append(f"llama.cpp as installed here ({_version()}) does not know the architecture {architecture!r}")
    if kind == "gguf":
        lacking = {"context length": header.get("context_length"), "tokens": header.get("vocabulary")}
        found += [
            f"the file has no {what}, without which llama.cpp cannot load it" for what, v in lacking.items() if not v
        ]
    return [f"registered, but llama.cpp cannot load it: {why}" for why in found]


def _version() -> str:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return f"llama-cpp-python {importlib.metadata.version('llama-cpp-python')}"
    return "version unknown"
