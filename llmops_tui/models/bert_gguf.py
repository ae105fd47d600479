"""A BERT-like model that embeds, as its makers publish it, written as the GGUF file that the engine loads."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from llmops_tui.models.encoders import RANK
from llmops_tui.models.gguf_writing import Fact, write_gguf

MEAN, CLS = 1, 2
# llama.cpp's numbers of kinds of tokens and of files.
_NORMAL, _CONTROL = 1, 3
_ALL_F32, _MOSTLY_F16 = 0, 1
_OUTER = {
    "embeddings.word_embeddings.weight": "token_embd.weight",
    "embeddings.token_type_embeddings.weight": "token_types.weight",
    "embeddings.position_embeddings.weight": "position_embd.weight",
    "embeddings.LayerNorm.weight": "token_embd_norm.weight",
    "embeddings.LayerNorm.bias": "token_embd_norm.bias",
}
# What makes scores of a pair of texts; models that embed may bring it along unused.
_HEAD = {
    "pooler.dense.weight": "cls.weight", "pooler.dense.bias": "cls.bias",
    "classifier.weight": "cls.output.weight", "classifier.bias": "cls.output.bias",
}  # fmt: skip
_INNER = {
    "attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up", "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm",
}  # fmt: skip


class BertConfig(TypedDict):
    """What is read of a model's ``config.json``."""

    max_position_embeddings: int
    hidden_size: int
    num_hidden_layers: int
    intermediate_size: int
    num_attention_heads: int
    layer_norm_eps: float
    type_vocab_size: int


def convert_bert(source: Path, target: Path, *, exact: bool = True) -> Path:
    """The model in a folder with ``config.json``, ``model.safetensors`` and ``tokenizer.json``; the mean is its pooling.

    Matrices are in 16 bits, all else in 32; with ``exact`` everything is in 32.
    """
    known = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    tensors = _read_tensors(source / "model.safetensors")
    return write_bert(target, config, tensors, sorted(known, key=known.__getitem__), exact=exact)


def _read_tensors(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    """The tensors of 32 bits in a file of safetensors: a header of JSON with where each begins and ends."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    data = np.memmap(path, np.uint8, "r", 8 + length)
    found: dict[str, npt.NDArray[np.generic]] = {}
    for name, facts in header.items():
        if name != "__metadata__" and facts["dtype"] == "F32":
            begin, end = facts["data_offsets"]
            found[name] = data[begin:end].view("<f4").reshape(facts["shape"])
    return found


def write_bert(
    target: Path,
    config: BertConfig,
    tensors: Mapping[str, npt.ArrayLike],
    words: Sequence[str],
    *,
    pooling: int | None = MEAN,
    exact: bool = False,
    labels: Sequence[str] = (),
) -> Path:
    """Write a model: ``tensors`` by transformers' names, ``words`` as a WordPiece vocabulary has them.

    ``labels`` name the outputs of its head, where it classifies texts.
    """
    facts: dict[str, Fact] = {
        "general.architecture": "bert",
        "bert.context_length": config["max_position_embeddings"],
        "bert.embedding_length": config["hidden_size"],
        "bert.block_count": config["num_hidden_layers"],
        "bert.feed_forward_length": config["intermediate_size"],
        "bert.attention.head_count": config["num_attention_heads"],
        "bert.attention.layer_norm_epsilon": float(config["layer_norm_eps"]),
        "bert.attention.causal": False,
        "general.file_type": _ALL_F32 if exact else _MOSTLY_F16,
    }
    if pooling is not None:
        facts["bert.pooling_type"] = pooling
    facts |= _vocabulary(words)
    if pooling == RANK:
        # [CLS] query [SEP] document [SEP], as the tokenizers of such models have it.
        facts |= {
            "tokenizer.ggml.eos_token_id": words.index("[SEP]"),
            "tokenizer.ggml.add_bos_token": True,
            "tokenizer.ggml.add_eos_token": True,
            "tokenizer.ggml.add_sep_token": False,
        }
    if labels:
        facts["bert.classifier.output_labels"] = list(labels)
    facts["tokenizer.ggml.token_type_count"] = config["type_vocab_size"]
    written: dict[str, npt.NDArray[np.generic]] = {}
    for name, value in sorted(tensors.items()):
        array = np.asarray(value, np.float32)
        if (to := _renamed(name) or (_HEAD.get(name) if pooling == RANK else None)) is not None:
            small = array.ndim == 2 and not exact and not to.startswith(("position", "token_types"))
            written[to] = array.astype(np.float16) if small else array
    return write_gguf(target, facts, written)


def _vocabulary(words: Sequence[str]) -> dict[str, Fact]:
    """The facts of a vocabulary; llama.cpp marks the beginnings of words, where WordPiece marks what goes on."""
    control = {word for word in words if word.startswith("[") and word.endswith("]") and len(word) > 2}
    return {
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": [w if w in control else w[2:] if w.startswith("##") else f"\u2581{w}" for w in words],
        "tokenizer.ggml.token_type": [_CONTROL if w in control else _NORMAL for w in words],
        "tokenizer.ggml.bos_token_id": words.index("[CLS]"),
        "tokenizer.ggml.seperator_token_id": words.index("[SEP]"),
        "tokenizer.ggml.unknown_token_id": words.index("[UNK]"),
        "tokenizer.ggml.padding_token_id": words.index("[PAD]"),
    }


def _renamed(name: str) -> str | None:
    if name in _OUTER:
        return _OUTER[name]
    head, _, rest = name.removeprefix("encoder.layer.").partition(".")
    inner, _, kind = rest.rpartition(".")
    return f"blk.{head}.{_INNER[inner]}.{kind}" if inner in _INNER else None
