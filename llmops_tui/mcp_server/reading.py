"""Tools that read prompts, models and datasets."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

import pydantic

from llmops_tui.datasets.profile import SAMPLE_ROWS, profile
from llmops_tui.datasets.profile_record import Profile
from llmops_tui.datasets.reports import VersionRecord as DatasetRecord
from llmops_tui.datasets.sql_console import run_query, table_names
from llmops_tui.mcp_server.tool import Arguments, Limit, Tool
from llmops_tui.mcp_server.workbench import Workbench
from llmops_tui.models.records import ModelRecord
from llmops_tui.prompts.records import SummaryRecord, VersionRecord
from llmops_tui.workspace.ingest import ingest

Ref = Annotated[str, pydantic.Field(max_length=300, description="NAME, NAME@NUMBER or NAME@LABEL.")]
PromptVariables = Annotated[
    dict[str, str], pydantic.Field(max_length=200, description="The values of the template's variables.")
]


class Few(Arguments):
    """How many."""

    limit: Limit = 50


class OfRef(Arguments):
    """One version."""

    ref: Ref


class Prompts(TypedDict):
    """Prompts of the workspace, and how many there are."""

    prompts: list[SummaryRecord]
    total: int


def _list_prompts(bench: Workbench, given: Few) -> Prompts:
    found = bench.prompts.summaries()
    return {"prompts": [one.as_dict() for one in found[: given.limit]], "total": len(found)}


class PromptText(VersionRecord):
    """A version with the names of its variables."""

    variables: list[str]


def _show_prompt(bench: Workbench, given: OfRef) -> PromptText:
    version = bench.prompts.get(given.ref)
    names = {name for source in (version.system, version.template) for name in bench.renderer.variables(source)}
    return {**version.as_dict(), "variables": sorted(names)}


class ToRender(OfRef):
    """A version with values."""

    variables: PromptVariables = pydantic.Field(default_factory=dict)


class Rendered(TypedDict):
    """The messages that a model would be sent."""

    prompt: str
    messages: list[dict[str, str]]


def _render(bench: Workbench, given: ToRender) -> Rendered:
    version = bench.prompts.get(given.ref)
    messages = bench.runner.render(bench.request(version, given.variables))
    return {"prompt": version.ref, "messages": messages}


class KnownModel(ModelRecord):
    """A model, and whether it is in memory now."""

    loaded: bool


class Models(TypedDict):
    """Models of the workspace, and how many there are."""

    models: list[KnownModel]
    total: int


def _list_models(bench: Workbench, given: Few) -> Models:
    found = bench.models.all()
    loaded = {handle.model for handle in bench.servers.running()}
    shown: list[KnownModel] = []
    for model in found[: given.limit]:
        record = model.as_dict()
        # A template is long, and of no use to whoever chooses a model.
        record.pop("chat_template", None)
        shown.append({**record, "loaded": model.name in loaded})
    return {"models": shown, "total": len(found)}


class Datasets(TypedDict):
    """Datasets by their newest version, and how many there are."""

    datasets: list[DatasetRecord]
    total: int


def _list_datasets(bench: Workbench, given: Few) -> Datasets:
    found = bench.datasets.all()
    return {"datasets": [one.as_dict() for one in found[: given.limit]], "total": len(found)}


class ToProfile(OfRef):
    """A version, and how much of it."""

    sample: Annotated[int, pydantic.Field(ge=1, le=100_000, description="How many rows to look at.")] = SAMPLE_ROWS


def _profile(bench: Workbench, given: ToProfile) -> Profile:
    return profile(bench.datasets.get(given.ref), sample=given.sample)


class ToQuery(Arguments):
    """A query."""

    sql: Annotated[str, pydantic.Field(max_length=20_000, description="One SELECT, in DuckDB's SQL.")]
    limit: Limit = 100


class Table(TypedDict):
    """What a query gave; ``truncated`` where there were more rows."""

    columns: list[str]
    types: list[str]
    rows: list[list[Any]]
    truncated: bool


def _query(bench: Workbench, given: ToQuery) -> Table:
    if not bench.workspace.read_only:
        ingest(bench.catalog, bench.event_log)
    answer = run_query(bench.datasets, given.sql, given.limit)
    rows = [list(row) for row in answer.rows]
    return {"columns": answer.columns, "types": answer.types, "rows": rows, "truncated": answer.more}


class Tables(TypedDict):
    """Tables that a query may name, with their columns."""

    tables: dict[str, list[str]]


def _tables(bench: Workbench, _: Arguments) -> Tables:
    return {"tables": table_names(bench.datasets)}


TOOLS = (
    Tool(
        "list_prompts",
        "Prompts",
        "List the prompts, with their newest versions and labels.",
        Few,
        Prompts,
        _list_prompts,
    ),
    Tool(
        "show_prompt",
        "A prompt",
        "Show a version of a prompt: its system and user templates, and the variables that they need.",
        OfRef,
        PromptText,
        _show_prompt,
    ),
    Tool(
        "render_prompt",
        "Render a prompt",
        "Render a version of a prompt with values: the messages that a model would be sent. No model is asked.",
        ToRender,
        Rendered,
        _render,
    ),
    Tool("list_models", "Models", "List the registered models.", Few, Models, _list_models),
    Tool("list_datasets", "Datasets", "List the datasets, each by its newest version.", Few, Datasets, _list_datasets),
    Tool(
        "profile_dataset",
        "Profile a dataset",
        "Compute the statistics of a dataset: columns, turns, languages, duplicates, labels.",
        ToProfile,
        Profile,
        _profile,
    ),
    Tool(
        "list_tables", "Tables", "List the tables that query can name, with their columns.", Arguments, Tables, _tables
    ),
    Tool(
        "query",
        "Query",
        "Run one read-only SELECT over the datasets, which are tables by their names, and a copy of the workspace's own "
        "tables. It is ended after 60 seconds.",
        ToQuery,
        Table,
        _query,
    ),
)
