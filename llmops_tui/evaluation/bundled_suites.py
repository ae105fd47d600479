"""The bundled suites: safety and trust."""

from __future__ import annotations

import functools
from pathlib import Path

from llmops_tui.errors import NotFoundError
from llmops_tui.evaluation.run import SuiteVersion
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import Suite, parse_suite


@functools.cache
def shipped() -> dict[str, Suite]:
    """They by name."""
    folder = Path(__file__).parent / "suites"
    found = (parse_suite(path.read_text(encoding="utf-8"), path.stem) for path in sorted(folder.glob("*.yaml")))
    return {suite.name: suite for suite in found}


def suite_named(store: EvaluationStore, given: str) -> SuiteVersion:
    """A suite by name or ``name@2``; one that is bundled is kept as a version first.

    Raises:
        NotFoundError: there is none.
    """
    try:
        return store.suite(given)
    except NotFoundError:
        known = shipped()
        if given in known:
            return store.save_suite(known[given], "bundled")
        raise
