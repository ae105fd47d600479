from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.sample import sample_folder

MODEL = sample_folder() / "models" / "support-base-Q8_0.gguf"
WORDS = [
    "refund",
    "kettle",
    "rug",
    "open",
    "hello",
    "please",
    "urgent",
    "price",
    "of",
    "the",
    "desk",
    "lamp",
    "warranty",
    "cancel",
    "my",
    "order",
    "thanks",
]


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    from llmops_tui.inference.engine import LlamaEngine

    return LlamaEngine(str(MODEL), context=512, threads=1, gpu_layers=0)


def prompts(count: int) -> list[str]:
    rng = random.Random(4)
    questions = [" ".join(rng.choices(WORDS, k=rng.randint(1, 12))) for _ in range(count)]
    return [f"<|im_start|>user\n{q}<|im_end|>\n<|im_start|>assistant\n" for q in questions]


def generate(engine: Any, prompt: str, **parameters: Any) -> str:
    out: list[str] = []
    tokens = engine.tokenize(prompt, add_special=False)
    engine.generate(tokens, SamplingParameters(**({"max_tokens": 24} | parameters)), out.append, lambda: False)
    return "".join(out)


def test_greedy_text_equals_that_of_the_library(engine: Any) -> None:
    import llama_cpp

    library = llama_cpp.Llama(str(MODEL), n_ctx=512, n_threads=1, verbose=False)
    for prompt in prompts(40):
        expected = library.create_completion(prompt, max_tokens=24, temperature=0.0)["choices"][0]["text"]
        assert generate(engine, prompt) == expected


def test_text_does_not_depend_on_what_was_generated_before(engine: Any) -> None:
    from llmops_tui.inference.engine import LlamaEngine

    for prompt in prompts(6):
        fresh = LlamaEngine(str(MODEL), context=512, threads=1, gpu_layers=0)
        assert generate(engine, prompt) == generate(fresh, prompt)


def test_tokens_are_those_of_the_tokenizer_file(engine: Any) -> None:
    from tokenizers import Tokenizer

    reference = Tokenizer.from_file(str(MODEL.parent / "support-base" / "tokenizer.json"))
    for text in [*prompts(30), "Grüße 日本 👍\n\n  x", "it's 12345 days", "\t\x00<|im_end|>a"]:
        ids = engine.tokenize(text, add_special=False)
        assert ids == reference.encode(text, add_special_tokens=False).ids
        assert b"".join(engine.piece(i, special=True) for i in ids).decode() == text


def test_a_cancel_stops_within_one_token(engine: Any) -> None:
    out: list[str] = []
    tokens = engine.tokenize(prompts(1)[0], add_special=False)
    parameters = SamplingParameters(temperature=5.0, max_tokens=300, seed=3)
    result = engine.generate(tokens, parameters, out.append, lambda: len(out) >= 5)
    assert result.finish_reason == "cancelled"
    assert len(out) == 5


def test_only_what_changed_of_a_prompt_is_evaluated(engine: Any) -> None:
    tokens = engine.tokenize("kettle " * 100 + "rug", add_special=False)
    parameters = SamplingParameters(max_tokens=1)
    engine.generate(tokens, parameters, lambda _t: None, lambda: False)
    other = [*tokens[:-1], tokens[0]]
    result = engine.generate(other, parameters, lambda _t: None, lambda: False)
    assert result.reused_tokens == len(tokens) - 1
