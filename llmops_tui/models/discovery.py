"""Model files of other programs on this machine, offered for registration in place."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llmops_tui.foreign_text import parse_json
from llmops_tui.models.gguf import says_no_model
from llmops_tui.models.names import name_of_file
from llmops_tui.models.shards import shard_of

_MAX_ENTRIES = 50_000
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class FoundModel:
    """A GGUF file somewhere on this machine, with a name it could have here."""

    path: Path
    name: str
    source: str
    size_bytes: int


def find_models(home: Path | None = None) -> list[FoundModel]:
    """GGUF files in the usual places of Hugging Face, Ollama and LM Studio, by name; unreadable ones are left out."""
    home = home or Path.home()
    hub = Path(os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME") or home / ".cache/huggingface") / "hub")
    ollama = Path(os.environ.get("OLLAMA_MODELS") or home / ".ollama/models")
    studio = [home / ".lmstudio/models", home / ".cache/lm-studio/models"]
    found = [*_in_hub(hub), *_in_ollama(ollama)]
    for folder in studio:
        found += _files(folder, "LM Studio")
    return sorted(found, key=lambda f: (f.source, f.name))


def _in_hub(folder: Path) -> Iterator[FoundModel]:
    for repository in sorted(folder.glob("models--*")) if folder.is_dir() else ():
        yield from _files(repository / "snapshots", "Hugging Face")


def _files(folder: Path, source: str) -> Iterator[FoundModel]:
    if not folder.is_dir():
        return
    for count, path in enumerate(folder.rglob("*.[gG][gG][uU][fF]")):
        if count >= _MAX_ENTRIES:
            return
        shard = shard_of(path.name)
        later = shard is not None and shard.number > 1
        if not later and (made := _found(path, path.name, source)) is not None:
            yield made


def _in_ollama(folder: Path) -> Iterator[FoundModel]:
    manifests = folder / "manifests"
    for path in sorted(manifests.rglob("*"))[:_MAX_ENTRIES] if manifests.is_dir() else ():
        if not path.is_file() or path.stat().st_size > 1_000_000:
            continue
        try:
            layers = parse_json(path.read_text(encoding="utf-8"))["layers"]
            digests = [str(x["digest"]) for x in layers if x["mediaType"] == "application/vnd.ollama.image.model"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        # A digest is part of a path: anything else than one would lead elsewhere.
        if len(digests) == 1 and _DIGEST.fullmatch(digests[0]):
            blob = folder / "blobs" / digests[0].replace(":", "-")
            made = _found(blob, f"{path.parent.name}-{path.name}", "Ollama")
            if made is not None:
                yield made


def _found(path: Path, name: str, source: str) -> FoundModel | None:
    try:
        target = path.resolve(strict=True)
        # A pipe by that name would wait for a writer.
        if not target.is_file():
            return None
        with target.open("rb") as file:
            if file.read(4) != b"GGUF":
                return None
        # A split file is opened by its name: its link must not be followed to a blob without one.
        kept = path if shard_of(path.name) is not None else target
        if says_no_model(target):
            return None
        return FoundModel(kept, name_of_file(name), source, target.stat().st_size)
    except (OSError, ValueError):
        return None
