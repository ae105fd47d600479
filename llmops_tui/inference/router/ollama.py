"""What Ollama's API asks of a model that need not be loaded for it: what its file says, and that it be unloaded."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from llmops_tui.foreign_text import JsonObject
from llmops_tui.inference.server.apis.ollama_models import ServedModel, capabilities
from llmops_tui.inference.server.apis.ollama_request import OllamaChat, OllamaGenerate
from llmops_tui.inference.server.connection import read_body
from llmops_tui.inference.server.served_format import format_of
from llmops_tui.models.gguf import read_header
from llmops_tui.models.ranking import ranks
from llmops_tui.models.registry import Model

_GENERATING: dict[str, type[OllamaChat | OllamaGenerate]] = {"/api/chat": OllamaChat, "/api/generate": OllamaGenerate}
# Models with an encoder; they are served for their vectors.
_ENCODERS = {"t5", "t5encoder"}
# By either name that a header may have for them.
_GAP = (("fim_pre", "prefix"), ("fim_suf", "suffix"), ("fim_mid", "middle"))


async def shown(model: Model) -> JsonObject:
    """What ``/api/show`` tells of a model that is not loaded, by its file alone.

    Raises:
        InputRefusedError: the file is gone or damaged.
    """
    told = await ServedModel(model.name, model.path, model.sha256).shown()
    return {**told, "capabilities": await asyncio.to_thread(_able, model)}


async def unloading(request: Request, given: JsonObject) -> OllamaChat | OllamaGenerate | None:
    """The request, if it is the form that asks to unload its model.

    Raises:
        FieldRefusedError: a field of such a request is wrong.
    """
    kind = _GENERATING.get(request.url.path)
    said = any(given.get(name) for name in ("messages", "prompt", "suffix"))
    if kind is None or said or given.get("keep_alive") is None:
        return None
    body: OllamaChat | OllamaGenerate = await read_body(request, kind)
    return body if body.unloads else None


def _able(model: Model) -> list[str]:
    header = read_header(model.path)
    values, kind = header.metadata, header.architecture
    return capabilities(
        format_of(model.header.get("chat_template")),
        generates=values.get(f"{kind}.attention.causal", True) is not False and kind not in _ENCODERS,
        ranks=ranks(header),
        fills=all(any(f"tokenizer.ggml.{name}_token_id" in values for name in names) for names in _GAP),
    )
