"""Models on the command line: estimates, quantizing, addresses, serving."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import jsonschema
import pytest

from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.workspace.layout import Workspace
from tests.engine.engines import MODEL, SCHEMA, write_adapter
from tests.engine.test_cli import data, run
from tests.engine.test_guard import free_port
from tests.waiting import wait_for


def test_a_model_is_looked_at_quantized_and_asked(workspace: Workspace, tmp_path: Path) -> None:
    data("model", "add", str(MODEL), "--name", "base", workspace=workspace)
    told = data("model", "estimate", "base", "--context", "512", "--parallel", "2", workspace=workspace)
    assert told["fits"]
    assert told["kv_cache"] == 512 * 2 * 5 * 2 * 128 * 2
    assert told["total"] == told["host"] > told["weights"]
    halved = ("--context", "512", "--parallel", "2", "--cache-type-k", "q8_0", "--cache-type-v", "q8_0")
    packed = data("model", "estimate", "base", *halved, workspace=workspace)
    assert packed["kv_cache"] * 32 == told["kv_cache"] * 17
    assert packed["settings"]["cache_type_k"] == "q8_0"
    for wrong in (
        ("--cache-type-k", "q9"),
        ("--micro-batch", "1024"),
        ("--split-mode", "none", "--tensor-split", "1,1"),
    ):
        assert run("model", "estimate", "base", *wrong, workspace=workspace).returncode == 3
    assert data("model", "discover", workspace=workspace) == {"models": [], "total": 0}
    assert run("model", "quantize", "base", "--type", "Q4_0", workspace=workspace).returncode == 3
    made = data("model", "quantize", "base", "--type", "Q4_0", "--again", workspace=workspace)
    assert made["model"] == "base-Q4_0"
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps(SCHEMA))
    answer = data(
        "generate", "--model", "base-Q4_0", "--prompt", "Refund!", "--schema", str(schema), workspace=workspace
    )
    jsonschema.validate(json.loads(answer["text"]), SCHEMA)
    vectors = data("embed", "--model", "base", "--text", "refund", "--text", "open", workspace=workspace)
    assert (len(vectors["embeddings"]), vectors["dimensions"]) == (2, 256)
    data("model", "add", str(write_adapter(tmp_path / "tone.gguf", seed=1)), "--name", "tone", workspace=workspace)
    texts = {
        data(
            "generate",
            "--model",
            *arguments,
            "--prompt",
            "When are you open?",
            "--max-tokens",
            "12",
            workspace=workspace,
        )["text"]
        for arguments in (("base",), ("base", "--adapter", "tone"), ("base+tone",))
    }
    assert len(texts) == 2


def start_serving(workspace: Workspace, *arguments: str) -> tuple[subprocess.Popen[str], dict[str, str]]:
    command = [
        sys.executable,
        "-m",
        "llmops_tui",
        "serve",
        "support-base",
        "--json",
        "--workspace",
        str(workspace.root),
    ]
    process = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    return process, json.loads(line)


def test_serving_lasts_until_it_is_interrupted_and_its_address_is_a_model(
    sample: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, told = start_serving(sample, "--port", str(free_port()), "--parallel", "2")
    key = Path(told["api_key_file"]).read_text().splitlines()[-1]
    base = told["url"].removesuffix("/v1")
    with httpx.Client(base_url=base, headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
        assert client.get("/v1/models").json()["data"][0]["id"] == "support-base"
        assert httpx.get(f"{base}/v1/models").status_code == 401
    other = Workspace(tmp_path / "other")
    monkeypatch.setenv("SOME_KEY", key)
    added = data("model", "add", told["url"], "--name", "away", "--key-env", "SOME_KEY", workspace=other)
    assert added["url"] == base
    assert added["lacks"] == {}
    answer = data("generate", "--model", "away", "--prompt", "When are you open?", workspace=other)
    assert answer["text"] == "We are open Monday to Saturday from 9 to 18."
    assert answer["usage"]["completion_tokens"] == 12
    # The workspace's own commands use the same server.
    data("generate", "--model", "support-base", "--prompt", "When are you open?", workspace=sample)
    assert len(ServerSupervisor(sample).running()) == 1
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert ServerSupervisor(sample).running() == []


def test_serving_on_a_socket_detached_and_what_is_refused(sample: Workspace, tmp_path: Path) -> None:
    path = Path("/tmp") / f"llmops-test-{os.getpid()}.sock"
    told = data("serve", "support-base", "--socket", str(path), "--detach", workspace=sample)
    assert told["url"] == f"unix:{path}"
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://localhost") as client:
        assert client.get("/health").json()["status"] == "ok"
    assert data("model", "stop", "support-base", workspace=sample)["stopped"]
    wait_for(lambda: not path.exists())
    assert run("serve", "support-base", "--host", "0.0.0.0", "--no-key", workspace=sample).returncode == 3
    port = free_port()
    with httpx.Client():
        import socket

        with socket.socket() as taken:
            taken.bind(("127.0.0.1", port))
            taken.listen()
            done = run("serve", "support-base", "--port", str(port), workspace=sample)
    assert done.returncode == 1
    assert "cannot listen on 127.0.0.1" in done.stderr
    assert run("serve", "nothing", workspace=sample).returncode == 3
    assert run("model", "add", "http://127.0.0.1:1/v1", workspace=sample).returncode == 2
    assert run("model", "add", "http://127.0.0.1:1/v1", "--name", "x", workspace=sample).returncode == 1
