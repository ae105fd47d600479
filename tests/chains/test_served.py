"""Chains behind the one address: asked as models are, streamed, within the scopes of access keys, and refused by name."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.chains.reading import parse_chain
from llmops_tui.chains.served.answers import ServedChains, final_paths
from llmops_tui.chains.store import ChainStore
from llmops_tui.chains.tools import ChainTools
from llmops_tui.inference.access.keys import Scope
from llmops_tui.inference.access.store import KeyStore
from llmops_tui.inference.prompt_versions import CHAINS
from llmops_tui.inference.router.pool import ModelPool
from llmops_tui.prompts.store import PromptStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from tests.chains.test_definition import WHOLE
from tests.router.fakes import FakeServer, FakeServers, FixedModels, Running, running, until

TWO = "inputs: {ticket: text}\nmodel: small\nsteps:\n  kind: {prompt: sort}\n  last: {prompt: reply, with: {kind: kind}}\n"


@pytest.fixture
def folder() -> Iterator[Path]:
    # Paths of sockets are short.
    with tempfile.TemporaryDirectory(prefix="llmops-c") as made:
        yield Path(made)


def _reply(text: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 3}}).encode()


def _served(catalog: Catalog, models: FixedModels, tools: ChainTools) -> Any:
    def make(pool: ModelPool) -> ServedChains:
        made = ServedChains(catalog, pool, models)  # type: ignore[arg-type]
        made._tools = tools
        return made

    return make


async def _ask(router: Running, model: str = "chain/two", **more: Any) -> Any:
    body = {"messages": [{"role": "user", "content": "It crashes."}], **more}
    return await router.ask(model, **body)


async def test_a_chain_is_asked_as_a_model(catalog: Catalog, tools: ChainTools, folder: Path) -> None:
    store = ChainStore(catalog)
    store.save("two", TWO)
    store.save("two", TWO + "output: kind\n")
    PromptStore(catalog, CHAINS).move_label("chain/two@1", "production")
    models = FixedModels("small")

    def prepared(server: FakeServer) -> None:
        server.body = _reply("bug")

    servers = FakeServers(folder)
    servers.prepared["small"] = prepared
    async with running(catalog.workspace, models, servers, _served(catalog, models, tools)) as router:
        listed = (await router.http.get("/v1/models")).json()["data"]
        assert [one["id"] for one in listed] == ["small", "chain/two", "chain/two@production"]
        assert (await router.http.get("/v1/models/chain/two@production")).json()["owned_by"] == "chain"
        assert not servers.loads
        answer = (await _ask(router)).json()
        assert answer["model"] == "chain/two@1"
        assert answer["choices"][0]["message"] == {"role": "assistant", "content": "bug"}
        assert answer["usage"] == {"prompt_tokens": 20, "completion_tokens": 6, "total_tokens": 26}
        asked = [json.loads(raw) for _, _, _, raw in router.server("small").requests]
        assert [one["messages"][-1]["content"] for one in asked] == [
            "Which kind of message is this? It crashes.", "Answer this bug message: It crashes.",
        ]  # fmt: skip
        assert {one["metadata"]["chain"] for one in asked} == {"chain/two@1"}
        # Whose request it is, the model's server hears.
        assert "x-llmops-on-behalf" in router.server("small").requests[0][2]
        # A newer draft does not take the place of what was withdrawn.
        PromptStore(catalog, CHAINS).remove_label("chain/two", "production")
        withdrawn = await _ask(router)
        assert (withdrawn.status_code, "production was taken off" in withdrawn.text) == (404, True)
        assert (await _ask(router, "chain/two@latest")).json()["model"] == "chain/two@2"


def _chunk(text: str, stopped: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": stopped}
    return f"data: {json.dumps({'choices': [choice]})}\n\n".encode()


async def test_the_last_prompt_is_streamed(catalog: Catalog, tools: ChainTools, folder: Path) -> None:
    """Of a chain of one prompt: its pieces come as the model writes them."""
    ChainStore(catalog).save("one", "inputs: {ticket: text}\nmodel: small\nsteps:\n  kind: {prompt: sort}\n")
    models, servers = FixedModels("small"), FakeServers(folder)

    def prepared(server: FakeServer) -> None:
        server.streaming = True

    servers.prepared["small"] = prepared
    async with running(catalog.workspace, models, servers, _served(catalog, models, tools)) as router:
        body = {
            "model": "chain/one", "stream": True, "stream_options": {"include_usage": True},
            "messages": [{"role": "user", "content": "It crashes."}],
        }  # fmt: skip
        said: list[str] = []
        events: list[Any] = []
        asking = asyncio.create_task(
            router.http.send(router.http.build_request("POST", "/v1/chat/completions", json=body), stream=True)
        )
        await until(lambda: "small" in servers.live)
        server = router.server("small")
        server.pieces.put_nowait(_chunk("It is "))
        answer = await asking
        lines = answer.aiter_lines()
        async for line in lines:
            if not line.startswith("data: {"):
                if line == "data: [DONE]":
                    break
                continue
            events.append(json.loads(line[6:]))
            piece = events[-1]["choices"][0]["delta"].get("content") if events[-1]["choices"] else ""
            if piece:
                said.append(piece)
                # The next one is written when the first was read.
                if said == ["It is "]:
                    usage = {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 3}}
                    for rest in (
                        _chunk("a bug.", "stop"),
                        f"data: {json.dumps(usage)}\n\n".encode(),
                        b"data: [DONE]\n\n",
                        None,
                    ):
                        server.pieces.put_nowait(rest)
        await answer.aclose()
        assert said == ["It is ", "a bug."]
        assert events[-1]["usage"] == {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
        assert events[-2]["choices"][0]["finish_reason"] == "stop"


async def test_what_a_chain_cannot_honour_is_refused_by_name(catalog: Catalog, tools: ChainTools, folder: Path) -> None:
    store = ChainStore(catalog)
    store.save("two", TWO)
    store.save("without", TWO.replace("model: small\n", ""))
    models, servers = FixedModels("small"), FakeServers(folder)
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    async with running(catalog.workspace, models, servers, _served(catalog, models, tools)) as router:
        cases: list[tuple[dict[str, Any], int, str]] = [
            ({"tools": []}, 400, "tools"), ({"temperature": 0.5}, 400, "temperature"), ({"max_tokens": 5}, 400, "max_tokens"),
            ({"messages": turns}, 400, "one turn of the user's"), ({"model": "chain/three"}, 404, "no 'chain/three' is kept here"),
            ({"model": "chain/two@9"}, 404, "chain/two@9"), ({"model": "chain/without"}, 500, "names no model"),
            ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, 400, "messages"),
        ]  # fmt: skip
        for more, status, told in cases:
            answer = await _ask(router, **more)
            assert answer.status_code == status, (more, answer.text)
            assert told in answer.text, (more, answer.text)
        answer = await router.ask("chain/two", "/v1/completions", prompt="x")
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")
        assert not servers.loads


async def test_keys_are_for_the_chain_and_for_its_models(catalog: Catalog, tools: ChainTools, folder: Path) -> None:
    ChainStore(catalog).save("two", TWO)
    keys = KeyStore(EventLog(catalog.workspace))
    models, servers = FixedModels("small", "large"), FakeServers(folder)
    async with running(catalog.workspace, models, servers, _served(catalog, models, tools)) as router:
        for number, (allowed, told) in enumerate(
            ((("small",), "chain/two"), (("chain/two",), "small"), (("large",), "chain/two"))
        ):
            made = keys.create(f"k{number}", Scope(allowed, None, None, None, None, None, None, None, None))
            router.http.headers["Authorization"] = f"Bearer {made.secret}"
            answer = await _ask(router)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "key_scope"), answer.text
            assert told in answer.json()["error"]["message"]
            seen = [one["id"] for one in (await router.http.get("/v1/models")).json()["data"]]
            assert ("chain/two" in seen) is ("chain/two" in allowed)
        assert not servers.loads


def test_what_is_streamed_is_the_output_as_a_prompt_says_it() -> None:
    assert final_paths(parse_chain(WHOLE).body) == {"answer.bug/draft", "answer.else/draft2"}
    assert final_paths(parse_chain(TWO).body) == {"last"}
    assert final_paths(parse_chain(TWO + "output: last ~ '!'\n").body) == set()


async def test_a_name_that_is_refused_is_not_listed(catalog: Catalog, tools: ChainTools, folder: Path) -> None:
    store, labels, models = ChainStore(catalog), PromptStore(catalog, CHAINS), FixedModels("small")
    for name in ("two", "other"):
        store.save(name, TWO)
    servers = FakeServers(folder)
    async with running(catalog.workspace, models, servers, _served(catalog, models, tools)) as router:

        async def agreed() -> set[str]:
            """The names that are listed, of which each answers, and no other."""
            listed = {one["id"] for one in (await router.http.get("/v1/models")).json()["data"] if "/" in one["id"]}
            for name in ("chain/two", "chain/other", "chain/two@production", "chain/two@staging"):
                assert ((await _ask(router, name)).status_code == 404) == (name not in listed), name
                assert ((await router.http.get(f"/v1/models/{name}")).status_code == 404) == (name not in listed), name
            return listed

        assert await agreed() == {"chain/two", "chain/other"}
        labels.move_label("chain/two@1", "production")
        labels.move_label("chain/two@1", "staging")
        assert await agreed() == {"chain/two", "chain/other", "chain/two@production", "chain/two@staging"}
        labels.remove_label("chain/two", "production")
        assert await agreed() == {"chain/other", "chain/two@staging"}
        labels.move_label("chain/two@1", "production")
        assert "chain/two" in await agreed()
