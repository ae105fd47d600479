"""Embeddings next to streams: a thread of their own that batches the texts of all requests.

Streams and embeddings have contexts of their own over the same weights, so neither waits for the other; they share the
cores, and while anything generates, embedding takes only those that are left.
"""

from __future__ import annotations

import base64
import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.engine.embedding import Embedder, Of, Text
from llmops_tui.inference.engine.evaluation import DecodeAbortedError
from llmops_tui.inference.engine.faults import unexpected
from llmops_tui.inference.engine_wire import Embedded, Event

Tell = Callable[[list[Event]], None]
_Pieces = list[tuple["_Work", Text, int]]


class _Work:
    """One request: the texts that wait, and how many have no vector yet."""

    def __init__(self, request_id: str, texts: Sequence[list[int]], adapter: str) -> None:
        self.id = request_id
        self.adapter = adapter
        self.waiting = deque(Text(tokens, index=index) for index, tokens in enumerate(texts))
        self.tokens = sum(map(len, texts))
        self.left = len(texts)
        self.ended = False
        # Whose long text is next: the request's with the smallest.
        self.turn = 0


class EmbeddingQueue:
    """Requests for embeddings, run by a thread that is started with the first.

    ``tell`` gets their events from that thread: ``vector`` with its place among the request's texts and the base64 of
    its 32-bit values, then ``done``, or ``error``. ``busy`` says whether anything generates now.
    """

    def __init__(self, embedder: Embedder, threads: int, tell: Tell, busy: Callable[[], bool]) -> None:
        self._embedder = embedder
        self._tell = tell
        self._busy = busy
        self._threads = threads
        self._spare = min(threads, max(1, (os.cpu_count() or 2) - threads))
        self._changed = threading.Condition()
        self._turns: deque[_Work] = deque()
        self._turn = itertools.count()
        # The text that is evaluated in pieces, and whether a long one's turn is next.
        self._long: tuple[_Work, Text] | None = None
        self._long_is_next = False
        self._running: list[_Work] = []
        self._thread: threading.Thread | None = None
        self.steps = 0

    def submit(
        self,
        request_id: str,
        texts: Sequence[list[int]],
        *,
        adapter: str = "",
        dimensions: int | None = None,
        of: Of = "embed",
    ) -> None:
        """Take a request in; to ``rank`` its texts are pairs that are to be scored.

        Raises:
            InputRefusedError: a text cannot be embedded; see :meth:`Embedder.check`.
        """
        self._embedder.check(texts, dimensions, of=of)
        with self._changed:
            work = _Work(request_id, texts, adapter)
            work.turn = next(self._turn)
            self._turns.append(work)
            self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="embeddings", daemon=True)
            self._thread.start()

    def cancel(self, request_id: str) -> None:
        """End a request that nobody waits for; a step that is for it alone is broken off. Safe from any thread."""
        with self._changed:
            for work in self._turns:
                if work.id == request_id:
                    work.ended = True
            if self._running and all(work.ended for work in self._running):
                self._embedder.abort(on=True)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (pieces := self._choose()):
                    self._changed.wait()
                self._running = [work for work, _, _ in pieces]
                self._embedder.abort(on=False)
            try:
                events = self._step(pieces)
            except DecodeAbortedError:
                events = self._put_back(pieces)
            except LlmopsError as error:
                events = self._fail(error)
            except BaseException as error:  # noqa: BLE001 - those who come after these are still embedded
                events = self._fail(unexpected(error))
            with self._changed:
                self._running = []
            self._tell(events)

    # Under the lock

    def _choose(self) -> _Pieces:
        """The next step: a piece of a long text and short texts of all requests, by turns; none where nothing waits."""
        self._drop_ended()
        packed = [] if self._long_is_next and self._hold_long() else self._pack()
        self._long_is_next = bool(packed)
        return packed if packed or not self._hold_long() else self._long_piece()

    def _long_piece(self) -> _Pieces:
        assert self._long is not None
        work, text = self._long
        return [(work, text, self._embedder.piece(text))]

    def _hold_long(self) -> bool:
        """Whether there is a long text to go on with; the next is taken where there was none, of one request after another."""
        if self._long is None:
            having = [w for w in self._turns if w.waiting and len(w.waiting[0].tokens) > self._embedder.pack]
            if having:
                work = min(having, key=lambda w: w.turn)
                work.turn = next(self._turn)
                self._long = work, work.waiting.popleft()
        return self._long is not None

    def _pack(self) -> _Pieces:
        """One text of each request and again, while there is room; who was first is last in the next step."""
        room, places = self._embedder.pack, self._embedder.together - (self._long is not None)
        first = next((w for w in self._turns if w.waiting and len(w.waiting[0].tokens) <= room), None)
        chosen: _Pieces = []
        took = first is not None and places > 0
        while took:
            took = False
            for work in self._turns:
                fits = work.waiting and len(chosen) < places and len(work.waiting[0].tokens) <= room
                if fits and first is not None and work.adapter == first.adapter:
                    text = work.waiting.popleft()
                    chosen.append((work, text, len(text.tokens)))
                    room -= len(text.tokens)
                    took = True
        self._turns.rotate(-1)
        return chosen

    def _drop_ended(self) -> None:
        for work in [w for w in self._turns if w.ended]:
            self._turns.remove(work)
        if self._long is not None and self._long[0].ended:
            self._embedder.forget(self._long[1])
            self._long = None

    # In the thread, without the lock

    def _step(self, pieces: _Pieces) -> list[Event]:
        threads = self._spare if self._busy() else self._threads
        self._embedder.evaluate([(text, n) for _, text, n in pieces], adapter=pieces[0][0].adapter, threads=threads)
        self.steps += 1
        events: list[Event] = []
        for work, text, _ in pieces:
            if text.done < len(text.tokens) or work.ended:
                continue
            if self._long is not None and self._long[1] is text:
                self._long = None
            events += self._finish(work, text)
        # A long text says nothing until its end, and silence would be taken for a hang.
        return events or [{"id": "", "event": "beat"}]

    def _finish(self, work: _Work, text: Text) -> list[Event]:
        packed = base64.b64encode(self._embedder.vector(text).astype("<f4").tobytes()).decode()
        text.pooled = None
        work.left -= 1
        events: list[Event] = [{"id": work.id, "event": "vector", "index": text.index, "embedding": packed}]
        if work.left == 0:
            work.ended = True
            result: Embedded = {
                "tokens": work.tokens,
                "pooling": self._embedder.pooling,
                "dimensions": self._embedder.dimensions,
            }
            events.append({"id": work.id, "event": "done", "result": result})
        return events

    def _put_back(self, pieces: _Pieces) -> list[Event]:
        """After a step that was broken off: what somebody still waits for is evaluated again."""
        with self._changed:
            for work, text, _ in pieces:
                if self._long is None or self._long[1] is not text:
                    work.waiting.appendleft(text)
        return []

    def _fail(self, error: LlmopsError) -> list[Event]:
        failed = {work.id: work for work in self._running if not work.ended}
        for work in failed.values():
            work.ended = True
        return [{"id": name, "event": "error", "error": error.as_dict()} for name in failed]
