"""A BERT-like model as GGUF, for the tests and benchmarks of embeddings: ``SOURCE TARGET``.

SOURCE is a folder with config.json, model.safetensors and tokenizer.json, as sentence-transformers keeps it. Matrices are
written in 16 bits, all else in 32; with ``--exact`` everything is in 32.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

MEAN, CLS, RANK = 1, 2, 4
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


def write_bert(
    target: Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, Any],
    words: Sequence[str],
    *,
    pooling: int | None = MEAN,
    exact: bool = False,
) -> Path:
    """Write a model: ``tensors`` by transformers' names, ``words`` as a WordPiece vocabulary has them."""
    import gguf

    writer = gguf.GGUFWriter(target, "bert")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32 if exact else gguf.LlamaFileType.MOSTLY_F16)
    if pooling is not None:
        writer.add_uint32("bert.pooling_type", pooling)
    if pooling == RANK:
        # [CLS] query [SEP] document [SEP], as the tokenizers of such models have it.
        writer.add_eos_token_id(words.index("[SEP]"))
        writer.add_add_bos_token(True)
        writer.add_add_eos_token(True)
        writer.add_add_sep_token(False)
    _add_words(writer, words)
    writer.add_token_type_count(config["type_vocab_size"])
    for name, value in tensors.items():
        array = np.asarray(value, np.float32)
        if (to := _renamed(name) or (_HEAD.get(name) if pooling == RANK else None)) is not None:
            small = array.ndim == 2 and not exact and not to.startswith(("position", "token_types"))
            writer.add_tensor(to, array.astype(np.float16) if small else array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def _add_words(writer: Any, words: Sequence[str]) -> None:
    """llama.cpp marks the beginnings of words, where WordPiece marks what goes on."""
    import gguf

    control = {word for word in words if word.startswith("[") and word.endswith("]") and len(word) > 2}
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([w if w in control else w[2:] if w.startswith("##") else f"\u2581{w}" for w in words])
    kinds = gguf.TokenType
    writer.add_token_types([kinds.CONTROL if w in control else kinds.NORMAL for w in words])
    writer.add_bos_token_id(words.index("[CLS]"))
    writer.add_sep_token_id(words.index("[SEP]"))
    writer.add_unk_token_id(words.index("[UNK]"))
    writer.add_pad_token_id(words.index("[PAD]"))


def _renamed(name: str) -> str | None:
    if name in _OUTER:
        return _OUTER[name]
    head, _, rest = name.removeprefix("encoder.layer.").partition(".")
    inner, _, kind = rest.rpartition(".")
    return f"blk.{head}.{_INNER[inner]}.{kind}" if inner in _INNER else None


def convert(source: Path, target: Path, *, exact: bool = False) -> Path:
    """The model in a folder as a GGUF file, with the mean over all tokens as its pooling."""
    from safetensors.numpy import load_file

    known = json.loads((source / "tokenizer.json").read_text())["model"]["vocab"]
    config = json.loads((source / "config.json").read_text())
    return write_bert(
        target, config, load_file(source / "model.safetensors"), sorted(known, key=known.get), exact=exact
    )


if __name__ == "__main__":
    given = [a for a in sys.argv[1:] if a != "--exact"]
    print(convert(Path(given[0]), Path(given[1]), exact="--exact" in sys.argv))
