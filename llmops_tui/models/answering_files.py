"""Which files answer by a model's name: work that goes on later notices by it that another model has the name now."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError

if TYPE_CHECKING:
    from llmops_tui.models.registry import Model

# Of a hash, enough to tell two apart; what is no hash is told whole.
_SHOWN = 12
_HASH = re.compile(r"[0-9a-f]{64}")


def files_of(model: Model, adapter: Model | None = None) -> str:
    """The SHA-256 of what answers, and behind ``+`` that of an adapter; of a remote model its address and name there."""
    if model.kind == "remote":
        return f"{model.header.get('url')} {model.header.get('remote_model')}"
    beside = adapter.sha256 if adapter is not None else model.sha256 if model.origin is not None else ""
    return f"{model.base.sha256}+{beside}" if beside else model.base.sha256


def refuse_others(began: Mapping[str, str], now: Mapping[str, str], work: str, anew: str) -> None:
    """Refuse to go on where what decides the answers is not what it was: parts by name, each with its hash.

    Raises:
        InputRefusedError: ``model_changed``: names the first that differs.
    """
    for name in (*began, *now):
        if began.get(name) == now.get(name):
            continue
        told = (
            f"it began with {name} as {_short(began[name])}, and that is {_short(now[name])} now"
            if name in began and name in now
            else f"it began {'with' if name in began else 'without'} {name}"
        )
        raise InputRefusedError("model_changed", f"{work} would mix answers: {told}", anew)


def _short(part: str) -> str:
    return _HASH.sub(lambda found: found[0][:_SHOWN], part)
