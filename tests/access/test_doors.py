"""Every door of a server before every key: out of scope, revoked, expired and over its limits; a door without the gate fails here."""

from __future__ import annotations

import asyncio
import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.routing import Route

from llmops_tui.inference.access.endpoints import ENDPOINTS, MODELS, endpoint_of
from llmops_tui.inference.access.gate import Grant
from llmops_tui.inference.server import head_scores, reranking
from llmops_tui.inference.server.openapi import posted_paths
from llmops_tui.workspace.layout import Workspace
from tests.access.doors import HI, OWN, PROMPT, SAID, Doors, opened

# What each door needs at the least, by its path; without a body it is asked with GET.
BODIES: dict[str, Any] = {
    "/v1/chat/completions": {"messages": HI, "max_tokens": SAID},
    "/v1/completions": {"prompt": "Hi", "max_tokens": SAID},
    "/v1/responses": {"input": "Hi", "max_output_tokens": SAID},
    "/v1/messages": {"messages": HI, "max_tokens": SAID, "model": "m"},
    "/v1/messages/count_tokens": {"messages": HI, "model": "m"},
    "/infill": {"input_prefix": "a", "input_suffix": "b", "n_predict": SAID},
    "/v1/embeddings": {"input": "Hi"},
    "/api/chat": {"model": "m", "messages": HI, "options": {"num_predict": SAID}, "stream": False},
    "/api/generate": {"model": "m", "prompt": "Hi", "options": {"num_predict": SAID}, "stream": False},
    "/api/embed": {"model": "m", "input": "Hi"},
    "/api/embeddings": {"model": "m", "prompt": "Hi"},
    "/api/show": {"model": "m"},
    **{path: {"query": "a", "documents": ["b"]} for path in ("/v1/rerank", "/v1/reranking", "/rerank", "/reranking")},
    **{path: {"input": "Hi"} for path in ("/v1/classify", "/classify")},
    "/tokenize": {"content": "Hi"},
    "/detokenize": {"tokens": [1]},
    "/v1/keys": {"name": "another"},
    "/v1/feedback": {"id": "run_1", "score": "up"},
}
# Doors that make the engine evaluate something, and how many tokens.
EVALUATING = {
    path: PROMPT if "mbed" in path or "rank" in path or "classify" in path else PROMPT + SAID
    for path in BODIES
    if endpoint_of(path) in {"chat", "completions", "embeddings", "rerank", "classify"}
}
OPEN = {"/", "/health", "/ping", "/openapi.json", "/docs"}


def routes_of(doors: Doors) -> list[tuple[str, str]]:
    """All doors, as method and an address."""
    app: Any = doors.server.app()
    found = []
    for route in app._app.routes:
        assert isinstance(route, Route)
        path = re.sub(r"\{[^}]*\}", "x", route.path)
        found += [(method, path) for method in sorted((route.methods or set()) - {"HEAD"}) if path not in OPEN]
    return found


async def refused(doors: Doors, secret: str, method: str, path: str) -> tuple[int, str, Any]:
    """The status of a request, its error's message, and the body."""
    answer = await doors.ask(secret, path, BODIES.get(path, {}), method)
    try:
        body = answer.json()
    except ValueError:
        return answer.status_code, "", {}
    error = body.get("error", {}) if isinstance(body, dict) else {}
    return answer.status_code, error if isinstance(error, str) else error.get("message", ""), body


