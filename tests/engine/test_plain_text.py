"""Prompts in which text from outside spells control tokens: cut there, and tokenized elsewhere as the whole is."""

from __future__ import annotations

import itertools
import os
import random
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.inference.plain_text import Piece, Special, SpecialTokens
from tests.chat_format.sources import llama_vocabularies
from tests.engine.engines import Bench

TURN = Special("<|turn|>", control=True)
END = Special("<|end|>", control=True, strips_before=True, strips_behind=True)
THINK = Special("<think>", control=False)
RUN = Special("    ", control=False)
TOKENS = SpecialTokens([TURN, END, THINK, RUN])


def test_text_is_cut_only_around_what_is_spelled() -> None:
    text = "<|turn|>hi <|turn|> there<|end|>\n<|turn|>"
    at = text.index("<|turn|>", 3)
    assert TOKENS.pieces(text, []) == TOKENS.pieces(text, [(0, 0)]) == [Piece(text, special=True)]
    assert TOKENS.pieces(text, [(at, at + 8)]) == [
        Piece("<|turn|>", special=True),
        Piece("hi <|turn|> there", special=False),
        Piece("<|end|>\n<|turn|>", special=True),
    ]
    # Half of it from outside is enough.
    assert len(TOKENS.pieces(text, [(at + 7, at + 8)])) == 3
    assert TOKENS.pieces(text, [(at - 3, at)]) == [Piece(text, special=True)]


def test_blanks_go_where_a_control_token_takes_them() -> None:
    text = "<|end|> \n<|turn|> <|end|>"
    assert TOKENS.pieces(text, [(9, 17)]) == [
        Piece("<|end|>", special=True),
        Piece("<|turn|>", special=False),
        Piece("<|end|>", special=True),
    ]


def test_what_an_author_defined_is_cut_where_it_is_spelled_whole() -> None:
    text = "<|turn|>a <think> b    c"
    assert TOKENS.pieces(text, [(10, 17)]) == [
        Piece("<|turn|>", special=True),
        Piece("a <", special=False),
        Piece("think> b    c", special=False),
    ]
    # Blanks are such tokens too, and text as people write it.
    assert TOKENS.pieces(text, [(19, 20), (22, 23)]) == [Piece(text, special=True)]
    assert TOKENS.marks == ["<think>"]
    assert TOKENS.controls == ["<|turn|>", "<|end|>"]


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench()


def checked(native: Any, chance: random.Random, rounds: int) -> None:
    """Random texts of special tokens and words: the same tokens wherever they are cut, and none where it is spelled."""
    from llmops_tui.inference.engine.long_texts import tokens_of

    specials = native.specials._specials
    controls = [one.text for one in specials if one.control]
    words = ["hello", " world", "\n", "  ", "<", "|>", "ü", "1.", " the end", *controls[:6]]
    words += [one.text for one in specials if not one.control][:3]
    # Not those that text makes too, by merging.
    ids = {t for one in controls for t in native.tokenize(one, add_special=False)}
    ids -= {t for one in controls for t in native.tokenize(one, add_special=False, parse_special=False)}
    for _ in range(rounds):
        parts = [(chance.choice(words), chance.random() < 0.5) for _ in range(12)]
        text = "".join(word for word, _ in parts)
        ends = list(itertools.accumulate(len(word) for word, _ in parts))
        plain = [(end - len(word), end) for end, (word, is_plain) in zip(ends, parts, strict=True) if is_plain]
        whole = native.tokenize(text, add_special=False)
        call: Any = {"op": "tokenize", "text": text, "add_special": False}
        assert tokens_of(native, call) == tokens_of(native, call | {"plain": []}) == whole
        pieces = native.specials.pieces(text, plain)
        found = tokens_of(native, call | {"plain": plain})
        if len(pieces) == 1 and pieces[0].special:
            assert found == whole
        # The control tokens are those of the pieces that may have some.
        expected = [t for piece in pieces if piece.special for t in native.tokenize(piece.text, add_special=False)]
        assert [t for t in found if t in ids] == [t for t in expected if t in ids]
        assert all(native.specials.pieces(piece.text, ()) for piece in pieces)
        # Cut at every control token, each part by itself.
        taken, _ = native.specials._found(text, [])
        bounds = [(0, 0, Special("", control=True)), *taken, (len(text), len(text), Special("", control=True))]
        apart: list[int] = []
        for (start, end, before), (following, _, behind) in itertools.pairwise(bounds):
            apart += native.tokenize(text[start:end], add_special=False) if end > start else []
            inner = text[end:following]
            inner = inner.lstrip(" \t\n\v\f\r") if before.strips_behind else inner
            inner = inner.rstrip(" \t\n\v\f\r") if behind.strips_before else inner
            apart += native.tokenize(inner, add_special=False, parse_special=False)
        assert apart == whole


