"""Checks of output constraints in a process with time and memory limits, and the cache of their verdicts."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.constraint_queue import ConstraintQueue, Helper
from llmops_tui.inference.constraints import Form, FormRefusedError, Held, Verdict, meaning_of, too_costly
from llmops_tui.inference.helper_process import HelperProcess
from llmops_tui.inference.schema_keywords import Schema

_MAX_FORM = 1_000_000
# Characters of a grammar.
_LARGE = 10_000
# Characters of verdicts that are kept, and what one counts beside them.
_KEPT = 16_000_000
_EACH = 1_000


class ConstraintChecker:
    """One checking process for one model, started when the first form comes and replaced after it was lost.

    What was found lately is kept, grammars and refusals alike, so that a form that is asked for again and again waits for
    no other, and a costly one is tried once.
    """

    def __init__(self, path: str, visible: Sequence[str], helper: Helper | None = None) -> None:
        """``helper`` stands in for the process, which is made of the model's file and the marks that are visible."""
        self._process = HelperProcess(
            "llmops_tui.inference.grammar_worker",
            path,
            *visible,
            greeting=b'2 60 {"type": "text"}\n',
            work="checks output constraints",
        )
        self._queue = ConstraintQueue(helper or self._process)
        # One thread, so that many large forms at once take turns with everything else as one does.
        self._reading = ThreadPoolExecutor(1, "forms-read")
        self._known: OrderedDict[bytes, Verdict] = OrderedDict()
        self._kept = 0
        # Checks under way, and how many wait for each.
        self._running: dict[bytes, tuple[Future[Verdict], int]] = {}

    @property
    def pid(self) -> int | None:
        """Pid of the checking process, where one lives."""
        return self._process.pid

    async def held(self, form: Form | None, client: str = "") -> Held:
        """How an answer is held to a form, for the engine and to be told. ``client`` is whose turn it takes.

        Raises:
            FormRefusedError: ``grammar_invalid``, ``schema_invalid``, ``bad_response_format``: it cannot be enforced;
                ``grammar_too_costly``: compiling it takes too much time, memory or room.
            LlmopsError: ``form_queue_full``: too many wait to be checked; ``helper_unusable``: the checking process
                cannot be started, or came to no end.
        """
        if form is None or form.get("type", "text") == "text":
            return Held()
        if len(form.get("grammar", "")) > _LARGE:
            # It takes up to a fifth of a second to read, and all requests and streams pass here.
            data, key = await asyncio.get_running_loop().run_in_executor(self._reading, _read, form)
        else:
            data, key = _read(form)
        verdict = self._known.get(key)
        if verdict is None:
            verdict = await self._verdict(key, data, client)
            self._keep(key, verdict)
        else:
            self._known.move_to_end(key)
        if "error" in verdict:
            raise FormRefusedError(**verdict["error"], tool=verdict.get("tool", ""))
        return Held(verdict["grammar"], tuple(verdict.get("told", ())), verdict.get("checked", False))

    async def problems(self, schema: Schema, text: str, client: str = "") -> list[str]:
        """What a finished answer in JSON does not keep of a schema, each with its place.

        Raises:
            LlmopsError: it cannot be told; as :meth:`held`, or ``answer_unchecked``.
        """
        question: Form = {"type": "answer", "schema": schema, "text": text}
        verdict = await asyncio.wrap_future(self._queue.check(json.dumps(question).encode(), client))
        if "error" in verdict:
            raise LlmopsError(**verdict["error"])
        if "unsure" in verdict:
            raise LlmopsError("answer_unchecked", verdict["unsure"])
        return verdict["problems"]

    def close(self) -> None:
        """End the process."""
        self._reading.shutdown(wait=False, cancel_futures=True)
        self._queue.close()
        self._process.close()

    async def _verdict(self, key: bytes, data: bytes, client: str) -> Verdict:
        """What is found of a form; who asks for the same meanwhile waits for the same check."""
        if (running := self._running.get(key)) is not None:
            found, others = running
            self._queue.join(found, client)
        else:
            found, others = self._queue.check(data, client), 0
        self._running[key] = (found, others + 1)
        try:
            return await asyncio.shield(asyncio.wrap_future(found))
        finally:
            found, left = self._running.pop(key)
            if left > 1:
                self._running[key] = (found, left - 1)
            else:
                # Nobody waits any more; where the verdict is there, this does nothing.
                found.cancel()

    def _keep(self, key: bytes, verdict: Verdict) -> None:
        if key not in self._known:
            self._kept += _size(verdict)
        self._known[key] = verdict
        while self._kept > _KEPT:
            self._kept -= _size(self._known.popitem(last=False)[1])


def _read(form: Form) -> tuple[bytes, bytes]:
    """A form as it is sent, and the key of what it means."""
    try:
        data = json.dumps(form).encode()
    except RecursionError as error:
        raise too_costly("it nests too deep") from error
    if len(data) > _MAX_FORM:
        raise too_costly(f"it has {len(data):,} bytes, more than {_MAX_FORM:,}")
    return data, hashlib.sha256(meaning_of(form)).digest()


def _size(verdict: Verdict) -> int:
    told = sum(len(one["pointer"]) + len(one["message"]) for one in verdict.get("told", ()))
    return len(verdict.get("grammar", "")) + told + _EACH
