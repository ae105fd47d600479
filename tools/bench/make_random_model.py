"""Write a GGUF model of random weights in Q8_0, of any size, with the sample's tokenizer padded to a real vocabulary."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import gguf
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SHAPES = {
    # By name: width, layers, feed-forward width, heads, vocabulary size, context length.
    "500m": (1536, 16, 4096, 12, 32_000, 8192),
    "tiny": (256, 1, 256, 4, 4096, 8192),
}


def random_q8(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Random Q8_0 blocks for a matrix: shape (rows, bytes a row). A block is a float16 scale and 32 int8."""
    blocks = columns // 32
    raw = np.empty((rows, blocks, 34), dtype=np.uint8)
    scale = np.float16(1.0 / (127 * np.sqrt(columns)))
    raw[:, :, :2] = np.frombuffer(scale.tobytes(), dtype=np.uint8)
    raw[:, :, 2:] = rng.integers(-127, 128, size=(rows, blocks, 32), dtype=np.int8).view(np.uint8)
    return raw.reshape(rows, blocks * 34)


def write_model(path: Path, shape: str) -> None:
    """Write one of the shapes above; the same shape always gives the same file."""
    width, layers, feed_forward, heads, vocabulary, context = SHAPES[shape]
    rng = np.random.default_rng(1)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(f"random-{shape}")
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(feed_forward)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_rope_dimension_count(width // heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(7)
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
    matrices = [("token_embd.weight", vocabulary, width), ("output.weight", vocabulary, width)]
    for layer in range(layers):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            matrices.append((f"blk.{layer}.{name}.weight", width, width))  # noqa: PERF401
        matrices.append((f"blk.{layer}.ffn_gate.weight", feed_forward, width))
        matrices.append((f"blk.{layer}.ffn_up.weight", feed_forward, width))
        matrices.append((f"blk.{layer}.ffn_down.weight", width, feed_forward))
    for name, rows, columns in matrices:
        writer.add_tensor(name, random_q8(rng, rows, columns), raw_dtype=gguf.GGMLQuantizationType.Q8_0)
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
