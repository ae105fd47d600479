"""The process that tokenizes with a model's vocabulary: ``PATH``; loads no weights, one request and one answer a line.

A request is ``{"texts", "special", "pieces"}``; the answer is ``{"counts"}``, or with ``pieces`` also ``{"tokens"}``: for
each text its tokens as pairs of id and bytes in hexadecimal.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from typing import Any


def main() -> int:
    """Answer requests until standard input ends."""
    out = os.dup(1)
    os.dup2(2, 1)
    import llama_cpp

    llama_cpp.llama_backend_init()
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(sys.argv[1].encode(), params)
    if not model:
        os.write(out, json.dumps({"error": "llama.cpp could not load its vocabulary"}).encode() + b"\n")
        return 1
    vocab = llama_cpp.llama_model_get_vocab(model)
    piece_buffer = ctypes.create_string_buffer(512)

    def tokenize(text: str, *, special: bool) -> list[int]:
        raw = text.encode("utf-8", "replace")
        size = len(raw) + 16
        buffer = (llama_cpp.llama_token * size)()
        count = llama_cpp.llama_tokenize(vocab, raw, len(raw), buffer, size, special, True)
        return list(buffer[:count])

    def piece(token: int) -> str:
        length = llama_cpp.llama_token_to_piece(vocab, token, piece_buffer, len(piece_buffer), 0, True)
        return piece_buffer.raw[: max(0, length)].hex()

    def special(token: int) -> str:
        return bytes.fromhex(piece(token)).decode("utf-8", "replace") if token >= 0 else ""

    facts = {
        "bos": special(llama_cpp.llama_vocab_bos(vocab)), "eos": special(llama_cpp.llama_vocab_eos(vocab)),
        "n_vocab": llama_cpp.llama_vocab_n_tokens(vocab),
    }  # fmt: skip
    _tell(out, facts)
    for line in sys.stdin.buffer:
        request = json.loads(line)
        found = [tokenize(text, special=request["special"]) for text in request["texts"]]
        answer: dict[str, Any] = {"counts": [len(tokens) for tokens in found]}
        if request["pieces"]:
            answer["tokens"] = [[(token, piece(token)) for token in tokens] for tokens in found]
        _tell(out, answer)
    return 0


def _tell(out: int, answer: dict[str, Any]) -> None:
    data = json.dumps(answer).encode() + b"\n"
    while data:
        data = data[os.write(out, data) :]


if __name__ == "__main__":
    sys.exit(main())
