"""The history of runs of prompts, as the catalog keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmops_tui.prompts.records import RunShown
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.ids import resolve_prefix
from llmops_tui.workspace.ingest import ingest
from llmops_tui.workspace.json_columns import kept

if TYPE_CHECKING:
    import duckdb

# Columns of the catalog, in the order of the fields of RunRecord below.
_RUN_COLUMNS = (
    "id, started_at, model, prompt, prompt_version, variables, messages, parameters, output, finish_reason, error, "
    "prompt_tokens, completion_tokens, reused_tokens, ttft_ms, total_ms, tokens_per_s, thinking, reasoning_tokens"
)

_RUN_FIELDS = tuple("version" if name == "prompt_version" else name for name in _RUN_COLUMNS.split(", "))


@dataclass(frozen=True)
class RunRecord:
    """A past run, as the catalog keeps it. Times in milliseconds."""

    id: str
    started_at: float
    model: str
    prompt: str | None
    version: int | None
    variables: dict[str, str] = field(default_factory=dict)
    messages: list[dict[str, str]] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)
    output: str = ""
    finish_reason: str = ""
    error: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reused_tokens: int | None = None
    ttft_ms: float | None = None
    total_ms: float | None = None
    tokens_per_s: float | None = None
    thinking: str | None = None
    reasoning_tokens: int | None = None
    context: int | None = None

    def as_dict(self) -> RunShown:
        """The run as the command line's JSON shows it."""
        return {
            "run": self.id,
            "started_at": self.started_at,
            "model": self.model,
            "prompt": self.prompt,
            "version": self.version,
            "variables": self.variables,
            "parameters": self.parameters,
            "text": self.output,
            "thinking": self.thinking or "",
            "finish_reason": self.finish_reason,
            "error": self.error,
            "usage": {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens},
            "timing": {"ttft_ms": self.ttft_ms, "total_ms": self.total_ms, "tokens_per_s": self.tokens_per_s},
        }


class RunHistory:
    """Past runs, newest first."""

    def __init__(self, catalog: Catalog, event_log: EventLog) -> None:
        self._catalog = catalog
        self._event_log = event_log

    def of(self, prompt: str, version: int | None = None, limit: int = 100) -> list[RunRecord]:
        """Runs of a prompt, or of one of its versions."""
        condition = "prompt = ?" + ("" if version is None else f" AND prompt_version = {int(version)}")
        return self._select(condition, [prompt], limit)

    def get(self, given: str) -> RunRecord:
        """One run by id or by the beginning of it."""
        ingest(self._catalog, self._event_log)
        # The very id first: it may be the beginning of very many others.
        begun = (
            "SELECT id FROM requests WHERE starts_with(id, ?) OR starts_with(substr(id, instr(id, '_') + 1), ?) "
            "ORDER BY id = ? DESC, id LIMIT 50"
        )
        ids = self._catalog.read(lambda connection: connection.execute(begun, [given] * 3).fetchall())
        return self._select("id = ?", [resolve_prefix("run", given, (row[0] for row in ids))], 1)[0]

    def several(self, ids: Sequence[str]) -> dict[str, RunRecord]:
        """Runs by their ids; those that are not there any more are left out."""
        found = self._select("list_contains(?::VARCHAR[], id)", [list(ids)], len(ids)) if ids else []
        return {run.id: run for run in found}

    def _select(self, condition: str, values: list[Any], limit: int) -> list[RunRecord]:
        ingest(self._catalog, self._event_log)

        def work(connection: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
            return connection.execute(
                f"SELECT {_RUN_COLUMNS} FROM requests WHERE {condition} ORDER BY started_at DESC LIMIT {int(limit)}",
                values,
            ).fetchall()

        return [_record(row) for row in self._catalog.read(work)]


def _record(row: tuple[Any, ...]) -> RunRecord:
    fields = dict(zip(_RUN_FIELDS, row, strict=True))
    for name, empty in (("variables", {}), ("messages", []), ("parameters", {})):
        fields[name] = kept("requests", name, fields["id"], fields[name]) or empty
    return RunRecord(**fields)
