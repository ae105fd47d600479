"""The engine's settings, defined once and passed unchanged to llama.cpp."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypedDict, TypeVar, get_args

from llmops_tui.errors import InputRefusedError

CacheType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]
SplitMode = Literal["auto", "none", "layer", "row"]
# Values a block and bytes a block of what a cache can be kept in.
CACHE_BLOCKS: dict[str, tuple[int, int]] = {
    "f32": (1, 4), "f16": (1, 2), "bf16": (1, 2), "q8_0": (32, 34), "q5_1": (32, 24), "q5_0": (32, 22),
    "q4_1": (32, 20), "q4_0": (32, 18), "iq4_nl": (32, 18),
}  # fmt: skip
_WHOLE = {"f32", "f16", "bf16"}
_CACHE_TYPES = ("cache_type_k", "cache_type_v")
# Vocabularies of one family differ by unused tokens at their ends.
LARGEST_VOCABULARY_GAP = 128
SMALLEST_BATCH = 64
LARGEST_BATCH = 16_384
_CHOICES: dict[str, tuple[str, ...]] = {
    "cache_type_k": get_args(CacheType), "cache_type_v": get_args(CacheType), "split_mode": get_args(SplitMode),
    "precision": ("fast", "exact"), "flash_attention": ("auto", "off"),
}  # fmt: skip
_RANGES = {
    "context": (0, 10_000_000), "threads": (0, 1024), "gpu_layers": (-1, 10_000), "parallel": (1, SMALLEST_BATCH),
    "cache_bytes": (0, 1 << 50), "batch": (SMALLEST_BATCH, LARGEST_BATCH), "micro_batch": (1, LARGEST_BATCH),
    "main_gpu": (-1, 255), "cpu_moe": (0, 10_000),
}  # fmt: skip

Kind = TypeVar("Kind")


class SettingsRecord(TypedDict, total=False):
    """:class:`EngineSettings` as JSON has them, or some of them."""

    context: int
    threads: int
    gpu_layers: int
    parallel: int
    precision: str
    speculate: bool
    draft: str
    cache_bytes: int
    cache_type_k: str
    cache_type_v: str
    swa_full: bool
    flash_attention: str
    batch: int
    micro_batch: int
    split_mode: str
    main_gpu: int
    tensor_split: list[float] | tuple[float, ...]
    cpu_moe: int
    mmap: bool
    mlock: bool


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """How a model is loaded; zeros mean "as is best": the model's context up to 4,096, one thread less than cores.

    Attributes:
        context: tokens a request.
        gpu_layers: layers on GPUs, counted from the last, the output being one more; -1: as many as fit.
        parallel: requests that are answered at once, each with the whole context.
        precision: ``fast``: flash attention where llama.cpp has it. ``exact``: none, and a cache in 32 bits; then
            log-probabilities agree with a full-precision computation on the same weights to 1e-4 and better, at up to a
            third less speed.
        speculate: whether tokens are guessed from the text itself.
        draft: a small model of the same vocabulary that guesses them instead: its name, and in a plan its file.
        cache_bytes: memory for prompts that were evaluated before, in bytes.
        cache_type_k, cache_type_v: what keys and values are kept in; V in blocks needs flash attention.
        flash_attention: ``auto``: where llama.cpp has it. ``off``: never; on a processor that is the quicker way in a
            context of a thousand tokens and more, and the slower one in a short one.
        swa_full: whether layers that look back over a window alone keep the whole context all the same.
        batch, micro_batch: tokens of a step, and tokens of it that are computed at once.
        split_mode: over several GPUs: ``auto``: not, where the model fits on one; ``none``; ``layer``; ``row``.
        main_gpu: the GPU for a model that is not split, by the number nvidia-smi gives it; -1: the one with most room.
        tensor_split: shares of the GPUs in a model that is split; none: by the room they have.
        cpu_moe: how many layers, from the first on, keep their experts on the host.
        mmap, mlock: whether the file is mapped, and whether its pages are held in memory.
    """

    context: int = 0
    threads: int = 0
    gpu_layers: int = -1
    parallel: int = 4
    precision: Literal["fast", "exact"] = "fast"
    speculate: bool = False
    draft: str = ""
    cache_bytes: int = 1 << 30
    cache_type_k: CacheType = "f16"
    cache_type_v: CacheType = "f16"
    swa_full: bool = False
    flash_attention: Literal["auto", "off"] = "auto"
    batch: int = 512
    micro_batch: int = 512
    split_mode: SplitMode = "auto"
    main_gpu: int = -1
    tensor_split: tuple[float, ...] = ()
    cpu_moe: int = 0
    mmap: bool = True
    mlock: bool = False

    @property
    def exact(self) -> bool:
        """Whether scores are wanted to the last digit."""
        return self.precision == "exact"

    @property
    def flash(self) -> bool:
        """Whether flash attention may be used."""
        return not self.exact and self.flash_attention == "auto"

    @property
    def cache_types(self) -> tuple[str, str]:
        """What keys and values are kept in: as chosen, or in 32 bits where exact."""
        return ("f32", "f32") if self.exact else (self.cache_type_k, self.cache_type_v)

    @property
    def arithmetic(self) -> str:
        """What figures depend on, in a few words: the precision, and what else is not as usual."""
        if self.exact:
            return self.precision
        parts: list[str] = [self.precision]
        parts += [] if self.cache_types == ("f16", "f16") else ["/".join(self.cache_types)]
        parts += [] if self.flash else ["without flash attention"]
        return " ".join(parts)


def draft_settings(settings: EngineSettings) -> EngineSettings:
    """How a draft model is loaded beside a model: for one text, whole on the first GPU where the model is on any."""
    return replace(
        settings,
        draft="",
        speculate=False,
        parallel=1,
        cache_bytes=0,
        cache_type_k="f16",
        cache_type_v="f16",
        split_mode="none",
        tensor_split=(),
        cpu_moe=0,
        gpu_layers=_RANGES["gpu_layers"][1] if settings.gpu_layers else 0,
        main_gpu=0 if settings.gpu_layers else -1,
    )


def part(kind: type[Kind], source: Any) -> dict[str, Any]:
    """The fields of one kind of options, taken whole from an object that has them all."""
    return {field.name: getattr(source, field.name) for field in fields(kind)}  # type: ignore[arg-type]


def from_json(values: Mapping[str, object]) -> dict[str, Any]:
    """Options as JSON brings them, with the tuples that it does not know."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def check_settings(settings: EngineSettings) -> None:
    """Refuse values that cannot be, alone or together, with what is allowed.

    Raises:
        InputRefusedError: ``bad_setting``.
    """
    for name, allowed in _CHOICES.items():
        if getattr(settings, name) not in allowed:
            raise _refuse(f"{name} is {getattr(settings, name)!r}", f"One of: {', '.join(allowed)}.")
    for name, (low, high) in _RANGES.items():
        if not low <= getattr(settings, name) <= high:
            raise _refuse(f"{name} is {getattr(settings, name)}", f"Use a value from {low} to {high}.")
    others = [f"{name} {getattr(settings, name)}" for name in _CACHE_TYPES if getattr(settings, name) != "f16"]
    if settings.exact and others:
        raise _refuse(
            f"precision exact uses a 32-bit cache; {' and '.join(others)} {'was' if len(others) == 1 else 'were'} "
            "requested",
            f"Remove precision exact, or {' and '.join(other.partition(' ')[0] for other in others)}.",
        )
    if settings.flash_attention == "off" and in_blocks(settings.cache_type_v):
        raise _refuse(
            f"cache_type_v {settings.cache_type_v} requires flash attention, which is off",
            "Use cache_type_v f16, or turn flash attention on.",
        )
    if settings.micro_batch > settings.batch:
        raise _refuse(
            f"micro_batch is {settings.micro_batch} and batch is {settings.batch}",
            "A micro-batch is a part of a batch: at most its size.",
        )
    shares = settings.tensor_split
    if shares and (min(shares) < 0 or not 0 < sum(shares) < math.inf):
        raise _refuse(
            f"tensor_split is {','.join(map(str, shares))}", "Shares are 0 or more, and at least one is above 0."
        )
    if shares and settings.split_mode == "none":
        raise _refuse(
            "tensor_split splits a model over GPUs, and split_mode none does not split it", "Remove one of the two."
        )


