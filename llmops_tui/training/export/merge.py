"""Merging an adapter into its base, as GGUF or as safetensors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import gguf
import numpy as np
from gguf.quants import dequantize

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.foreign_text import parse_json
from llmops_tui.models.safetensors import TEMPLATES, ModelFolder, read_folder
from llmops_tui.regular_files import read_regular
from llmops_tui.training.adapter_deltas import Change, Replacement, refuse_tied
from llmops_tui.training.export import tensors
from llmops_tui.training.families import Array, Family, wide

Progress = Callable[[float, str], None]
_TEMPLATE = gguf.Keys.Tokenizer.CHAT_TEMPLATE


@dataclass(frozen=True)
class Carried:
    """The chat template that a model was trained with, and the token that ends its answers, where that is one alone."""

    template: str
    end: int | None


def merge_gguf(
    family: Family,
    changes: Sequence[Change],
    base: Path,
    target: Path,
    name: str,
    progress: Progress,
    weights: Path | None = None,
    chat: Carried | None = None,
) -> None:
    """Write ``target``: the base's GGUF with an adapter's changes added, in 16 bits (norms and biases in 32).

    Metadata and tokenizer are the base's own. Its tensors are dequantized; where ``weights`` is the safetensors folder it
    was made of, they come from there, and nothing of an earlier quantization is left in the result. ``chat`` is the
    template that was trained with, where that is not the base's.

    Raises:
        InputRefusedError: the adapter belongs to another model, or changes one side of a matrix that is both.
    """
    refuse_tied(family.name, family.config, changes)
    reader = gguf.GGUFReader(base)
    by_place = {family.tensor_name(change.module + ".weight"): change for change in _placed(family, changes)}
    places = {tensor.name for tensor in reader.tensors}
    missing = set(by_place) - {place.removesuffix(".weight") for place in places} - places
    if missing:
        raise InputRefusedError(
            "other_base", f"{base.name} has no tensor {min(missing)}: the adapter belongs to another model"
        )
    folder = read_folder(weights) if weights is not None else None
    whole = family.places(folder.tensors) if folder is not None else {}
    # As the base says it: some architectures have two names.
    writer = gguf.GGUFWriter(target, str(reader.fields[gguf.Keys.General.ARCHITECTURE].contents()))
    changes_of_header: dict[str, str | int] = {
        "general.name": name,
        "general.file_type": int(gguf.LlamaFileType.MOSTLY_F16),
    }
    if chat is not None:
        changes_of_header[_TEMPLATE] = chat.template
        if chat.end is not None:
            changes_of_header[gguf.Keys.Tokenizer.EOT_ID] = chat.end
    copy_metadata(reader, writer, changes_of_header)

    def values() -> Iterator[Array]:
        for number, tensor in enumerate(reader.tensors):
            progress(number / len(reader.tensors), f"tensor {number + 1} of {len(reader.tensors)}")
            if folder is not None and tensor.name in whole:
                value = joined(family, folder, whole[tensor.name], tensor.name)
            else:
                value = dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
            change = by_place.get(tensor.name) or by_place.get(tensor.name.removesuffix(".weight"))
            if change is not None:
                shape = change.shape(value)
                if shape != value.shape:
                    raise InputRefusedError(
                        "other_base", f"{tensor.name} is {value.shape} in {base.name} and {shape} in the adapter"
                    )
                name = change.module + ".weight"
                whole_one = isinstance(change, Replacement)
                value = change.merged(
                    value, partial(family.value, name) if whole_one else partial(_in_order, family, name)
                )
            yield sixteen_bits(tensor.name, value)

    write(writer, [(t.name, tuple(int(n) for n in reversed(t.shape))) for t in reader.tensors], values())


def _placed(family: Family, changes: Sequence[Change]) -> list[Change]:
    """The changes without those of an output layer that is the embedding again: they are the same once more."""
    return [c for c in changes if not (isinstance(c, Replacement) and family.left_out(c.module + ".weight"))]


def _in_order(family: Family, name: str, value: Array) -> Array:
    """A change of a weight, or the lengths of its rows, in llama.cpp's order."""
    rows = family.rows(name, value)
    return rows if value.shape[-1] == 1 else family.columns(name, rows)


def joined(family: Family, folder: ModelFolder, sources: list[str], place: str) -> Array:
    """A tensor as llama.cpp has it, of one of a model folder, or of one of each expert."""
    found = (folder.tensors[name] for name in sources)
    values = [
        family.value(name, tensors.read(tensor.file, tensor.name), place)
        for name, tensor in zip(sources, found, strict=True)
    ]
    return np.stack(values) if family.stacked(sources[0]) else values[0]


