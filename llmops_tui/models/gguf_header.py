"""The metadata of a GGUF model, of one file or several shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from llmops_tui.models.encoders import RANK, is_encoder
from llmops_tui.models.records import ModelHeader

# llama.cpp's file types, by the names users know.
_FILE_TYPES: dict[int, str] = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE",
}  # fmt: skip


@dataclass(frozen=True)
class GgufHeader:
    """What a GGUF file says of itself, checked against its size."""

    version: int
    metadata: dict[str, Any]
    array_lengths: dict[str, int]
    tensor_count: int
    parameter_count: int
    tensor_bytes: int
    size_bytes: int
    layer_bytes: dict[int, int] = field(default_factory=dict)
    # What of it are experts of a mixture.
    expert_bytes: dict[int, int] = field(default_factory=dict)
    embedding_bytes: int = 0
    # The output's own tensors, and whether its matrix is among them.
    own_output_bytes: int = 0
    has_output: bool = False
    # Whether it has what makes scores of what it read, as models that rank or classify do.
    has_classifier: bool = False
    # The shape of each tensor by its name, rows first.
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def tied(self) -> bool:
        """Whether the output is the matrix of the input, used a second time."""
        return not self.has_output

    @property
    def output_bytes(self) -> int:
        """What the output takes where it does not lie beside the input."""
        return self.own_output_bytes + (self.embedding_bytes if self.tied else 0)

    @property
    def shards(self) -> int:
        """How many files the model is split into."""
        return max(1, int(self.metadata.get("split.count") or 1))

    @property
    def shard(self) -> int:
        """Which of them this one is, counted from 1."""
        return int(self.metadata.get("split.no") or 0) + 1

    @property
    def no_model(self) -> str:
        """What it is where it is no model and no adapter; else empty."""
        return names_no_model(self.metadata)

    @property
    def architecture(self) -> str:
        """The family of the network, such as ``llama``."""
        return str(self.metadata.get("general.architecture", "unknown"))

    @property
    def quantization(self) -> str:
        """The file type by the name users know, such as ``Q4_K_M``."""
        return _FILE_TYPES.get(int(self.metadata.get("general.file_type", -1)), "unknown")

    @property
    def context_length(self) -> int | None:
        """The context the model was made for, in tokens."""
        value = self.metadata.get(f"{self.architecture}.context_length")
        return int(value) if value is not None else None

    @property
    def vocabulary(self) -> int:
        """How many tokens it has."""
        return self.array_lengths.get("tokenizer.ggml.tokens", 0)

    @property
    def chat_template(self) -> str | None:
        """The Jinja template of conversations, where the file has one."""
        value = self.metadata.get("tokenizer.chat_template")
        return str(value) if value is not None else None

    @property
    def pooling(self) -> int | None:
        """How the vectors of all tokens become one, by llama.cpp's number; none where the file does not say."""
        value = self.metadata.get(f"{self.architecture}.pooling_type")
        return int(value) if value is not None else None

    @property
    def task(self) -> str:
        """What the model does with texts, by the names that Hugging Face has for tasks."""
        if self.pooling == RANK:
            labels = self.metadata.get(f"{self.architecture}.classifier.output_labels")
            return "text-classification" if labels else "text-ranking"
        embeds = self.metadata.get(f"{self.architecture}.attention.causal") is False or bool(self.pooling)
        return "feature-extraction" if embeds or is_encoder(self.architecture) else "text-generation"

    def summary(self) -> ModelHeader:
        """The facts that are kept in the catalog and shown to people."""
        name = self.metadata.get("general.name")
        return {
            "architecture": self.architecture,
            "name": str(name) if name is not None else None,
            "quantization": self.quantization,
            "parameters": self.parameter_count,
            "context_length": self.context_length,
            "layers": self.metadata.get(f"{self.architecture}.block_count"),
            "embedding_length": self.metadata.get(f"{self.architecture}.embedding_length"),
            "vocabulary": self.array_lengths.get("tokenizer.ggml.tokens"),
            "shards": self.shards,
            "license": self.metadata.get("general.license"),
            # Early adapters say of what kind they are, and not that they are adapters.
            "type": "adapter" if "adapter.type" in self.metadata else self.metadata.get("general.type", "model"),
            "chat_template": self.chat_template,
            "task": self.task,
        }


def join_headers(headers: list[GgufHeader]) -> GgufHeader:
    """The header of a model in several files: what the first says of it, and the tensors of all."""

    def added(name: str) -> dict[int, int]:
        found: Counter[int] = Counter()
        for header in headers:
            found.update(getattr(header, name))
        return dict(found)

    return replace(
        headers[0],
        tensor_count=sum(h.tensor_count for h in headers),
        parameter_count=sum(h.parameter_count for h in headers),
        tensor_bytes=sum(h.tensor_bytes for h in headers),
        size_bytes=sum(h.size_bytes for h in headers),
        layer_bytes=added("layer_bytes"),
        expert_bytes=added("expert_bytes"),
        embedding_bytes=sum(h.embedding_bytes for h in headers),
        own_output_bytes=sum(h.own_output_bytes for h in headers),
        has_output=any(h.has_output for h in headers),
        has_classifier=any(h.has_classifier for h in headers),
        shapes={name: shape for h in headers for name, shape in h.shapes.items()},
    )


def names_no_model(metadata: Mapping[str, object]) -> str:
    """What a file with such metadata is, in words, where it is something that goes with a model; else empty."""
    if metadata.get("general.type") == "mmproj" or metadata.get("general.architecture") == "clip":
        return "a projector (mmproj), which turns images or sound into a model's input"
    if metadata.get("general.type") == "imatrix" or any(key.startswith("imatrix.") for key in metadata):
        return "an importance matrix (imatrix), which says what to spare when a model is quantized"
    return ""
