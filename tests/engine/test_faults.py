"""What nobody foresaw: in the engine's threads, in what it says, at its start; and requests that come before it is ready."""

from __future__ import annotations

import ast
import asyncio
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

import llmops_tui.inference
from llmops_tui.errors import LlmopsError
from llmops_tui.inference import worker_client
from llmops_tui.inference.fallback import RUNGS
from llmops_tui.inference.server.app import ModelServer
from llmops_tui.inference.server.connection import STATUS, error_answer
from llmops_tui.inference.server.options import ServerOptions
from llmops_tui.inference.worker_client import EngineProcess
from llmops_tui.workspace.layout import Workspace
from tests.engine.engines import MODEL, Bench
from tests.waiting import wait_for

ENGINE = {"path": str(MODEL), "context": 512, "parallel": 1, "threads": 1}
ANSWER = b'{"id": "a", "event": "done", "result": {"x": 1}}\n'


class PanicError(BaseException):
    """As a library written in Rust ends a call, which is no Exception."""


async def until(condition: Any) -> None:
    async with asyncio.timeout(100):
        while not condition():
            await asyncio.sleep(0.02)


# The threads


def test_a_panic_at_one_form_leaves_the_next_ones_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    from llmops_tui.inference.engine import grammar

    bench, told = Bench(), {}
    maker = grammar.MatcherMaker(bench.native.vocab, lambda name, *came: told.update({name: came}))

    def panics(*_given: Any) -> Any:
        raise PanicError("index out of bounds")

    with monkeypatch.context() as broken:
        broken.setattr(grammar, "make_tokenizer", panics)
        maker.ask("a", 'start: "a"')
        wait_for(lambda: "a" in told)
    maker.ask("b", 'start: "a"')
    wait_for(lambda: "b" in told)
    matcher, error = told["a"]
    assert (matcher, error.code, "index out of bounds" in error.message) == (None, "engine_failed", True)
    matcher, error = told["b"]
    assert (error, bench.native.piece(int(matcher.allowed()[0]))) == (None, b"a")


def test_a_fault_at_one_long_text_leaves_the_next_ones_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    from llmops_tui.inference.engine.long_texts import SHORT, LongTexts

    told: list[dict[str, Any]] = []
    bench = Bench()
    texts = LongTexts(bench.native, told.extend, told.append)

    def ask(name: str) -> dict[str, Any]:
        assert texts.take({"op": "tokenize", "id": name, "text": "a " * SHORT, "add_special": False})
        wait_for(lambda: any(e["id"] == name and e["event"] in {"done", "error"} for e in list(told)))
        return next(e for e in told if e["id"] == name and e["event"] in {"done", "error"})

    def panics(*_given: Any, **_how: Any) -> Any:
        raise PanicError

    with monkeypatch.context() as broken:
        broken.setattr(bench.native, "tokenize", panics)
        assert [ask(name)["error"]["code"] for name in "abc"] == ["engine_failed"] * 3
    assert ask("d")["result"]["count"] > SHORT
    assert not texts._taken


