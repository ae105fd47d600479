"""Read a model folder as Hugging Face lays it out: configuration, tokenizer, template and safetensors headers, checked.

Weights are never loaded here, and nothing in the folder is run: pickled weights and code beside a model are refused.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject, parse_json
from llmops_tui.models.header_limits import exceeded_configuration_limit
from llmops_tui.models.plain_file import check_plain_file
from llmops_tui.models.records import ModelHeader
from llmops_tui.models.text_part import text_names, text_part, wrapped
from llmops_tui.regular_files import read_regular

_MAX_HEADER = 32_000_000
_MAX_JSON = 64 * 1024 * 1024
_PICKLED = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"}
_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1,
    "F8_E5M2": 1, "U16": 2, "U32": 4, "U64": 8,
}  # fmt: skip
# The folder of templates by name.
TEMPLATES = "additional_chat_templates"
# Files that decide what a model answers, besides its weights.
_OTHER_FILES = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json",
    "special_tokens_map.json", "chat_template.jinja", "chat_template.json", "adapter_config.json",
)  # fmt: skip


@dataclass(frozen=True)
class Tensor:
    """A tensor of a safetensors file: its type as the file names it, its shape, the file, and its name there."""

    dtype: str
    shape: tuple[int, ...]
    file: Path
    name: str


@dataclass(frozen=True)
class ModelFolder:
    """What a model folder holds. Of a model that sees images, too, it is the text part that is looked at.

    Attributes:
        config: the configuration of the text model.
        tensors: its tensors, by the text model's names; ``beside`` has the others by theirs.
        wrapper: what ``config.json`` calls a model of text and images; empty of a text model.
    """

    path: Path
    config: dict[str, Any]
    tokenizer_config: dict[str, Any]
    tensors: dict[str, Tensor]
    beside: dict[str, Tensor] = field(default_factory=dict)
    wrapper: str = ""

    @property
    def family(self) -> str:
        """The architecture as ``config.json`` names it, such as ``llama``."""
        return str(self.config.get("model_type") or "unknown")

    @property
    def parameters(self) -> int:
        """How many numbers the weights have."""
        return sum(_count(t.shape) for t in (*self.tensors.values(), *self.beside.values()))

    @property
    def dtype(self) -> str:
        """The type that most of the weights have."""
        sizes: dict[str, int] = {}
        for tensor in self.tensors.values():
            sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + _count(tensor.shape)
        return max(sizes, key=lambda name: sizes[name], default="unknown")

    @cached_property
    def chat_template(self) -> str | None:
        """The Jinja template of conversations, where the folder has one."""
        for file in (self.path / "chat_template.jinja", self.path / TEMPLATES / "default.jinja"):
            if file.is_file():
                return read_regular(file).decode("utf-8", "replace")
        value = self.tokenizer_config.get("chat_template")
        if isinstance(value, list):
            named = [t for t in value if isinstance(t, dict)]
            value = next((t.get("template") for t in named if t.get("name") == "default"), None)
        return str(value) if value is not None else None

    @cached_property
    def named_templates(self) -> dict[str, str]:
        """Further templates by their names, such as ``tool_use``."""
        found: dict[str, str] = {}
        value = self.tokenizer_config.get("chat_template")
        for each in value if isinstance(value, list) else ():
            if isinstance(each, dict) and isinstance(each.get("template"), str):
                found[str(each.get("name"))] = each["template"]
        for file in sorted((self.path / TEMPLATES).glob("*.jinja")):
            found[file.stem] = read_regular(file).decode("utf-8", "replace")
        found.pop("default", None)
        return found

    def special(self, name: str) -> str:
        """A special token by its role, such as ``eos_token``; empty where there is none."""
        value = self.tokenizer_config.get(name)
        if isinstance(value, dict):
            value = value.get("content")
        return str(value) if value is not None else ""

    @property
    def files(self) -> list[Path]:
        """Every file that makes the model what it is."""
        weights = sorted({tensor.file for tensor in (*self.tensors.values(), *self.beside.values())})
        return [*weights, *(self.path / name for name in _OTHER_FILES if (self.path / name).is_file())]

    def summary(self) -> ModelHeader:
        """The facts that are kept in the catalog and shown to people."""
        return {
            "architecture": self.family,
            "name": self.path.name,
            "quantization": self.dtype,
            "parameters": self.parameters,
            "context_length": self.config.get("max_position_embeddings"),
            "layers": self.config.get("num_hidden_layers"),
            "embedding_length": self.config.get("hidden_size"),
            "vocabulary": self.config.get("vocab_size"),
            "shards": len({t.file for t in (*self.tensors.values(), *self.beside.values())}),
            "license": None,
            "type": "model",
            "chat_template": self.chat_template,
            "files": [str(file.relative_to(self.path)) for file in self.files],
        }


def read_folder(path: Path) -> ModelFolder:
    """Read a model folder.

    Raises:
        InputRefusedError: ``pickled_weights``, ``remote_code``, ``model_damaged`` or ``not_a_model``.
    """
    if not (path / "config.json").is_file():
        here = next((file.name for file in sorted(path.glob("*.gguf"))), "")
        raise InputRefusedError(
            "not_a_model",
            f"{path} is a folder without config.json",
            f"Give the file in it: {path / here}"
            if here
            else "Give a GGUF file, or a model folder as Hugging Face saves it.",
        )
    config = _read_json(path / "config.json")
    if config.get("auto_map"):
        raise InputRefusedError(
            "remote_code",
            f"{path} requires custom code (auto_map in config.json), which llmops never runs",
            "Use a model whose architecture transformers knows.",
        )
    if wrong := exceeded_configuration_limit(config):
        raise InputRefusedError("model_damaged", f"{path / 'config.json'}: {wrong}", "Download or copy it again.")
    weights = sorted(path.glob("*.safetensors"))
    if not weights:
        pickled = [file.name for file in sorted(path.iterdir()) if file.suffix in _PICKLED]
        if pickled:
            raise InputRefusedError(
                "pickled_weights",
                f"{path} has its weights as pickle ({pickled[0]}), which can run code when opened",
                "Download the safetensors files of the model, or convert it in an environment where you trust it.",
            )
        raise InputRefusedError("not_a_model", f"{path} has no .safetensors file")
    tensors: dict[str, Tensor] = {}
    for file in weights:
        tensors |= read_tensors(file)
    index = path / "model.safetensors.index.json"
    if index.is_file():
        parts = _read_json(index).get("weight_map", {})
        if not isinstance(parts, dict):
            raise InputRefusedError("model_damaged", f"{index} does not map tensors to files")
        missing = set(parts) - set(tensors)
        if missing:
            raise InputRefusedError(
                "model_damaged",
                f"{path} lacks {len(missing)} of its tensors, such as {min(missing)}",
                "Some of its .safetensors files are missing; download them again.",
            )
    tokenizer = path / "tokenizer_config.json"
    names = text_names(tensors, config)
    return ModelFolder(
        path,
        text_part(config),
        _read_json(tokenizer) if tokenizer.is_file() else {},
        {names[name]: tensor for name, tensor in tensors.items() if name in names},
        {name: tensor for name, tensor in tensors.items() if name not in names},
        str(config["model_type"]) if wrapped(config) else "",
    )


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of one safetensors file, from its header, checked against the file's size.

    Raises:
        InputRefusedError: ``model_damaged``.
    """
    check_plain_file(file)
    size = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if not 2 <= length <= min(_MAX_HEADER, size - 8):
            raise _damaged(file, "its header is larger than the file")
        raw = stream.read(length)
    try:
        header = parse_json(raw)
        tensors = {}
        end = 0
        for name, facts in header.items():
            if name == "__metadata__":
                continue
            begin, stop = facts["data_offsets"]
            shape = tuple(int(n) for n in facts["shape"])
            if stop - begin != _count(shape) * _BYTES[facts["dtype"]] or begin < 0 or stop < begin:
                raise _damaged(file, f"tensor {name} has a size that does not match its shape")
            end = max(end, stop)
            tensors[str(name)] = Tensor(facts["dtype"], shape, file, str(name))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise _damaged(file, f"its header cannot be read ({type(error).__name__})") from error
    if 8 + length + end != size:
        raise _damaged(file, f"it has {size:,} bytes, and its header describes {8 + length + end:,}")
    return tensors


def _read_json(path: Path) -> JsonObject:
    if path.stat().st_size > _MAX_JSON:
        raise InputRefusedError("model_damaged", f"{path} is too large for a configuration")
    try:
        value = parse_json(read_regular(path).decode("utf-8"))
    except ValueError as error:
        raise InputRefusedError("model_damaged", f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InputRefusedError("model_damaged", f"{path} is not a JSON object")
    return value


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for n in shape:
        count *= n
    return count


def _damaged(file: Path, why: str) -> InputRefusedError:
    return InputRefusedError("model_damaged", f"{file} is damaged: {why}", "Download or copy it again.")
