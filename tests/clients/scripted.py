"""Our real HTTP server, on an address of this machine, whose model says what a script says.

Everything is the real thing but the engine's process: routes, access control, templates, readers of answers, the process
that checks constraints. The engine that stands in says the next answer of the script in pieces, keeps the calls that it got,
and says nothing that the call's grammar would not let a model say.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import uvicorn

from llmops_tui.inference.server.app import ModelServer
from llmops_tui.inference.server.listener import BoundedServer, PatientProtocol, listen_at
from llmops_tui.inference.server.options import ServerOptions
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import make_workspace
from tests.engine.engines import MODEL

KEY = "a-key-of-at-least-sixteen-characters"
NAME = "scripted"
CONTEXT = 4096


@dataclass(frozen=True)
class Say:
    """One answer: its text, and after how many pieces the model stands still until nobody listens any more."""

    text: str
    still_after: int | None = None


class ScriptedEngine:
    """Stands in for :class:`llmops_tui.inference.worker_client.EngineProcess`."""

    def __init__(self) -> None:
        self.script: deque[Say] = deque()
        self.again = False
        self.calls: list[dict[str, Any]] = []
        self.piece = 4
        self.info = {
            "n_vocab": 2048, "n_ctx": CONTEXT, "trained_context": CONTEXT, "parallel": 1, "engine": "scripted",
            "bos": "<|bos|>", "eos": "<|eos|>", "add_bos": False, "can_trim": True,
        }  # fmt: skip
        self.pid, self.state, self.fallback, self.last_failure, self.loading = None, "ok", {}, "", ("", 1.0)
        self.retry_in, self.silent_for, self.works, self.hang_seconds = 0.0, 0.0, False, 300.0
        self.lost: Any = None
        self.left = threading.Event()
        """Set once an answer was left before its end."""

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def facts(self) -> dict[str, Any]:
        return self.info

    async def call(self, request: dict[str, Any]) -> AsyncGenerator[list[dict[str, Any]]]:
        made = {"id": request["id"]}
        if request["op"] == "tokenize":
            text = request["text"]
            tokens = list(text.encode())
            yield [made | {"event": "done", "result": {"count": len(tokens), "tokens": tokens, "text": text}}]
            return
        if request["op"] != "generate":
            yield [made | {"event": "done", "result": {}}]
            return
        self.calls.append(request)
        ended = False
        try:
            async for messages in self._generated(request, made):
                ended = messages[-1]["event"] != "text"
                yield messages
        finally:
            if not ended:
                self.left.set()

    async def _generated(self, request: dict[str, Any], made: dict[str, Any]) -> AsyncGenerator[list[dict[str, Any]]]:
        if not self.script:
            yield [made | {"event": "error", "error": _error(f"the script is over; asked: {request['text'][-200:]}")}]
            return
        said = self.script.popleft()
        if self.again:
            self.script.append(said)
        parameters = request["parameters"]
        text, stopped_by = _until(said.text, parameters["stop"])
        reason = "stop"
        pieces = [text[at : at + self.piece] for at in range(0, len(text), self.piece)]
        if len(pieces) > parameters["max_tokens"]:
            pieces, reason = pieces[: parameters["max_tokens"]], "length"
        grammar, whole = request.get("grammar"), reason == "stop"
        if grammar and not await asyncio.to_thread(allows, grammar, "".join(pieces), whole=whole):
            yield [made | {"event": "error", "error": _error(f"no model could say so here: {text[:200]}")}]
            return
        for count, piece in enumerate(pieces):
            if count == said.still_after:
                await asyncio.Event().wait()
            await asyncio.sleep(0)
            told: dict[str, Any] = made | {"event": "text", "text": piece}
            if request.get("sizes"):
                told["sizes"] = [len(piece.encode())]
            if request["logprobs"] is not None:
                others = [[n, [65 + n], -1.0 - n] for n in range(request["logprobs"])]
                told["tokens"] = [[count, list(piece.encode()), -0.5, others]]
            yield [told]
        result = {
            "finish_reason": reason, "prompt_tokens": len(request["text"].split()), "completion_tokens": len(pieces),
            "reused_tokens": 0, "ttft_ms": 1.0, "total_ms": 2.0, "tokens_per_s": 100.0, "context": CONTEXT,
        }  # fmt: skip
        if stopped_by is not None and reason == "stop":
            result["stopped_by"] = stopped_by
        yield [made | {"event": "done", "result": result}]


def _error(told: str) -> dict[str, str]:
    return {"code": "script", "message": told, "hint": ""}


def _until(text: str, stops: tuple[str, ...]) -> tuple[str, str | None]:
    """A text up to the first of some, and which one that is."""
    places = [(at, stop) for stop in stops if (at := text.find(stop)) >= 0]
    if not places:
        return text, None
    first, stop = min(places)
    return text[:first], stop


@cache
def _vocabulary() -> tuple[Any, Any]:
    from llmops_tui.inference.engine.grammar import make_tokenizer
    from tests.engine.engines import Bench

    native = Bench(context=64, parallel=1).native
    return native, make_tokenizer(native.vocab, ())


def allows(grammar: str, text: str, *, whole: bool = True) -> bool:
    """Whether a model that is held to a grammar may say a text, and end there if it is ``whole``."""
    from llmops_tui.errors import LlmopsError
    from llmops_tui.inference.engine.grammar import Matcher

    native, tokenizer = _vocabulary()
    matcher = Matcher(tokenizer, grammar, native.n_vocab)
    try:
        for token in native.tokenize(text, add_special=False, parse_special=False):
            if token not in matcher.allowed():
                return False
            matcher.take(token)
        return not whole or matcher.finished or any(matcher.ends(int(token)) for token in matcher.allowed())
    except LlmopsError:
        return False


class Scripted:
    """The server, running: where it is, what it is to say, and what it was asked."""

    def __init__(self, url: str, engine: ScriptedEngine, server: ModelServer) -> None:
        self.root = url
        self.url = f"{url}/v1"
        self.key = KEY
        self.model = NAME
        self._engine = engine
        self._server = server

    def say(self, *answers: str | Say, again: bool = False) -> None:
        """Set what the model says to the requests that follow, in their order, instead of what it had left to say.

        ``again`` begins from the first once the last was said.
        """
        self._engine.again = again
        self._engine.script = deque(a if isinstance(a, Say) else Say(a) for a in answers)
        self._engine.calls.clear()
        self._engine.left.clear()

    @property
    def calls(self) -> list[dict[str, Any]]:
        """What the engine was asked since the last :meth:`say`."""
        return self._engine.calls

    @property
    def prompts(self) -> list[str]:
        """The prompts of those calls."""
        return [call["text"] for call in self._engine.calls]

    @property
    def unsaid(self) -> int:
        """How many answers nobody asked for."""
        said = len(self.calls) if self._engine.again else 0
        return max(0, len(self._engine.script) - said)

    @property
    def left(self) -> threading.Event:
        """Set once a client left before its answer's end."""
        return self._engine.left

    @property
    def active(self) -> int:
        """How many requests have a place."""
        return self._server.generator.active


@contextmanager
def serve_script(folder: Path, template: str, **options: Any) -> Iterator[Scripted]:
    """Serve with a chat template, one request at a time, from a thread of this process."""
    workspace = make_workspace(Workspace(folder))
    given = ServerOptions(
        str(workspace.root), NAME, str(MODEL), "0" * 64, "", "", template,
        **{"host": "127.0.0.1", "keys": (KEY,), "parallel": 1} | options,
    )  # fmt: skip
    engine = ScriptedEngine()
    listening = listen_at("127.0.0.1", 0)
    server = ModelServer(given, engine)  # type: ignore[arg-type]
    config = uvicorn.Config(
        server.app(), log_level="error", access_log=False, lifespan="off", http=PatientProtocol,
        server_header=False, timeout_graceful_shutdown=1,
    )  # fmt: skip
    http = BoundedServer(config)
    loaded = threading.Event()

    async def run() -> None:
        await server.load(engine.start())
        loaded.set()
        try:
            await http.serve([listening])
        finally:
            await server.close()

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    try:
        assert loaded.wait(60)
        yield Scripted(f"http://127.0.0.1:{listening.getsockname()[1]}", engine, server)
    finally:
        http.ask_to_end()
        thread.join(30)