async def test_every_door_asks_the_gate(workspace: Workspace) -> None:
    async with opened(workspace) as doors:
        revoked, expired = doors.key("revoked"), doors.key("expired")
        doors.store.revoke(revoked.key)
        expired = doors.store.create("short", expired.key.scope, expires_at=doors.time.now + 1)
        doors.time.now += 2
        spent = doors.key("spent", requests_per_day=1, endpoints=tuple(ENDPOINTS))
        assert (await doors.ask(spent.secret, "/v1/models", None, "GET")).status_code == 200
        # Each is for one thing, and refused by the doors that are for another.
        scoped = [doors.key(f"only {name}", endpoints=(name,)) for name in ("feedback", "tokenize")]
        other = doors.key("another model", models=("other",))
        before = len(doors.engine.calls)
        routes = routes_of(doors)
        assert {path for _, path in routes} > set(BODIES)
        for method, path in routes:
            place = f"{method} {path}"
            endpoint = endpoint_of(path)
            assert endpoint, (
                f"{place} is for nothing that a key's scope names: add it to llmops_tui/inference/access/endpoints.py"
            )
            for key, status, told in ((revoked, 401, "revoked"), (expired, 401, "expired"), (spent, 429, "reached")):
                got = await refused(doors, key.secret, method, path)
                assert (got[0], told in got[1]) == (status, True), (place, key.key.name, got)
            if endpoint != MODELS:
                key = next(one for one in scoped if one.key.scope.endpoints != (endpoint,))
                got = await refused(doors, key.secret, method, path)
                assert (got[0], "is not for" in got[1]) == (403, True), (place, got)
            if (
                endpoint in {"chat", "completions", "embeddings", "rerank", "classify", "tokenize"}
                or path == "/api/show"
            ):
                got = await refused(doors, other.secret, method, path)
                assert (got[0], "the model 'm'" in got[1]) == (403, True), (place, got)
        # Nobody was refused after the engine had been asked.
        assert len(doors.engine.calls) == before
        assert {path for path in posted_paths() if path not in BODIES} == set()


async def test_every_door_that_evaluates_reserves_and_gives_back(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_scores, "read_header", lambda _path: SimpleNamespace(has_classifier=True))
    # To the engine of these tests all texts are alike; that it is asked about a pair first is at nobody's expense.
    monkeypatch.setattr(reranking, "unfit", lambda *_scores: "")
    async with opened(workspace) as doors:
        for path, used in EVALUATING.items():
            key = doors.key(f"key of {path}", tokens_per_day=used)
            answer = await doors.ask(key.secret, path, BODIES[path])
            assert answer.status_code == 200, (path, answer.text)
            assert doors.left(key) == {"tokens a day": 0}, path
            assert answer.headers["x-ratelimit-limit-tokens"] == str(used), path
            asked = len(doors.engine.calls)
            again = await doors.ask(key.secret, path, BODIES[path])
            assert (again.status_code, "tokens a day" in again.text) == (429, True), (path, again.text)
            assert int(again.headers["retry-after"]) > 80_000
            # It was counted, and nothing evaluated.
            assert [call["op"] for call in doors.engine.calls[asked:]] == ["count"], path
            small = doors.key(f"small {path}", tokens_per_day=used - SAID - 1)
            never = await doors.ask(small.secret, path, BODIES[path])
            assert (never.status_code, "at once" in never.text) == (400, True), (path, never.text)


async def test_errors_have_the_form_of_their_door(workspace: Workspace) -> None:
    async with opened(workspace) as doors:
        key = doors.key(requests_per_minute=1)
        await doors.chat(key.secret)
        openai = await doors.chat(key.secret)
        error = openai.json()["error"]
        assert (openai.status_code, error["code"], error["type"]) == (429, "rate_limit_exceeded", "rate_limit_error")
        assert (openai.headers["retry-after"], openai.headers["x-ratelimit-remaining-requests"]) == ("60", "0")
        assert openai.headers["x-ratelimit-reset-requests"] == "1m0s"
        anthropic = await doors.ask(key.secret, "/v1/messages", BODIES["/v1/messages"])
        assert (anthropic.json()["type"], anthropic.json()["error"]["type"]) == ("error", "rate_limit_error")
        assert anthropic.headers["anthropic-ratelimit-requests-limit"] == "1"
        ollama = await doors.ask(key.secret, "/api/chat", BODIES["/api/chat"])
        assert (ollama.status_code, type(ollama.json()["error"])) == (429, str)
        doors.time.now += 60
        assert (await doors.chat(key.secret)).status_code == 200


