"""Grammars as the engine holds answers to them: llguidance with limits, and a model's tokens as it knows them.

Used by the engine and by the process that checks grammars before they come to it, so that both say the same.
"""

from __future__ import annotations

import ctypes
import re
import threading
from collections.abc import Callable, Collection
from queue import SimpleQueue
from typing import Any

import llama_cpp
import llguidance
import numpy as np
import numpy.typing as npt

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.inference.engine.faults import unexpected

# What one token may cost. Measured with 49,152 tokens on hostile grammars: the dearest mask took 50 ms, ordinary ones
# take 0.03. Each limit beyond these lets a mask of some grammar take a second.
_LIMITS = llguidance.LLParserLimits(
    max_items_in_row=1000,
    step_max_items=3_000,
    step_lexer_fuel=50_000,
    initial_lexer_fuel=1_000_000,
    max_grammar_size=20_000,
    max_lexer_states=50_000,
    verbose_errors=False,
)
# llguidance knows a token that is no text by this byte, which no text has.
_NO_TEXT = b"\xff"
_COSTLY = re.compile(r"too (big|many|deep)|max is|fuel|limit|too complex", re.IGNORECASE)
_PLACE = re.compile(
    r"^(?:at )?\d+\(\d+\): |^failed to (?:compile JSON schema|parse \"%json\"): |^(?:lexer|[Pp]arser) [Ee]rror: "
)
_CAUSE = re.compile(r"^error: (.+)", re.MULTILINE)
_TOO_COMPLEX = {"ParserTooComplex", "LexerTooComplex"}


def make_tokenizer(vocab: Any, visible: Collection[str]) -> Any:
    """A vocabulary as llguidance sees it: each token as the bytes that it adds to an answer's text.

    ``visible`` are control tokens whose text is part of the answer. Takes 0.2 s for 49,152 tokens; other threads run
    meanwhile, but for two spells inside the library.
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
    if not ends:
        # The library wants one; its id is that of no token.
        tokens.append(_NO_TEXT + b"end")
        ends = [count]
    tokenize = ctypes.cast(llama_cpp.llama_tokenize, ctypes.c_void_p).value
    made = llguidance.LLTokenizer.from_llamacpp(
        tokens=tokens, vocab_ptr=vocab, tokenize_fptr=tokenize, eos_token=ends, slices=[]
    )
    return made.with_slices(llguidance.LLTokenizer.general_slices())


def _piece(vocab: Any, token: int, buffer: Any, *, special: bool) -> bytes:
    length = int(llama_cpp.llama_token_to_piece(vocab, token, buffer, len(buffer), 0, special))
    return ctypes.string_at(buffer, length) if length > 0 else b""


class Matcher:
    """Where one answer is in its grammar: what may come next, and what came."""

    def __init__(self, tokenizer: Any, grammar: str, vocabulary: int) -> None:
        """Compile a grammar for a model with so many tokens.

        Raises:
            InputRefusedError: ``grammar_invalid`` or ``grammar_too_costly``.
        """
        self._matcher = llguidance.LLMatcher(tokenizer, grammar, log_level=0, limits=_LIMITS)
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
        return bool(self._matcher.is_stopped())

    def allowed(self) -> npt.NDArray[np.int64]:
        """The ids of all tokens that may come next, in ascending order.

        Raises:
            InputRefusedError: ``grammar_too_costly``, or ``grammar_invalid`` where nothing may come.
        """
        self._matcher.unsafe_compute_mask_ptr(self._mask.ctypes.data, self._mask.size)
        self._check()
        bits = np.unpackbits(self._mask, count=self._vocabulary, bitorder="little")
        return np.flatnonzero(bits.view(np.bool_))

    def take(self, token: int) -> None:
        """Go on by a token that is allowed.

        Raises:
            InputRefusedError: ``grammar_too_costly``.
        """
        self._matcher.consume_token(token)
        self._check()

    def _check(self) -> None:
        if self._matcher.is_error():
            raise _refused(self._matcher.get_error(), self._matcher.stop_reason())


def _refused(error: str, reason: str) -> InputRefusedError:
    # The first line says what is wrong; of a regular expression, one further down does.
    text = (_CAUSE.findall(error) or error.split("\n", 1))[0]
    while (place := _PLACE.match(text)) is not None:
        text = text[place.end() :]
    if reason in _TOO_COMPLEX or _COSTLY.search(text):
        return InputRefusedError(
            "grammar_too_costly", f"the grammar is too costly: {text[:300]}",
            "Make it smaller: fewer alternatives and repetitions, and nothing that can be read in many ways.",
        )  # fmt: skip
    if text.startswith("NoExtension"):
        text = "it allows no text at all"
    return InputRefusedError("grammar_invalid", f"the grammar cannot be held to: {text[:300]}")


class MatcherMaker:
    """Makes matchers in a thread beside the engine's, since the first one of a model waits for its tokenizer."""

    def __init__(
        self, vocab: Any, visible: Collection[str], made: Callable[[str, Matcher | None, LlmopsError | None], None]
    ) -> None:
        """``made`` is called from that thread with the id of a request, and its matcher or the refusal."""
        self._vocab = vocab
        self._visible = tuple(visible)
        self._made = made
        self._asked: SimpleQueue[tuple[str, str]] = SimpleQueue()
        self._thread: threading.Thread | None = None

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
                told = f"this model's vocabulary cannot be held to a form: {error}"[:300]
                self._made(request, None, LlmopsError("grammar_unsupported", told))
            except BaseException as error:  # noqa: BLE001 - a panic inside the library is no Exception
                self._made(request, None, unexpected(error))
            else:
                self._made(request, matcher, None)
