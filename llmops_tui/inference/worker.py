"""The process that runs llama.cpp for one model server: JSON lines in, JSON lines out, nothing else on its pipes."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, BinaryIO

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.jobs.process import die_with_parent


def main() -> None:
    """Serve requests until standard input ends. Arguments: a JSON object and the pid of the parent."""
    # Before anything native is imported: the protocol keeps its own copies of the pipes, and whatever a library
    # prints to descriptors 1 and 2 goes to the log.
    incoming = os.fdopen(os.dup(0), "rb")
    outgoing = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    die_with_parent(int(sys.argv[2]))
    _Worker(incoming, outgoing).serve(json.loads(sys.argv[1]))


class _Worker:
    """Reads requests in one thread, so that a cancel is seen while the other generates."""

    def __init__(self, incoming: BinaryIO, outgoing: Any) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._requests: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._cancelled: set[str] = set()

    def serve(self, options: dict[str, Any]) -> None:
        try:
            from llmops_tui.inference.engine import LlamaEngine

            engine = LlamaEngine(
                options["path"],
                context=options["context"],
                threads=options["threads"],
                gpu_layers=options["gpu_layers"],
            )
        except LlmopsError as error:
            self._send({"event": "failed", "error": error.as_dict()})
            return
        except (OSError, ImportError, RuntimeError) as error:
            self._send({"event": "failed", "error": {"code": "engine_unusable", "message": str(error), "hint": ""}})
            return
        self._send({"event": "ready", "info": engine.describe()})
        threading.Thread(target=self._read, daemon=True).start()
        operations: dict[str, Callable[[Any, dict[str, Any]], dict[str, Any]]] = {
            "generate": self._generate,
            "tokenize": self._tokenize,
        }
        while (request := self._requests.get()) is not None:
            try:
                answer = operations[request["op"]](engine, request)
            except LlmopsError as error:
                answer = {"event": "error", "error": error.as_dict()}
            self._cancelled.discard(request["id"])
            self._send({"id": request["id"], **answer})

    def _read(self) -> None:
        for line in self._incoming:
            request = json.loads(line)
            if request["op"] == "cancel":
                self._cancelled.add(request["id"])
            else:
                self._requests.put(request)
        # The server is gone; there is nobody left to generate for.
        os._exit(0)

    def _send(self, message: dict[str, Any]) -> None:
        self._outgoing.write(json.dumps(message).encode() + b"\n")

    def _generate(self, engine: Any, request: dict[str, Any]) -> dict[str, Any]:
        request_id = request["id"]
        tokens = engine.tokenize(request["text"], add_special=request["add_special"])

        def emit(text: str) -> None:
            self._send({"id": request_id, "event": "text", "text": text})

        result = engine.generate(
            tokens,
            SamplingParameters.model_validate(request["parameters"]),
            emit,
            lambda: request_id in self._cancelled,
        )
        return {"event": "done", "result": dataclasses.asdict(result)}

    def _tokenize(self, engine: Any, request: dict[str, Any]) -> dict[str, Any]:
        tokens = engine.tokenize(
            request["text"], add_special=request["add_special"], parse_special=request["parse_special"]
        )
        pieces = [engine.piece(t, special=True).decode("utf-8", "replace") for t in tokens]
        return {"event": "done", "result": {"tokens": tokens, "pieces": pieces}}


if __name__ == "__main__":
    main()
