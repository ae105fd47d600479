from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llmops_tui import doctor
from llmops_tui.cli.options import Globals, called_as
from llmops_tui.cli.output import Session, report_error
from llmops_tui.errors import LlmopsError, sentences
from llmops_tui.inference import probe
from llmops_tui.user_files import settings_path
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import make_workspace
from tests.commands import llmops


def run(
    *arguments: str, workspace: Workspace | None = None, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    return llmops(*arguments, workspace=workspace, stdin=stdin or "")


def data(*arguments: str, workspace: Workspace) -> Any:
    done = run(*arguments, "--json", workspace=workspace)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_version() -> None:
    assert re.fullmatch(
        r"llmops \d+\.\d+\.\d+\n", subprocess.check_output([sys.executable, "-m", "llmops_tui", "--version"], text=True)
    )


def test_without_a_terminal_the_app_says_so_and_exits_2() -> None:
    for arguments in ((), ("demo",)):
        done = run(*arguments)
        assert done.returncode == 2
        assert "needs a terminal" in done.stderr
        assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("nonsense",), 2),
        (("prompt", "save", "p"), 2),
        (("prompt", "run", "p", "--model", "m", "--temperature", "hot"), 2),
        (("--workspace",), 2),
        (("prompt", "show", "missing"), 3),
        (("prompt", "save", "a b", "--text", "x"), 3),
        (("model", "add", "/nonexistent.gguf"), 3),
        (("model", "add", ""), 2),
        (("model", "add", "/nonexistent.gguf", "--key-env", "X"), 2),
        (("job", "show", "job_zzz"), 3),
        (("sql", "DROP TABLE prompts"), 3),
        (("prompt", "import", "/nonexistent.yaml"), 3),
    ],
)
def test_exit_codes_are_an_interface(arguments: tuple[str, ...], code: int) -> None:
    done = run(*arguments)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        (("it broke",), "it broke."),
        (("it broke.", ""), "it broke."),
        (("it broke", "llmops doctor"), "it broke. llmops doctor"),
        (("it broke.", "Ask again."), "it broke. Ask again."),
        (("hashing…", "Wait", "llmops job list"), "hashing… Wait. llmops job list"),
        (('it said "no."', "Ask."), 'it said "no." Ask.'),
        (("", "Ask"), "Ask."),
        ((), ""),
    ],
)
def test_sentences_have_one_full_stop_each(parts: tuple[str, ...], told: str) -> None:
    assert sentences(*parts) == told
    if len(parts) == 2:
        assert LlmopsError("x", *parts).told == told


def test_an_error_is_json_where_json_is_asked_for(workspace: Workspace) -> None:
    done = run("prompt", "show", "missing", "--json", workspace=workspace)
    assert done.returncode == 3
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "prompt_not_found"
    assert error["message"]
    assert error["hint"]


def test_the_life_of_a_prompt(workspace: Workspace, tmp_path: Path) -> None:
    saved = data(
        "prompt", "save", "p", "--text", "Hello {{ name }}", "--system", "s", "-m", "first", workspace=workspace
    )
    assert (saved["prompt"], saved["version"], len(saved["sha256"])) == ("p", 1, 64)
    done = run("prompt", "save", "p", "--file", "-", "--json", workspace=workspace, stdin="Bye {{ name }}")
    assert json.loads(done.stdout)["version"] == 2
    assert [p["prompt"] for p in data("prompt", "list", workspace=workspace)["prompts"]] == ["p"]
    assert [v["version"] for v in data("prompt", "log", "p", workspace=workspace)["versions"]] == [2, 1]
    changes = data("prompt", "diff", "p@1", "p@2", workspace=workspace)
    assert {"change": "removed", "text": "Hello"} in changes["template"]
    assert data("prompt", "tag", "p@1", "production", workspace=workspace)["labels"] == ["production"]
    assert data("prompt", "show", "p", workspace=workspace)["version"] == 1
    file = tmp_path / "p.yaml"
    run("prompt", "export", "p", "--to", str(file), workspace=workspace)
    other = make_workspace(Workspace(tmp_path / "other"))
    assert data("prompt", "import", str(file), workspace=other)["created"] == 2
    assert data("prompt", "search", "bye", workspace=other)["versions"][0]["version"] == 2
    limited = run("prompt", "log", "p", "--limit", "1", workspace=workspace)
    assert "1 of 2 shown" in limited.stderr


