"""Requests written to the event log in groups, with one disk sync for many that end at once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.content import as_kept
from llmops_tui.inference.engine_wire import Generated
from llmops_tui.inference.server.conversation import AnswerReader
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.events import RequestRecord


@dataclass
class Record:
    """One request on its way; ``form`` is what its answer is held to, which its record has beside its parameters."""

    id: str
    body: RequestRecord
    form: Mapping[str, object] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    first_at: float | None = None
    text: list[str] = field(default_factory=list)
    reader: AnswerReader | None = None
    """What takes a chat's answer apart."""

    def refuse(self, status: int | None) -> None:
        """Note that a client asked what is refused, by this status; none where it is not the client's doing."""
        if status is not None:
            self.body["client"] = {**(self.body.get("client") or {}), "status": status}

    def ended(self, result: Generated) -> RequestRecord:
        """The whole record; times as the server saw them where the engine told none."""
        now = time.monotonic()
        times: RequestRecord = {"total_ms": (now - self.started) * 1000}
        if self.first_at is not None:
            times["ttft_ms"] = (self.first_at - self.started) * 1000
        if result["finish_reason"] == "cancelled":
            times["completion_tokens"] = len(self.text)
        said: RequestRecord = {"output": "".join(self.text)}
        if self.reader is not None and (apart := self.reader.apart(said["output"])).spans:
            said = {"output": apart.answer, "thinking": apart.thinking}
        if self.form:
            # Its parameters are the call's, which a limit may shorten on the way.
            said["parameters"] = {**self.body.get("parameters", {}), **self.form}
        return {**self.body, **times, **result, **said}


class EventWriter:
    """Writes records in the order they come; those that come while one write is under way go into the next."""

    def __init__(self, event_log: EventLog, content: str = "keep") -> None:
        self._event_log = event_log
        self._content = content
        self._due: list[tuple[tuple[str, str, RequestRecord], asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def write(self, key: str, body: RequestRecord) -> None:
        """Durable when this returns.

        Raises:
            LlmopsError: ``disk_full`` or ``journal_failed``.
        """
        await asyncio.shield(self.enqueue(key, body))

    def enqueue(self, key: str, body: RequestRecord) -> asyncio.Future[None]:
        """Write soon; the future tells when it is durable."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._due.append((("request", key, body), done))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return done

    def _append(self, events: list[tuple[str, str, RequestRecord]]) -> None:
        # What is personal is taken out before it reaches the disk, not after.
        self._event_log.append_many([(kind, key, as_kept(body, self._content)) for kind, key, body in events])

    async def close(self) -> None:
        """Write what is due."""
        if self._task is not None:
            with contextlib.suppress(LlmopsError):
                await self._task

    async def _run(self) -> None:
        while self._due:
            batch, self._due = self._due, []
            error: LlmopsError | None = None
            try:
                await asyncio.to_thread(self._append, [event for event, _ in batch])
            except LlmopsError as raised:
                error = raised
            for _, done in batch:
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)
                    # A cancelled request has nobody left to tell.
                    done.exception()