def test_a_thread_that_dies_takes_its_process_along() -> None:
    script = (
        "import threading\n"
        "from llmops_tui.inference.engine.faults import end_with_any_thread\n"
        "end_with_any_thread()\n"
        "threading.Thread(target=lambda: 1 / 0, name='embeddings').start()\n"
        "threading.Event().wait()\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 70
    assert "the thread 'embeddings' died" in ended.stderr
    assert "ZeroDivisionError" in ended.stderr


async def test_a_message_that_the_engine_fails_at_is_answered_and_the_engine_lives(tmp_path: Path) -> None:
    engine = EngineProcess(ENGINE, tmp_path / "log")
    try:
        await engine.start()
        before = engine.pid
        broken = [m async for batch in engine.call({"op": "tokenize", "id": "a"}) for m in batch]
        assert [m["error"]["code"] for m in broken] == ["engine_failed"]
        whole = {"op": "tokenize", "id": "b", "text": "hello", "add_special": False}
        assert [m async for batch in engine.call(whole) for m in batch][-1]["event"] == "done"
        assert engine.pid == before
        assert "KeyError" in (tmp_path / "log").read_text()
    finally:
        await engine.stop()


# What it says


class Played:
    """An engine's process as asyncio shows it, which says what a test lets it say."""

    def __init__(self) -> None:
        self.pid = 1
        self.returncode: int | None = None
        self.stdin = SimpleNamespace(is_closing=lambda: False, write=lambda _data: None)
        self.stdout = asyncio.StreamReader(limit=64)
        self._ended = asyncio.Event()

    def kill(self) -> None:
        self.returncode = -9
        self.stdout.feed_eof()
        self._ended.set()

    async def wait(self) -> int:
        await self._ended.wait()
        return self.returncode or 0


class Stage:
    """Starts played engines, after so many failures of another kind each."""

    def __init__(self, failures: list[Exception]) -> None:
        self.failures = failures
        self.processes: list[Played] = []

    async def launch(self, *_given: Any, **_how: Any) -> Any:
        if self.failures:
            raise self.failures.pop(0)
        self.processes.append(Played())
        return SimpleNamespace(
            process=self.processes[-1],
            info={"n_ctx": 512},
            rung=RUNGS[0],
            cause="",
            news=False,
            oom_before=None,
            log_start=0,
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [
        b'{"id": "a", "event": "text", "text": "' + b"x" * 100 + b'"}\n', b"\xff no JSON\n", b'{"id": "a"}\n', b"[]\n",
    ],
)  # fmt: skip
async def test_whoever_waits_is_told_when_the_engine_cannot_be_understood_and_it_is_started_again(
    line: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage([])
    monkeypatch.setattr(worker_client, "launch", stage.launch)
    # It has no process that the kernel knows.
    monkeypatch.setattr(worker_client, "child_ends", lambda _pid: False)
    engine = EngineProcess({}, tmp_path / "log", pauses=(0.0,))
    calls = [engine.call({"op": "tokenize", "id": name}) for name in "ab"]
    asking = [asyncio.create_task(anext(call)) for call in calls]
    await until(lambda: len(engine._waiting) == 2)
    stage.processes[0].stdout.feed_data(line)
    for told in await asyncio.gather(*asking):
        assert told[-1]["error"]["code"] == "engine_died"
        assert "invalid message" in told[-1]["error"]["message"]
    await until(lambda: len(stage.processes) == 2 and engine.state == "ok")
    again = asyncio.create_task(anext(engine.call({"op": "tokenize", "id": "a"})))
    await until(lambda: "a" in engine._waiting)
    stage.processes[1].stdout.feed_data(ANSWER)
    assert (await again)[-1]["result"] == {"x": 1}
    await engine.stop()


async def test_an_engine_that_could_not_be_started_for_a_moment_is_started_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage([])
    monkeypatch.setattr(worker_client, "launch", stage.launch)
    # It has no process that the kernel knows.
    monkeypatch.setattr(worker_client, "child_ends", lambda _pid: False)
    engine = EngineProcess({}, tmp_path / "log", pauses=(0.0,))
    await engine.start()
    failures = [OSError(24, "Too many open files"), RuntimeError("can't start new thread"), ValueError("no JSON")]
    stage.failures = [*failures]
    stage.processes[0].kill()
    await until(lambda: engine.state == "ok" and len(stage.processes) == 2)
    assert not stage.failures
    stage.failures = failures[:1]
    stage.processes[1].kill()
    await until(lambda: not stage.failures)
    assert "Too many open files" in engine.last_failure
    await engine.stop()


async def test_a_notice_that_cannot_be_left_stops_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage([])

    async def launch(*given: Any, **how: Any) -> Any:
        found = await stage.launch(*given, **how)
        found.news, found.rung = True, RUNGS[1]
        return found

    def full(_text: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(worker_client, "launch", launch)
    monkeypatch.setattr(worker_client, "child_ends", lambda _pid: False)
    engine = EngineProcess({}, tmp_path / "log", news=full)
    await engine.start()
    assert engine.state == "ok"
    await engine.stop()


def test_every_failure_of_the_engine_has_a_status_on_purpose() -> None:
    folder = Path(llmops_tui.inference.__file__).parent
    sources = [*folder.glob("engine/*.py"), *(folder / f"{n}.py" for n in ("worker", "worker_client", "engine_launch"))]
    codes = set()
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text())):
            first = node.args[:1] if isinstance(node, ast.Call) else []
            made = isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"LlmopsError", "InputRefusedError"}
            if made and first and isinstance(first[0], ast.Constant):
                codes.add(first[0].value)
            if isinstance(node, ast.Dict):
                named = {k.value: v for k, v in zip(node.keys, node.values, strict=True) if isinstance(k, ast.Constant)}
                if isinstance(named.get("code"), ast.Constant):
                    codes.add(named["code"].value)
    assert {"engine_unusable", "engine_crashes", "bad_draft", "grammar_invalid", "engine_died"} <= codes
    assert codes <= set(STATUS)
    for code in ("engine_unusable", "engine_crashes", "bad_draft"):
        assert error_answer(LlmopsError(code, "")).status_code == 503


