"""Whether a LoRA adapter goes beside a model: what llama.cpp asks of the two when it loads one, read from their headers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol, TypeVar

from llmops_tui.errors import ExitCode, InputRefusedError, LlmopsError, NotFoundError
from llmops_tui.models.gguf import read_header
from llmops_tui.models.gguf_header import GgufHeader, join_headers

_A, _B = ".lora_a", ".lora_b"
# Its adapter is of rows that are looked up, and so the other way round.
_EMBEDDING = "token_embd.weight"


class AdapterMisfitError(NotFoundError):
    """``MODEL+ADAPTER`` of an adapter that was made for another model: there is no such model to ask."""

    def __init__(self, base: str, adapter: str, why: str, fitting: Sequence[str]) -> None:
        """``fitting`` are the models that the adapter does go beside."""
        message = f"the adapter {adapter!r} does not fit the model {base!r}: {why}"
        hint = f"It fits {', '.join(fitting)}." if fitting else "It fits no model of this workspace."
        LlmopsError.__init__(self, "adapter_misfit", message, hint, ExitCode.REFUSED)


def misfit(base: Sequence[Path], adapter: Path) -> str:
    """Why an adapter's file cannot go beside a model of these files; empty where it can, or a file cannot be read.

    A pair that fits need not be of one training: the same shapes in another quantization are what an adapter is for.
    """
    try:
        return _found(tuple((path, _state(path)) for path in base), (adapter, _state(adapter)))
    except (LlmopsError, OSError):
        # A file that is gone or damaged is told as that, where models are looked at and loaded.
        return ""


def other_architecture(adapter: object, model: object) -> str:
    """Why an adapter of one architecture does not fit a model of another."""
    return f"it was made for a model of the architecture {adapter}, and this one is {model}"


def _state(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@lru_cache(maxsize=4096)
def _found(base: tuple[tuple[Path, tuple[int, ...]], ...], adapter: tuple[Path, tuple[int, ...]]) -> str:
    """One state of two files is compared once: lists of models ask again and again."""
    if not base:
        raise InputRefusedError("model_unreadable", "there is no file to compare with")
    return _difference(join_headers([read_header(path) for path, _ in base]), read_header(adapter[0]))


def _difference(model: GgufHeader, adapter: GgufHeader) -> str:
    if model.architecture != adapter.architecture:
        return other_architecture(adapter.architecture, model.architecture)
    for name, a in adapter.shapes.items():
        place = name.removesuffix(_A)
        if not name.endswith(_A) or (b := adapter.shapes.get(place + _B)) is None:
            continue
        if (there := model.shapes.get(place)) is None:
            return f"it was made for a model with {place}, which this one does not have"
        sides = (_rows(a), _rows(b)) if place == _EMBEDDING else (_rows(b), a[-1])
        if sides != (has := (_rows(there), there[-1])):
            made, here = (f"{rows:,} × {columns:,}" for rows, columns in (sides, has))
            return f"it was made for a model of other shapes: {place} is {made} there, and {here} here"
    return ""


def _rows(shape: tuple[int, ...]) -> int:
    return shape[-2] if len(shape) > 1 else 1


class AdapterOrModel(Protocol):
    """What is asked of a registered model here."""

    @property
    def name(self) -> str:
        """Its name in the workspace."""

    @property
    def kind(self) -> str:
        """``gguf``, ``adapter`` and what else there is."""

    @property
    def header(self) -> Mapping[str, object]:
        """What its file says of itself."""

    @property
    def path(self) -> Path:
        """Its file, or the first of them."""

    @property
    def files(self) -> Sequence[Path]:
        """All its files."""


_Kept = TypeVar("_Kept", bound=AdapterOrModel)


def fitting(adapters: Iterable[_Kept], model: _Kept) -> list[_Kept]:
    """Those adapters that go beside a model."""
    return [one for one in adapters if one.kind == "adapter" and not _misfit(model, one)]


def adapter_beside(model: _Kept, name: str, models: Iterable[_Kept]) -> _Kept:
    """The adapter of a name beside a model.

    Raises:
        LlmopsError: ``adapter_not_found``; ``adapter_misfit``: it is another model's.
    """
    known = [*models]
    fits = fitting(known, model)
    if (found := next((one for one in known if one.name == name and one.kind == "adapter"), None)) is None:
        hint = f"Known: {', '.join(one.name for one in fits) or 'none is registered for it'}."
        raise LlmopsError("adapter_not_found", f"no adapter {name[:100]!r} for {model.name!r}", hint)
    if found not in fits:
        others = [one.name for one in known if not _misfit(one, found)]
        raise AdapterMisfitError(model.name, name, _misfit(model, found), others)
    return found


def _misfit(model: AdapterOrModel, adapter: AdapterOrModel) -> str:
    """Why an adapter does not go beside a model; empty where it does, as far as it can be known."""
    if model.kind != "gguf":
        return f"it goes beside a GGUF file that is served here, and {model.name!r} is {model.kind}"
    given, here = adapter.header.get("architecture"), model.header.get("architecture")
    return other_architecture(given, here) if given != here else misfit(model.files, adapter.path)
