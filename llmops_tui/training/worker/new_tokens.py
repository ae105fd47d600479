"""New tokens of a vocabulary: a model folder with rows for them, made once and kept beside those made of GGUF files."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject, parse_json
from llmops_tui.models.registry import Model
from llmops_tui.models.safetensors import ModelFolder, read_folder
from llmops_tui.regular_files import read_regular
from llmops_tui.training.export import tensors
from llmops_tui.training.families import Array
from llmops_tui.training.unpacking.cache import FOLDER
from llmops_tui.workspace.files import make_folder_within, sha256_text, sync_file, sync_folder
from llmops_tui.workspace.layout import Workspace

_EMBEDDING, _OUTPUT = "model.embed_tokens.weight", "lm_head.weight"
_FILE = "tokenizer.json"


def ids_of(folder: Path, tokens: list[str]) -> list[int]:
    """The ids that new tokens have in a folder that was made with them."""
    if not tokens:
        return []
    known = {t["content"]: int(t["id"]) for t in parse_json(read_regular(folder / _FILE)).get("added_tokens", [])}
    return [known[token] for token in tokens]


def folder_with(workspace: Workspace, base: Model, weights: Path, tokens: list[str]) -> Path:
    """A copy of a model folder whose vocabulary has new tokens, each with the mean of all rows as its beginning.

    Raises:
        InputRefusedError: ``tokens``: one is in the vocabulary already, or the model keeps its words elsewhere.
    """
    if not tokens:
        return weights
    folder = read_folder(weights)
    kind = folder.dtype if folder.dtype in tensors.TORCH_NAMES else "F32"
    name = f"{base.sha256}-{kind}-{sha256_text(json.dumps(tokens))[:16]}"
    target = workspace.models / FOLDER / name
    if (target / "config.json").is_file():
        os.utime(target)
        return target
    tokenizer, ids = _tokenizer(folder, tokens)
    place = make_folder_within(make_folder_within(workspace.models) / FOLDER)
    scratch = place / f".{name}.{os.urandom(4).hex()}.part"
    try:
        scratch.mkdir(mode=0o700)
        _write(folder, scratch, kind, tokenizer, ids)
        if not (target / "config.json").is_file():
            shutil.rmtree(target, ignore_errors=True)
            scratch.rename(target)
            sync_folder(place)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def _tokenizer(folder: ModelFolder, tokens: list[str]) -> tuple[JsonObject, list[int]]:
    """``tokenizer.json`` with the tokens behind all others, and their ids."""
    data = parse_json(read_regular(folder.path / _FILE))
    known = set(data["model"]["vocab"]) | {token["content"] for token in data.get("added_tokens", [])}
    if there := [token for token in tokens if token in known]:
        raise InputRefusedError(
            "tokens", f"tokens: {', '.join(there)} {'is' if len(there) == 1 else 'are'} in the vocabulary already"
        )
    if folder.wrapper or _EMBEDDING not in folder.tensors:
        raise InputRefusedError(
            "tokens",
            f"tokens: models of the architecture {folder.wrapper or folder.family!r} cannot have new ones here",
        )
    last = max([*data["model"]["vocab"].values(), *(int(token["id"]) for token in data.get("added_tokens", []))])
    ids = list(range(last + 1, last + 1 + len(tokens)))
    entry = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    new = [{"id": index, "content": token, **entry} for index, token in zip(ids, tokens, strict=True)]
    return data | {"added_tokens": [*data.get("added_tokens", []), *new]}, ids


def _write(folder: ModelFolder, target: Path, kind: str, tokenizer: JsonObject, ids: list[int]) -> None:
    grown = {name: tensor.shape for name, tensor in folder.tensors.items()}
    # Some vocabularies have rows to spare.
    wide = max(folder.tensors[_EMBEDDING].shape[0], ids[-1] + 1)
    for name in {_EMBEDDING, _OUTPUT} & set(grown):
        grown[name] = (wide, grown[name][1])

    def values() -> Iterator[Array]:
        for name, tensor in folder.tensors.items():
            value = tensors.read(tensor.file, tensor.name)
            yield _grown(value, wide, ids) if name in {_EMBEDDING, _OUTPUT} else value

    tensors.write(target / "model.safetensors", list(grown.items()), values(), kind)
    for file in folder.files:
        if file.suffix != ".safetensors" and file.name not in {_FILE, "config.json"}:
            shutil.copyfile(file, target / file.name)
    (target / _FILE).write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    config = parse_json(read_regular(folder.path / "config.json"))
    body = config | {"vocab_size": wide, "dtype": tensors.TORCH_NAMES[kind]}
    (target / "config.json").write_text(json.dumps(body, indent=2), encoding="utf-8")
    for written in target.iterdir():
        sync_file(written)
    sync_folder(target)


def _grown(value: Array, rows: int, new: list[int]) -> Array:
    """A matrix with as many rows; those of new words are the mean of those of the others."""
    mean = value[: new[0]].mean(axis=0, dtype=np.float64).astype(np.float32)
    found = np.concatenate([value, np.zeros((rows - len(value), value.shape[1]), np.float32)])
    found[new] = mean
    return found
