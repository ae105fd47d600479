"""Names in a filter of traces that nothing goes by: a mistyped one would find no trace for ever, and nobody would know."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.traces.store import TRACES, TraceFilter
from llmops_tui.workspace.ingest import ingest

if TYPE_CHECKING:
    import duckdb

    from llmops_tui.workspace.catalog import Catalog
    from llmops_tui.workspace.event_log import EventLog


def known_filter(catalog: Catalog, event_log: EventLog, said: str) -> TraceFilter:
    """A filter as it is typed, whose names are known.

    Raises:
        InputRefusedError: ``bad_filter``; and as :func:`refuse_unknown_names`.
    """
    wanted = TraceFilter.parse(said, time.time())
    refuse_unknown_names(catalog, event_log, wanted)
    return wanted


def refuse_unknown_names(catalog: Catalog, event_log: EventLog, wanted: TraceFilter) -> None:
    """Refuse a filter with a name that nothing here has now, and that no trace of any time has.

    Raises:
        NotFoundError: there is no such model, prompt, chain or experiment. LlmopsError: ``not_recorded``: no recording has the
            name. InputRefusedError: ``no_traces``: nothing else has it.
    """
    ingest(catalog, event_log)
    looks: dict[str, Callable[[str], object]] = {
        "model": lambda name: _refuse_model(catalog, name),
        "prompt": lambda name: _refuse_prompt(catalog, name),
        "chain": lambda name: _refuse_chain(catalog, name),
        "experiment": lambda name: _refuse_experiment(event_log, name),
        "recording": lambda name: _refuse_recording(catalog, event_log, name),
    }
    for field in (*looks, "work", "trace", "service"):
        name = getattr(wanted, field)
        # What is gone has left its traces.
        if not name or _any(catalog, TraceFilter(**{field: name})):
            continue
        if field not in looks:
            told = f"no trace is of the {field} {name[:100]!r}"
            raise InputRefusedError("no_traces", told, "llmops traces list shows what there is.")
        looks[field](name)


# What keeps the names is loaded where one was given that no trace has: most lists are asked for without any.


def _refuse_model(catalog: Catalog, name: str) -> None:
    from llmops_tui.models.aliases import AliasBook
    from llmops_tui.models.registry import ModelRegistry

    try:
        ModelRegistry(catalog).get(name)
    except NotFoundError:
        if (stands := AliasBook(catalog).all().get(name)) is None:
            raise
        # Traces have the name of the model that answered.
        raise NotFoundError("model", name, f"It stands for {stands!r}: give that.") from None


def _refuse_prompt(catalog: Catalog, name: str) -> None:
    from llmops_tui.prompts.store import PromptStore

    PromptStore(catalog).get(name)


def _refuse_chain(catalog: Catalog, name: str) -> None:
    from llmops_tui.chains.store import ChainStore

    ChainStore(catalog).get(name)


def _refuse_experiment(event_log: EventLog, name: str) -> None:
    from llmops_tui.inference.experiments.store import ExperimentStore

    ExperimentStore(event_log).get(name.partition("@")[0])


def _refuse_recording(catalog: Catalog, event_log: EventLog, name: str) -> None:
    from llmops_tui.inference.server.recording import require_recording

    require_recording(catalog, event_log, name)


def _any(catalog: Catalog, wanted: TraceFilter) -> bool:
    condition, values = wanted.sql()

    def work(connection: duckdb.DuckDBPyConnection) -> bool:
        return connection.execute(f"SELECT 1 FROM {TRACES} WHERE {condition} LIMIT 1", values).fetchone() is not None

    return catalog.read(work)
