"""The bundled suites: safety and trust."""

from __future__ import annotations

import functools
from pathlib import Path

from llmops_tui.evaluation.suite import Suite, parse_suite


@functools.cache
def shipped() -> dict[str, Suite]:
    """They by name."""
    folder = Path(__file__).parent / "suites"
    found = (parse_suite(path.read_text(encoding="utf-8"), path.stem) for path in sorted(folder.glob("*.yaml")))
    return {suite.name: suite for suite in found}
