"""Conversion of a model folder to GGUF: metadata, vocabulary, and tensors in 16 bits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import gguf

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject, parse_json
from llmops_tui.models.safetensors import ModelFolder, read_folder
from llmops_tui.regular_files import read_regular
from llmops_tui.training import network, pre_tokenizers
from llmops_tui.training.export.merge import Progress, joined, sixteen_bits, write
from llmops_tui.training.families import Array, Family
from llmops_tui.training.network_of_families import Figure


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
    for key, value in network.figures(family).items():
        _add(writer, f"{writer.arch}.{key}", value)
    _vocabulary(writer, folder)
    factors = network.rotary_factors(family)
    places = family.places(folder.tensors)

    def values() -> Iterator[Array]:
        yield from (value for _, value in factors)
        for number, (place, sources) in enumerate(places.items()):
            progress(number / len(places), f"tensor {number + 1} of {len(places)}")
            yield sixteen_bits(place, joined(family, folder, sources, place))

    shapes: list[tuple[str, tuple[int, ...]]] = [(place, value.shape) for place, value in factors]
    shapes += [(p, family.shape(sources, folder.tensors[sources[0]].shape, p)) for p, sources in places.items()]
    write(writer, shapes, values())


def _add(writer: gguf.GGUFWriter, key: str, value: Figure) -> None:
    """A figure as llama.cpp reads it: truths, numbers of 32 bits, and lists of these."""
    kinds = {
        bool: gguf.GGUFValueType.BOOL,
        int: gguf.GGUFValueType.UINT32,
        float: gguf.GGUFValueType.FLOAT32,
        str: gguf.GGUFValueType.STRING,
    }
    if isinstance(value, list):
        writer.add_key_value(key, value, gguf.GGUFValueType.ARRAY, kinds[type(value[0])])
    else:
        writer.add_key_value(key, value, kinds[type(value)])


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
        if (kind := (data.get("normalizer") or {}).get("type", "NFC")) != "NFC":
            # Composed letters are what texts have anyway; llama.cpp changes nothing, and rows with others are named before a run.
            raise InputRefusedError(
                "unknown_tokenizer", f"the tokenizer changes texts first ({kind}), which llama.cpp does not"
            )
        writer.add_tokenizer_pre(pre_tokenizers.find(data, _splits).names[0])
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
    before, behind = _put_around(data)
    writer.add_add_bos_token(folder.special("bos_token") in before)
    writer.add_add_eos_token(folder.special("eos_token") in behind)
    _templates(writer, folder)


def _templates(writer: gguf.GGUFWriter, folder: ModelFolder) -> None:
    """The chat templates: the usual one, and those by name behind it."""
    named = [{"name": name, "template": template} for name, template in folder.named_templates.items()]
    if folder.chat_template:
        named = [{"name": "default", "template": folder.chat_template}, *named]
    if named:
        writer.add_chat_template(named if len(named) > 1 else named[0]["template"])


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


def _splits(pre_tokenizer: JsonObject | None, text: str) -> list[tuple[int, int]]:
    """The pieces, by begin and end, into which a pre-tokenizer cuts a text."""
    from tokenizers import Tokenizer

    empty: JsonObject = {"type": "BPE", "vocab": {}, "merges": []}
    whole: JsonObject = {"version": "1.0", "added_tokens": [], "model": empty, "pre_tokenizer": pre_tokenizer}
    found = Tokenizer.from_str(json.dumps(whole)).pre_tokenizer
    return [(0, len(text))] if found is None else [place for _, place in found.pre_tokenize_str(text)]


def _prefixes_space(data: JsonObject) -> bool:
    text = json.dumps([data.get("normalizer"), data.get("pre_tokenizer")])
    return '"Prepend"' in text or '"prepend_scheme": "first"' in text or '"prepend_scheme": "always"' in text


def _put_around(data: JsonObject) -> tuple[set[str], set[str]]:
    """The special tokens that the tokenizer puts before a text, and those behind it."""
    before: set[str] = set()
    behind: set[str] = set()
    processor = data.get("post_processor") or {}
    for one in processor.get("processors") or [processor]:
        side = before
        for part in one.get("single") or []:
            if "Sequence" in part:
                side = behind
            elif "SpecialToken" in part:
                side.add(str(part["SpecialToken"]["id"]))
    return before, behind