async def test_lengths_and_adapters_are_held_to_a_scope(workspace: Workspace) -> None:
    async with opened(workspace) as doors:
        key = doors.key(max_output=2, adapters=("mine",), max_context=11)
        asked = await doors.chat(key.secret, max_tokens=3)
        assert (asked.status_code, asked.json()["error"]["param"]) == (403, "max_tokens")
        messages = await doors.ask(key.secret, "/v1/messages", {"messages": HI, "max_tokens": 3, "model": "m"})
        assert messages.status_code == 403
        # As long as possible is as long as the key allows, in both ways: an answer, and all of it together.
        open_end = await doors.ask(key.secret, "/v1/chat/completions", {"messages": HI})
        assert open_end.json()["usage"]["completion_tokens"] == 1
        short = doors.key("short", max_context=9)
        answer = await doors.chat(short.secret)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "context_length_exceeded")
        for model in ("m+theirs",):
            answer = await doors.chat(key.secret, model=model)
            assert (answer.status_code, "'theirs'" in answer.text) == (403, True)
            answer = await doors.ask(key.secret, "/tokenize", {"content": "Hi", "model": model})
            assert answer.status_code == 403
        names = [one["id"] for one in (await doors.ask(key.secret, "/v1/models", None, "GET")).json()["data"]]
        assert names == ["m"]
        nothing = doors.key("nothing", models=("other",))
        assert (await doors.ask(nothing.secret, "/v1/models", None, "GET")).json()["data"] == []


async def test_a_prompt_that_is_cut_is_counted_whole(workspace: Workspace) -> None:
    """How much is cut follows from the length of the answer, which the key's limits shorten only after counting."""
    async with opened(workspace) as doors:
        key = doors.key(tokens_per_day=100)
        answer = await doors.ask(key.secret, "/infill", BODIES["/infill"] | {"truncate": "left"})
        assert answer.status_code == 200
        count, asked = doors.engine.calls
        assert (count["op"], count["truncate"], asked["truncate"]) == ("count", "", "left")


async def test_the_owners_keys_go_on_as_before(workspace: Workspace) -> None:
    async with opened(workspace) as doors:
        for secret in (OWN, "a-key-of-the-owner-file"):
            answer = await doors.chat(secret)
            assert answer.status_code == 200
            assert not [name for name in answer.headers if "ratelimit" in name]
        for secret in ("llmops-" + "x" * 43, "nobody", ""):
            assert (await doors.chat(secret)).status_code == 401
        # Over an address only the owner learns how the server is.
        for secret, told in ((doors.key().secret, False), ("a-key-of-the-owner-file", True)):
            health = await doors.ask(secret, "http://localhost:8081/health", None, "GET")
            assert ("engine_pid" in health.json()) == told
        # Who it was stands with the trace by the key's name.
        await doors.chat(doors.key("by name").secret)
        rows = doors.event_log.connection().execute("SELECT body FROM events").fetchall()
        assert [(json.loads(body)["client"] or {}).get("key") for (body,) in rows][-1] == "by name"


async def test_who_leaves_while_it_is_reserved_for_costs_nothing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()
    reserve = Grant.reserve

    async def slowly(self: Grant, tokens: int) -> str:
        asked.set()
        await go_on.wait()
        return await reserve(self, tokens)

    monkeypatch.setattr(Grant, "reserve", slowly)
    async with opened(workspace) as doors:
        key = doors.key(tokens_per_day=200)
        task = asyncio.create_task(doors.chat(key.secret))
        await asyncio.wait_for(asked.wait(), 30)
        task.cancel()
        await asyncio.wait({task})
        go_on.set()
        await doors.server.generator.close()
        assert doors.left(key) == {"tokens a day": 200}
        assert [call["op"] for call in doors.engine.calls] == ["count"]


@pytest.mark.parametrize("how", ["a stream", "a whole answer"])
async def test_what_a_client_leaves_costs_what_was_used(workspace: Workspace, how: str) -> None:
    async with opened(workspace) as doors:
        key = doors.key(tokens_per_day=200)
        doors.engine.hold = asyncio.Event()
        task = asyncio.create_task(doors.chat(key.secret, max_tokens=100, stream=how == "a stream"))
        await asyncio.wait_for(doors.engine.held.wait(), 30)
        assert doors.left(key) == {"tokens a day": 200 - PROMPT - 100}
        task.cancel()
        await asyncio.wait({task})
        await doors.server.generator.close()
        await doors.server.gate.close()
        assert doors.left(key) == {"tokens a day": 200 - PROMPT - 1}
