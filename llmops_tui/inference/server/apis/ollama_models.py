"""What Ollama's API tells of a model: its file, its family, its size and its header."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import NotRequired, TypedDict

from llmops_tui.foreign_text import JsonObject
from llmops_tui.models.gguf import read_header

# Values of a header that are told; lists such as whole vocabularies are not.
_TOLD = (str, int, float, bool)


class TagDetails(TypedDict):
    """What Ollama's clients show of a model."""

    parent_model: str
    format: str
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str


class TagEntry(TypedDict):
    """A model as ``/api/tags`` and ``/api/ps`` list it; sizes in bytes, the context in tokens."""

    name: str
    model: str
    modified_at: NotRequired[str]
    size: int
    digest: str
    details: TagDetails
    expires_at: NotRequired[None]
    size_vram: NotRequired[int]
    context_length: NotRequired[int]


def tag_details(family: str, parameters: int, quantization: str) -> TagDetails:
    """The details of a GGUF model of so many parameters."""
    return {
        "parent_model": "",
        "format": "gguf",
        "family": family,
        "families": [family],
        "parameter_size": f"{parameters / 1e9:.1f}B" if parameters >= 1e9 else f"{parameters / 1e6:.2f}M",
        "quantization_level": quantization,
    }


class ServedModel:
    """The model of one server."""

    def __init__(self, name: str, path: Path, sha256: str) -> None:
        self.name = name
        self._path = path
        self._sha256 = sha256

    async def listed(self) -> TagEntry:
        """The model as lists have it.

        Raises:
            InputRefusedError: the model's file is gone or damaged.
        """
        return await asyncio.to_thread(self._listed)

    async def shown(self) -> JsonObject:
        """All that is told of a model that is looked at; as :meth:`listed`."""
        return await asyncio.to_thread(self._shown)

    def _listed(self) -> TagEntry:
        header = read_header(self._path)
        return {
            "name": self.name,
            "model": self.name,
            "modified_at": self._changed(),
            "size": header.size_bytes,
            "digest": self._sha256,
            "details": tag_details(header.architecture, header.parameter_count, header.quantization),
        }

    def _shown(self) -> JsonObject:
        header = read_header(self._path)
        info = {name: value if isinstance(value, _TOLD) else None for name, value in header.metadata.items()}
        info.pop("tokenizer.chat_template", None)
        return {
            "modified_at": self._changed(),
            "details": tag_details(header.architecture, header.parameter_count, header.quantization),
            "model_info": info | {"general.parameter_count": header.parameter_count},
            # The model's own, in Jinja.
            "template": header.chat_template or "",
            "parameters": "",
            "license": str(header.metadata.get("general.license") or ""),
        }

    def _changed(self) -> str:
        moment = datetime.fromtimestamp(self._path.stat().st_mtime, UTC)
        return moment.isoformat().replace("+00:00", "Z")
