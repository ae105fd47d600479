"""Tokenization and detokenization of long texts in threads of their own.

llama.cpp's tokenizer reads the vocabulary alone and may run in several threads at once; ctypes lets go of Python's lock
meanwhile. What is told of a long text is told in parts, since one line of JSON is written and read in one piece.
"""

from __future__ import annotations

import codecs
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.engine.faults import unexpected
from llmops_tui.inference.engine.native import NativeModel
from llmops_tui.inference.engine_wire import Call, Event

# Up to so many characters, or tokens, are a matter of milliseconds and are done in the loop.
SHORT = 16_384
PART = 4096
# One takes the oldest, the other the shortest: neither a long text nor a short one waits for all others.
_THREADS = 2


def size_of(message: Call) -> int:
    """How many characters are to be tokenized, or tokens to be spelled."""
    if message["op"] == "detokenize":
        return len(message["tokens"])
    if "inputs" in message:
        # Each document is tokenized anew with the query.
        return len(message.get("query", "")) * len(message["inputs"]) + sum(
            len(given) for given in message["inputs"] if isinstance(given, str)
        )
    if "fill" in message and message.get("tokens") is None:
        fill = message["fill"]
        texts = [fill["before"], fill["after"], *(file["text"] for file in fill["files"])]
        return sum(len(given) for given in texts if isinstance(given, str))
    return len(message["text"]) if message.get("tokens") is None and "text" in message else 0


