"""What Ollama's API tells of a model: its file, its family, its size and its header."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.server.served_format import ServedFormat
from llmops_tui.models.gguf import read_header

# Values of a header that are told; lists such as whole vocabularies are not.
_TOLD = (str, int, float, bool)


class ServedModel:
    """The model of one server."""

    def __init__(self, name: str, path: Path, sha256: str) -> None:
        self.name = name
        self._path = path
        self._sha256 = sha256

    async def facts(self) -> JsonObject:
        """Size, date and family, as a list of models has them.

        Raises:
            InputRefusedError: the model's file is gone or damaged.
        """
        return await asyncio.to_thread(self._facts)

    async def shown(self) -> JsonObject:
        """All that is told of a model that is looked at; as :meth:`facts`."""
        return await asyncio.to_thread(self._shown)

    def _facts(self) -> JsonObject:
        header = read_header(self._path)
        kind = (header.architecture, header.parameter_count, header.quantization)
        return listed(header.size_bytes, self._sha256, self._path.stat().st_mtime, kind)

    def _shown(self) -> JsonObject:
        facts, header = self._facts(), read_header(self._path)
        info = {name: value if isinstance(value, _TOLD) else None for name, value in header.metadata.items()}
        info.pop("tokenizer.chat_template", None)
        return {
            "modified_at": facts["modified_at"],
            "details": facts["details"],
            "model_info": info | {"general.parameter_count": header.parameter_count},
            # The model's own, in Jinja.
            "template": header.chat_template or "",
            "parameters": "",
            "license": str(header.metadata.get("general.license") or ""),
        }


def capabilities(chat: ServedFormat, *, generates: bool, ranks: bool, fills: bool) -> list[str]:
    """What a model can do, in Ollama's words; what only embeds has no conversations."""
    able = {
        "completion": generates,
        "embedding": not ranks,
        "insert": fills,
        "tools": generates and chat.answers.calls is not None,
        "thinking": generates and chat.answers.thinking is not None,
    }
    return [name for name, can in able.items() if can]


def listed(size: int, sha256: str, changed: float, kind: tuple[str, int, str]) -> JsonObject:
    """What a list of models tells of one: its bytes, when it changed in seconds since 1970, and of which ``kind`` it is.

    That is its architecture, the number of its parameters, and the type of its weights.
    """
    family, parameters, quantization = kind
    return {
        "modified_at": datetime.fromtimestamp(changed, UTC).isoformat().replace("+00:00", "Z"),
        "size": size,
        "digest": f"sha256:{sha256}",
        "details": {
            "parent_model": "",
            "format": "gguf",
            "family": family,
            "families": [family],
            "parameter_size": _in_short(parameters),
            "quantization_level": quantization,
        },
    }


def _in_short(count: int) -> str:
    """A number of parameters as people say it."""
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if count >= size:
            return f"{count / size:.1f}{letter}"
    return str(count)
