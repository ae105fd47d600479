"""Servers that send without end, or what is no answer: each is left with one line that names it."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from llmops_tui import bounded_http
from llmops_tui.errors import LlmopsError
from llmops_tui.inference import client as client_module
from llmops_tui.inference import remote
from llmops_tui.inference.client import ModelClient, StreamEnd
from llmops_tui.inference.remote import RemoteHandle, probe_remote
from llmops_tui.inference.sampling import SamplingParameters

Writer = asyncio.StreamWriter
QUESTION = [{"role": "user", "content": "Hi"}]
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
WORD = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'


@contextlib.asynccontextmanager
async def server(answer: Callable[[Writer], Awaitable[None]]) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that answers every request in one way; its address, and the heads of what was asked."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: Writer) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            await answer(writer)
            await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", heads


def sends(raw: bytes) -> Callable[[Writer], Awaitable[None]]:
    async def once(writer: Writer) -> None:
        writer.write(raw)

    return once


def endless(head: bytes, piece: bytes) -> Callable[[Writer], Awaitable[None]]:
    async def forever(writer: Writer) -> None:
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()

    return forever


def model(url: str) -> ModelClient:
    return ModelClient(RemoteHandle("away", "", url, "m", "a-secret"))


async def streamed(url: str) -> list[Any]:
    async with model(url) as client:
        return [e async for e in client.stream_chat(QUESTION, SamplingParameters(max_tokens=4))]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_http, "LINE", 50_000)
    monkeypatch.setattr(client_module, "_STREAM_BYTES", 1_000_000)
    monkeypatch.setattr(client_module, "SHORT", 100_000)
    monkeypatch.setattr(bounded_http.read_whole, "__defaults__", (1_000_000, float("inf")))
    monkeypatch.setattr(bounded_http.read_short, "__defaults__", (100_000, float("inf")))


@pytest.mark.parametrize(("head", "piece", "what"), [
    (OK, WORD * 100, "more than"), (OK, b": nothing\n" * 100, "more than"), (OK, b"data: " + b"x" * 10_000, "a line of more"),
    (b"HTTP/1.1 500 No\r\n\r\n", b"x" * 10_000, "more than"),
], ids=["text", "remarks", "a line", "an error"])  # fmt: skip
async def test_a_stream_without_end_is_left(head: bytes, piece: bytes, what: str, small: None) -> None:
    async with server(endless(head, piece)) as (url, _):
        with pytest.raises(LlmopsError, match=what) as error:
            await streamed(url)
        assert error.value.code == "answer_too_large"
        assert url in error.value.message


async def test_an_answer_without_end_is_left_also_where_it_is_compressed(small: None) -> None:
    bomb = gzip.compress(b"x" * 50_000_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    for answer in (endless(b"HTTP/1.1 200 OK\r\n\r\n", b"[" * 10_000), sends(head + bomb)):
        async with server(answer) as (url, _), model(url) as client:
            with pytest.raises(LlmopsError) as error:
                await client.complete("/v1/embeddings", {"input": "x"})
            assert error.value.code == "answer_too_large"


async def test_what_comes_for_too_long_and_what_does_not_come_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_WHOLE_SECONDS", -1.0)
    async with server(sends(OK + WORD)) as (url, _):
        with pytest.raises(LlmopsError, match="does not end"):
            await streamed(url)
    monkeypatch.setattr(client_module, "_SILENT_SECONDS", 0.05)
    monkeypatch.setattr(client_module, "_WHOLE_SECONDS", 60.0)
    ended = asyncio.Event()

    async def silent(_writer: Writer) -> None:
        await ended.wait()

    async with server(silent) as (url, _):
        with pytest.raises(LlmopsError, match="sent nothing for") as error:
            await streamed(url)
        ended.set()
    assert error.value.code == "server_silent"


@pytest.mark.parametrize(
    "event",
    ["[]", "1", '"x"', '{"choices": 3}', '{"choices": [1]}', '{"choices": [{"delta": 5}]}', '{"choices": [{"text": {"a": 1}}]}',
     '{"usage": 3, "choices": []}', "{" * 5, "[" * 100_000, '{"error": 7}'],
)  # fmt: skip
async def test_an_event_that_is_none_is_told_in_one_line(event: str) -> None:
    async with server(sends(OK + b"data: " + event.encode() + b"\n\n")) as (url, _):
        with pytest.raises(LlmopsError) as error:
            await streamed(url)
        assert error.value.code == "not_openai_compatible"
        assert url in error.value.message


async def test_odd_figures_are_left_out_and_a_text_of_an_error_is_told() -> None:
    last = {
        "choices": [{"delta": {}, "finish_reason": "stop"}],
        "usage": {"completion_tokens": "many", "prompt_tokens": 2**70},
    }
    async with server(sends(OK + WORD + b"data:" + json.dumps(last).encode() + b"\r\n\r\ndata: [DONE]\n\n")) as (
        url,
        _,
    ):
        text, end = await streamed(url)
        assert text == "a"
        assert isinstance(end, StreamEnd)
        assert (end.timings["completion_tokens"], end.timings["prompt_tokens"]) == (None, None)
    body = b'{"error": "no such model"}'
    async with server(sends(b"HTTP/1.1 404 No\r\nContent-Length: %d\r\n\r\n" % len(body) + body)) as (url, _):
        with pytest.raises(LlmopsError, match="no such model"):
            await streamed(url)


async def test_a_key_is_not_taken_where_a_redirect_leads() -> None:
    async with server(sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")) as (elsewhere, asked):
        head = f"HTTP/1.1 307 Go\r\nLocation: {elsewhere}/v1/models\r\nContent-Length: 0\r\n\r\n".encode()
        async with server(sends(head)) as (url, _):
            with pytest.raises(LlmopsError) as error:
                await streamed(url)
            assert error.value.code == "redirected"
            with pytest.raises(LlmopsError, match="307"):
                await asyncio.to_thread(probe_remote, url, "a-secret")
        assert asked == []


async def test_an_endpoint_that_is_looked_at_may_not_send_without_end(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with server(endless(b"HTTP/1.1 200 OK\r\n\r\n", b"[" * 10_000)) as (url, _):
        with pytest.raises(LlmopsError) as error:
            await asyncio.to_thread(probe_remote, url, "")
    assert error.value.code == "answer_too_large"
    monkeypatch.setattr(remote, "_WHOLE_SECONDS", -1.0)
    async with server(sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")) as (url, _):
        with pytest.raises(LlmopsError, match="does not end"):
            await asyncio.to_thread(probe_remote, url, "")


async def test_a_hub_may_not_send_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    from llmops_tui.models import hub

    deep = b"[" * 200_000
    told = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    packed = gzip.compress(b"{}")
    monkeypatch.setattr(hub, "_LISTING", 1_000_000)
    hub._hold_answers.cache_clear()
    cases = [
        (endless(told + b"\r\n", b"[" * 10_000), "answer_too_large"),
        (sends(told + b"Content-Length: %d\r\n\r\n" % len(deep) + deep), "no_hub"),
        (
            sends(told + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed),
            "answer_too_large",
        ),
    ]
    for answer, code in cases:
        async with server(answer) as (url, _):
            monkeypatch.setenv("HF_ENDPOINT", url)
            with pytest.raises(LlmopsError) as error:
                await asyncio.to_thread(hub.look_at, "owner/name")
            assert error.value.code == code
    hub._hold_answers.cache_clear()