def test_a_prompt_runs_and_its_run_is_found_again(sample: Workspace) -> None:
    result = data(
        "prompt", "run", "support", "--model", "support-base", "--var", "question=When are you open?", workspace=sample
    )
    assert result["text"] == "We are open Monday to Saturday from 9 to 18."
    assert set(result["timing"]) >= {"ttft_ms", "tokens_per_s"}
    assert result["usage"]["completion_tokens"] > 0
    runs = data("prompt", "runs", "support", workspace=sample)["runs"]
    assert runs[0]["run"] == result["run"]
    rows = data("sql", "SELECT id, output FROM requests", workspace=sample)
    assert rows["rows"] == [[result["run"], result["text"]]]
    edges = data("sql", f"SELECT kind FROM lineage WHERE output = '{result['run']}'", workspace=sample)
    assert len(edges["rows"]) == 2
    missing = run("prompt", "run", "support", "--model", "support-base", "--json", workspace=sample)
    assert missing.returncode == 3
    assert json.loads(missing.stdout)["error"]["code"] == "variable_missing"


def test_generate_streams_json_lines(sample: Workspace, tmp_path: Path) -> None:
    done = run(
        "generate",
        "--model",
        "support-base",
        "--prompt",
        "How much is the rug?",
        "--json",
        "--stream",
        workspace=sample,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert "".join(line["text"] for line in lines[:-1]) == lines[-1]["text"] == "The rug costs 129 euros."
    messages = tmp_path / "messages.json"
    messages.write_text(json.dumps([{"role": "user", "content": "Who are you?"}]))
    plain = run("generate", "--model", "support-base", "--messages", str(messages), workspace=sample)
    assert "Marlow & Finch" in plain.stdout
    messages.write_text('{"role": 1}')
    assert run("generate", "--model", "support-base", "--messages", str(messages), workspace=sample).returncode == 3


def test_models_are_listed_shown_verified_and_stopped(sample: Workspace) -> None:
    assert {m["model"] for m in data("model", "list", workspace=sample)["models"]} == {
        "support-base",
        "support-base-hf",
        "support-base-q4",
    }
    shown = data("model", "show", "support-base", workspace=sample)
    assert (shown["architecture"], shown["quantization"], shown["context_length"]) == ("llama", "Q8_0", 1024)
    assert data("model", "verify", "support-base", workspace=sample)["intact"] is True
    assert data("model", "stop", "support-base", workspace=sample)["stopped"] is False
    Path(shown["path"]).write_bytes(b"GGUF")
    assert run("model", "verify", "support-base", workspace=sample).returncode == 3


def test_a_job_is_followed_from_the_command_line(sample: Workspace) -> None:
    job = data("model", "verify", "support-base", "--detach", workspace=sample)["job"]
    assert run("job", "logs", job, "-f", workspace=sample).returncode == 0
    assert data("job", "show", job, workspace=sample)["state"] == "done"
    assert data("job", "list", workspace=sample)["jobs"][0]["job"] == job
    # What is done is not done once more.
    again = run("job", "resume", job, "--json", workspace=sample)
    assert (again.returncode, json.loads(again.stdout)["error"]["code"]) == (3, "job_done")


def test_doctor_says_what_it_found_with_a_remedy(workspace: Workspace) -> None:
    done = run("doctor", "--json", workspace=workspace)
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert "CPU build" in checks["llama.cpp"]["finding"] or "GPU build" in checks["llama.cpp"]["finding"]
    assert all(check["state"] in {"ok", "warn", "fail"} for check in checks.values())
    assert all(check["remedy"] for check in checks.values() if check["state"] != "ok")
    assert checks["settings"]["state"] == "ok"


@pytest.mark.parametrize(("gpu", "flag"), [(True, "-DGGML_CUDA=on"), (False, "")])
def test_doctor_builds_what_does_not_load_for_the_gpu_where_there_is_one(
    gpu: bool, flag: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "probe", lambda: {"error": "Shared library with base name 'llama' not found"})
    monkeypatch.setattr(doctor, "_has_gpu", lambda: gpu)
    (found,) = [check for check in doctor.diagnose(workspace) if check.name == "llama.cpp"]
    assert found.state == "fail"
    assert ("CMAKE_ARGS" in found.remedy, flag in found.remedy) == (gpu, True)


def test_doctor_makes_nothing_where_it_looks(tmp_path: Path) -> None:
    place = tmp_path / "none" / ".llmops"
    done = run("doctor", "--json", "--retry", "--workspace", str(place))
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert "llmops init" in checks["workspace"]["finding"]
    assert str(tmp_path) in checks["disk"]["finding"]
    assert "no fallback options are recorded" in done.stderr
    assert not place.parent.exists()
    # A folder alone is no workspace, and one whose catalog is gone is a finding.
    place.mkdir(parents=True)
    done = run("doctor", "--json", "--workspace", str(place))
    assert "llmops init" in done.stdout
    assert list(place.iterdir()) == []
    lost = make_workspace(Workspace(tmp_path / "lost"))
    (lost.root / "workspace.json").write_text('{"id": "ws_1", "made_at": 1, "has": ["workspace.duckdb"]}')
    done = run("doctor", "--json", workspace=lost)
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert (done.returncode, checks["workspace"]["state"]) == (1, "fail")
    assert "is gone" in checks["workspace"]["finding"]
    assert "llmops restore" in checks["workspace"]["remedy"]


def test_what_is_wrong_in_the_settings_is_told_by_what_uses_them(sample: Workspace) -> None:
    path = settings_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("threads = 3\ncontxt = 512\nbatch = 1\n")
    done = run("model", "estimate", "support-base", "--json", workspace=sample)
    assert done.returncode == 0
    assert [line.split(": ", 2)[2] for line in done.stderr.splitlines()] == [
        "batch: Input should be greater than or equal to 64; the default is used",
        "contxt: this setting does not exist; did you mean context?",
    ]
    checks = json.loads(run("doctor", "--json", workspace=sample).stdout)["checks"]
    found = [check for check in checks if check["name"] == "settings"]
    assert [check["state"] for check in found] == ["warn", "warn"]
    assert str(path) in found[0]["remedy"]


def test_a_line_of_progress_is_ended_before_anything_else_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    session = Session(Globals())
    show = session.progress("getting")
    assert show is not None
    show(0.0)
    show(0.5)
    report_error(Globals(), LlmopsError("not_fetched", "it is away"))
    show(0.5)
    session.say("a word")
    session.say("another")
    show(1.0)
    assert capsys.readouterr().err == (
        "\rgetting   0%\rgetting  50%\nllmops: it is away.\n\rgetting  50%\na word\nanother\n\rgetting 100%\n"
    )


def test_a_command_is_told_as_the_shell_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "bin" / "llmops"
    own.parent.mkdir()
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(own), "demo"])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert called_as() == str(own)
    monkeypatch.setenv("PATH", str(own.parent))
    assert called_as() == "llmops"
    monkeypatch.setattr(sys, "argv", ["/x/llmops_tui/__main__.py"])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert called_as() == "llmops"


