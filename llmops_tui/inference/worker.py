"""The process that runs llama.cpp for one model server: JSON lines in, JSON lines out, nothing else on its pipes."""

from __future__ import annotations

import dataclasses
import faulthandler
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypedDict, cast

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.engine.faults import UnsoundError
from llmops_tui.inference.engine_wire import SamplingRecord
from llmops_tui.jobs.process import die_with_parent
from llmops_tui.models.engine_settings import from_json
from llmops_tui.rotating_log import RotatingLog

if TYPE_CHECKING:
    from llmops_tui.inference.engine.embedding import Of
    from llmops_tui.inference.engine.embedding_queue import EmbeddingQueue
    from llmops_tui.inference.engine.grammar import Matcher, MatcherMaker
    from llmops_tui.inference.engine.long_texts import LongTexts
    from llmops_tui.inference.engine.scheduler import Scheduler
    from llmops_tui.inference.engine.sequence import Request
    from llmops_tui.inference.engine_wire import Call, EngineStart, Event, Result, Starting, Told
    from llmops_tui.inference.sampling import SamplingParameters

# The server takes silence for a hang; a long prompt is evaluated in silence otherwise.
_BEAT_SECONDS = 1.0
_PROGRESS_SECONDS = 0.2


def main() -> None:
    """Serve requests until standard input ends. Arguments: a JSON object and the pid of the parent."""
    # Before anything native is imported: the protocol keeps its own copies of the pipes, and whatever a library
    # prints to descriptors 1 and 2 goes to the log.
    incoming = os.fdopen(os.dup(0), "rb")
    outgoing = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    # Where native code crashes, the log says in which call.
    faulthandler.enable()
    die_with_parent(int(sys.argv[2]))
    with RotatingLog():
        _Worker(incoming, outgoing).serve(json.loads(sys.argv[1]))


class _Held(TypedDict):
    """From the thread of the grammars to the loop: what a request is held to, or why it cannot be."""

    op: Literal["held"]
    id: str
    matcher: Matcher | None
    error: LlmopsError | None


