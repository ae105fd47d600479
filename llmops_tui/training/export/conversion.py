"""Conversion of a model folder to GGUF: metadata, vocabulary, and tensors in 16 bits."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject, parse_json
from llmops_tui.models.safetensors import ModelFolder, read_folder
from llmops_tui.regular_files import read_regular
from llmops_tui.training.export import tensors
from llmops_tui.training.export.families import Family
from llmops_tui.training.export.merge import Progress, sixteen_bits, write
from llmops_tui.training.export.tensors import Array

# How a tokenizer splits text before it looks for pairs, by a part of its pattern that others lack.
_SPLITS = (
    ("[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}", "llama-bpe"),
    ("[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?", "qwen2"),
)
_WINDOWED = {"gemma2", "gemma3_text", "phi3", "mistral"}


def convert(path: Path, target: Path, name: str, progress: Progress) -> None:
    """Write the GGUF file of a model folder.

    Raises:
        InputRefusedError: the family, its rotary scaling or its tokenizer is none that can be written here.
    """
    folder = read_folder(path)
    family = Family(folder.family, folder.config)
    writer = gguf.GGUFWriter(target, gguf.MODEL_ARCH_NAMES[family.architecture])
    writer.add_name(name)
    writer.add_file_type(int(gguf.LlamaFileType.MOSTLY_F16))
    _network(writer, family)
    _vocabulary(writer, folder)
    factors = _rotary_factors(family)
    names = [n for n in folder.tensors if not family.left_out(n)]

    def values() -> Iterator[Array]:
        yield from (value for _, value in factors)
        for number, source in enumerate(names):
            progress(number / len(names), f"tensor {number + 1} of {len(names)}")
            value = family.value(source, tensors.read(folder.tensors[source].file, source))
            yield sixteen_bits(source, value)

    shapes: list[tuple[str, tuple[int, ...]]] = [(place, value.shape) for place, value in factors]
    shapes += [(family.tensor_name(n), folder.tensors[n].shape) for n in names]
    write(writer, shapes, values())


def _network(writer: gguf.GGUFWriter, family: Family) -> None:
    config = family.config
    heads, key_heads = family.heads
    hidden = int(config["hidden_size"])
    head = int(config.get("head_dim") or hidden // heads)
    writer.add_context_length(int(config.get("max_position_embeddings") or 2048))
    writer.add_embedding_length(hidden)
    writer.add_block_count(family.layers)
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_head_count(heads)
    writer.add_head_count_kv(key_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_vocab_size(int(config["vocab_size"]))
    writer.add_rope_dimension_count(
        int(head * float(_rotary(config).get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1))
    )
    writer.add_rope_freq_base(float(_rotary(config).get("rope_theta") or config.get("rope_theta") or 10000.0))
    if family.name == "phi":
        writer.add_layer_norm_eps(float(config.get("layer_norm_eps") or 1e-5))
    else:
        writer.add_layer_norm_rms_eps(float(config.get("rms_norm_eps") or 1e-6))
    window = config.get("sliding_window")
    if family.name in _WINDOWED and window and (family.name != "mistral"):
        writer.add_sliding_window(int(window))
    if family.name == "gemma2":
        writer.add_attn_logit_softcapping(float(config.get("attn_logit_softcapping") or 50.0))
        writer.add_final_logit_softcapping(float(config.get("final_logit_softcapping") or 30.0))
    _rotary_scaling(writer, family)


def _rotary(config: JsonObject) -> JsonObject:
    found = config.get("rope_parameters") or config.get("rope_scaling") or {}
    # Models with two kinds of attention have parameters for each.
    return dict(found.get("full_attention") or found) if isinstance(found, dict) else {}


def _rotary_scaling(writer: gguf.GGUFWriter, family: Family) -> None:
    rotary = _rotary(family.config)
    kind = rotary.get("rope_type") or rotary.get("type") or "default"
    if kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rotary["factor"]))
    elif kind == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(float(rotary["factor"]))
        writer.add_rope_scaling_orig_ctx_len(int(rotary["original_max_position_embeddings"]))
    elif kind in {"longrope", "su"}:
        original = int(
            rotary.get("original_max_position_embeddings") or family.config["original_max_position_embeddings"]
        )
        writer.add_rope_scaling_orig_ctx_len(original)
        scale = int(family.config["max_position_embeddings"]) / original
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(scale) / math.log(original)) if scale > 1 else 1.0)
    elif kind not in {"default", "llama3"}:
        raise InputRefusedError("unknown_rotary", f"rotary scaling of the kind {kind!r} cannot be converted to GGUF")


def _rotary_factors(family: Family) -> list[tuple[str, Array]]:
    """The tensors of frequencies that some scalings need."""
    rotary = _rotary(family.config)
    kind = rotary.get("rope_type") or rotary.get("type")
    if kind in {"longrope", "su"}:
        return [
            (f"rope_factors_{side}.weight", np.array(rotary[f"{side}_factor"], np.float32))
            for side in ("long", "short")
        ]
    if kind != "llama3":
        return []
    # Llama 3.1: long waves are slowed by the factor, short ones stay, those between are blended (Meta, reference code).
    heads, _ = family.heads
    head = int(family.config.get("head_dim") or family.config["hidden_size"] // heads)
    base = float(rotary.get("rope_theta") or family.config.get("rope_theta") or 10000.0)
    factor, low, high = (float(rotary[n]) for n in ("factor", "low_freq_factor", "high_freq_factor"))
    original = float(rotary["original_max_position_embeddings"])
    factors = []
    for index in range(0, head, 2):
        wave = 2 * math.pi * base ** (index / head)
        if wave < original / high:
            factors.append(1.0)
        elif wave > original / low:
            factors.append(factor)
        else:
            smooth = (original / wave - low) / (high - low)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return [("rope_freqs.weight", np.array(factors, np.float32))]


def _vocabulary(writer: gguf.GGUFWriter, folder: ModelFolder) -> None:
    """The tokenizer as llama.cpp knows it: byte-level BPE, or SentencePiece with bytes to fall back on."""
    file = folder.path / "tokenizer.json"
    if not file.is_file():
        raise InputRefusedError("no_tokenizer", f"{folder.path} has no tokenizer.json")
    data = parse_json(read_regular(file))
    model = data["model"]
    if model.get("type") != "BPE":
        raise InputRefusedError(
            "unknown_tokenizer", f"a tokenizer of the kind {model.get('type')} cannot be converted to GGUF"
        )
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    size = int(folder.config["vocab_size"])
    tokens, types = _tokens(model["vocab"], data.get("added_tokens", []), size)
    if model.get("byte_fallback"):
        # SentencePiece joins the best pair first; the order of the merges is the order of their scores.
        rank = {m.replace(" ", "", 1): i for i, m in reversed(list(enumerate(merges)))}
        scores = [-float(rank.get(token, len(merges))) for token in tokens]
        for i, token in enumerate(tokens):
            if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
                types[i] = gguf.TokenType.BYTE
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_list(tokens)
        writer.add_token_scores(scores)
        writer.add_add_space_prefix(_prefixes_space(data))
    else:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(_split(data))
        writer.add_token_list(tokens)
        writer.add_token_merges(merges)
    writer.add_token_types(types)
    ids = {token: i for i, token in enumerate(tokens)}
    for role, add in (
        ("bos_token", writer.add_bos_token_id),
        ("eos_token", writer.add_eos_token_id),
        ("pad_token", writer.add_pad_token_id),
        ("unk_token", writer.add_unk_token_id),
    ):
        if folder.special(role) in ids:
            add(ids[folder.special(role)])
    writer.add_add_bos_token(_adds_bos(data, folder.special("bos_token")))
    writer.add_add_eos_token(False)
    if folder.chat_template:
        writer.add_chat_template(folder.chat_template)


def _tokens(vocabulary: dict[str, int], added: list[JsonObject], size: int) -> tuple[list[str], list[int]]:
    """Tokens by id with their types; ids without a token get one that never occurs."""
    tokens = [f"[PAD{i}]" for i in range(size)]
    types = [int(gguf.TokenType.UNUSED)] * size
    for token, index in vocabulary.items():
        if index < size:
            tokens[index], types[index] = token, int(gguf.TokenType.NORMAL)
    for entry in added:
        if entry["id"] < size:
            tokens[entry["id"]] = entry["content"]
            types[entry["id"]] = int(gguf.TokenType.CONTROL if entry.get("special") else gguf.TokenType.USER_DEFINED)
    if types[0] == gguf.TokenType.CONTROL and tokens[0] == "<unk>":
        types[0] = int(gguf.TokenType.UNKNOWN)
    return tokens, types


def _split(data: JsonObject) -> str:
    text = json.dumps(data.get("pre_tokenizer") or {}, ensure_ascii=False).replace("\\\\", "\\")
    found = next((name for part, name in _SPLITS if part in text), None)
    if found is None:
        found = "gpt-2" if "ByteLevel" in text and "Regex" not in text else None
    if found is None:
        raise InputRefusedError("unknown_tokenizer", "the tokenizer splits text in an unsupported way")
    return found


def _prefixes_space(data: JsonObject) -> bool:
    text = json.dumps([data.get("normalizer"), data.get("pre_tokenizer")])
    return '"Prepend"' in text or '"prepend_scheme": "first"' in text or '"prepend_scheme": "always"' in text


def _adds_bos(data: JsonObject, bos: str) -> bool:
    return bool(bos) and f'"{bos}"' in json.dumps(data.get("post_processor") or {}, ensure_ascii=False)