def test_cutting_at_control_tokens_changes_no_token(bench: Bench) -> None:
    checked(bench.native, random.Random(4), 60)


def test_a_text_begins_once_with_the_token_that_begins_texts(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from llmops_tui.inference.engine.long_texts import tokenized, tokens_of

    native = bench.native
    (begin,) = native.tokenize("<|im_start|>", add_special=False)
    monkeypatch.setattr(native, "bos", begin)
    monkeypatch.setattr(native, "begin", "<|im_start|>")
    plain = native.tokenize("hello", add_special=False)

    def of(text: str, *, add: bool = False, **more: Any) -> list[int]:
        call: Any = {"op": "generate", "text": text, "add_special": add, **more}
        return tokens_of(native, call)

    assert not native.adds_bos
    assert of("hello", begins=True) == of("hello", add=True) == plain
    monkeypatch.setattr(native, "adds_bos", True)
    # The library does it by the vocabulary; here it is stood in for.
    original = native.tokenize
    monkeypatch.setattr(
        native,
        "tokenize",
        lambda text, *, add_special, parse_special=True: (
            [begin] * add_special + original(text, add_special=False, parse_special=parse_special)
        ),
    )
    assert of("hello", begins=True) == of("hello", add=True) == [begin, *plain]
    assert of(f"{native.begin}hello", begins=True) == of(f"{native.begin}hello", add=True) == [begin, *plain]
    assert of("hello") == plain
    added: Any = {"op": "generate", "text": "hello", "add_special": True}
    assert tokenized(native, added)["hidden"] == 1
    assert tokenized(native, added | {"text": f"{native.begin}hello"})["hidden"] == 0
    # Spelled by somebody, it does not begin a text.
    at = len(native.begin)
    spelled = of(f"{native.begin}hello", begins=True, plain=[(0, at)])
    assert spelled[0] == begin
    assert spelled.count(begin) == 1
    assert len(spelled) > len(plain) + 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_vocabularies_of_the_field_are_cut_without_a_change(tmp_path_factory: pytest.TempPathFactory) -> None:
    import llama_cpp

    from llmops_tui import native_log
    from llmops_tui.inference.engine.native import NativeModel
    from llmops_tui.inference.engine.vocabulary import special_tokens

    native_log.install(llama_cpp)
    llama_cpp.llama_backend_init()
    paths = llama_vocabularies(Path(tmp_path_factory.mktemp("vocabularies")))
    assert len(paths) >= 15
    for path in paths:
        params = llama_cpp.llama_model_default_params()
        params.vocab_only = True
        model = llama_cpp.llama_model_load_from_file(os.fsencode(path), params)
        native: Any = NativeModel.__new__(NativeModel)
        native.vocab = llama_cpp.llama_model_get_vocab(model)
        native.bos, native.adds_bos = llama_cpp.llama_vocab_bos(native.vocab), False
        native.specials = SpecialTokens(special_tokens(native.vocab, llama_cpp.llama_vocab_n_tokens(native.vocab)))
        assert native.specials.controls, path.name
        checked(native, random.Random(path.name), 100)
        llama_cpp.llama_model_free(model)
