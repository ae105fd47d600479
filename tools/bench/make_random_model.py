"""Write a GGUF model of random weights, of any size, with the sample's tokenizer padded to a real vocabulary."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import gguf
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SHAPES = {
    # By name: width, layers, feed-forward width, heads, heads of keys and values, vocabulary size, context length, type.
    "8b": (4096, 32, 14_336, 32, 8, 128_256, 8192, "Q4_K_M"),
    "500m": (1536, 16, 4096, 12, 12, 32_000, 8192, "Q8_0"),
    "tiny": (256, 1, 256, 4, 4, 4096, 8192, "Q8_0"),
}
# Blocks of a type: values, bytes, where in a block its 16-bit scales are.
BLOCKS = {
    gguf.GGMLQuantizationType.Q8_0: (32, 34, (0,)),
    gguf.GGMLQuantizationType.Q4_K: (256, 144, (0, 2)),
    gguf.GGMLQuantizationType.Q6_K: (256, 210, (208,)),
}


def random_blocks(rng: np.random.Generator, rows: int, columns: int, kind: gguf.GGMLQuantizationType) -> np.ndarray:
    """Random blocks for a matrix: shape (rows, bytes a row). All bits are random but the scales, which are small."""
    values, width, scales = BLOCKS[kind]
    blocks = columns // values
    raw = rng.integers(0, 256, size=(rows, blocks, width), dtype=np.uint8)
    largest = {34: 127, 144: 63 * 15, 210: 127 * 32}[width]
    scale = np.frombuffer(np.float16(1.0 / (largest * np.sqrt(columns))).tobytes(), dtype=np.uint8)
    for at in scales:
        raw[:, :, at : at + 2] = scale
    return raw.reshape(rows, blocks * width)


def type_of(name: str, layer: int, layers: int, kind: str) -> gguf.GGMLQuantizationType:
    """The type of a tensor; Q4_K_M keeps the output and some of the most sensitive matrices in Q6_K, as llama.cpp does."""
    if kind == "Q8_0":
        return gguf.GGMLQuantizationType.Q8_0
    careful = layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2
    if name == "output" or (name in {"attn_v", "ffn_down"} and careful):
        return gguf.GGMLQuantizationType.Q6_K
    return gguf.GGMLQuantizationType.Q4_K


def write_model(path: Path, shape: str) -> None:
    """Write one of the shapes above; the same shape always gives the same file."""
    width, layers, feed_forward, heads, kv_heads, vocabulary, context, kind = SHAPES[shape]
    rng = np.random.default_rng(1)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(f"random-{shape}")
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(feed_forward)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_rope_dimension_count(width // heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type({"Q8_0": 7, "Q4_K_M": 15}[kind])
    tokenizer = json.loads((ROOT / "sample_data/models/support-base/tokenizer.json").read_text(encoding="utf-8"))
    ids = {**tokenizer["model"]["vocab"], **{t["content"]: t["id"] for t in tokenizer["added_tokens"]}}
    tokens = [token for token, _ in sorted(ids.items(), key=lambda item: item[1])]
    tokens += [f"w{number}" for number in range(vocabulary - len(tokens))]
    merges = [m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * vocabulary)
    writer.add_token_merges(merges)
    writer.add_add_bos_token(False)
    inner = width // heads * kv_heads
    matrices = [("token_embd", -1, vocabulary, width), ("output", -1, vocabulary, width)]
    for layer in range(layers):
        shapes = {
            "attn_q": (width, width),
            "attn_k": (inner, width),
            "attn_v": (inner, width),
            "attn_output": (width, width),
            "ffn_gate": (feed_forward, width),
            "ffn_up": (feed_forward, width),
            "ffn_down": (width, feed_forward),
        }
        matrices += [(name, layer, rows, columns) for name, (rows, columns) in shapes.items()]
    for name, layer, rows, columns in matrices:
        full = f"{name}.weight" if layer < 0 else f"blk.{layer}.{name}.weight"
        chosen = type_of(name, layer, layers, kind)
        writer.add_tensor(full, random_blocks(rng, rows, columns, chosen), raw_dtype=chosen)
    norms = ["output_norm.weight"] + [f"blk.{n}.{k}.weight" for n in range(layers) for k in ("attn_norm", "ffn_norm")]
    for name in norms:
        writer.add_tensor(name, np.ones(width, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("path", type=Path)
    arguments = parser.parse_args()
    write_model(arguments.path, arguments.shape)