# Before it is ready


async def test_requests_that_come_while_the_model_loads_get_what_they_get_later(
    sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.content }}{% endfor %}{{ eos_token }}"
    options = ServerOptions(
        workspace=str(sample.root),
        model="support-base",
        path=str(MODEL),
        sha256="",
        socket="",
        key="k",
        chat_template=template,
        context=512,
        parallel=2,
        threads=1,
    )
    ready, launch = asyncio.Event(), worker_client.launch

    async def later(*given: Any, **how: Any) -> Any:
        await ready.wait()
        return await launch(*given, **how)

    monkeypatch.setattr(worker_client, "launch", later)
    engine = EngineProcess(ENGINE, sample.logs / "engine.log")
    server = ModelServer(options, engine)
    transport = httpx.ASGITransport(server.app())
    loading = asyncio.create_task(server.load(engine.start()))
    turns = [{"role": "user", "content": "open " * n} for n in (600, 1)]
    asked: dict[str, dict[str, Any] | None] = {
        "/tokenize": {"messages": turns[1:]},
        "/v1/chat/completions": {"messages": turns, "truncate": "oldest", "max_tokens": 4, "temperature": 0},
        "/v1/completions": {"prompt": "open", "max_tokens": 4, "temperature": 0},
        "/tokenizer_info": None,
    }
    async with httpx.AsyncClient(
        transport=transport, base_url="http://localhost", headers={"Authorization": "Bearer k"}, timeout=100
    ) as client:

        async def send(path: str, body: dict[str, Any] | None) -> httpx.Response:
            return await (client.get(path) if body is None else client.post(path, json=body))

        waits = engine.facts
        waiting = 0

        async def counted() -> dict[str, Any]:
            nonlocal waiting
            waiting += not engine.info
            return await waits()

        monkeypatch.setattr(engine, "facts", counted)
        monkeypatch.setattr(server._chat, "_facts", counted)
        asking = [asyncio.create_task(send(path, body)) for path, body in asked.items()]
        await until(lambda: waiting == len(asked))
        assert not any(task.done() for task in asking)
        ready.set()
        early = [answer.json() for answer in await asyncio.gather(*asking)]
        await loading
        late = [(await send(path, body)).json() for path, body in asked.items()]
        tokens, chat, text, info = early
        assert tokens == late[0]
        assert (tokens["pieces"][0], tokens["max_model_len"]) == (")", 512)
        assert chat["choices"][0]["message"] == late[1]["choices"][0]["message"]
        assert chat["usage"]["prompt_tokens"] == late[1]["usage"]["prompt_tokens"] < 512
        assert text["choices"] == late[2]["choices"]
        assert (info["bos_token"], info["eos_token"]) == (")", "<|im_end|>")
        assert info == late[3]
    await server.close()
