"""Names that a filter of requests has: one that is nowhere is refused, since nothing would ever be found by it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from llmops_tui.errors import LlmopsError

if TYPE_CHECKING:
    from llmops_tui.cli.output import Session
    from llmops_tui.traces.store import TraceFilter


def filter_of(session: Session, said: str) -> TraceFilter:
    """A filter as it is typed, whose names are known.

    Raises:
        InputRefusedError: ``bad_filter``; and as :func:`require_names`.
    """
    from llmops_tui.traces.store import TraceFilter

    wanted = TraceFilter.parse(said, time.time())
    require_names(session, wanted)
    return wanted


def require_names(session: Session, wanted: TraceFilter) -> None:
    """Refuse a filter whose model, prompt, chain, experiment or recording is not here now, and of which no request is.

    Raises:
        NotFoundError: there is none of that name. LlmopsError: ``not_recorded``: no recording has it.
    """
    from llmops_tui.inference.server.recording import require_recording
    from llmops_tui.traces.store import TraceFilter, TraceStore

    store = TraceStore(session.catalog, session.event_log)
    for field, look in _looks(session).items():
        name = getattr(wanted, field).partition("@")[0]
        if not name:
            continue
        try:
            look(name)
        except LlmopsError:
            # What is gone has left its requests; and a step may be named by its chain's run.
            if not store.page(TraceFilter(**{field: name}), 1)[1]:
                raise
    if wanted.recording:
        require_recording(session.catalog, session.event_log, wanted.recording)


def _looks(session: Session) -> dict[str, Callable[[str], object]]:
    from llmops_tui.chains.store import ChainStore
    from llmops_tui.inference.experiments.store import ExperimentStore
    from llmops_tui.models.registry import ModelRegistry
    from llmops_tui.prompts.store import PromptStore

    return {
        "model": ModelRegistry(session.catalog).get,
        "prompt": PromptStore(session.catalog).get,
        "chain": ChainStore(session.catalog).get,
        "experiment": ExperimentStore(session.event_log).get,
    }