class _Worker:
    """Reads requests in one thread, so that a cancel is seen while the other evaluates."""

    def __init__(self, incoming: BinaryIO, outgoing: Any) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._inbox: SimpleQueue[Call | _Held] = SimpleQueue()
        self._outbox: list[Event] = []
        self._scheduler: Scheduler
        self._embeddings: EmbeddingQueue
        self._long_texts: LongTexts
        self._matchers: MatcherMaker
        # Requests whose grammars are being compiled.
        self._unheld: dict[str, Request] = {}
        self._writing = threading.Lock()
        self._last_write = 0.0

    def serve(self, options: EngineStart) -> None:
        try:
            from llmops_tui.inference.engine.embedding import Embedder
            from llmops_tui.inference.engine.embedding_queue import EmbeddingQueue
            from llmops_tui.inference.engine.faults import end_with_any_thread
            from llmops_tui.inference.engine.grammar import MatcherMaker
            from llmops_tui.inference.engine.long_texts import LongTexts
            from llmops_tui.inference.engine.parameters import EngineOptions
            from llmops_tui.inference.engine.scheduler import Scheduler

            end_with_any_thread()
            given = EngineOptions(**from_json(options))
            self._scheduler = Scheduler(given, self._outbox.append, progress=self._tell_progress)
            native = self._scheduler.native
            self._embeddings = EmbeddingQueue(
                Embedder(native, given), native.threads, self._send, lambda: self._scheduler.busy
            )
            self._long_texts = LongTexts(native, self._send, self._inbox.put)
            self._matchers = MatcherMaker(self._scheduler.native.vocab, self._put_matcher)
            self._send([{"event": "phase", "phase": "checking", "share": 0.0}])
            self._scheduler.native.check()
        except UnsoundError as error:
            self._send([{"event": "unsound", "cause": str(error)}])
            return
        except LlmopsError as error:
            self._send([{"event": "failed", "error": error.as_dict()}])
            return
        except (OSError, ImportError, RuntimeError, SyntaxError) as error:
            self._send([{"event": "failed", "error": {"code": "engine_unusable", "message": str(error), "hint": ""}}])
            return
        self._send([{"event": "ready", "info": self._scheduler.native.describe()}])
        threading.Thread(target=self._read, daemon=True).start()
        while True:
            self._take_in()
            self._scheduler.step()
            if self._outbox:
                self._send(self._outbox)
                self._outbox.clear()
            elif time.monotonic() - self._last_write > _BEAT_SECONDS:
                self._send([{"id": "", "event": "beat"}])

    def _tell_progress(self, share: float) -> None:
        """Tell how much of the model is loaded, a few times a second."""
        now = time.monotonic()
        if now - self._last_write > _PROGRESS_SECONDS:
            self._send([{"event": "phase", "phase": "loading", "share": share}])

    def _take_in(self) -> None:
        """Handle all messages that are there; waits for one where nothing runs."""
        if not self._scheduler.busy:
            self._handle(self._inbox.get())
        while True:
            try:
                self._handle(self._inbox.get_nowait())
            except Empty:
                return

    def _handle(self, message: Call | _Held) -> None:
        """Do what a message asks for, or leave it to a thread, where it would keep the steps waiting."""
        operations: dict[str, Callable[[Any], Result | None]] = {
            "generate": self._generate,
            "tokenize": self._spell,
            "detokenize": self._spell,
            "count": self._spell,
            "embed": self._embed,
            "rank": self._embed,
            "classify": self._embed,
            "adapter": self._adapter,
            "state": lambda _message: self._scheduler.state(),
            "cancel": self._cancel,
            "held": self._submit_held,
            "visible": self._show,
        }
        try:
            if message["op"] != "held" and self._long_texts.take(message):
                return
            result = operations[message["op"]](message)
        except LlmopsError as error:
            self._outbox.append({"id": message["id"], "event": "error", "error": error.as_dict()})
        except Exception as error:  # noqa: BLE001 - what one request does reaches no other
            from llmops_tui.inference.engine.faults import unexpected

            self._outbox.append({"id": message["id"], "event": "error", "error": unexpected(error).as_dict()})
        else:
            if result is not None:
                self._outbox.append({"id": message["id"], "event": "done", "result": result})
        if not self._scheduler.busy and self._outbox:
            self._send(self._outbox)
            self._outbox.clear()

    def _put_matcher(self, request_id: str, matcher: Matcher | None, error: LlmopsError | None) -> None:
        """From the thread of the grammars: a message to the loop, which it wakes where nothing runs."""
        self._inbox.put({"op": "held", "id": request_id, "matcher": matcher, "error": error})

    def _read(self) -> None:
        for line in self._incoming:
            message = json.loads(line)
            self._inbox.put(message)
            if message["op"] == "cancel":
                self._scheduler.cancel_soon(message["id"])
                self._embeddings.cancel(message["id"])
        # The server is gone; there is nobody left to generate for.
        os._exit(0)

    def _send(self, messages: Sequence[Event | Starting]) -> None:
        """Write messages; safe from any thread."""
        data = memoryview("".join(json.dumps(m) + "\n" for m in messages).encode())
        with self._writing:
            while data:
                data = data[self._outgoing.write(data) :]
            self._last_write = time.monotonic()

    def _generate(self, message: Call) -> None:
        from llmops_tui.inference.engine.long_texts import tokenized
        from llmops_tui.inference.engine.sequence import Request
        from llmops_tui.inference.engine.thinking_budget import ThinkingBudget

        message = tokenized(self._scheduler.native, message)
        # A beginning-of-text token that the tokenizer put there is no part of what was given.
        hidden = message.get("hidden", 0)
        score_from = message.get("score_from")
        begun, held = message.get("begun", []), message.get("thinking")
        request = Request(
            id=message["id"],
            tokens=[*message["tokens"], *begun],
            cut=message.get("cut", 0),
            hidden=hidden,
            sizes=message.get("sizes", False),
            parameters=_parameters(message["parameters"]),
            adapter=message.get("adapter", ""),
            logprobs=message.get("logprobs"),
            score_from=None if score_from is None else score_from + hidden,
            truncate=message.get("truncate", ""),
            reuse=message.get("reuse", True),
            ignore_eos=message.get("ignore_eos", False),
            begun=len(begun),
            thinking=None if held is None else ThinkingBudget(held, self._mark_tokens),
        )
        if grammar := message.get("grammar"):
            self._unheld[request.id] = request
            self._matchers.ask(request.id, grammar)
        else:
            self._scheduler.submit(request)

    def _mark_tokens(self, text: str) -> list[int]:
        return self._scheduler.native.tokenize(text, add_special=False)

    def _submit_held(self, message: _Held) -> None:
        request = self._unheld.pop(message["id"], None)
        if request is None:
            return  # cancelled meanwhile
        if message["error"] is not None:
            raise message["error"]
        self._scheduler.submit(dataclasses.replace(request, matcher=message["matcher"]))

    def _cancel(self, message: Call) -> None:
        self._unheld.pop(message["id"], None)
        for work in (self._scheduler, self._embeddings, self._long_texts):
            work.cancel(message["id"])
        # Nothing is owed any more, whichever of them had it.
        self._outbox.append({"id": message["id"], "event": "dropped"})

    def _spell(self, message: Call) -> None:
        self._outbox.extend(self._long_texts.answer(message))

    def _embed(self, message: Call) -> None:
        from llmops_tui.inference.engine.long_texts import tokenized

        inputs = cast("list[list[int]]", tokenized(self._scheduler.native, message)["inputs"])
        self._embeddings.submit(
            message["id"],
            inputs,
            adapter=message.get("adapter", ""),
            dimensions=message.get("dimensions"),
            of=cast("Of", message["op"]),
        )

    def _show(self, message: Call) -> None:
        """Make control tokens a part of answers' texts; nobody waits for that."""
        self._scheduler.native.show(message["texts"])
        self._matchers.show(message["texts"])

    def _adapter(self, message: Call) -> Told:
        if not message["path"]:
            self._scheduler.native.drop_adapter(message["name"])
            return {"adapter": ""}
        self._scheduler.native.add_adapter(
            message["name"], message["path"], message.get("visible", ()), message.get("ends", ())
        )
        return {"adapter": message["name"]}


def _parameters(given: SamplingRecord) -> SamplingParameters:
    """What the server has checked, as it comes through JSON, which knows no numbers as keys."""
    biases = {int(token): bias for token, bias in given["logit_bias"].items()}
    return cast("SamplingParameters", SimpleNamespace(**given | {"logit_bias": biases}))


if __name__ == "__main__":
    main()
