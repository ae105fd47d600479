"""Names in a filter of traces that nothing goes by: a mistyped one would be judged by no trace, and nobody would know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError
from llmops_tui.models.aliases import AliasBook
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.prompts.store import PromptStore
from llmops_tui.traces.store import TRACES, TraceFilter

if TYPE_CHECKING:
    import duckdb

    from llmops_tui.workspace.catalog import Catalog

_SHOWN = 8


def refuse_unknown_names(catalog: Catalog, wanted: TraceFilter) -> None:
    """Refuse a filter with a name that nothing here has: no trace of any time, no registered model, no prompt.

    Raises:
        InputRefusedError: ``model_not_found``, ``prompt_not_found``, or ``no_traces`` of another name.
    """
    if wanted.model and not _any(catalog, TraceFilter(model=wanted.model)):
        _refuse_model(catalog, wanted.model)
    if wanted.prompt and not _any(catalog, TraceFilter(prompt=wanted.prompt)):
        known = [summary.name for summary in PromptStore(catalog).summaries()]
        if wanted.prompt not in known:
            told = f"no prompt {wanted.prompt[:100]!r} is kept here, and no trace is of one"
            raise InputRefusedError("prompt_not_found", told, f"There are {_some(known)}.")
    others = {
        "experiment": (wanted.experiment, TraceFilter(experiment=wanted.experiment)),
        "chain": (wanted.chain, TraceFilter(chain=wanted.chain)),
        "trace": (wanted.trace, TraceFilter(trace=wanted.trace)),
        "service": (wanted.service, TraceFilter(service=wanted.service)),
        "recording": (wanted.recording, TraceFilter(recording=wanted.recording)),
    }
    for what, (value, alone) in others.items():
        if value and not _any(catalog, alone):
            told = f"no trace is of the {what} {value[:100]!r}"
            raise InputRefusedError("no_traces", told, "llmops traces list shows what there is.")


def _refuse_model(catalog: Catalog, model: str) -> None:
    known = [one.name for one in ModelRegistry(catalog).all()]
    if all(part in known for part in model.split("+")):
        return
    stands = AliasBook(catalog).all().get(model)
    hint = f"{model!r} stands for {stands!r}: give that." if stands else f"There are {_some(known)}."
    told = f"no model {model[:100]!r} is registered here, and no trace is of one"
    raise InputRefusedError("model_not_found", told, hint)


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return (", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")) or "none"


def _any(catalog: Catalog, wanted: TraceFilter) -> bool:
    condition, values = wanted.sql()

    def work(connection: duckdb.DuckDBPyConnection) -> bool:
        return connection.execute(f"SELECT 1 FROM {TRACES} WHERE {condition} LIMIT 1", values).fetchone() is not None

    return catalog.read(work)
