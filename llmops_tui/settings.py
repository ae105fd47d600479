"""The user's settings: one validated TOML file; errors are reported and never stop the app."""

from __future__ import annotations

import difflib
import itertools
import os
import time
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from llmops_tui.errors import InputRefusedError
from llmops_tui.field_words import ByteCount, Word
from llmops_tui.foreign_text import parse_toml
from llmops_tui.models.engine_settings import LARGEST_BATCH, SMALLEST_BATCH, CacheType, SplitMode, read_shares
from llmops_tui.retention_rules import read_rules
from llmops_tui.user_files import settings_path
from llmops_tui.workspace.files import write_atomic


class Settings(BaseModel):
    """All settings; each description is what the settings screen shows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    theme: Annotated[
        str,
        Field(max_length=60, description="Colours of the app; typing completes a name, and ctrl+p shows all themes."),
    ] = "llmops-dark"
    animations: Annotated[
        Literal["auto", "on", "off"], Field(description="Smooth scrolling and fades; auto is off over SSH and in tmux.")
    ] = "auto"
    charts: Annotated[
        Literal["auto", "blocks", "ascii"],
        Field(
            description="What charts are made of; auto draws lines in pixels in kitty and Ghostty, and ASCII without UTF-8."
        ),
    ] = "auto"
    confirm_quit: Annotated[bool, Field(description="Ask before quitting while an answer is being generated.")] = True
    idle_minutes: Annotated[
        float, Field(gt=0, le=10_000, description="Stop a model server after this time without requests.")
    ] = 15.0
    grader: Annotated[
        str,
        Field(max_length=60, description="Your name beside your grades of answers; empty: the user's name."),
        Word("", "the user's name"),
    ] = ""
    context: Annotated[
        int,
        Field(
            ge=0, le=10_000_000, description="Context in tokens of each request; auto (0): the model's, up to 4,096."
        ),
        Word(0, "auto"),
    ] = 0
    parallel: Annotated[
        int, Field(ge=1, le=64, description="Number of parallel requests per model; each has the full context.")
    ] = 4
    threads: Annotated[
        int,
        Field(ge=0, le=1024, description="Threads for inference; auto (0): one less than the number of cores."),
        Word(0, "auto"),
    ] = 0
    precision: Annotated[
        Literal["fast", "exact"],
        Field(description="exact: full-precision cache and attention, for exactly reproducible scores; slower."),
    ] = "fast"
    special_in_content: Annotated[
        bool,
        Field(
            description="Read control tokens that a message spells as such, as llama-server does; off: they are text there."
        ),
    ] = False
    speculate: Annotated[
        bool,
        Field(
            description="Speculative decoding from the text itself while a single request runs; stops if the guesses are wrong."
        ),
    ] = False
    draft: Annotated[
        str,
        Field(
            max_length=100,
            description="A small draft model with the same vocabulary; empty: none.",
        ),
        Word("", "none"),
    ] = ""
    cache_bytes: Annotated[
        int,
        Field(
            ge=0, description="Memory for cached prompts, in addition to the model, such as 2 GiB; none (0): no cache."
        ),
        Word(0, "none"),
        ByteCount(),
    ] = 1 << 30
    cache_type_k: Annotated[
        CacheType, Field(description="Type of the keys in the KV cache; q8_0 halves the memory with little loss.")
    ] = "f16"
    cache_type_v: Annotated[
        CacheType, Field(description="Type of the values in the KV cache; block types require flash attention.")
    ] = "f16"
    flash_attention: Annotated[
        Literal["auto", "off"],
        Field(description="off: faster on a CPU with contexts of a thousand tokens or more, slower with short ones."),
    ] = "auto"
    swa_full: Annotated[
        bool,
        Field(
            description="Keep the full context in sliding-window layers, too: early edits stay fast, at more memory."
        ),
    ] = False
    batch: Annotated[
        int, Field(ge=SMALLEST_BATCH, le=LARGEST_BATCH, description="Maximum number of tokens per step.")
    ] = 512
    micro_batch: Annotated[
        int,
        Field(
            ge=1, le=LARGEST_BATCH, description="Tokens of a step that are computed at once; at most the batch size."
        ),
    ] = 512
    mmap: Annotated[bool, Field(description="Memory-map the model's file instead of reading it into memory.")] = True
    mlock: Annotated[bool, Field(description="Lock the model in memory, so that it is never swapped out.")] = False
    gpu_layers: Annotated[
        int,
        Field(ge=-1, le=10_000, description="Layers on the GPU; auto (-1): as many as fit."),
        Word(-1, "auto"),
    ] = -1
    split_mode: Annotated[
        SplitMode,
        Field(description="How a model is split over several GPUs; auto: one GPU if it fits, else by layers."),
    ] = "auto"
    main_gpu: Annotated[
        int,
        Field(
            ge=-1,
            le=255,
            description="The GPU for a model that is not split, as in nvidia-smi; auto (-1): the one with most free memory.",
        ),
        Word(-1, "auto"),
    ] = -1
    tensor_split: Annotated[
        str,
        Field(max_length=200, description="Share of each GPU in a split model, such as 3,1; empty: by free memory."),
        Word("", "by free memory"),
    ] = ""
    cpu_moe: Annotated[
        int,
        Field(
            ge=0, le=10_000, description="Number of layers, from the first, whose experts stay on the host; none (0)."
        ),
        Word(0, "none"),
    ] = 0
    trace_content: Annotated[
        Literal["keep", "redact", "off"],
        Field(
            description="What traces keep of requests: all, without personal data, or figures only; for models loaded next."
        ),
    ] = "keep"
    trace_days: Annotated[
        int,
        Field(ge=0, le=36_500, description="Delete traces without feedback after this many days; never (0)."),
        Word(0, "never"),
    ] = 0
    retention: Annotated[
        str,
        Field(
            max_length=2000,
            description="Rules by which things go with age, such as: traces 90d; datasets 2y where is:untagged. Empty: none.",
        ),
        Word("", "none"),
    ] = ""
    backup_folder: Annotated[
        str,
        Field(
            max_length=4000, description="Folder for backups of the workspace while the app is open; empty: no backups."
        ),
        Word("", "none"),
    ] = ""
    backup_hours: Annotated[int, Field(ge=1, le=8760, description="Hours between two backups.")] = 24
    backup_keep: Annotated[int, Field(ge=1, le=10_000, description="Number of backups to keep in that folder.")] = 14
    backup_full_every: Annotated[
        int,
        Field(ge=0, le=10_000, description="Every n-th backup is a full one; first only (0)."),
        Word(0, "first only"),
    ] = 10
    backup_passphrase_file: Annotated[
        str,
        Field(
            max_length=4000, description="A file whose first line is the passphrase for backups; empty: not encrypted."
        ),
        Word("", "none"),
    ] = ""

    @field_validator("retention")
    @classmethod
    def _rules(cls, text: str) -> str:
        try:
            read_rules(text)
        except InputRefusedError as error:
            raise ValueError(error.told) from error
        return text

    @field_validator("tensor_split")
    @classmethod
    def _shares(cls, text: str) -> str:
        try:
            read_shares(text)
        except InputRefusedError as error:
            raise ValueError(error.told) from error
        return text


# The headings of settings, which stand in this order in the model, too.
GROUPS: dict[str, tuple[str, ...]] = {
    "The app": ("theme", "animations", "charts", "confirm_quit", "idle_minutes", "grader"),
    "Models that are loaded next": (
        "context",
        "parallel",
        "threads",
        "precision",
        "special_in_content",
        "speculate",
        "draft",
        "cache_bytes",
        "cache_type_k",
        "cache_type_v",
        "flash_attention",
        "swa_full",
        "batch",
        "micro_batch",
        "mmap",
        "mlock",
    ),
    "GPUs": ("gpu_layers", "split_mode", "main_gpu", "tensor_split", "cpu_moe"),
    "Traces and what goes with age": ("trace_content", "trace_days", "retention"),
    "Backups": ("backup_folder", "backup_hours", "backup_keep", "backup_full_every", "backup_passphrase_file"),
}

# Of a setting that cannot be read, the reading that keeps least of what the user may have wanted kept out.
_STRICT: dict[str, Any] = {"trace_content": "off"}
_STRICTLY = "; until it is fixed, traces keep figures only"


def load_settings(path: Path | None = None) -> tuple[Settings, list[str]]:
    """The settings, and what was wrong in the file, each as one sentence.

    A wrong value is replaced by its default; where what traces may keep cannot be read, they keep no content.
    """
    path = path or settings_path()
    try:
        raw: dict[str, Any] = parse_toml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Settings(), []
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return Settings(**_STRICT), [f"{path}: {error}; the defaults are used{_STRICTLY}"]
    problems: list[str] = []
    while True:
        try:
            return Settings.model_validate(raw), problems
        except ValidationError as error:
            for name, text in _faults(error):
                meant = "trace_content" if _of_traces(name, raw.get(name)) else _meant(name)
                problem = f"{path}: {name}: {text}"
                raw.pop(name)
                if meant in _STRICT:
                    raw[meant] = _STRICT[meant]
                    problems.append(problem + _STRICTLY)
                else:
                    problems.append(f"{problem}; the default is used" if meant == name else problem)


def _faults(error: ValidationError) -> list[tuple[str, str]]:
    """The settings that are wrong, each once, and why."""
    found: dict[str, str] = {}
    for item in error.errors(include_url=False):
        name = str(item["loc"][0])
        unknown = "this setting does not exist" + (f"; did you mean {_meant(name)}?" if _meant(name) else "")
        found.setdefault(name, unknown if item["type"] == "extra_forbidden" else item["msg"])
    return list(found.items())


def _of_traces(name: str, value: Any) -> bool:
    """Whether an unknown name, or one below it where it is a table, may have been meant to say what traces keep."""
    words = name.lower()
    named = name not in Settings.model_fields and ("trace" in words or "content" in words)
    return named or (
        isinstance(value, dict)
        and any(_of_traces(key, below) or key == "trace_content" for key, below in value.items())
    )


def _meant(name: str) -> str | None:
    """The setting that a name is, or is nearly, in any case and with dashes too."""
    near = difflib.get_close_matches(name.lower().replace("-", "_"), Settings.model_fields, n=1, cutoff=0.75)
    return near[0] if near else None


def keep_beside(path: Path) -> Path:
    """Give a file a second name. It keeps its own until another takes its place: where there is none, traces keep all."""
    stamp = path.with_name(f"{path.name}.{time.strftime('%Y%m%d-%H%M%S')}")
    names = (stamp if number == 1 else stamp.with_name(f"{stamp.name}-{number}") for number in itertools.count(1))
    kept = next(name for name in names if not os.path.lexists(name))
    try:
        os.link(path, kept, follow_symlinks=False)
    except OSError:
        # A disk that knows no second names.
        write_atomic(kept, path.read_bytes())
    return kept


def save_settings(settings: Settings, path: Path | None = None) -> Path | None:
    """Write the settings that differ from the defaults.

    Returns:
        Where the former file was put, if it held something that could not be read and so would be lost; else None.
    """
    import tomli_w

    path = path or settings_path()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    kept = None
    if load_settings(path)[1]:
        kept = keep_beside(path)
    write_atomic(path, tomli_w.dumps(settings.model_dump(exclude_defaults=True)))
    return kept
