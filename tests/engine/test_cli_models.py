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

from llmops_tui.cli.options import Globals
from llmops_tui.cli.output import Session
from llmops_tui.cli.serve import keys_of
from llmops_tui.errors import InputRefusedError
from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import make_workspace
from tests.engine.engines import MODEL, SCHEMA, write_adapter
from tests.engine.test_cli import data, run
from tests.engine.test_guard import free_port
from tests.waiting import wait_for


@pytest.mark.slow
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
    with httpx.Client(base_url=base, verify=False, headers={"Authorization": f"Bearer {key}"}, timeout=120) as client:
        assert client.get("/v1/models").json()["data"][0]["id"] == "support-base"
        assert httpx.get(f"{base}/v1/models").status_code == 401
    other = make_workspace(Workspace(tmp_path / "other"))
    monkeypatch.setenv("SOME_KEY", key)
    added = data("model", "add", told["url"], "--name", "away", "--key-env", "SOME_KEY", workspace=other)
    assert added["url"] == base
    assert set(added["lacks"]) == {"load_adapters"}
    answer = data("generate", "--model", "away", "--prompt", "When are you open?", workspace=other)
    assert answer["text"] == "We are open Monday to Saturday from 9 to 18."
    assert answer["usage"]["completion_tokens"] == 12
    # The workspace's own commands use the same server.
    data("generate", "--model", "support-base", "--prompt", "When are you open?", workspace=sample)
    assert len(ServerSupervisor(sample).running()) == 1
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 130
    assert ServerSupervisor(sample).running() == []


@pytest.mark.slow
def test_a_server_that_runs_is_kept_or_replaced_where_that_is_said(sample: Workspace) -> None:
    port, other = free_port(), free_port()
    same = ("serve", "support-base", "--threads", "1", "--port", str(port), "--detach")
    first = data(*same, workspace=sample)
    again = run(*same, "--json", workspace=sample)
    assert (again.returncode, json.loads(again.stdout)["pid"]) == (0, first["pid"])
    assert "already served" in again.stderr
    # Also without --detach, and with any port.
    asked = ("serve", "support-base", "--threads", "1", "--port", "0")
    assert data(*asked, workspace=sample) == json.loads(again.stdout)
    for changed, told in ((("--port", str(other)), "port"), (("--parallel", "2"), "parallel is 4, and 2 is requested")):
        done = run(*same, *changed, workspace=sample)
        assert done.returncode == 3
        assert told in done.stderr
        assert "--replace" in done.stderr
        assert "llmops model stop support-base" in done.stderr
    # Another model at the same port names whose it is.
    done = run("serve", "support-base-q4", "--port", str(port), "--detach", workspace=sample)
    assert done.returncode == 1
    assert f"'support-base' is served at http://127.0.0.1:{port}" in done.stderr
    assert [handle.process.pid for handle in ServerSupervisor(sample).running()] == [first["pid"]]
    second = data(*same, "--parallel", "2", "--replace", workspace=sample)
    assert (second["url"], second["already"]) == (first["url"], False)
    assert second["pid"] != first["pid"]
    assert data("model", "stop", "support-base", workspace=sample)["stopped"]
    # What the app or a command loaded has no address that anybody relies on.
    data("generate", "--model", "support-base", "--prompt", "Hello", "--max-tokens", "1", workspace=sample)
    assert not data(*same, workspace=sample)["already"]
    assert data("model", "stop", "support-base", workspace=sample)["stopped"]


@pytest.mark.slow
def test_a_context_beyond_what_a_model_was_made_for_is_told(sample: Workspace) -> None:
    made_for = ModelRegistry(Catalog(sample)).get("support-base").header["context_length"]
    told = data("model", "estimate", "support-base", "--context", str(made_for + 1), workspace=sample)
    assert told["context"] == made_for
    assert f"the model was trained for {made_for:,}" in told["notes"][0]
    assert data("model", "estimate", "support-base", "--context", str(made_for), workspace=sample)["notes"] == []
    done = run("model", "estimate", "support-base", "--context", str(made_for + 1), workspace=sample)
    assert told["notes"][0] in done.stderr
    served = ("serve", "support-base", "--threads", "1", "--parallel", "1", "--port", "0", "--detach")
    done = run(*served, "--context", str(made_for + 1), "--json", workspace=sample)
    assert json.loads(done.stdout)["notes"] == told["notes"]
    assert told["notes"][0] in done.stderr
    assert data("model", "stop", "support-base", workspace=sample)["stopped"]


def test_an_estimate_adds_up_and_refuses_what_cannot_be(sample: Workspace) -> None:
    lines = run("model", "estimate", "support-base", workspace=sample).stdout.splitlines()
    rows = {}
    for line in lines[1:]:
        name, _, size = line.rpartition("  ")
        if name and not line.startswith(("context", "beside")):
            rows[name.strip()] = float(size)
    parts = [rows[name] for name in ("weights", "KV cache", "compute", "embeddings", "processes")]
    assert abs(sum(parts) - rows["on host"]) < 0.001 * len(parts)
    done = run("model", "estimate", "support-base", "--cache-bytes", str(1 << 49), workspace=sample)
    assert done.returncode == 3
    assert "cache_bytes is 562,949,953,421,312, and this machine has" in done.stderr
    done = run("model", "estimate", "support-base-hf", workspace=sample)
    assert done.returncode == 3
    assert "llmops model convert support-base-hf" in done.stderr


def test_a_key_is_there_whole_or_not_at_all_and_an_empty_one_is_made_anew(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session = Session(Globals(workspace=str(workspace.root)))
    key_file = workspace.root / "api-key"

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left") as caught:
            keys_of(session, None, no_key=False, host="127.0.0.1")
    assert caught.value.filename == str(key_file)
    assert not [path for path in workspace.root.iterdir() if "api-key" in path.name]
    key_file.touch(0o600)
    made, where = keys_of(session, None, no_key=False, host="127.0.0.1")
    assert where == key_file
    assert "was empty" in capsys.readouterr().err
    assert [len(key) >= 16 for key in made] == [True]
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert keys_of(session, None, no_key=False, host="127.0.0.1")[0] == made
    # What somebody put there stays, also where it is no key.
    key_file.write_text("short\n")
    with pytest.raises(InputRefusedError) as short:
        keys_of(session, None, no_key=False, host="127.0.0.1")
    assert short.value.code == "key_too_short"
    assert key_file.read_text() == "short\n"
    mine = workspace.root.parent / "mine"
    mine.touch(0o600)
    with pytest.raises(InputRefusedError):
        keys_of(session, mine, no_key=False, host="127.0.0.1")
    assert mine.read_text() == ""


def test_a_file_that_changed_is_not_called_missing(workspace: Workspace, model_file: Path) -> None:
    copy = workspace.root.parent / "copy.gguf"
    copy.write_bytes(model_file.read_bytes())
    ModelRegistry(Catalog(workspace)).add(copy, "mine")

    def told() -> tuple[str, str]:
        return run("model", "list", workspace=workspace).stdout, data("model", "list", workspace=workspace)["models"][
            0
        ]["trouble"]

    assert told()[1] == ""
    copy.write_bytes(model_file.read_bytes()[:-1])
    assert "file changed" in told()[0]
    assert told()[1] == "file changed"
    copy.unlink()
    assert "file missing" in told()[0]


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
