"""Constrained decoding: llguidance with limits, and its view of a model's tokens.

Used by the engine and by the process that checks grammars before they come to it, so that both say the same.
"""

from __future__ import annotations

import ctypes
import re
import threading
import time
from collections.abc import Callable, Collection
from queue import SimpleQueue
from typing import Any

import llama_cpp
import numpy as np
import numpy.typing as npt

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference.constraints import too_costly
from llmops_tui.inference.engine.faults import unexpected
from llmops_tui.inference.engine.guidance import NativeMatcher, Tokenizer

# What one token may cost. Measured with 49,152 tokens on hostile grammars: the dearest mask took 50 ms, ordinary ones
# take 0.03. Each limit beyond these lets a mask of some grammar take a second.
_LIMITS = {
    "max_items_in_row": 1000,
    "step_max_items": 3_000,
    "step_lexer_fuel": 50_000,
    "initial_lexer_fuel": 1_000_000,
    "max_grammar_size": 20_000,
    "max_lexer_states": 50_000,
    "verbose_errors": False,
}
# So many tokens are looked up before the steps get Python's lock, a millisecond's work.
_IN_A_ROW = 256
# llguidance knows a token that is no text by this byte, which no text has.
_NO_TEXT = b"\xff"
_COSTLY = re.compile(
    r"too (big|large|many|deep)|max is|fuel|limit|too complex|unable to determine if regex is empty", re.IGNORECASE
)
# An expression that was too much is shown whole, as the library sees it.
_SHOWN = re.compile(r":  ?\((?:And|Or|Not|Concat|Repeat)\b.*", re.DOTALL)
_PLACE = re.compile(
    r"^(?:at )?\d+\(\d+\): |^failed to (?:compile JSON schema|parse \"%json\"): |^(?:lexer|[Pp]arser) [Ee]rror: "
)
# What the library says of its own notations and options, in words for who wrote neither.
_OUR_WORDS = {
    "NoExtension": "it allows no text at all",
    "too deeply nested": "it nests too deep",
    "recursion limit exceeded": "it nests too deep",
    "oneOf constraints": "oneOf is supported only if no value matches two of its schemas; anyOf is supported",
}
_CAUSE = re.compile(r"^error: (.+)", re.MULTILINE)


def make_tokenizer(vocab: Any, visible: Collection[str]) -> Tokenizer:
    """A vocabulary as llguidance sees it: each token as the bytes that it adds to an answer's text.

    ``visible`` are control tokens whose text is part of the answer. Takes 0.5 s for 49,152 tokens; other threads run
    meanwhile.

    Raises:
        ValueError: the library does not take such a vocabulary.
    """
    count = int(llama_cpp.llama_vocab_n_tokens(vocab))
    marks = {mark.encode() for mark in visible}
    buffer = ctypes.create_string_buffer(1 << 16)
    tokens, ends = [], []
    for token in range(count):
        plain = _piece(vocab, token, buffer, special=False)
        whole = plain or _piece(vocab, token, buffer, special=True)
        tokens.append(plain or (whole if whole in marks else _NO_TEXT + whole))
        if llama_cpp.llama_vocab_is_eog(vocab, token):
            ends.append(token)
        if token % _IN_A_ROW == 0:
            time.sleep(0)
    if not ends:
        # The library wants one; its id is that of no token.
        tokens.append(_NO_TEXT + b"end")
        ends = [count]
    return Tokenizer(tokens, ends)


def _piece(vocab: Any, token: int, buffer: Any, *, special: bool) -> bytes:
    length = int(llama_cpp.llama_token_to_piece(vocab, token, buffer, len(buffer), 0, special))
    return ctypes.string_at(buffer, length) if length > 0 else b""


class Matcher:
    """Where one answer is in its grammar: what may come next, and what came."""

    def __init__(self, tokenizer: Tokenizer, grammar: str, vocabulary: int) -> None:
        """Compile a grammar for a model with so many tokens.

        Raises:
            InputRefusedError: ``grammar_invalid`` or ``grammar_too_costly``.
        """
        self._matcher = NativeMatcher(tokenizer, grammar, _LIMITS)
        self._vocabulary = vocabulary
        self._ends = frozenset(tokenizer.eos_tokens)
        self._mask = np.zeros((tokenizer.vocab_size + 31) // 32 * 4, np.uint8)
        self._check()

    def ends(self, token: int) -> bool:
        """Whether a token would end the answer."""
        return token in self._ends

    @property
    def finished(self) -> bool:
        """Whether nothing may come any more."""
        return self._matcher.stopped

    def allowed(self) -> npt.NDArray[np.int64]:
        """The ids of all tokens that may come next, in ascending order.

        Raises:
            InputRefusedError: ``grammar_too_costly``, or ``grammar_invalid`` where nothing may come.
        """
        self._matcher.compute_mask(self._mask)
        self._check()
        bits = np.unpackbits(self._mask, count=self._vocabulary, bitorder="little")
        return np.flatnonzero(bits.view(np.bool_))

    def take(self, token: int) -> None:
        """Go on by a token that is allowed.

        Raises:
            InputRefusedError: ``grammar_too_costly``.
        """
        self._matcher.consume(token)
        self._check()

    def _check(self) -> None:
        if (error := self._matcher.error) is not None:
            raise _refused(error)


def _refused(error: str) -> InputRefusedError:
    # The first line says what is wrong; of a regular expression, one further down does.
    text = (_CAUSE.findall(error) or error.split("\n", 1))[0]
    while (place := _PLACE.match(text)) is not None:
        text = text[place.end() :]
    text = _SHOWN.sub("", text)
    text = next((ours for theirs, ours in _OUR_WORDS.items() if theirs in text), text)
    if _COSTLY.search(text):
        return too_costly(text[:300])
    return InputRefusedError("grammar_invalid", f"the grammar cannot be enforced: {text[:300]}")


class MatcherMaker:
    """Makes matchers in a thread beside the engine's, since the first one of a model waits for its tokenizer."""

    def __init__(self, vocab: Any, made: Callable[[str, Matcher | None, LlmopsError | None], None]) -> None:
        """``made`` is called from that thread with the id of a request, and its matcher or the refusal."""
        self._vocab = vocab
        self._visible: tuple[str, ...] = ()
        self._made = made
        self._asked: SimpleQueue[tuple[str, str]] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def show(self, visible: Collection[str]) -> None:
        """Control tokens whose text is part of answers; told before the first grammar."""
        self._visible = tuple(visible)

    def ask(self, request: str, grammar: str) -> None:
        """Have a matcher made for a request."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="grammars", daemon=True)
            self._thread.start()
        self._asked.put((request, grammar))

    def _work(self) -> None:
        tokenizer = None
        vocabulary = int(llama_cpp.llama_vocab_n_tokens(self._vocab))
        while True:
            request, grammar = self._asked.get()
            try:
                tokenizer = tokenizer or make_tokenizer(self._vocab, self._visible)
                matcher = Matcher(tokenizer, grammar, vocabulary)
            except LlmopsError as error:
                self._made(request, None, error)
            except (ValueError, OverflowError) as error:
                told = f"this model's vocabulary cannot be used to constrain answers: {error}"[:300]
                self._made(request, None, LlmopsError("grammar_unsupported", told))
            except BaseException as error:  # noqa: BLE001 - a panic inside the library is no Exception
                self._made(request, None, unexpected(error))
            else:
                self._made(request, matcher, None)