class LongTexts:
    """Takes messages with long texts off the loop.

    ``tell`` gets events from the threads. A message that goes on with its tokens, to be generated from or embedded, comes
    ``back`` with them.
    """

    def __init__(self, native: NativeModel, tell: Callable[[list[Event]], None], back: Callable[[Call], None]) -> None:
        self._native = native
        self._tell = tell
        self._back = back
        self._changed = threading.Condition()
        self._waiting: list[Call] = []
        # All that were taken and not given back yet, and whether somebody still wants them.
        self._taken: dict[str, bool] = {}
        self._threads: list[threading.Thread] = []

    def take(self, message: Call) -> bool:
        """Take a message over, where its text is long; one that came back is dropped where nobody waits for it any more."""
        if message.get("tokenized"):
            return not self._give_up(message["id"])
        if size_of(message) <= SHORT:
            return False
        with self._changed:
            self._taken[message["id"]] = True
            self._waiting.append(message)
            self._changed.notify_all()
        for number in range(len(self._threads), _THREADS):
            thread = threading.Thread(target=self._run, args=(number,), name=f"long texts {number}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return True

    def cancel(self, request_id: str) -> None:
        """Nobody waits for this one any more, if it was taken."""
        with self._changed:
            if request_id in self._taken:
                self._taken[request_id] = False

    def answer(self, message: Call) -> Iterator[Event]:
        """The events of a message that is answered with tokens, their number or a text: parts, then ``done``.

        Raises:
            InputRefusedError: ``bad_token``.
        """
        name = message["id"]
        if message["op"] == "detokenize":
            self._native.check_tokens(message["tokens"])
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            for part in _parts(message["tokens"]):
                raw = b"".join(map(self._native.raw_piece, part))
                yield {"id": name, "event": "part", "text": decoder.decode(raw)}
            yield {"id": name, "event": "part", "text": decoder.decode(b"", final=True)}
            yield {"id": name, "event": "done", "result": {}}
            return
        if message["op"] == "count":
            whole = tokenized(self._native, {**message, "op": message["of"]})
            inputs = whole["inputs"] if "inputs" in whole else [[*whole["tokens"], *whole.get("begun", ())]]
            lengths = [len(tokens) for tokens in inputs]
            yield {"id": name, "event": "done", "result": {"count": sum(lengths), "longest": max(lengths)}}
            return
        tokens = tokens_of(self._native, message)
        for part in _parts(tokens):
            yield {"id": name, "event": "part", "tokens": part}
        for part in _parts(tokens if message.get("pieces", True) else []):
            pieces = [self._native.raw_piece(token).decode("utf-8", "replace") for token in part]
            yield {"id": name, "event": "part", "pieces": pieces}
        yield {"id": name, "event": "done", "result": {"count": len(tokens)}}

    def _run(self, number: int) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                sizes = [size_of(message) for message in self._waiting]
                message = self._waiting.pop(sizes.index(min(sizes)) if number == 0 else 0)
            try:
                self._work(message)
            except LlmopsError as error:
                self._fail(message["id"], error)
            except BaseException as error:  # noqa: BLE001 - those who come after this one are still answered
                self._fail(message["id"], unexpected(error))

    def _fail(self, request_id: str, error: LlmopsError) -> None:
        self._give_up(request_id)
        self._tell([{"id": request_id, "event": "error", "error": error.as_dict()}])

    def _work(self, message: Call) -> None:
        request_id = message["id"]
        if self._taken[request_id] and message["op"] in {"generate", "embed", "rank", "classify"}:
            self._back(tokenized(self._native, message) | {"tokenized": True})
            return
        if self._taken[request_id]:
            for event in self.answer(message):
                if not self._taken[request_id]:
                    break
                self._tell([event])
        self._give_up(request_id)

    def _give_up(self, request_id: str) -> bool:
        """Forget a message; returns whether somebody still waits for it."""
        with self._changed:
            return self._taken.pop(request_id)


def tokenized(native: NativeModel, message: Call) -> Call:
    """The message with tokens instead of its texts; a text's are marked, since a tokenizer may put some before it."""
    if message["op"] in {"embed", "classify"}:
        inputs = [
            native.tokenize(given, add_special=True) if isinstance(given, str) else given for given in message["inputs"]
        ]
        return message | {"inputs": inputs}
    if message["op"] == "rank":
        pairs = [native.pairs.tokens(message["query"], str(document)) for document in message["inputs"]]
        return message | {"inputs": pairs}
    if message.get("tokens") is not None:
        return message
    if "fill" in message:
        return message | _gap(native, message)
    tokens = tokens_of(native, message)
    given = bool(native.begin) and message["text"].startswith(native.begin)
    hidden = int(message["add_special"] and native.adds_bos and tokens[:1] == [native.bos] and not given)
    return message | {"tokens": tokens, "hidden": hidden}


def _gap(native: NativeModel, message: Call) -> Call:
    """The tokens of a gap's prompt, cut where they are too many and may be; what may not is refused as every prompt is."""
    head = [native.bos] if message["add_special"] and native.adds_bos else []
    tokens, cut = native.gaps.tokens(message["fill"], head=head, room=sys.maxsize)
    if message["truncate"] and len(tokens) >= native.n_ctx:
        room = native.room(message["parameters"]["max_tokens"])
        tokens, cut = native.gaps.tokens(message["fill"], head=head, room=room)
    return {"op": "generate", "tokens": tokens, "cut": cut, "hidden": 0}


def tokens_of(native: NativeModel, message: Call) -> list[int]:
    """The tokens of a message's text; that which begins a text is there once, whoever wrote it."""
    parse, text, add = message.get("parse_special", True), message["text"], message["add_special"]
    pieces = native.specials.pieces(text, message.get("plain", ())) if parse else []
    begin = [native.bos] if native.adds_bos and native.bos >= 0 else []
    if len(pieces) > 1:
        tokens = [
            token for one in pieces for token in native.tokenize(one.text, add_special=False, parse_special=one.special)
        ]
        around = native.tokenize("", add_special=True) if add else []
        tokens = around[: len(begin)] + tokens + around[len(begin) :]
    else:
        # All of it may be text from outside.
        parse = parse and all(one.special for one in pieces)
        tokens = native.tokenize(text, add_special=add, parse_special=parse)
    if begin and add and tokens[:2] == begin * 2:
        del tokens[0]
    elif begin and message.get("begins") and tokens[:1] != begin:
        tokens = begin + tokens
    return tokens


def _parts(values: list[Any]) -> Iterator[list[Any]]:
    return (values[at : at + PART] for at in range(0, len(values), PART))
