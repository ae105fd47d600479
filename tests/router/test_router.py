"""The router before model servers that are told what to say: what is passed, what is loaded, and what is told of failures."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.router.body import model_named, with_name
from llmops_tui.inference.server.callers import key_name
from llmops_tui.inference.server.last_words import StreamEnd
from llmops_tui.models.gguf import read_header
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.engine.engines import MODEL
from tests.router.fakes import KEY, WHOLE, FakeServers, FixedModels, event, running, until


@pytest.fixture
def folder() -> Iterator[Path]:
    # Paths of sockets are short.
    with tempfile.TemporaryDirectory(prefix="llmops-r") as made:
        yield Path(made)


# ── what is passed ──


async def test_a_request_and_its_answer_pass_as_they_are(workspace: Workspace, folder: Path) -> None:
    async with running(workspace, FixedModels("one", "two"), FakeServers(folder)) as router:
        body = b'{ "temperature": 0.10,\n "model":"one", "messages" : [{"model": "x"}]}'
        sent = {
            "content-type": "application/json",
            "x-api-key": "secret",
            "x-llmops-on-behalf": '["", "me"]',
            "x-mine": "1",
        }
        answer = await router.http.post("/v1/chat/completions", content=body, headers=sent)
        assert (answer.status_code, answer.content) == (200, WHOLE)
        assert (answer.headers["content-type"], answer.headers["x-kept"]) == ("application/json", "yes")
        ((method, path, headers, raw),) = router.server("one").requests
        assert (method, path, raw) == ("POST", "/v1/chat/completions", body)
        assert headers["x-mine"] == "1"
        # The model's server hears its own key, and whose request it is; what the client said of that is gone.
        assert headers["authorization"] == "Bearer own-key"
        assert json.loads(headers["x-llmops-on-behalf"]) == [key_name(KEY), "127.0.0.1"]
        assert "x-api-key" not in headers


async def test_the_name_alone_is_replaced(workspace: Workspace, folder: Path) -> None:
    models = FixedModels("Qwen3-8B", "two", aliases={"gpt-4o": "two"})
    async with running(workspace, models, FakeServers(folder)) as router:
        for asked, name in (("qwen3:8b", "Qwen3-8B"), ("gpt-4o", "two")):
            body = b'{"n":1.50, "model" : "%s" ,"t":[{"model":"qwen3:8b"}]}' % asked.encode()
            answer = await router.http.post("/infill", content=body, headers={"content-type": "application/json"})
            assert answer.status_code == 200
            assert router.server(name).requests[-1][3] == body.replace(
                b'"model" : "%s"' % asked.encode(), b'"model" : "%s"' % name.encode()
            )
        # A parameter that has a meaning at its address goes along.
        await router.ask("two", "/v1/messages?beta=true")
        assert router.server("two").requests[-1][1] == "/v1/messages?beta=true"
        # Ollama's older clients say it in another field.
        await router.http.post("/api/show", json={"name": "GPT-4o"})
        assert json.loads(router.server("two").requests[-1][3]) == {"name": "two"}
        # A client asks at first whether anybody is there.
        for method, said in (("GET", "Ollama is running"), ("HEAD", "")):
            answer = await router.http.request(method, "/")
            assert (answer.status_code, answer.text) == (200, said)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.just("model"), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(("path", "field"), [("/api/show", "name"), ("/api/chat", "model"), ("/v1/responses", "model")])
def test_a_model_is_named_by_name_only_where_its_server_takes_that(path: str, field: str) -> None:
    assert model_named({"name": "one"}, path) == (field, "one" if field == "name" else "")
    assert model_named({"name": "one", "model": "two"}, path) == ("model", "two")


@given(st.dictionaries(st.text(), JSON, max_size=5), st.text(), st.text(), st.booleans(), st.sampled_from([None, 1]))
def test_replacing_a_name_changes_nothing_else(
    fields: dict[str, object], asked: str, name: str, escaped: bool, indent: int | None
) -> None:
    body = {**fields, "model": asked}
    raw = json.dumps(body, ensure_ascii=escaped, indent=indent).encode("utf-8", "surrogatepass")
    changed = with_name(raw, "model", name)
    assert json.loads(changed.decode("utf-8", "surrogatepass")) == body | {"model": name}
    assert (
        with_name(changed, "model", asked)
        == raw.replace(
            json.dumps(asked, ensure_ascii=escaped).encode("utf-8", "surrogatepass"), json.dumps(asked).encode()
        )
        or escaped is False
    )


async def test_pieces_pass_as_they_come_and_a_client_that_leaves_ends_the_work(
    workspace: Workspace, folder: Path
) -> None:
    servers = FakeServers(folder)
    servers.prepared["one"] = lambda server: setattr(server, "streaming", True)
    async with running(workspace, FixedModels("one"), servers) as router:
        async with router.http.stream("POST", "/v1/completions", json={"stream": True}) as answer:
            pieces = answer.aiter_raw()
            for text in ("a", "b"):
                # The next is not there before this one arrived.
                await router.server("one").pieces.put(event(text))
                assert await anext(pieces) == event(text)
            assert answer.headers["content-type"] == "text/event-stream"
            assert router.pool.counts()["one"][0] == 1
        await asyncio.wait_for(router.server("one").left.wait(), 120)
        await until(lambda: router.pool.counts()["one"][0] == 0)


@pytest.mark.slow
async def test_a_client_that_reads_nothing_stops_the_model(workspace: Workspace, folder: Path) -> None:
    servers = FakeServers(folder)
    servers.prepared["one"] = lambda server: setattr(server, "streaming", True)
    async with (
        running(workspace, FixedModels("one"), servers) as router,
        router.http.stream("POST", "/v1/completions", json={"model": "one"}) as answer,
    ):
        pieces = router.server("one").pieces
        for _ in range(400):
            pieces.put_nowait(b"x" * 1_000_000)
        pieces.put_nowait(None)
        # What sockets and the client take in by themselves is far less; the rest has to wait for a reader.
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await until(lambda: pieces.qsize() < 200)
        assert sum([len(piece) async for piece in answer.aiter_raw()]) == 400_000_000


# ── who is let in, and what is meant ──


async def test_nothing_is_loaded_without_a_key(workspace: Workspace, folder: Path) -> None:
    async with running(workspace, FixedModels("one"), FakeServers(folder)) as router:
        for key in ("x", "wrong-key-of-many-characters"):
            answer = await router.http.post("/v1/completions", json={}, headers={"Authorization": f"Bearer {key}"})
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        assert not router.servers.loads


async def test_a_missing_name_means_the_only_model_and_is_refused_otherwise(workspace: Workspace, folder: Path) -> None:
    async with running(workspace, FixedModels("one"), FakeServers(folder)) as router:
        assert (await router.ask(None)).status_code == 200
        assert (await router.http.get("/tokenizer_info")).status_code == 200
    async with running(workspace, FixedModels("one", "two"), FakeServers(folder)) as router:
        for answer in (await router.ask(None), await router.http.get("/tokenizer_info")):
            error = answer.json()["error"]
            assert (answer.status_code, error["param"]) == (400, "model")
            assert "one, two" in error["hint"]
        for wrong, status, param in ((5, 400, "model"), ("x" * 401, 400, "model"), ("on", 404, "model")):
            answer = await router.http.post("/v1/completions", json={"model": wrong})
            assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)
        assert "one" in answer.json()["error"]["hint"]
        # As the API of the address tells it.
        told = (await router.ask("nine", "/v1/messages")).json()
        assert (told["type"], told["error"]["type"]) == ("error", "not_found_error")
        assert not router.servers.loads
    async with running(workspace, FixedModels(), FakeServers(folder)) as router:
        answer = await router.ask(None)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


async def test_all_models_are_listed_with_their_state(workspace: Workspace, folder: Path) -> None:
    models = FixedModels("one", "two", aliases={"gpt-4o": "two"})
    async with running(workspace, models, FakeServers(folder)) as router:
        await router.ask("two")
        listed = {entry["id"]: entry for entry in (await router.http.get("/v1/models")).json()["data"]}
        assert {name: entry["state"] for name, entry in listed.items()} == {
            "one": "not_loaded",
            "two": "loaded",
            "gpt-4o": "loaded",
        }
        assert listed["gpt-4o"]["alias_of"] == "two"
        assert (await router.http.get("/v1/models/GPT-4o")).json()["id"] == "two"
        assert (await router.http.get("/v1/models/nine")).status_code == 404
        assert [m["name"] for m in (await router.http.get("/api/tags")).json()["models"]] == ["one", "two", "gpt-4o"]
        assert [m["name"] for m in (await router.http.get("/api/ps")).json()["models"]] == ["two", "gpt-4o"]
        assert "version" in (await router.http.get("/api/version")).json()
        refused = await router.http.request("DELETE", "/api/delete", json={"model": "one"})
        assert (refused.status_code, "llmops model remove" in refused.json()["error"]) == (400, True)
        health = (await router.http.get("/health")).json()
        assert (health["status"], health["models"], health["loaded"]) == ("ok", ["one", "two"], ["two"])
        assert (await router.http.get("/health", headers={"Authorization": "x"})).json() == {"status": "ok"}
        page = (await router.http.get("/metrics")).text
        assert 'llmops:router_model_loaded{model_name="two"} 1.0' in page
        assert 'llmops:router_requests_total{model_name="two",status="200"} 1.0' in page
        assert 'llmops:router_loads_total{model_name="two",outcome="ok"} 1.0' in page


async def test_a_model_is_shown_by_its_file_and_unloaded_in_ollamas_form(workspace: Workspace, folder: Path) -> None:
    models = FixedModels("one", "two")
    header = read_header(MODEL)
    file = dataclasses.replace(models.found.models[0], path=MODEL, header={"chat_template": header.chat_template})
    models.found = dataclasses.replace(models.found, models=(file, models.found.models[1]))
    async with running(workspace, models, FakeServers(folder)) as router:
        for name in ("model", "name"):
            shown = (await router.http.post("/api/show", json={name: "one:latest"})).json()
            assert shown["template"] == header.chat_template
            assert shown["details"]["family"] == header.architecture
            assert set(shown["capabilities"]) == {"completion", "embedding"}
        refused = await router.http.post("/api/show", json={"model": "one", "verbose": True})
        assert (refused.status_code, "vocabularies" in refused.text) == (400, True)
        gone = await router.http.post("/api/show", json={"model": "two"})
        assert gone.status_code == 400
        assert router.servers.loads == []

        for path, empty in (("/api/chat", {"messages": []}), ("/api/generate", {"prompt": ""})):
            for kept in (0, "0", "0s", "0m0.0s"):
                await router.ask("one")
                answer = (await router.ask("one", path, keep_alive=kept, **empty)).json()
                assert (answer["model"], answer["done"], answer["done_reason"]) == ("one", True, "unload")
                assert router.servers.live == {}
        # It is unloaded already, and not loaded for that.
        loads = len(router.servers.loads)
        assert (await router.ask("one", "/api/chat", keep_alive=0)).json()["done_reason"] == "unload"
        assert len(router.servers.loads) == loads
        wrong = await router.ask("one", "/api/chat", keep_alive="0 parsecs")
        assert (wrong.status_code, "keep_alive" in wrong.json()["error"]) == (400, True)
        # Whoever says something, or wants it to stay, is answered by the model's server.
        for more in ({"prompt": "Hi", "keep_alive": 0}, {"keep_alive": "5m"}, {}):
            assert (await router.ask("one", "/api/generate", **more)).content == WHOLE


async def test_a_response_is_found_by_its_id(workspace: Workspace, folder: Path) -> None:
    servers = FakeServers(folder)
    servers.prepared["two"] = lambda server: setattr(server, "body", b'{"id": "resp_2", "object": "response"}')
    servers.prepared["one"] = lambda server: setattr(server, "status", 404)
    async with running(workspace, FixedModels("one", "two"), servers) as router:
        await router.ask("one")
        assert (await router.ask("two", "/v1/responses")).json()["id"] == "resp_2"
        assert (await router.http.get("/v1/responses/resp_2")).status_code == 200
        assert [path for _, path, *_ in router.server("one").requests] == ["/v1/chat/completions"]
        # One that was made before this router began: each is asked.
        assert (await router.http.delete("/v1/responses/resp_old")).status_code == 200
        assert [r[:2] for r in router.server("one").requests[1:]] == [("DELETE", "/v1/responses/resp_old")]
        # What follows an earlier response needs no name.
        assert (await router.ask(None, "/v1/responses", previous_response_id="resp_2")).status_code == 200
        assert len(router.server("two").requests) == 4
        router.server("two").status = 404
        assert (await router.http.get("/v1/responses/resp_none")).status_code == 404
        # Its maker says why it is gone.
        router.server("two").body = b'{"error": "it was deleted"}'
        assert (await router.http.get("/v1/responses/resp_2")).json() == {"error": "it was deleted"}


async def test_why_a_response_cannot_be_gone_on_from(workspace: Workspace, folder: Path) -> None:
    servers = FakeServers(folder)
    servers.prepared["two"] = lambda server: setattr(server, "body", b'{"id": "resp_2", "object": "response"}')
    async with running(workspace, FixedModels("one", "two"), servers, max_loaded=1) as router:
        await router.ask("two", "/v1/responses")
        answer = await router.ask("one", "/v1/responses", previous_response_id="resp_2")
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (
            404,
            "response_not_found",
            "previous_response_id",
        )
        assert "'two' made it, and 'one' is asked" in error["message"]
        # Nothing was loaded in vain, and its maker goes on.
        assert servers.loads == ["two"]
        assert (await router.ask("two", "/v1/responses", previous_response_id="resp_2")).status_code == 200
        await router.ask("one")
        for _ in range(2):
            answer = await router.ask("two", "/v1/responses", previous_response_id="resp_2")
            assert answer.status_code == 404
            assert (
                "the server of 'two', which made it and kept it in memory, ended" in answer.json()["error"]["message"]
            )
            told = (await router.http.get("/v1/responses/resp_2")).json()["error"]["message"]
            assert told.endswith("the server of 'two', which made it, ended meanwhile")
            # Also once the model is loaded again.
            await router.ask("two")
            router.server("two").status = 404


async def test_what_is_not_offered_is_not_there_whatever_the_body_names(workspace: Workspace, folder: Path) -> None:
    async with running(workspace, FixedModels("one", "two"), FakeServers(folder)) as router:
        unknown = ["/v1/chat/complete", "/v1/images/generations", "/v1/responses/resp_2/cancel", "/api/nothing", "/x"]
        for path in unknown:
            for answer in (await router.ask("one", path), await router.ask(None, path), await router.http.get(path)):
                assert (answer.status_code, "there is nothing here" in answer.text) == (404, True), path
        assert (await router.http.get("/v1/responses/resp_2/input_items")).status_code == 404
        assert (await router.http.get("/v1/chat/completions")).status_code == 405
        assert not router.servers.loads
        offered = [
            "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages",
            "/v1/messages/count_tokens", "/v1/rerank", "/rerank", "/v1/reranking", "/reranking", "/v1/classify", "/classify",
            "/infill", "/tokenize",
            "/detokenize", "/api/chat", "/api/generate", "/api/embed", "/api/embeddings", "/api/show",
        ]  # fmt: skip
        for path in offered:
            assert (await router.ask("one", path)).status_code == 200
        assert [path for _, path, *_ in router.server("one").requests] == offered


@pytest.mark.parametrize("count", [80, pytest.param(400, marks=pytest.mark.slow)])
async def test_no_request_makes_the_router_fail(workspace: Workspace, folder: Path, count: int) -> None:
    rng = random.Random(7)
    parts = [
        "v1",
        "models",
        "responses",
        "api",
        "tags",
        "..",
        "%2e%2e",
        "%00",
        "%ff",
        "a#b",
        "é",
        "*",
        "",
        "x" * 3000,
        "?q",
    ]
    names: list[object] = [
        "one",
        "ONE:latest",
        "",
        None,
        5,
        [],
        {"a": 1},
        "\ud800",
        "one+two",
        "+",
        "a/b:c",
        "x" * 500,
        "\x00",
    ]
    bodies: list[bytes] = [
        b"",
        b"[]",
        b"{",
        b'"model"',
        b'{"model": "one", "model": "two"}',
        b'{"mod\\u0065l": "ONE"}',
        b"\xff",
    ]
    bodies += [json.dumps({key: name}).encode() for key in ("model", "name", "previous_response_id") for name in names]
    async with running(workspace, FixedModels("one", "two"), FakeServers(folder)) as router:
        for _ in range(count):
            path = "/" + "/".join(rng.choices(parts, k=rng.randint(1, 4)))
            path = rng.choice([path, "/v1/completions", "/v1/responses", "/api/chat", "/v1/responses?q"])
            method = rng.choice(["GET", "POST", "POST", "POST", "DELETE", "PUT", "HEAD", "OPTIONS"])
            headers = {"content-type": "application/json", "Authorization": f"Bearer {KEY}"}
            answer = await router.http.request(method, path, content=rng.choice(bodies), headers=headers)
            assert answer.status_code < 500, (method, path, answer.text)
        # What names no model, or a wrong one, loads none.
        assert set(router.servers.loads) <= {"one", "two"}
        for _, _, _, body in router.server("one").requests:
            assert {value for key, value in json.loads(body).items() if key in {"model", "name"}} <= {"one", "two"}


# ── loading and unloading ──


async def test_requests_for_one_model_wait_for_one_load(workspace: Workspace, folder: Path) -> None:
    servers = FakeServers(folder)
    servers.gates["one"] = threading.Event()
    async with running(workspace, FixedModels("one", "two"), servers) as router:
        asked = [asyncio.create_task(router.ask("one")) for _ in range(5)]
        await until(lambda: router.pool.counts().get("one", (0, 0))[1] == 5)
        # Another model does not wait for it.
        assert (await router.ask("two")).status_code == 200
        states = {entry["id"]: entry["state"] for entry in (await router.http.get("/v1/models")).json()["data"]}
        assert states == {"one": "loading", "two": "loaded"}
        servers.gates["one"].set()
        assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}
        assert servers.loads == ["one", "two"]


async def test_a_client_that_leaves_while_a_model_loads_takes_nobody_along(workspace: Workspace, folder: Path) -> None:
    servers = FakeServers(folder)
    servers.gates["one"] = threading.Event()
    async with running(workspace, FixedModels("one", "two"), servers) as router:
        leaving, staying = (asyncio.create_task(router.ask("one")) for _ in range(2))
        await until(lambda: router.pool.counts().get("one", (0, 0))[1] == 2)
        leaving.cancel()
        await until(lambda: router.pool.counts()["one"][1] == 1)
        servers.gates["one"].set()
        assert (await staying).status_code == 200
        assert len(router.server("one").requests) == 1


async def test_nothing_makes_way_for_a_client_that_left(workspace: Workspace, folder: Path) -> None:
    servers = FakeServers(folder)
    servers.prepared["one"] = lambda server: setattr(server, "streaming", True)
    async with running(workspace, FixedModels("one", "two"), servers, max_loaded=1) as router:
        async with router.http.stream("POST", "/v1/completions", json={"model": "one"}) as answer:
            waiting = asyncio.create_task(router.ask("two"))
            await until(lambda: router.pool.counts().get("two", (0, 0))[1] == 1)
            waiting.cancel()
            await until(lambda: not router.pool.loading())
            await router.server("one").pieces.put(None)
            assert await answer.aread() == b""
        assert (servers.loads, servers.stops) == (["one"], [])


async def test_the_least_recently_used_model_makes_way(workspace: Workspace, folder: Path) -> None:
    servers = FakeServers(folder)
    servers.public.add("public")
    async with running(workspace, FixedModels("one", "two", "three", "public"), servers, max_loaded=2) as router:
        for name in ("public", "one", "two", "one", "three", "two"):
            assert (await router.ask(name)).status_code == 200
        # What is served at an address of its own is neither counted nor unloaded.
        assert servers.stops == ["two", "one"]
        assert set(servers.live) == {"public", "two", "three"}
        servers.elsewhere_busy.add("three")
        assert (await router.ask("one")).status_code == 200
        # It answers a program that the router knows nothing of.
        assert servers.stops[2:] == ["two"]


async def test_a_model_at_work_is_waited_for_and_its_next_requests_wait_their_turn(
    workspace: Workspace, folder: Path
) -> None:
    servers = FakeServers(folder)
    servers.prepared["one"] = lambda server: setattr(server, "streaming", not servers.stops)
    async with running(workspace, FixedModels("one", "two"), servers, max_loaded=1) as router:
        async with router.http.stream("POST", "/v1/completions", json={"model": "one"}) as answer:
            two = asyncio.create_task(router.ask("two"))
            await until(lambda: router.pool.counts().get("two", (0, 0))[1] == 1 and router.pool.counts()["one"][0] == 1)
            await until(lambda: any(slot.leaving for slot in router.pool._slots.values()))
            again = asyncio.create_task(router.ask("one"))
            await until(lambda: router.pool.counts()["one"][1] == 1)
            assert not servers.stops
            first = router.server("one")
            await first.pieces.put(event("a"))
            await first.pieces.put(None)
            assert await answer.aread() == event("a")
        assert (await two).status_code == (await again).status_code == 200
        assert servers.loads == ["one", "two", "one"]
        assert len(first.requests) == 1


async def test_memory_is_made_free_where_that_helps(workspace: Workspace, folder: Path) -> None:
    servers = FakeServers(folder, memory=10)
    servers.sizes = {"one": 4, "two": 4, "large": 9, "huge": 11}
    async with running(workspace, FixedModels("one", "two", "large", "huge"), servers) as router:
        await router.ask("one")
        await router.ask("two")
        answer = await router.ask("huge")
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["type"]) == (503, "memory_short", "server_error")
        # Nothing made way for what cannot be loaded at all.
        assert servers.stops == []
        assert (await router.ask("large")).status_code == 200
        assert servers.stops == ["one", "two"]
        servers.public.add("large")
        assert (await router.ask("one")).json()["error"]["code"] == "memory_short"


# ── failures ──


async def test_a_model_that_cannot_be_loaded_says_why(workspace: Workspace, folder: Path) -> None:
    servers = FakeServers(folder)
    servers.errors["one"] = LlmopsError("model_load_failed", "the file is damaged", "Fetch it again.")
    async with running(workspace, FixedModels("one"), servers) as router:
        answer = await router.ask("one")
        assert answer.status_code == 503
        assert answer.json()["error"] == {
            "code": "model_load_failed",
            "message": "'one' cannot be loaded: the file is damaged",
            "hint": "Fetch it again.",
            "type": "server_error",
            "param": None,
        }
        assert 'outcome="failed"} 1.0' in (await router.http.get("/metrics")).text
        del servers.errors["one"]
        assert (await router.ask("one")).status_code == 200


async def test_a_server_that_is_gone_is_started_again(workspace: Workspace, folder: Path) -> None:
    servers = FakeServers(folder)
    async with running(workspace, FixedModels("one"), servers) as router:
        await router.ask("one")
        servers.live.pop("one").kill()
        assert (await router.ask("one")).status_code == 200
        assert servers.loads == ["one", "one"]


async def test_a_server_that_dies_before_it_answers(workspace: Workspace, folder: Path) -> None:
    servers = FakeServers(folder)
    async with running(workspace, FixedModels("one"), servers) as router:
        await router.ask("one")
        router.server("one").dies_before_head = True
        answer = await router.ask("one")
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "server_died")
        assert router.pool.counts()["one"] == (0, 0)


@pytest.mark.parametrize(
    ("path", "kind", "sent", "last"),
    [
        ("/v1/completions", "text/event-stream", event("a"), b"data: "),
        ("/v1/responses", "text/event-stream", event("a"), b"event: error\ndata: "),
        ("/v1/messages", "text/event-stream", event("a"), b"event: error\ndata: "),
        ("/api/generate", "application/x-ndjson", b'{"response": "a"}\n', b""),
        ("/v1/completions", "text/event-stream", event("a") + b"data: {", None),
        ("/v1/completions", "application/json", b'{"a": ', None),
    ],
)
async def test_a_server_that_dies_in_the_middle(
    workspace: Workspace, folder: Path, path: str, kind: str, sent: bytes, last: bytes | None
) -> None:
    servers = FakeServers(folder)

    def prepare(server: object) -> None:
        server.streaming, server.kind = True, kind  # type: ignore[attr-defined]

    servers.prepared["one"] = prepare
    async with running(workspace, FixedModels("one"), servers) as router:
        got = b""
        cut = False
        async with router.http.stream("POST", path, json={}) as answer:
            await router.server("one").pieces.put(sent)
            try:
                async for piece in answer.aiter_raw():
                    got += piece
                    if got == sent:
                        router.server("one").kill()
            except httpx.RemoteProtocolError:
                cut = True
        # A stream says that it broke off; what cannot be continued is cut, and taken for whole by nobody.
        assert cut == (last is None)
        if path == "/v1/responses":
            assert json.loads(got.rpartition(b"data: ")[2])["type"] == "error"
        if last is not None:
            told = got.removeprefix(sent)
            assert told.startswith(last)
            assert "died while it answered" in json.dumps(json.loads(told.removeprefix(last)))
        else:
            assert got == sent


async def test_a_client_of_responses_hears_that_their_stream_broke_off(workspace: Workspace, folder: Path) -> None:
    openai = pytest.importorskip("openai")
    servers = FakeServers(folder)
    servers.prepared["one"] = lambda server: setattr(server, "streaming", True)

    def numbered(number: int) -> bytes:
        body = {"type": "response.output_text.delta", "sequence_number": number, "delta": '"sequence_number": 90,'}
        return f"event: {body['type']}\ndata: {json.dumps(body)}\n\n".encode()

    async with running(workspace, FixedModels("one"), servers) as router:
        client = openai.AsyncOpenAI(base_url=f"{router.url}/v1", api_key=KEY, max_retries=0)
        stream = await client.responses.create(model="one", input="Hi", stream=True)
        pieces = router.server("one").pieces
        await pieces.put(numbered(6))
        # In two pieces, wherever the second begins.
        await pieces.put(numbered(7)[:60])
        await pieces.put(numbered(7)[60:])
        seen = [(await anext(stream)).sequence_number for _ in range(2)]
        router.server("one").kill()
        with pytest.raises(openai.APIError, match="died while it answered") as raised:
            await anext(stream)
        assert (seen, raised.value.code) == ([6, 7], "server_died")
        await client.close()


@pytest.mark.parametrize("cut", range(0, 120, 7))
def test_the_number_of_the_next_event_is_found_in_any_pieces(cut: int) -> None:
    sent = (
        b'event: response.created\ndata: {"type": "response.created", "sequence_number": 41, "a": 1}\n\n' + b"x" * cut
    )
    numbers = StreamEnd("/v1/responses")
    for piece in (sent[:cut], sent[cut:]):
        numbers.see(piece)
    assert numbers.next == 42


async def test_feedback_is_kept_whichever_model_answered(workspace: Workspace, folder: Path) -> None:
    async with running(workspace, FixedModels("one", "two"), FakeServers(folder)) as router:
        asked = {"id": "resp_1", "score": "up"}
        assert (await router.http.post("/v1/feedback", json=asked)).status_code == 404
        EventLog(workspace).append("request", "run_1", {})
        said = await router.http.post("/v1/feedback", json=asked)
        assert (said.status_code, said.json()["trace"]) == (200, "run_1")
        assert not router.servers.loads
