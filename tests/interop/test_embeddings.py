"""Vectors of texts against transformers on the same weights: a model that generates, and an encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.interop.conftest import TOKENIZER, make_twin

pytestmark = pytest.mark.slow

TEXTS = ["I want my money back, please.", "a", "Grüße aus Köln 日本 👍", "The desk lamp costs 35 euros. " * 30]


def embedded(path: Path, ids: list[list[int]]) -> list[np.ndarray]:
    from llmops_tui.inference.engine.embedding import Embedder
    from llmops_tui.inference.engine.native import NativeModel
    from llmops_tui.inference.engine.parameters import EngineOptions

    options = EngineOptions(str(path), threads=1, context=512, precision="exact")
    return Embedder(NativeModel(options), options).embed(ids)


def assert_same(found: list[np.ndarray], states: list[np.ndarray], within: float = 1e-4) -> None:
    """The mean of the last states, of length 1."""
    for vector, state in zip(found, states, strict=True):
        mean = state.mean(axis=0)
        assert np.abs(vector - mean / np.linalg.norm(mean)).max() < within


def test_a_model_that_generates_embeds_as_transformers_pools(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    twin = make_twin(tmp_path, bos=False)
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    ids = [tokenizer.encode(text, add_special_tokens=False) for text in TEXTS]
    model = AutoModel.from_pretrained(twin.folder, dtype=torch.float32).eval()
    with torch.no_grad():
        states = [model(torch.tensor([x])).last_hidden_state[0].double().numpy() for x in ids]
    assert_same(embedded(twin.gguf, ids), states)


def test_an_encoder_embeds_as_transformers_does(tmp_path: Path) -> None:
    import torch
    from transformers import BertConfig, BertModel

    from llmops_tui.models.bert_gguf import write_bert

    torch.manual_seed(0)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{n}" for n in range(195))]
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=256,
        initializer_range=0.2,
    )
    model = BertModel(config, add_pooling_layer=False).eval()
    tensors = {name: value.numpy() for name, value in model.state_dict().items()}
    path = write_bert(tmp_path / "bert.gguf", config.to_dict(), tensors, words, exact=True)
    rng = np.random.default_rng(3)
    ids = [[2, *(int(t) for t in rng.integers(5, 200, n)), 3] for n in (1, 20, 120, 250)]
    found = embedded(path, ids)
    assert_same(found, states_of(model, ids), within=1e-3)
    # What differs is llama.cpp's GELU: with the same one transformers gives the same vectors.
    with_gelu_of_llama_cpp(model)
    assert_same(found, states_of(model, ids))


def states_of(model: Any, ids: list[list[int]]) -> list[np.ndarray]:
    import torch

    with torch.no_grad():
        return [model(torch.tensor([x])).last_hidden_state[0].double().numpy() for x in ids]


def with_gelu_of_llama_cpp(model: Any) -> None:
    """Its ``ggml_vec_gelu_f32``: the form with tanh, looked up in a table of 16 bits between -10 and 10."""
    import torch

    class Gelu(torch.nn.Module):
        def forward(self, given: torch.Tensor) -> torch.Tensor:
            half = given.half().float()
            inner = 0.79788456080286535588 * half * (1 + 0.044715 * half * half)
            table = (0.5 * half * (1 + torch.tanh(inner))).half().float()
            return torch.where(given <= -10, 0.0, torch.where(given >= 10, given, table))

    for layer in model.encoder.layer:
        layer.intermediate.intermediate_act_fn = Gelu()
