"""Grammars that mean harm, sent to a server beside running streams: what one request does reaches no other."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from llmops_tui.inference.memory_reservation import LoadOptions
from llmops_tui.inference.server_record import ServerHandle
from llmops_tui.inference.socket_transport import async_socket_transport
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from tests.engine.constraints import HOSTILE, hostile_form
from tests.engine.engines import questions

STREAMS = 8
TEXT = "/v1/completions"
REFUSALS = {"grammar_invalid", "schema_invalid", "grammar_too_costly", "invalid_request", "body_too_large"}
# Too deep, or too long, for any request.
EARLIER = {"deep": "invalid_request", "rules": "invalid_request", "4 MB": "body_too_large"}
# How often streams get to show that they go on: of a form that is worked on, each must end this many answers.
TRIES, WHOLE = 5, 2
FEW = [
    "parentheses",
    "repetitions",
    "backwards",
    "nothing",
    "deep",
    "much text",
    "4 MB",
    "ambiguous",
    "blanks",
    "brackets",
    "escaped quotes",
]


def client_of(handle: ServerHandle) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=async_socket_transport(handle.socket),
        base_url="http://localhost",
        timeout=110,
        headers={"Authorization": f"Bearer {handle.key}"},
    )


async def sure_prompts(client: httpx.AsyncClient) -> dict[str, str]:
    """Prompts and their greedy answers, no token of which a batch of another size could turn: none is nearly a tie."""
    found: dict[str, str] = {}
    for prompt in questions(200, seed=9):
        body = {"prompt": prompt, "temperature": 0, "max_tokens": 60, "logprobs": 2}
        choice = (await client.post(TEXT, json=body)).json()["choices"][0]
        tops = [sorted(t.values(), reverse=True) for t in choice["logprobs"]["top_logprobs"]]
        if len(tops) > 10 and all(t[0] - t[1] > 0.5 for t in tops if len(t) > 1):
            found[prompt] = choice["text"]
        if len(found) == STREAMS:
            return found
    raise AssertionError("no sure answers")


async def streamed(client: httpx.AsyncClient, prompt: str) -> str:
    body = {"prompt": prompt, "temperature": 0, "max_tokens": 60, "stream": True, "cache_prompt": False}
    text = ""
    async with client.stream("POST", TEXT, json=body) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                event = json.loads(line[6:])
                assert "error" not in event, event
                text += "".join(c["text"] for c in event["choices"])
    return text


@contextlib.asynccontextmanager
async def running(client: httpx.AsyncClient) -> AsyncIterator[list[int]]:
    """Eight streams, each begun again as it ends, and each told apart by its text; yields how many answers each gave."""
    prompts = await sure_prompts(client)
    done = [0] * STREAMS
    ending = asyncio.Event()

    async def one(index: int, prompt: str, expected: str) -> None:
        while not ending.is_set():
            assert await streamed(client, prompt) == expected
            done[index] += 1

    async with asyncio.TaskGroup() as group:
        for index, (prompt, expected) in enumerate(prompts.items()):
            group.create_task(one(index, prompt, expected))
        try:
            yield done
        finally:
            ending.set()


async def send(client: httpx.AsyncClient, form: dict[str, Any]) -> str:
    """Send one form; the code it was refused with, or that its answer ended with, or nothing."""
    held = {"grammar": form["grammar"]} if form["type"] == "grammar" else {"response_format": form}
    body = {"prompt": "Open?", "max_tokens": 8, "temperature": 1.0, "seed": 3, **held}
    try:
        answer = await client.post(TEXT, json=body)
    except httpx.WriteError:
        return "body_too_large"  # turned away before it was read
    assert answer.status_code < 500, answer.text
    return "" if answer.status_code == 200 else str(answer.json()["error"]["code"])


def costly(number: int) -> dict[str, Any]:
    """Another form each, on which the process that checks works for two seconds of CPU time, until it is killed."""
    pattern = "a.*b.*{}.*c" + str(number)
    strings = [{"type": "string", "pattern": pattern.format(chr(97 + n))} for n in range(20)]
    return {"type": "json_schema", "json_schema": {"schema": {"allOf": strings}}}


async def flow_beside(client: httpx.AsyncClient, done: list[int]) -> None:
    """Streams end answers while a form is worked on: of two that one ends, the second was begun in that time."""
    for number in range(TRIES):
        before = list(done)
        assert await send(client, costly(number)) == "grammar_too_costly"
        if all(now - then >= WHOLE for now, then in zip(list(done), before, strict=True)):
            return
    raise AssertionError("streams stand still while a form is worked on")


async def beside_streams(workspace: Workspace, forms: list[dict[str, Any]]) -> list[str]:
    model = ModelRegistry(Catalog(workspace)).get("support-base")
    options = LoadOptions(threads=1, context=512, parallel=STREAMS + 1)
    handle = await asyncio.to_thread(ServerSupervisor(workspace).ensure, model, options)
    async with client_of(handle) as client:
        engine = (await client.get("/health")).json()["engine_pid"]
        async with running(client) as done:
            outcomes = [await send(client, form) for form in forms]
            await flow_beside(client, done)
            assert await send(client, {"type": "json_object"}) == ""
        health = (await client.get("/health")).json()
    assert health["engine_pid"] == engine
    assert not health["last_failure"]
    return outcomes


def check_outcomes(names: list[str], outcomes: list[str]) -> None:
    """Each is held or refused as it is by the process that checks, but for those that the server turns away before."""
    expected = [EARLIER.get(name, HOSTILE[name][1]) for name in names]
    wrong = {n: (o, e) for n, o, e in zip(names, outcomes, expected, strict=True) if o not in e.split("|")}
    assert not wrong


@pytest.mark.slow
async def test_hostile_grammars_take_nothing_from_running_streams(sample: Workspace) -> None:
    check_outcomes(FEW, await beside_streams(sample, [HOSTILE[name][0] for name in FEW]))


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_all_hostile_grammars_and_two_hundred_more_take_nothing_from_running_streams(sample: Workspace) -> None:
    forms = [form for form, _ in HOSTILE.values()] + [hostile_form(seed) for seed in range(200)]
    outcomes = await beside_streams(sample, forms)
    check_outcomes(list(HOSTILE), outcomes[: len(HOSTILE)])
    assert set(outcomes) <= {"", *REFUSALS}