def test_a_place_is_named_once_for_a_demo(tmp_path: Path) -> None:
    import pexpect

    arguments = ["-m", "llmops_tui", "demo", "--dir", str(tmp_path / "a"), "--workspace", str(tmp_path / "b")]
    child = pexpect.spawn(sys.executable, arguments, encoding="utf-8", timeout=120)
    child.expect("cannot be combined")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 2
    assert not list(tmp_path.glob("[ab]"))


def test_an_interrupt_ends_with_130(sample: Workspace) -> None:
    command = [
        sys.executable,
        "-m",
        "llmops_tui",
        "generate",
        "--model",
        "support-base",
        "--prompt",
        "x",
        "--max-tokens",
        "900",
        "--temperature",
        "5",
        "--workspace",
        str(sample.root),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read(1)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate()
    assert (process.returncode, errors) == (130, b"llmops: interrupted.\n")


def test_an_interrupt_ends_an_event_loop_from_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that comes while a loop calls back would only be logged there, were it an error like others."""
    import asyncio

    from llmops_tui.cli import main

    async def interrupted_in_a_callback() -> None:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()

    monkeypatch.setattr(main, "_call", lambda *_: asyncio.run(interrupted_in_a_callback()))
    before = signal.getsignal(signal.SIGINT)
    try:
        assert main.run(["models"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)


def test_foreign_text_never_reaches_a_terminal_raw(workspace: Workspace) -> None:
    import pexpect

    run("prompt", "save", "evil", "--text", "a\x1b]52;c;UFdO\x07b\x9b31m\u202e", workspace=workspace)
    child = pexpect.spawn(
        sys.executable,
        ["-m", "llmops_tui", "prompt", "show", "evil", "--workspace", str(workspace.root)],
        encoding="utf-8",
    )
    child.expect(pexpect.EOF)
    assert "\x1b" not in child.before
    assert "\u202e" not in child.before
    assert "␛]52" in child.before
