"""A model of this machine that writes short texts about documents, one answer after the other, with what each took."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference.client import ModelClient
from llmops_tui.inference.opened_model import opened_model
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.wire import ChatMessage
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.retrieval.records import WriterRecord
from llmops_tui.workspace.catalog import Catalog

TOO_LONG = "context_length_exceeded"


@dataclass(frozen=True)
class Written:
    """An answer, and what it took: ``evaluated`` tokens of its prompt were not there already; times are in milliseconds."""

    text: str
    evaluated: int = 0
    generated: int = 0
    first_ms: float = 0.0
    total_ms: float = 0.0


class Writer(Protocol):
    """Answers conversations."""

    async def write(
        self, messages: Sequence[ChatMessage], most: int, form: Mapping[str, object] | None = None
    ) -> Written:
        """The answer, of at most so many tokens; ``form`` is a response format.

        Raises:
            LlmopsError: ``context_length_exceeded``; the server is gone.
        """


class LocalWriter:
    """A model behind its server. The likeliest word is always taken, so the same is written again for the same."""

    def __init__(self, client: ModelClient) -> None:
        self._client = client
        # Templates that know of thinking are told that none is wanted; others refuse to be told.
        self._thinking: bool | None = False

    async def write(
        self, messages: Sequence[ChatMessage], most: int, form: Mapping[str, object] | None = None
    ) -> Written:
        """As :meth:`Writer.write`."""
        body: dict[str, object] = {"messages": list(messages)}
        if form is not None:
            body["response_format"] = form
        parameters = SamplingParameters(max_tokens=most, enable_thinking=self._thinking)
        try:
            reply = await self._client.generate("/v1/chat/completions", body, parameters)
        except LlmopsError as error:
            if self._thinking is None or error.code == TOO_LONG or "thinking" not in error.message:
                raise
            self._thinking = None
            return await self.write(messages, most, form)
        told = reply.get("timings") or {}
        prompt, reused = told.get("prompt_tokens") or 0, told.get("reused_tokens") or 0
        return Written(
            str(reply["choices"][0]["message"].get("content") or ""),
            prompt - reused,
            told.get("completion_tokens") or 0,
            told.get("ttft_ms") or 0.0,
            told.get("total_ms") or 0.0,
        )


def writer_record(registry: ModelRegistry, name: str, code: str) -> WriterRecord:
    """A registered model as what writes about documents.

    Raises:
        NotFoundError: there is none. InputRefusedError: with this code: it answers no conversations here.
    """
    model = registry.writing(name)
    if model.kind == "remote":
        raise InputRefusedError(code, f"{name} is elsewhere, and documents stay on this machine", "Take a local model.")
    if not model.header.get("chat_template"):
        raise InputRefusedError(
            code, f"{name} has no template of conversations", "Take a model that answers instructions."
        )
    return {"model": name, "sha256": model.sha256}


class _WhenAsked:
    """A writer whose model is started when it is first asked: where all is known, it is not started at all."""

    def __init__(self, catalog: Catalog, record: WriterRecord, stack: AsyncExitStack) -> None:
        self._catalog, self._record, self._stack = catalog, record, stack
        self._made: LocalWriter | None = None

    async def write(
        self, messages: Sequence[ChatMessage], most: int, form: Mapping[str, object] | None = None
    ) -> Written:
        """As :meth:`Writer.write`."""
        if self._made is None:
            self._made = await self._stack.enter_async_context(_opened(self._catalog, self._record))
        return await self._made.write(messages, most, form)


@asynccontextmanager
async def opened_writer(catalog: Catalog, record: WriterRecord) -> AsyncIterator[Writer]:
    """A writer, its model's server started when it is first asked.

    Raises:
        LlmopsError: there: ``writer_changed``: the model of that name is another one now; or it cannot be started.
    """
    async with AsyncExitStack() as stack:
        yield _WhenAsked(catalog, record, stack)


@asynccontextmanager
async def _opened(catalog: Catalog, record: WriterRecord) -> AsyncIterator[LocalWriter]:
    changed = LlmopsError(
        "writer_changed",
        f"{record['model']} is another model now than the one that was asked for",
        "Begin again with it.",
    )
    async with opened_model(catalog, record["model"], record["sha256"], changed) as (_, client):
        yield LocalWriter(client)
