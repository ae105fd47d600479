"""With the real engine: what is reserved is counted exactly as it is used."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx
import pytest

from llmops_tui.inference.access.keys import Scope
from llmops_tui.inference.access.report import reports
from llmops_tui.inference.access.store import KeyStore
from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.audit import entries
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from tests.access.doors import HI, OWN
from tests.engine.test_guard import free_port


@pytest.mark.slow
def test_a_limit_of_just_what_a_request_uses_lets_it_in_once(tmp_path: Path, filled_once: Path) -> None:
    root = tmp_path / "ws"
    shutil.copytree(filled_once, root)
    workspace, port = Workspace(root), free_port()
    store, supervisor = KeyStore(EventLog(workspace)), ServerSupervisor(workspace)
    options = LoadOptions(threads=1, parallel=2, context=256, host="127.0.0.1", port=port, keys=(OWN,))
    supervisor.ensure(ModelRegistry(Catalog(workspace)).get("support-base"), options)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", verify=False, timeout=600) as http:

            def ask(secret: str, path: str, body: dict[str, object]) -> httpx.Response:
                return http.post(path, json=body, headers={"Authorization": f"Bearer {secret}"})

            for path, body in {
                "/v1/chat/completions": {"messages": HI, "max_tokens": 3, "ignore_eos": True, "n": 2},
                "/v1/completions": {"prompt": ["One", "Two of them"], "max_tokens": 2, "ignore_eos": True},
            }.items():
                usage = ask(OWN, path, body).json()["usage"]
                key = store.create(path.strip("/").replace("/", "-"), Scope(tokens_per_day=usage["total_tokens"]))
                first = ask(key.secret, path, body)
                assert (first.status_code, first.json()["usage"]["total_tokens"]) == (200, usage["total_tokens"])
                assert first.headers["x-ratelimit-remaining-tokens"] == "0"
                assert ask(key.secret, path, body).status_code == 429
            # A stream that is left gives back what it did not come to, as the engine tells it.
            key = store.create("leaves", Scope(tokens_per_day=240))
            body = {"prompt": "Hi", "stream": True, "ignore_eos": True, "temperature": 0}
            headers = {"Authorization": f"Bearer {key.secret}"}
            with http.stream("POST", "/v1/completions", json=body, headers=headers) as answer:
                next(answer.iter_bytes())
            short = {"prompt": "Hi", "max_tokens": 1}
            while ask(key.secret, "/v1/completions", short).status_code != 200:
                pass
    finally:
        supervisor.stop("support-base")
    left = next(one for one in reports(store) if one.key.name == "leaves")
    assert 0 < left.standings[0].left < 240
    assert left.standings[0].left + left.prompt_tokens + left.completion_tokens in {240, 241}
    kinds = [entry.kind for entry in entries(EventLog(workspace).connection())]
    assert (kinds[0].startswith("key."), kinds.count("server.began"), kinds[-1]) == (False, 1, "server.ended")
