"""Access keys before the server of all models: what it refuses, what it counts, and what it passes on."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmops_tui.inference.access.endpoints import MODELS, endpoint_of
from llmops_tui.inference.access.keys import Scope
from llmops_tui.inference.access.store import KeyStore
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.access.test_doors import OPEN
from tests.router.fakes import FakeServers, FixedModels, running


@pytest.fixture
def folder() -> Iterator[Path]:
    # Paths of sockets are short.
    with tempfile.TemporaryDirectory(prefix="llmops-r") as made:
        yield Path(made)


async def test_a_model_that_a_key_is_not_for_is_not_loaded(workspace: Workspace, folder: Path) -> None:
    made = KeyStore(EventLog(workspace)).create("app", Scope(models=("one",), requests_per_day=3))
    async with running(workspace, FixedModels("one", "two"), FakeServers(folder)) as router:
        router.http.headers["Authorization"] = f"Bearer {made.secret}"
        listed = await router.http.get("/v1/models")
        assert [one["id"] for one in listed.json()["data"]] == ["one"]
        refused = await router.ask("two")
        assert (refused.status_code, "the model 'two'" in refused.text, list(router.servers.live)) == (403, True, [])
        passed = await router.ask("one")
        assert passed.status_code == 200
        ((_, _, headers, _),) = router.server("one").requests
        assert json.loads(headers["x-llmops-on-behalf"]) == ["app", made.key.id, made.key.id]
        assert passed.headers["x-ratelimit-remaining-requests"] == "0"
        assert (await router.ask("one")).status_code == 429
        assert len(router.server("one").requests) == 1


async def test_every_door_of_all_models_asks_the_gate(workspace: Workspace, folder: Path) -> None:
    store = KeyStore(EventLog(workspace))
    revoked, scoped = store.create("revoked", Scope()), store.create("other", Scope(endpoints=("rerank",)))
    store.revoke(revoked.key)
    async with running(workspace, FixedModels("one", "two"), FakeServers(folder)) as router:
        asked = 0
        for methods, route in router.doors:
            path = re.sub(r"\{[^}]*\}", "x", route)
            for method in sorted(methods - {"HEAD"}) if path not in OPEN else ():
                endpoint = endpoint_of(path)
                assert endpoint, f"{path} is for nothing that a key's scope names"
                for made, status in ((revoked, 401), (scoped, 403)):
                    if status == 403 and endpoint in {MODELS, "rerank"}:
                        continue
                    headers = {"Authorization": f"Bearer {made.secret}"}
                    answer = await router.http.request(method, path, headers=headers)
                    assert answer.status_code == status, (method, path, answer.text)
                    asked += 1
        assert asked > 50
        assert router.servers.live == {}