def check_cache(settings: EngineSettings, widths: tuple[int, int]) -> None:
    """Refuse a cache in blocks that a model's rows of keys and values, so many values wide a head, do not fill.

    Raises:
        InputRefusedError: ``bad_setting``.
    """
    for name, kind, width in zip(("cache_type_k", "cache_type_v"), settings.cache_types, widths, strict=True):
        if width % CACHE_BLOCKS[kind][0]:
            raise _refuse(
                f"{name} {kind} packs {CACHE_BLOCKS[kind][0]} values together, and this model's heads are {width} wide",
                f"One of: {', '.join(sorted(_WHOLE))}.",
            )


def in_blocks(kind: str) -> bool:
    """Whether a type of cache packs values into blocks."""
    return kind not in _WHOLE


def read_shares(text: str) -> tuple[float, ...]:
    """Shares as people write them: ``3,1``.

    Raises:
        InputRefusedError: ``bad_setting``.
    """
    try:
        return tuple(float(part) for part in text.replace("/", ",").split(",")) if text.strip() else ()
    except ValueError:
        raise _refuse(
            f"tensor_split is {text!r}", "Use numbers separated by commas, one per GPU, such as 3,1."
        ) from None


def _refuse(what: str, hint: str) -> InputRefusedError:
    return InputRefusedError("bad_setting", what, hint)
