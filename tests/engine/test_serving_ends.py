"""How ``llmops serve`` ends: with its terminal or starter, or not at all; and a server that was lost sight of."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from llmops_tui.cli import main
from llmops_tui.errors import InputRefusedError, Interrupted, LlmopsError
from llmops_tui.inference import server_lock
from llmops_tui.inference.client import ModelClient
from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.server_lock import lock_of
from llmops_tui.inference.server_record import ServerHandle
from llmops_tui.inference.supervisor import ServerSupervisor, health
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.traces.store import TraceStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.locks import try_lock
from tests.commands import Llmops
from tests.engine.certificates import make_certificate
from tests.waiting import wait_for

SERVE = ("serve", "support-base", "--threads", "1", "--parallel", "1", "--port", "0")


@pytest.fixture
def supervisor(sample: Workspace) -> ServerSupervisor:
    return ServerSupervisor(sample)


def command(workspace: Workspace, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "llmops_tui", "--workspace", str(workspace.root), *arguments]


@pytest.fixture
def foreground(sample: Workspace, supervisor: ServerSupervisor) -> Iterator[tuple[subprocess.Popen[str], ServerHandle]]:
    """A ``serve`` that stays, and its server when it is ready."""
    process = subprocess.Popen(
        # The tests themselves may run where a hangup is ignored.
        ["env", "--default-signal=HUP", *command(sample, *SERVE)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        while not (line := process.stdout.readline()).startswith("key"):
            assert line or process.poll() is None
        found = supervisor.find("support-base")
        assert found is not None
        yield process, found
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, *(pytest.param(number, marks=pytest.mark.slow) for number in (signal.SIGHUP, signal.SIGINT))],
)
def test_a_server_in_the_foreground_ends_with_its_command(
    number: signal.Signals, foreground: tuple[subprocess.Popen[str], ServerHandle]
) -> None:
    process, handle = foreground
    process.send_signal(number)
    rest, _ = process.communicate(timeout=120)
    assert process.returncode == 130, rest
    assert "support-base is unloaded" in rest
    assert "Traceback" not in rest
    assert not handle.process.alive()


def test_a_server_in_the_foreground_ends_where_its_command_is_killed(
    foreground: tuple[subprocess.Popen[str], ServerHandle], sample: Workspace
) -> None:
    process, handle = foreground
    process.kill()
    wait_for(lambda: not handle.process.alive())
    # It tidied up, as one that was stopped.
    assert not Path(handle.socket).exists()
    assert not (sample.runs / "servers" / "support-base.json").exists()


def test_a_server_that_is_asked_to_end_before_it_serves_takes_its_record_away(
    sample: Workspace, supervisor: ServerSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It has a process, which is not even Python yet.
    monkeypatch.setattr(supervisor, "_wait_ready", lambda handle, _waiting: handle.process.send(signal.SIGTERM))
    model = ModelRegistry(Catalog(sample)).get("support-base")
    handle = supervisor.ensure(model, LoadOptions(threads=1, parallel=1))
    wait_for(lambda: not handle.process.alive())
    assert not (sample.runs / "servers" / "support-base.json").exists()
    assert not Path(handle.socket).exists()
    assert supervisor.fallen() == []


@pytest.mark.parametrize("often", [False, pytest.param(True, marks=pytest.mark.slow)])
async def test_what_a_server_was_answering_when_it_was_asked_to_end_is_recorded(
    often: bool, sample: Workspace, supervisor: ServerSupervisor
) -> None:
    model = ModelRegistry(Catalog(sample)).get("support-base")
    handle = await asyncio.to_thread(supervisor.ensure, model, LoadOptions(threads=1, parallel=1))
    # An engine that stands still answers for as long as the test needs.
    os.kill(health(handle)["engine_pid"], signal.SIGSTOP)

    async def ask() -> None:
        async with ModelClient(handle) as client:
            async for _ in client.stream_chat(
                [{"role": "user", "content": "Hi"}], SamplingParameters(), {"run_id": "run_cut"}
            ):
                pass

    asking = asyncio.create_task(ask())
    await asyncio.to_thread(wait_for, lambda: health(handle).get("active") == 1)
    handle.process.send(signal.SIGTERM)
    if often:
        # Asked again and again, it hurries, and still writes what is due.
        await asyncio.to_thread(wait_for, lambda: not handle.process.send(signal.SIGTERM))
    with pytest.raises(LlmopsError):
        await asking
    await asyncio.to_thread(wait_for, lambda: not handle.process.alive())
    assert supervisor.fallen() == []
    found = TraceStore(Catalog(sample), EventLog(sample)).get("run_cut")
    assert found.line.finish_reason in {"cancelled", "error"}


def test_a_hangup_that_is_to_be_ignored_is_ignored(sample: Workspace) -> None:
    from llmops_tui.cli.serve_process import ending_by_signals

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending_by_signals():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            with pytest.raises(Interrupted) as ended:
                os.kill(os.getpid(), signal.SIGTERM)
            assert "SIGTERM" in ended.value.message
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.slow
def test_a_detached_server_that_was_lost_sight_of_is_told_and_not_doubled(
    sample: Workspace,
    supervisor: ServerSupervisor,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    llmops = Llmops(sample)
    # A server that is just ending is waited for, which this one is not.
    monkeypatch.setattr(server_lock, "_ENDING_SECONDS", 0.1)

    def refused(*arguments: str) -> dict[str, str]:
        assert main.run(["--workspace", str(sample.root), "--json", *arguments]) == 1
        return dict(json.loads(capsys.readouterr().out)["error"])

    pid = llmops.run(*SERVE, "--detach")["pid"]
    handle = supervisor.find("support-base")
    assert handle is not None
    state = sample.runs / "servers" / "support-base.json"
    kept = state.read_bytes()
    state.unlink()
    capsys.readouterr()
    told = refused("prompt", "run", "support", "--model", "support-base", "--var", "question=Hi")
    assert told["code"] == "server_lost"
    assert str(pid) in told["message"] + told["hint"]
    assert refused("model", "stop", "support-base")["code"] == "server_lost"
    assert handle.process.alive()
    # Nothing is left of the try that others would wait for.
    assert not state.exists()
    state.write_bytes(kept)
    assert llmops.run(*SERVE, "--detach")["already"]
    llmops.run("model", "stop", "support-base")
    assert not handle.process.alive()


@pytest.mark.parametrize("left", [b"", b"{", b"[]", b'{"pid": 0}', b"started"])
def test_a_record_in_which_nobody_will_name_a_process_is_not_waited_for(
    left: bytes, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = workspace.runs / "servers"
    folder.mkdir(parents=True)
    state = folder / "m.json"
    options = {"model": "m", "sha256": "", "socket": "s", "key": "k"}
    begun = json.dumps({"pid": 0, "started": 0, "options": options}).encode()
    state.write_bytes(begun if left == b"started" else left)
    if left == b"started":
        os.utime(state, (1_700_000_000, 1_700_000_000))
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        # A record that was written just now is waited for, until it says which process it is.
        me = {"pid": os.getpid(), "started": 1.0}
        state.write_text(json.dumps(json.loads(state.read_bytes()) | me))

    supervisor = ServerSupervisor(workspace)
    lock = try_lock(lock_of(folder, "m"))
    assert lock is not None
    try:
        with monkeypatch.context() as patch:
            patch.setattr("llmops_tui.inference.supervisor.time.sleep", sleep)
            assert supervisor.find("m") is None
            assert slept == []
            state.write_bytes(begun)
            found = supervisor.find("m")
            assert found is not None
            assert found.process.pid == os.getpid()
            assert len(slept) == 1
    finally:
        os.close(lock)


@pytest.mark.slow
def test_a_detached_server_without_a_socket_is_not_replaced_unasked(
    sample: Workspace, supervisor: ServerSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    llmops = Llmops(sample)
    llmops.run(*SERVE, "--detach")
    handle = supervisor.find("support-base")
    assert handle is not None
    # Its folder is gone as well, and cannot be made again.
    folder = Path(handle.socket).parent
    shutil.rmtree(folder)
    folder.write_text("in the way")
    monkeypatch.setattr(server_lock, "_SOCKET_SECONDS", 0.1)
    try:
        with pytest.raises(InputRefusedError, match="its socket is missing") as refused:
            supervisor.ensure(ModelRegistry(Catalog(sample)).get("support-base"))
        assert refused.value.code == "already_served"
        assert handle.process.alive()
    finally:
        folder.unlink()
    wait_for(Path(handle.socket).exists)
    supervisor.stop("support-base")


def test_an_address_is_encrypted_where_that_is_said(sample: Workspace, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    llmops = Llmops(sample)
    pair = ("--tls-cert", str(certificate), "--tls-key", str(key))
    assert llmops.run(*SERVE, "--tls-cert", str(certificate), code=3)["error"]["code"] == "bad_certificate"
    assert (
        llmops.run(*SERVE, "--tls-cert", str(key), "--tls-key", str(key), code=3)["error"]["code"] == "bad_certificate"
    )
    key.chmod(0o644)
    assert llmops.run(*SERVE, *pair, code=3)["error"]["code"] == "key_file_open"
    key.chmod(0o600)
    told = llmops.run(*SERVE, *pair, "--detach")
    assert told["url"].startswith("https://127.0.0.1:")
    assert told["encrypted"]
    trusting = ssl.create_default_context(cafile=str(certificate))
    secret = Path(told["api_key_file"]).read_text().splitlines()[-1]
    with httpx.Client(verify=trusting, headers={"Authorization": f"Bearer {secret}"}) as client:
        assert client.get(f"{told['url']}/models").json()["data"][0]["id"] == "support-base"
    with pytest.raises(httpx.HTTPError):
        httpx.get(told["url"].replace("https", "http") + "/models")
    # The workspace's own programs go over its socket, as ever.
    answer = llmops.run("prompt", "run", "support", "--model", "support-base", "--var", "question=When are you open?")
    assert answer["text"]
    llmops.run("model", "stop", "support-base")


@pytest.mark.parametrize(
    ("host", "encrypted", "told"),
    [("0.0.0.0", False, True), ("192.168.7.7", False, True), ("192.168.7.7", True, False), ("127.0.0.1", False, False), ("", False, False)],
)  # fmt: skip
def test_that_a_key_goes_unencrypted_is_told(host: str, encrypted: bool, told: bool) -> None:
    from llmops_tui.cli.serve_address import in_the_clear

    text = in_the_clear(host, encrypted=encrypted)
    assert bool(text) == told
    assert ("not encrypted" in text and "key" in text and "\n" not in text) == told
