"""The models of the one address as a chain's steps ask them: on behalf of the client, within the limits of its key."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx

from llmops_tui.chains.asking import PATH, StepAnswer, StepRequest, Told, read_reply, step_key
from llmops_tui.errors import LlmopsError
from llmops_tui.inference.server.callers import ON_BEHALF, Caller
from llmops_tui.inference.wire import Reply, Usage

if TYPE_CHECKING:
    from llmops_tui.inference.router.catalogue import RegisteredModels
    from llmops_tui.inference.router.pool import ModelPool, Upstream

# Of one request for a chain, so many steps at once; the models' servers let clients take turns.
_PARALLEL = 4


class PooledModels:
    """Nothing is taken from a cache: whoever asks a served model asks it now."""

    parallel = _PARALLEL

    def __init__(self, pool: ModelPool, models: RegisteredModels, caller: Caller, chain: str) -> None:
        self._pool, self._models, self._caller, self._chain = pool, models, caller, chain

    def key(self, asked: StepRequest) -> str:
        """As :meth:`llmops_tui.chains.asking.StepModels.key`; nothing is kept by it."""
        return step_key("prompt", {"model": asked.model, **asked.sampled})

    async def answer(self, asked: StepRequest, key: str, told: Told | None = None) -> StepAnswer:
        """As :meth:`llmops_tui.chains.asking.StepModels.answer`."""
        del key
        meant = await self._models.meant(asked.model)
        body: dict[str, object] = {
            "model": meant.name,
            **asked.body,
            **asked.parameters.model_dump(mode="json", exclude_none=True),
            "metadata": {"chain": self._chain},
        }
        if told is not None:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        headers = {ON_BEHALF.decode(): self._caller.passed_on().decode()}
        async with self._pool.use(meant.model) as upstream:
            try:
                if told is None:
                    reply = await upstream.http.post(PATH, json=body, headers=headers)
                    if reply.status_code != httpx.codes.OK:
                        raise _refusal(reply.content, reply.status_code)
                    return read_reply(reply.json())
                return await _streamed(upstream, body, headers, told)
            except httpx.TransportError as error:
                self._pool.lost(upstream)
                raise LlmopsError(
                    "server_died", f"the server of {meant.name!r} died while it answered", "Try again."
                ) from error


async def _streamed(upstream: Upstream, body: dict[str, object], headers: dict[str, str], told: Told) -> StepAnswer:
    text, stopped = "", ""
    usage: Usage = {}
    async with upstream.http.stream("POST", PATH, json=body, headers=headers) as response:
        if response.status_code != httpx.codes.OK:
            raise _refusal(await response.aread(), response.status_code)
        async for line in response.aiter_lines():
            if not line.startswith("data:") or (data := line[5:].strip()) == "[DONE]":
                continue
            event = json.loads(data)
            if "error" in event:
                raise _refusal(data.encode(), response.status_code)
            usage = event.get("usage") or usage
            for choice in event.get("choices") or ():
                if piece := (choice.get("delta") or {}).get("content"):
                    text += piece
                    await told(piece)
                stopped = choice.get("finish_reason") or stopped
    whole: Reply = {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": stopped}],
        "usage": usage,
    }
    return read_reply(whole)


def _refusal(raw: bytes, status: int) -> LlmopsError:
    """What a model's server of ours refused, which says why."""
    try:
        error = json.loads(raw)["error"]
        return LlmopsError(str(error["code"]), str(error["message"]), str(error.get("hint") or ""))
    except (ValueError, KeyError, TypeError):
        return LlmopsError("server_failed", f"the model's server answered {status}")
