"""llguidance through its C interface, which releases Python's lock during long work.

The package's own constructor of a tokenizer keeps the lock while it sorts the vocabulary, 0.3 s for 49,152 tokens and 3 s
for 262,144, in which no stream goes on.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

import llguidance
import numpy as np
import numpy.typing as npt

from llmops_tui.errors import LlmopsError

_ERROR_BYTES = 300
# The default of each is another number, so these show where each lies.
_COMPARED = (
    "max_items_in_row", "initial_lexer_fuel", "step_lexer_fuel", "step_max_items", "max_lexer_states", "max_grammar_size",
)  # fmt: skip


class _Limits(ctypes.Structure):
    _fields_ = [
        ("max_items_in_row", ctypes.c_size_t),
        ("initial_lexer_fuel", ctypes.c_uint64),
        ("step_lexer_fuel", ctypes.c_uint64),
        ("step_max_items", ctypes.c_size_t),
        ("max_lexer_states", ctypes.c_size_t),
        ("max_grammar_size", ctypes.c_size_t),
        ("precompute_large_lexemes", ctypes.c_bool),
        ("verbose_errors", ctypes.c_bool),
    ]


class _ConstraintInit(ctypes.Structure):
    _fields_ = [
        ("tokenizer", ctypes.c_void_p),
        ("log_buffer_level", ctypes.c_uint32),
        ("log_stderr_level", ctypes.c_uint32),
        ("ff_tokens_ok", ctypes.c_bool),
        ("backtrack_ok", ctypes.c_bool),
        ("limits", _Limits),
    ]


class _TokenizerInit(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("vocab_size", ctypes.c_uint32),
        ("tok_eos", ctypes.c_uint32),
        ("token_lens", ctypes.c_void_p),
        ("token_bytes", ctypes.c_char_p),
        ("tokenizer_json", ctypes.c_char_p),
        ("tokenize_assumes_string", ctypes.c_bool),
        ("tokenize_fn", ctypes.c_void_p),
        ("use_approximate_greedy_tokenize_fn", ctypes.c_bool),
        ("tokenize_user_data", ctypes.c_void_p),
        ("slices", ctypes.c_void_p),
        ("tok_eos_extra", ctypes.c_void_p),
        ("tok_eos_extra_count", ctypes.c_uint32),
    ]


@cache
def _library() -> Any:
    """The functions; refused where the structures are not laid out as here, which the known defaults show."""
    try:
        library = ctypes.CDLL(find_spec("llguidance._lib").origin)  # type: ignore[union-attr]
        for name, given, returned in (
            ("llg_new_tokenizer_v2", [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t], ctypes.c_void_p),
            ("llg_free_tokenizer", [ctypes.c_void_p], None),
            ("llg_constraint_init_set_defaults", [ctypes.c_void_p, ctypes.c_void_p], None),
            ("llg_new_matcher", [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p], ctypes.c_void_p),
            ("llg_free_matcher", [ctypes.c_void_p], None),
            ("llg_matcher_compute_mask_into", [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t], ctypes.c_int32),
            ("llg_matcher_consume_token", [ctypes.c_void_p, ctypes.c_uint32], ctypes.c_int32),
            ("llg_matcher_is_stopped", [ctypes.c_void_p], ctypes.c_bool),
            ("llg_matcher_get_error", [ctypes.c_void_p], ctypes.c_char_p),
        ):
            function = getattr(library, name)
            function.argtypes, function.restype = given, returned
    except (OSError, AttributeError) as error:
        raise _unusable(str(error)) from error
    made = _ConstraintInit()
    library.llg_constraint_init_set_defaults(ctypes.byref(made), None)
    expected = llguidance.LLParserLimits()
    for name in _COMPARED:
        if getattr(made.limits, name) != getattr(expected, name):
            raise _unusable(f"its {name} lies elsewhere")
    return library


def _unusable(reason: str) -> LlmopsError:
    told = f"answers cannot be constrained: the installed llguidance is not a supported version: {reason[:200]}"
    return LlmopsError("grammar_unsupported", told, "Install the version that constraints.txt names.")


class Tokenizer:
    """A vocabulary, sorted for finding what may come next."""

    def __init__(self, tokens: Sequence[bytes], ends: Sequence[int]) -> None:
        """``tokens`` are the bytes of each id, ``ends`` the ids that end an answer, at least one.

        Raises:
            ValueError: the vocabulary is none.
            LlmopsError: ``grammar_unsupported``: the installed library has another interface.
        """
        library = _library()
        self.vocab_size = len(tokens)
        self.eos_tokens = list(ends)
        lengths = np.fromiter(map(len, tokens), np.uint32, len(tokens))
        extra = np.array(self.eos_tokens[1:], np.uint32)
        given = _TokenizerInit(
            struct_size=ctypes.sizeof(_TokenizerInit),
            vocab_size=len(tokens),
            tok_eos=self.eos_tokens[0],
            token_lens=lengths.ctypes.data,
            token_bytes=b"".join(tokens),
            # Texts are never tokenized for a grammar, since what must come next is not worked out ahead.
            use_approximate_greedy_tokenize_fn=True,
            tok_eos_extra=extra.ctypes.data if len(extra) else None,
            tok_eos_extra_count=len(extra),
        )
        error = ctypes.create_string_buffer(_ERROR_BYTES)
        self.pointer = library.llg_new_tokenizer_v2(ctypes.byref(given), error, len(error))
        if not self.pointer:
            raise ValueError(error.value.decode(errors="replace"))
        weakref.finalize(self, library.llg_free_tokenizer, self.pointer)


class NativeMatcher:
    """Where one answer is in its grammar. No method raises; what goes wrong is in :attr:`error` from then on."""

    def __init__(self, tokenizer: Tokenizer, grammar: str, limits: dict[str, int]) -> None:
        """Compile a grammar in Lark's notation; ``limits`` are those of ``LLParserLimits``, by name."""
        self._library = _library()
        # The matcher uses what the tokenizer points to.
        self._tokenizer = tokenizer
        given = _ConstraintInit()
        self._library.llg_constraint_init_set_defaults(ctypes.byref(given), tokenizer.pointer)
        given.log_stderr_level = 0
        for name, value in limits.items():
            setattr(given.limits, name, value)
        self._pointer = self._library.llg_new_matcher(ctypes.byref(given), b"lark", grammar.encode())
        weakref.finalize(self, self._library.llg_free_matcher, self._pointer)

    def compute_mask(self, mask: npt.NDArray[np.uint8]) -> None:
        """Set the bits of all tokens that may come next."""
        self._library.llg_matcher_compute_mask_into(self._pointer, mask.ctypes.data, mask.size)

    def consume(self, token: int) -> None:
        """Go on by a token."""
        self._library.llg_matcher_consume_token(self._pointer, token)

    @property
    def stopped(self) -> bool:
        """Whether nothing may come any more."""
        return bool(self._library.llg_matcher_is_stopped(self._pointer))

    @property
    def error(self) -> str | None:
        """What went wrong."""
        told = self._library.llg_matcher_get_error(self._pointer)
        return None if told is None else str(told.decode(errors="replace"))
