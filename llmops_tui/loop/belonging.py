"""Whose feedback a dataset version was made of: a suite of rows that were held out of it judges that loop, and no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from llmops_tui.counts import counted
from llmops_tui.errors import LlmopsError, NotFoundError
from llmops_tui.loop.subject import subject_of
from llmops_tui.models.registry import ModelRegistry
from llmops_tui.prompts.store import PromptStore
from llmops_tui.traces.store import TRACES
from llmops_tui.workspace.event_log import EventLog

if TYPE_CHECKING:
    import duckdb

    from llmops_tui.datasets.version import DatasetVersion
    from llmops_tui.loop.subject import Subject
    from llmops_tui.workspace.catalog import Catalog

OF = "of"
"""The parameter of a version's recipe that says whose feedback it was made of."""


class OwnerRecord(TypedDict):
    """A loop, in ways that outlive new names: ``prompt`` is the id of its first version, ``model`` the hash of the model's file.

    Either is empty where there is none. ``name`` is what applications asked for then.
    """

    name: str
    prompt: str
    model: str


def owner_of(catalog: Catalog, subject: Subject) -> OwnerRecord:
    """What versions made of a subject's feedback say of it."""
    prompt = subject.version.prompt if subject.version is not None else ""
    ids = PromptStore(catalog).version_ids({prompt}) if prompt else {}
    try:
        model = ModelRegistry(catalog).get(subject.base).sha256
    except NotFoundError:
        model = ""
    return {"name": subject.name, "prompt": ids.get((prompt, 1), ""), "model": model}


def why_not_of(catalog: Catalog, subject: Subject, version: DatasetVersion) -> str:
    """Why a version was not made of a subject's feedback; empty where it was.

    Of a prompt it is where the prompt is the same one; of another name where that is the same, or the model that answered it
    then, or that answers it now: two aliases of one model are one, also after both have moved on. What an earlier version of
    llmops made does not say so: there it is where one of its traces is the subject's.
    """
    noted = version.recipe.parameters.get(OF)
    if not isinstance(noted, dict):
        return _why_not_by_traces(catalog, subject, version)
    now = owner_of(catalog, subject)
    if now["prompt"]:
        is_ours = noted.get("prompt") == now["prompt"]
    else:
        name = str(noted.get("name") or "")
        is_ours = name == now["name"] or (bool(now["model"]) and noted.get("model") == now["model"])
        is_ours = is_ours or _answered_by(catalog, name) == subject.base
    return "" if is_ours else f"its rows are feedback on {noted.get('name')}"


def _answered_by(catalog: Catalog, name: str) -> str:
    """The model that answers a name now; empty where nothing goes by it."""
    try:
        return subject_of(catalog, EventLog(catalog.workspace), name).base
    except LlmopsError:
        return ""


def _why_not_by_traces(catalog: Catalog, subject: Subject, version: DatasetVersion) -> str:
    condition, values = subject.traces.sql()
    traces = [trace for trace, _ in version.recipe.inputs]
    sql = f"SELECT count(*) FILTER ({condition}), count(*) FROM {TRACES} WHERE list_contains(?, r.id)"

    def work(connection: duckdb.DuckDBPyConnection) -> tuple[int, int]:
        row = connection.execute(sql, [*values, traces]).fetchone()
        assert row is not None
        return int(row[0]), int(row[1])

    ours, there = catalog.read(work)
    if ours:
        return ""
    if there:
        return f"its rows are feedback on other answers than those of {subject.name}"
    return f"it does not say whose feedback its {counted(version.rows, 'row')} are, and their traces are gone"
