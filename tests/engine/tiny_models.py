"""Tiny models of random weights of several families, with the sample's vocabulary, made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.engine.engines import MODEL, read_gguf, rewrite_gguf
from tests.made_once import made_once

WIDTH, FORWARD, HEADS, KV_HEADS, HEAD = 64, 96, 4, 2, 32
EXPERTS = 4
_DENSE = ("ffn_gate", "ffn_up", "ffn_down")
# What each family has beside attention's four matrices.
_NORMS: dict[str, tuple[str, ...]] = {
    "llama": ("attn_norm", "ffn_norm"),
    "gemma2": ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"),
    "gemma3": ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm", "attn_q_norm", "attn_k_norm"),
    "gemma4": ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm", "attn_q_norm", "attn_k_norm"),
    "cohere2": ("attn_norm",),
    "olmo2": ("post_attention_norm", "post_ffw_norm"),
    "qwen3moe": ("attn_norm", "ffn_norm", "attn_q_norm", "attn_k_norm"),
    "gpt-oss": ("attn_norm", "post_attention_norm"),
    "qwen3": ("attn_norm", "ffn_norm", "attn_q_norm", "attn_k_norm"),
}
FAMILIES = tuple(family for family in _NORMS if family != "qwen3")
WINDOWED = ("gemma2", "gemma3", "gemma4", "cohere2", "olmo2", "gpt-oss")
_TIED = {"gemma2", "gemma3", "gemma4", "cohere2"}
_EXPERTS = {"qwen3moe", "gpt-oss"}


@made_once
def write_tiny(
    path: Path, family: str = "gemma3", *, layers: int = 6, window: int = 64, seed: int = 3, vocabulary: int = 2048
) -> Path:
    """A model of one family in 32 bits, with a window of so many tokens where the family has one; context 4,096."""
    import gguf

    writer = gguf.GGUFWriter(path, family)
    writer.add_context_length(4096)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_layer_norm_eps(1e-5)
    writer.add_file_type(0)
    if family not in {"cohere2", "olmo2"}:
        writer.add_key_length(HEAD)
        writer.add_value_length(HEAD)
    if family in WINDOWED:
        writer.add_sliding_window(window)
    _facts(writer, family, layers)
    _vocabulary(writer, vocabulary)
    for name, tensor in _tensors(family, layers, seed, vocabulary).items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _facts(writer: Any, family: str, layers: int) -> None:
    if family in _EXPERTS:
        writer.add_expert_count(EXPERTS)
        writer.add_expert_used_count(2)
        writer.add_expert_feed_forward_length(FORWARD)
    if family == "cohere2":
        writer.add_logit_scale(0.25)
    if family == "gpt-oss":
        writer.add_rope_dimension_count(HEAD)
    if family == "gemma4":
        # Three of four layers look through the window, in narrower heads, and the last two share the cache of others.
        writer.add_sliding_window_pattern([n % 4 != 3 for n in range(layers)])
        writer.add_key_length_swa(HEAD // 2)
        writer.add_value_length_swa(HEAD // 2)
        writer.add_rope_dimension_count(HEAD)
        writer.add_rope_dimension_count_swa(HEAD // 2)
        writer.add_shared_kv_layers(2)
        writer.add_uint32("gemma4.embedding_length_per_layer_input", 0)


def _vocabulary(writer: Any, count: int) -> None:
    import gguf

    fields = read_gguf(MODEL).fields

    def texts(key: str) -> list[bytes]:
        return [bytes(fields[key].parts[i]) for i in fields[key].data]

    tokens = texts("tokenizer.ggml.tokens")[:count]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * len(tokens))
    writer.add_token_merges(texts("tokenizer.ggml.merges"))


def _tensors(family: str, layers: int, seed: int, vocabulary: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)

    def random(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) / np.sqrt(shape[-1])).astype(np.float32)

    found: dict[str, np.ndarray] = {"token_embd.weight": random(vocabulary, WIDTH) * np.float32(4)}
    found["output_norm.weight"] = np.ones(WIDTH, np.float32)
    if family not in _TIED:
        found["output.weight"] = random(vocabulary, WIDTH) * np.float32(3)
    for n in range(layers):
        head = (
            HEAD // 2
            if family == "gemma4" and n % 4 != 3
            else WIDTH // HEADS
            if family in {"cohere2", "olmo2"}
            else HEAD
        )
        layer = {
            "attn_q": random(HEADS * head, WIDTH) * np.float32(3),
            "attn_k": random(KV_HEADS * head, WIDTH) * np.float32(3),
            "attn_v": random(KV_HEADS * head, WIDTH),
            "attn_output": random(WIDTH, HEADS * head),
        }
        layer |= {name: np.ones(_norm_width(name, head), np.float32) for name in _NORMS[family]}
        if family == "olmo2":
            layer |= {
                "attn_q_norm": np.ones(HEADS * head, np.float32),
                "attn_k_norm": np.ones(KV_HEADS * head, np.float32),
            }
        layer |= (
            _experts(family, random)
            if family in _EXPERTS
            else {
                "ffn_gate": random(FORWARD, WIDTH),
                "ffn_up": random(FORWARD, WIDTH),
                "ffn_down": random(WIDTH, FORWARD),
            }
        )
        found |= {f"blk.{n}.{name}.weight": tensor for name, tensor in layer.items()}
        if family == "gpt-oss":
            found |= {f"blk.{n}.{name}": tensor for name, tensor in _biases(head).items()}
    if family == "gemma4":
        found["rope_freqs.weight"] = np.ones(HEAD // 2, np.float32)
    return found


def _norm_width(name: str, head: int) -> int:
    return head if name in {"attn_q_norm", "attn_k_norm"} else WIDTH


def _experts(family: str, random: Callable[..., np.ndarray]) -> dict[str, np.ndarray]:
    shapes = {"ffn_gate_exps": (FORWARD, WIDTH), "ffn_up_exps": (FORWARD, WIDTH), "ffn_down_exps": (WIDTH, FORWARD)}
    found = {name: random(EXPERTS, *shape) for name, shape in shapes.items()}
    found["ffn_gate_inp"] = random(EXPERTS, WIDTH).astype(np.float32)
    if family == "gpt-oss":
        found["attn_sinks"] = np.zeros(HEADS, np.float32)
    return found


def _biases(head: int) -> dict[str, np.ndarray]:
    shapes: dict[str, tuple[int, ...]] = {
        "attn_q": (HEADS * head,),
        "attn_k": (KV_HEADS * head,),
        "attn_v": (KV_HEADS * head,),
        "attn_output": (WIDTH,),
        "ffn_gate_inp": (EXPERTS,),
        "ffn_gate_exps": (EXPERTS, FORWARD),
        "ffn_up_exps": (EXPERTS, FORWARD),
        "ffn_down_exps": (EXPERTS, WIDTH),
    }
    return {f"{name}.bias": np.zeros(shape, np.float32) for name, shape in shapes.items()}


RERANK_TEMPLATE = "<|im_start|>user\nFits {document} what is asked?\n{query}<|im_end|>\n<|im_start|>assistant\n"


@made_once
def write_ranker(path: Path, *, template: str = RERANK_TEMPLATE, seed: int = 3) -> Path:
    """A model that generates, made into one that ranks: its last token's scores for yes and no, behind a template of its own."""
    import gguf

    plain = write_tiny(path.with_suffix(".plain"), "qwen3", layers=2, seed=seed)
    rng = np.random.default_rng(seed)
    words = gguf.GGUFReader(plain).fields["tokenizer.ggml.tokens"].contents()
    kinds = [gguf.TokenType.CONTROL if w.startswith("<|") else gguf.TokenType.NORMAL for w in words]

    def change(writer: Any) -> None:
        writer.add_token_types(kinds)
        writer.add_pooling_type(gguf.PoolingType.RANK)
        writer.add_classifier_output_labels(["yes", "no"])
        writer.add_chat_template([{"name": "rerank", "template": template}] if template else "{{ messages }}")
        writer.add_tensor("cls.output.weight", (rng.normal(size=(2, WIDTH)) / 16).astype(np.float32))

    return rewrite_gguf(plain, path, {"tokenizer.ggml.token_type"}, change)
