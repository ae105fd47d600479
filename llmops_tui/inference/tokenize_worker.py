"""The process that tokenizes with a model's vocabulary: ``PATH``; loads no weights, one request and one answer a line.

``PATH`` is a GGUF file, read by llama.cpp, or a folder with a ``tokenizer.json``, read by the tokenizers library. A request
is ``{"texts", "special", "pieces"}``; the answer is ``{"counts"}``, or with ``pieces`` also ``{"tokens"}``: for
each text its tokens as pairs of id and bytes in hexadecimal. ``{"ids"}`` asks for the text of tokens: ``{"text"}``.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llmops_tui import native_log
from llmops_tui.jobs.process import end_when_orphaned

if TYPE_CHECKING:
    from llmops_tui.inference.tokenizer import Counted, Facts

# The ids of a text, and the bytes of each token in hexadecimal where they are asked for.
_Encode = Callable[[str, bool, bool], tuple[list[int], list[str]]]
_Decode = Callable[[list[int]], str]


def main() -> int:
    """Answer requests until standard input ends."""
    end_when_orphaned()
    out = os.dup(1)
    os.dup2(2, 1)
    path = Path(sys.argv[1])
    try:
        facts, encode, decode = _folder(path) if path.is_dir() else _gguf(path)
    except (OSError, ValueError, ImportError) as error:
        _tell(out, {"error": str(error)})
        return 1
    _tell(out, facts)
    for line in sys.stdin.buffer:
        request = json.loads(line)
        if "ids" in request:
            _tell(out, {"text": decode(request["ids"])})
            continue
        found = [encode(text, request["special"], request["pieces"]) for text in request["texts"]]
        answer: Counted = {"counts": [len(ids) for ids, _ in found]}
        if request["pieces"]:
            answer["tokens"] = [list(zip(ids, pieces, strict=True)) for ids, pieces in found]
        _tell(out, answer)
    return 0


def _folder(path: Path) -> tuple[Facts, _Encode, _Decode]:
    from llmops_tui.models.safetensors import read_folder

    folder = read_folder(path)
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ImportError("it needs the training libraries: pip install 'llmops-tui[train]'") from error
    if not (path / "tokenizer.json").is_file():
        raise ValueError("the folder has no tokenizer.json")
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def encode(text: str, special: bool, pieces: bool) -> tuple[list[int], list[str]]:
        found = tokenizer.encode(text, add_special_tokens=special)
        if not pieces:
            return found.ids, []
        return found.ids, [part.hex() for part in share_bytes(text, found.offsets)]

    facts: Facts = {
        "bos": folder.special("bos_token"),
        "eos": folder.special("eos_token"),
        "pad": folder.special("pad_token"),
        "adds_bos": bool(tokenizer.encode("a").special_tokens_mask[:1] == [1]),
        "composes": tokenizer.normalizer is not None and "\u00e9" in tokenizer.normalizer.normalize_str("e\u0301"),
        "n_vocab": tokenizer.get_vocab_size(),
    }
    return facts, encode, lambda ids: str(tokenizer.decode(ids, skip_special_tokens=False))


def share_bytes(text: str, offsets: Sequence[tuple[int, int]]) -> list[bytes]:
    """The bytes of each token, from the characters that each covers; together they are the text's, none twice.

    Tokens that share a character are told by the library to cover all of it: each but the first gets one byte.
    """
    groups: list[tuple[bytes, int]] = []
    last = 0
    for _, end in offsets:
        raw = text[last : max(last, end)].encode("utf-8", "replace")
        if raw or not groups:
            groups.append((raw, 1))
        else:
            groups[-1] = (groups[-1][0], groups[-1][1] + 1)
        last = max(last, end)
    parts = []
    for raw, count in groups:
        head = max(0, len(raw) - count + 1)
        parts += [raw[:head], *(raw[at : at + 1] for at in range(head, head + count - 1))]
    return parts


def _gguf(path: Path) -> tuple[Facts, _Encode, _Decode]:
    import llama_cpp

    log = native_log.install(llama_cpp)
    llama_cpp.llama_backend_init()
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(os.fsencode(path), params)
    if not model:
        raise ValueError(f"llama.cpp could not load its vocabulary{log.why()}")
    vocab = llama_cpp.llama_model_get_vocab(model)
    piece_buffer = ctypes.create_string_buffer(512)

    def piece(token: int) -> str:
        length = llama_cpp.llama_token_to_piece(vocab, token, piece_buffer, len(piece_buffer), 0, True)
        return piece_buffer.raw[: max(0, length)].hex()

    def encode(text: str, special: bool, pieces: bool) -> tuple[list[int], list[str]]:
        raw = text.encode("utf-8", "replace")
        size = len(raw) + 16
        buffer = (llama_cpp.llama_token * size)()
        count = llama_cpp.llama_tokenize(vocab, raw, len(raw), buffer, size, special, True)
        ids = list(buffer[:count])
        return ids, [piece(token) for token in ids] if pieces else []

    def special(token: int) -> str:
        return bytes.fromhex(piece(token)).decode("utf-8", "replace") if token >= 0 else ""

    facts: Facts = {
        "bos": special(llama_cpp.llama_vocab_bos(vocab)),
        "eos": special(llama_cpp.llama_vocab_eos(vocab)),
        "pad": special(llama_cpp.llama_vocab_pad(vocab)),
        "adds_bos": bool(llama_cpp.llama_vocab_get_add_bos(vocab)),
        "composes": False,
        "n_vocab": llama_cpp.llama_vocab_n_tokens(vocab),
    }
    return facts, encode, lambda ids: b"".join(bytes.fromhex(piece(i)) for i in ids).decode("utf-8", "replace")


def _tell(out: int, answer: Facts | Counted) -> None:
    data = json.dumps(answer).encode() + b"\n"
    while data:
        data = data[os.write(out, data) :]


if __name__ == "__main__":
    sys.exit(main())