def sixteen_bits(name: str, value: Array) -> Array:
    """A matrix in 16 bits; vectors and what is as small and delicate in 32.

    Raises:
        LlmopsError: ``too_large``: a value does not fit into 16 bits.
    """
    if wide(name, value.ndim):
        return np.ascontiguousarray(value, np.float32)
    with np.errstate(over="ignore"):
        half = np.ascontiguousarray(value, np.float16)
    if not np.isfinite(half).all():
        raise LlmopsError(
            "too_large", f"{name} has values that do not fit into 16 bits", "The adapter may have diverged."
        )
    return half


def copy_metadata(reader: gguf.GGUFReader, writer: gguf.GGUFWriter, changes: Mapping[str, str | int]) -> None:
    """Copy all metadata of a file, some of it changed."""
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == gguf.Keys.General.ARCHITECTURE:
            continue
        if _TEMPLATE in changes and field.name.startswith((f"{_TEMPLATE}.", f"{_TEMPLATE}s")):
            # Variants of the template that is replaced.
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        value = field.contents() if field.name not in changes else changes[field.name]
        writer.add_key_value(field.name, value, kind, inner)
    for key in set(changes) - set(reader.fields):
        value = changes[key]
        writer.add_key_value(
            key, value, gguf.GGUFValueType.STRING if isinstance(value, str) else gguf.GGUFValueType.UINT32
        )


def write(writer: gguf.GGUFWriter, shapes: list[tuple[str, tuple[int, ...]]], values: Iterator[Array]) -> None:
    """Write a file whose metadata are given; its tensors come one by one, matrices in 16 bits, and are never all in memory."""
    for name, shape in shapes:
        kind = np.dtype(np.float32 if wide(name, len(shape)) else np.float16)
        writer.add_tensor_info(name, shape, kind, int(np.prod(shape, dtype=np.int64)) * kind.itemsize)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for value in values:
        writer.write_tensor_data(value)
    writer.close()


def merge_safetensors(
    changes: Sequence[Change],
    base: Path,
    target: Path,
    progress: Progress,
    chat: Carried | None = None,
    kind: str = "BF16",
) -> None:
    """Write a model folder with an adapter's changes added: one safetensors file of a type, everything else copied.

    ``chat`` is the template that was trained with, where that is not the base's.
    """
    folder = read_folder(base)
    refuse_tied(folder.family, folder.config, changes)
    by_name = {c.module + ".weight": c for c in _placed(Family(folder.family, folder.config), changes)}
    missing = set(by_name) - set(folder.tensors)
    if missing:
        raise InputRefusedError(
            "other_base", f"{base} has no tensor {min(missing)}: the adapter belongs to another model"
        )
    target.mkdir(mode=0o700)
    every = {**folder.tensors, **folder.beside}

    def values() -> Iterator[Array]:
        for number, (name, tensor) in enumerate(every.items()):
            progress(number / len(every), f"tensor {number + 1} of {len(every)}")
            value = tensors.read(tensor.file, tensor.name)
            change = by_name.get(name)
            yield value if change is None else change.merged(value)

    tensors.write(target / "model.safetensors", [(t.name, t.shape) for t in every.values()], values(), kind)
    for file in folder.files:
        if file.suffix != ".safetensors":
            shutil.copyfile(file, target / file.name)
    config = parse_json(read_regular(target / "config.json"))
    (target / "config.json").write_text(
        json.dumps(config | {"dtype": tensors.TORCH_NAMES[kind]}, indent=2), encoding="utf-8"
    )
    if chat is not None:
        carry(target, chat)
    elif (templates := base / TEMPLATES).is_dir():
        shutil.copytree(
            templates, target / TEMPLATES, ignore=lambda _, names: [n for n in names if not n.endswith(".jinja")]
        )


def carry(target: Path, chat: Carried) -> None:
    """Put a chat template in the place of all that a folder has, and its end among the tokens that end an answer."""
    (target / "chat_template.jinja").write_text(chat.template, encoding="utf-8")
    (target / "chat_template.json").unlink(missing_ok=True)
    settings = target / "tokenizer_config.json"
    if settings.is_file():
        kept = {name: value for name, value in parse_json(read_regular(settings)).items() if name != "chat_template"}
        settings.write_text(json.dumps(kept, indent=2, ensure_ascii=False), encoding="utf-8")
    generation = target / "generation_config.json"
    if chat.end is not None:
        found = parse_json(read_regular(generation)) if generation.is_file() else {}
        known = found.get("eos_token_id", parse_json(read_regular(target / "config.json")).get("eos_token_id"))
        ends = [end for end in (known if isinstance(known, list) else [known]) if end is not None]
        if chat.end not in ends:
            body = json.dumps(found | {"eos_token_id": [*ends, chat.end]}, indent=2)
            generation.write_text(body, encoding="utf-8")
