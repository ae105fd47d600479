"""A step that is being done, and what is noted of it when it is."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from llmops_tui.chains.asking import StepAnswer
from llmops_tui.chains.records import SpanRecord
from llmops_tui.chains.resolution import ResolvedStep
from llmops_tui.errors import LlmopsError


@dataclass
class Leaf:
    """A step that is done in one piece, before it is."""

    found: ResolvedStep
    path: str
    key: str
    given: Any
    began: float = field(default_factory=time.time)
    clock: float = field(default_factory=time.monotonic)


def span_of(
    leaf: Leaf,
    *,
    given: Any = None,
    output: Any = None,
    answer: StepAnswer | None = None,
    error: LlmopsError | None = None,
    rows: int | None = None,
    failed: int | None = None,
) -> SpanRecord:
    """The record of a step that is done, or failed with an ``error``."""
    found = leaf.found
    return {
        "path": leaf.path,
        "step": found.step.name,
        "kind": found.step.kind,
        "key": leaf.key,
        "state": "done" if error is None else "failed",
        "error": "" if error is None else f"{error.code}: {error.message}",
        "input": leaf.given if given is None else given,
        "output": output,
        "started_at": leaf.began,
        "seconds": time.monotonic() - leaf.clock,
        "model": found.model,
        "prompt": found.prompt.ref if found.prompt is not None else "",
        "prompt_tokens": answer.prompt_tokens if answer is not None else None,
        "completion_tokens": answer.completion_tokens if answer is not None else None,
        "stopped": answer.stopped if answer is not None else "",
        "trace": answer.trace if answer is not None else "",
        "cached": answer.cached if answer is not None else False,
        "rows": rows,
        "failed": failed,
    }
