"""Model folders made of GGUF files: dequantized once, tensor by tensor, and kept by the file's hash."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf.quants import dequantize
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.core_model_loading import revert_weight_conversion

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.models.gguf import read_contents
from llmops_tui.models.registry import Model
from llmops_tui.models.safetensors import TEMPLATES
from llmops_tui.training.export import tensors
from llmops_tui.training.families import Array, Family
from llmops_tui.training.network import configuration
from llmops_tui.training.recipe import Recipe
from llmops_tui.training.unpacking.cache import Unpacked, refuse_if_full, unpacked_of
from llmops_tui.training.unpacking.vocabulary import Vocabulary
from llmops_tui.training.worker.base_model import compute_type
from llmops_tui.training.worker.new_tokens import folder_with
from llmops_tui.workspace.files import make_folder_within, sync_file, sync_folder
from llmops_tui.workspace.layout import Workspace

Progress = Callable[[float, str], None]
KINDS = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
_ROTARY = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")


def weights_of(workspace: Workspace, base: Model, recipe: Recipe, told: Progress) -> Path:
    """The folder of safetensors to train on: the base itself, or for a GGUF file the one that is made of it, once.

    Its weights are in the type that the recipe computes in: what would be made of them in any case when they are loaded.

    Raises:
        InputRefusedError: the file is of a kind that cannot be trained.
        LlmopsError: ``disk_full``.
    """
    if base.kind != "gguf":
        return folder_with(workspace, base, base.path, recipe.tokens)
    found = unpacked_of(workspace, base, KINDS[compute_type(recipe)])
    if not found.present:
        folder = make_folder_within(make_folder_within(workspace.models) / found.path.parent.name)
        refuse_if_full(found, base)
        # Not by its process: in containers these have the same numbers again and again.
        scratch = folder / f".{found.path.name}.{os.urandom(4).hex()}.part"
        try:
            unpack(base.files, scratch, found.kind, told)
            _name(scratch, found)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    found.use()
    return folder_with(workspace, base, found.path, recipe.tokens)


def _name(scratch: Path, found: Unpacked) -> None:
    """Give a folder that is whole its name, unless another process made the same meanwhile, and perhaps reads it."""
    if found.present:
        return
    shutil.rmtree(found.path, ignore_errors=True)
    try:
        scratch.rename(found.path)
    except OSError:
        if not found.present:
            raise
    sync_folder(found.path.parent)


class _File:
    """What a GGUF model of one or more files says, and its tensors."""

    def __init__(self, files: list[Path]) -> None:
        parts = [(file, read_contents(file)) for file in files]
        self.metadata: JsonObject = parts[0][1].metadata
        self._places = {name: (file, place) for file, part in parts for name, place in part.tensors.items()}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of all tensors, rows first."""
        return {name: place.shape for name, (_, place) in self._places.items()}

    def value(self, name: str) -> Array:
        """One tensor in 32 bits, as llama.cpp's own Python package dequantizes it."""
        file, place = self._places[name]
        rows = math.prod(place.shape[:-1])
        raw = np.memmap(file, np.uint8, "r", place.offset, (rows, place.length // rows))
        try:
            value = dequantize(raw, gguf.GGMLQuantizationType(place.kind))
        except (NotImplementedError, ValueError) as error:
            raise InputRefusedError(
                "unknown_type", f"{file.name}: {name} is of a type that cannot be dequantized ({error})"
            ) from error
        return value.astype(np.float32, copy=False).reshape(place.shape)


def unpack(files: list[Path], target: Path, kind: str, told: Progress) -> None:
    """Write the folder of a GGUF model, of one file or more, with weights of a ``kind``: ``F32``, ``F16`` or ``BF16``.

    Raises:
        InputRefusedError: its family, its tokenizer or one of its tensors is none that is known here.
    """
    told(0.0, "reading the GGUF file")
    file = _File(files)
    factors = {name: file.value(name) for name in _ROTARY if name in file.shapes}
    vocabulary = Vocabulary(file.metadata)
    config = configuration(file.metadata, file.shapes, factors)
    special = {
        role: vocabulary.special(key)
        for role, key in (("bos_token_id", "bos"), ("eos_token_id", "eos"), ("pad_token_id", "padding"))
    }
    model = _empty_model(config | special)
    family = Family(str(config["model_type"]), model.config.to_dict())
    shapes = {name: tuple(value.shape) for name, value in revert_weight_conversion(model, model.state_dict()).items()}
    places = family.places(shapes)
    _check(file, family, places, shapes)
    # A tensor of several places is made when the first of them comes.
    whole = [places[place] for place in places if family.tensor_names(places[place][0])[0] == place]

    def values() -> Iterator[Array]:
        for number, sources in enumerate(whole):
            told(number / len(whole), f"dequantizing tensor {number + 1} of {len(whole)}")
            found = [file.value(place) for place in family.tensor_names(sources[0])]
            for index, name in enumerate(sources):
                parts = [found[0][index]] if family.stacked(name) else found
                yield family.restored(name, *parts).reshape(shapes[name])

    target.mkdir(mode=0o700)
    order = [(name, shapes[name]) for sources in whole for name in sources]
    tensors.write(target / "model.safetensors", order, values(), kind)
    _write_json(target / "tokenizer.json", vocabulary.tokenizer())
    _write_json(target / "tokenizer_config.json", vocabulary.settings())
    _write_json(target / "generation_config.json", {**special, "eos_token_id": vocabulary.ends})
    if vocabulary.chat_template is not None:
        (target / "chat_template.jinja").write_text(vocabulary.chat_template, encoding="utf-8")
    for name, template in vocabulary.named_templates.items():
        make_folder_within(target / TEMPLATES)
        (target / TEMPLATES / f"{name}.jinja").write_text(template, encoding="utf-8")
    # Last: where it is, all the rest is.
    names = {"architectures": [type(model).__name__], "dtype": tensors.TORCH_NAMES[kind]}
    _write_json(target / "config.json", model.config.to_diff_dict() | names)
    for written in target.rglob("*"):
        if written.is_file():
            sync_file(written)
    sync_folder(target)


def _empty_model(config: JsonObject) -> Any:
    """The network without weights, which tells what tensors there are, and how they are saved."""
    try:
        found = AutoConfig.for_model(**config)
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(found)  # type: ignore[no-untyped-call]
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        told = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        raise InputRefusedError(
            "other_network", f"transformers makes no network of the figures in the file: {told}"
        ) from error


def _check(file: _File, family: Family, places: dict[str, list[str]], shapes: dict[str, tuple[int, ...]]) -> None:
    """Refuse a file whose tensors are not those of its family.

    Raises:
        InputRefusedError: ``other_network``.
    """
    found = file.shapes
    if missing := sorted(set(places) - set(found)):
        raise InputRefusedError(
            "other_network", f"the file lacks {missing[0]}, which models of the family {family.name} have"
        )
    if more := sorted(name for name in set(found) - set(places) - set(_ROTARY) if not _behind(name, family.layers)):
        raise InputRefusedError(
            "other_network", f"the file has {more[0]}, for which models of the family {family.name} have no place"
        )
    for place, sources in places.items():
        wanted = family.shape(sources, shapes[sources[0]], place)
        if np.prod(found[place]) != np.prod(wanted) or found[place][-1] != wanted[-1]:
            raise InputRefusedError(
                "other_network", f"{place} is {found[place]} in the file, and by the file's figures {wanted}"
            )


def _behind(name: str, layers: int) -> bool:
    """Whether a tensor is of a layer behind the network, which guesses ahead and is not trained."""
    block, _, rest = name.partition(".")
    return block == "blk" and rest.partition(".")[0].isdecimal() and int(rest.partition(".")[0]) >= layers


def _write_json(path: Path, body: JsonObject) -> None:
    path.write_text(json.dumps(body, ensure_ascii=False, indent=1), encoding="utf-8")
