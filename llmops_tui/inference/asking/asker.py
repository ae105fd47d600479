"""Calls to models: the endpoint of each, the cache in front of it, and retries."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import cast

from llmops_tui.errors import LlmopsError, sentences
from llmops_tui.inference.asking.cache import AnswerCache, answer_key, whole_reply
from llmops_tui.inference.client import ModelClient
from llmops_tui.inference.endpoints import Endpoint
from llmops_tui.inference.fallback import RUNGS, apply_known
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.template_renderer import TemplateRenderer
from llmops_tui.inference.wire import ChatMessage, Reply
from llmops_tui.models.engine_settings import EngineSettings
from llmops_tui.models.registry import Model, ModelRegistry
from llmops_tui.workspace.events import TracedWork
from llmops_tui.workspace.ids import new_id

# Requests that the engine is given at once beyond those it can run, so that no slot waits for the next.
_AHEAD = 2
_TRIES = 4
_CHAT = "/v1/chat/completions"
# Refusals that say nothing of the request: the server or its engine is gone, or has no place in its queue.
_GONE = {
    "server_died", "engine_died", "engine_hung", "engine_keeps_dying", "engine_unusable", "model_load_failed", "queue_full",
    "form_queue_full",
}  # fmt: skip


def engine_name(options: EngineSettings, model: Path) -> str:
    """What computes the answers of our own servers: the build, its arithmetic, and what it has to leave out here."""
    used, rung = apply_known(options, model)
    left_out = "" if rung.name == RUNGS[0].name else f" {rung.name}"
    return f"llama-cpp-python {version('llama-cpp-python')} {used.arithmetic}{left_out}"


@dataclass(frozen=True)
class Request:
    """One request for an answer: the endpoint's path, its body without sampling, and the sampling."""

    path: str
    body: Mapping[str, object]
    parameters: SamplingParameters
    # What its record says beside, and the version of a prompt that it was made of; they decide nothing.
    metadata: Mapping[str, object] = field(default_factory=dict)
    prompt: str = ""


class Asker:
    """Asks the models of a workspace, each answer once.

    What stands behind the address of a remote model may be another tomorrow. Its answers are kept for other runs only by
    the fingerprint that its server names (``system_fingerprint``), which is known from the first answer on; without one they
    are kept for the run they were given in.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        cache: AnswerCache,
        open_endpoint: Callable[[Model], Endpoint],
        *,
        options: EngineSettings,
        renderer: TemplateRenderer,
        within: str,
        work: TracedWork | None = None,
    ) -> None:
        """``within`` names the run, or whatever else answers of a remote model without a fingerprint are kept for.

        ``work`` is what the records of its requests say that they were made for.
        """
        self._work = work
        self._registry = registry
        self._within = within
        # What the servers of remote models called themselves, the newest last.
        self.fingerprints: dict[str, list[str]] = {}
        self.cache = cache
        self._open = open_endpoint
        self._options = options
        self._engines: dict[str, str] = {}
        # Models whose engine had to leave out something that was not known when answers were asked for by its name.
        self._otherwise: set[str] = set()
        self._slots = asyncio.Semaphore(options.parallel * _AHEAD)
        self._clients: dict[str, ModelClient] = {}
        self._opening: dict[str, asyncio.Lock] = {}
        self._stack = AsyncExitStack()
        self._renderer = renderer
        self._models: dict[str, Model] = {}

    def _model(self, name: str) -> Model:
        """A model; the catalog is asked once, not for every case."""
        if name not in self._models:
            self._models[name] = self._registry.get(name)
        return self._models[name]

    def identity(self, name: str) -> Mapping[str, object]:
        """What of a model decides its answers."""
        model = self._model(name)
        if model.kind == "remote":
            known = self.fingerprints.get(name)
            of: Mapping[str, object] = {"fingerprint": known[-1]} if known else {"within": self._within}
            return {"url": model.header.get("url"), "model": model.header.get("remote_model"), **of}
        adapter = model.sha256 if model.origin is not None else ""
        if name not in self._engines:
            self._engines[name] = engine_name(self._options, model.base.path)
        return {"model": model.base.sha256, "adapter": adapter, "engine": self._engines[name]}

    def key(self, identity: Mapping[str, object], path: str, body: Mapping[str, object]) -> str:
        """The key of a request to a model."""
        return answer_key({"asked": identity, "path": path, "body": body})

    def unknown(self, name: str) -> bool:
        """Whether a remote model has not said yet what it is, which its first answer tells."""
        return self._model(name).kind == "remote" and name not in self.fingerprints

    def _heard(self, name: str, reply: Reply) -> None:
        """Note what the server of a remote model calls itself."""
        if self._model(name).kind == "remote":
            said = reply.get("system_fingerprint")
            known = self.fingerprints.setdefault(name, [])
            if isinstance(said, str) and said and (not known or known[-1] != said):
                known.append(said)

    def _cut(self, name: str, reply: Reply, most: object) -> bool:
        """Whether an answer of ours ended with the context and not with its limit: with a longer context it is another.

        How long the context is is in no key, since it decides no other answer.
        """
        if self._model(name).kind == "remote" or not isinstance(most, int):
            return False
        made = (reply.get("usage") or {}).get("completion_tokens")
        choices = reply.get("choices") or ()
        return made is not None and made < most and any(one.get("finish_reason") == "length" for one in choices)

    async def answer(self, name: str, request: Request, sampled: Mapping[str, object]) -> tuple[Reply, str]:
        """A reply that is not known yet, and the id under which the request is kept.

        It is kept by what the model turned out to be, and by ``sampled``, the request's body as :meth:`key` takes it.

        Raises:
            LlmopsError: the request was refused; ``model_gone`` where the model cannot be had any more.
        """
        trace = new_id("run")
        async with self._slots:
            reply = await self._with_tries(
                name,
                lambda client: client.generate(
                    request.path,
                    request.body,
                    request.parameters,
                    {**self._told(request.prompt), **request.metadata, "run_id": trace},
                ),
            )
        return self.take(name, request, sampled, reply), trace

    def take(self, name: str, request: Request, sampled: Mapping[str, object], reply: Reply) -> Reply:
        """Keep a reply to a request, whoever asked for it, as :meth:`answer` does; what of it is kept."""
        kept = whole_reply(cast("Reply", {k: v for k, v in reply.items() if k in {"choices", "usage", "timings"}}))
        self._heard(name, reply)
        if name not in self._otherwise and not self._cut(name, kept, request.parameters.max_tokens):
            self.cache.keep(self.key(self.identity(name), request.path, sampled), kept)
        return kept

    def _told(self, prompt: str) -> dict[str, object]:
        """What a record says of the work that a request was made for."""
        return {"work": {**self._work, **({"prompt": prompt} if prompt else {})}} if self._work is not None else {}

    async def reply(self, model: str, path: str, body: Mapping[str, object], prompt: str = "") -> Reply:
        """What an endpoint answers to a whole body, from the cache where it is known; ``prompt`` is the version it is made of."""
        key = self.key(self.identity(model), path, body)
        known = self.cache.find([key])
        if key in known:
            return known[key].reply
        told = self._told(prompt) if path == _CHAT else None
        async with self._slots:
            reply = whole_reply(await self._with_tries(model, lambda client: client.complete(path, body, told)))
        self._heard(model, reply)
        if model not in self._otherwise and not self._cut(model, reply, body.get("max_tokens")):
            self.cache.keep(self.key(self.identity(model), path, body), reply)
        return reply

    async def render(self, template: str, variables: Mapping[str, object]) -> str:
        """A prompt template with its values."""
        return await asyncio.to_thread(self._renderer.render, template, variables)

    def supports_grammar(self, model: str) -> bool:
        """Whether the model's endpoint holds answers to a grammar."""
        return self._model(model).kind != "remote"

    async def chat_text(self, name: str, messages: Sequence[ChatMessage]) -> str:
        """The text that a conversation becomes for a model of ours."""
        return str((await self._with_tries(name, lambda client: client.tokenize(messages=messages)))["text"])

    async def tokens_behind(
        self, name: str, context: str, texts: tuple[str, ...], *, special: bool
    ) -> tuple[list[list[int]], list[int]]:
        """Texts behind a context as tokens of both, and how many of the tokens belong to each text.

        Where tokens reach across the border they belong to the text. Counted in tokens, since a character may be several.
        """

        async def tokens(text: str) -> list[int]:
            body = {"content": text, "add_special": special}
            return list((await self._with_tries(name, lambda client: client.complete("/tokenize", body)))["tokens"])

        before = await tokens(context)
        whole = [await tokens(context + text) for text in texts]
        sizes = []
        for ids in whole:
            same = next(
                (i for i, (a, b) in enumerate(zip(before, ids, strict=False)) if a != b), min(len(before), len(ids))
            )
            sizes.append(len(ids) - same)
        return whole, sizes

    async def _with_tries(self, name: str, work: Callable[[ModelClient], Awaitable[Reply]]) -> Reply:
        """Do something with a model's client; where its server died, start it again a few times."""
        for attempt in range(_TRIES):
            try:
                client = await self._client(name)
            except LlmopsError as error:
                raise _gone(name, error) from error
            try:
                return await work(client)
            except LlmopsError as error:
                if error.code not in _GONE:
                    raise
                self._clients.pop(name, None)
                if attempt == _TRIES - 1:
                    raise _gone(name, error) from error
                await asyncio.sleep(0.2 * 2**attempt)
        raise AssertionError

    async def _client(self, name: str) -> ModelClient:
        async with self._opening.setdefault(name, asyncio.Lock()):
            if name not in self._clients:
                endpoint = await asyncio.to_thread(self._open, self._model(name))
                self._clients[name] = await self._stack.enter_async_context(ModelClient(endpoint))
                known = self._engines.get(name)
                if known is not None and known != engine_name(self._options, self._model(name).base.path):
                    self._otherwise.add(name)
            return self._clients[name]

    async def close(self) -> None:
        """Let go of connections; servers go on."""
        await self._stack.aclose()


def _gone(name: str, error: LlmopsError) -> LlmopsError:
    hint = sentences(error.hint, "Answers so far are kept; llmops job resume continues.")
    return LlmopsError("model_gone", f"the model {name!r} is not available any more: {error.message}", hint)
