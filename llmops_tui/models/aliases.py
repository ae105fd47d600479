"""Other names of registered models, for clients that insist on a name: kept in the catalog, unique against all names.

Which model answers for a name is what others rely on, so each change is an entry of the audit, by hashes (:mod:`.alias_acts`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.models.alias_acts import Act, change_alias, remove_aliases
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.files import sha256_text

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb

    from llmops_tui.workspace.audit import AuditEntry

# As others write names: qwen3:8b, Qwen/Qwen3-8B-GGUF. No plus sign: it joins a model and an adapter.
_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,199}")


ALIASED, UNALIASED = "alias.set", "alias.removed"
MODEL_PROMOTED, MODEL_ROLLED_BACK = "model.promoted", "model.rolled_back"
"""Kinds of entries of the audit; the latter two are of a model that took another's place for an alias or a stage."""


class AliasBook:
    """The aliases of a workspace."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    def all(self) -> dict[str, str]:
        """What each alias stands for: ``name`` or ``name+adapter``."""
        rows = self.catalog.read(
            lambda connection: connection.execute("SELECT alias, model FROM model_aliases ORDER BY alias").fetchall()
        )
        return {str(alias): str(model) for alias, model in rows}

    def of(self, model: str) -> list[str]:
        """The aliases of a model."""
        return [alias for alias, target in self.all().items() if target == model]

    def add(self, model: str, alias: str) -> None:
        """Let ``alias`` stand for a registered ``model``, which may be ``name+adapter``; the caller knows that it is there.

        Raises:
            InputRefusedError: ``bad_name``; ``name_taken``: a model or another alias has this name, whatever the case.
        """
        if not _ALIAS.fullmatch(alias):
            raise InputRefusedError(
                "bad_name", f"{alias!r} is not a valid alias", "Use letters, digits and . _ - : / @ (at most 200)."
            )

        if alias.startswith("prompt/"):
            told = f"{alias!r} is how a served prompt is asked for"
            raise InputRefusedError("bad_name", told, "Choose another alias.")

        def plan(connection: duckdb.DuckDBPyConnection) -> Act:
            row = connection.execute("SELECT name FROM models WHERE lower(name) = lower(?)", [alias]).fetchone()
            if row is not None:
                raise InputRefusedError("name_taken", f"{row[0]!r} is a registered model", "Choose another alias.")
            taken = alias_like(connection, alias)
            if taken is not None and taken != (alias, model):
                hint = f"llmops model alias --remove {taken[0]}"
                raise InputRefusedError("name_taken", f"{taken[0]!r} is an alias of {taken[1]!r} already", hint)
            return _act(ALIASED, alias, connection, model)

        change_alias(self.catalog, EventLog(self.catalog.workspace), alias, model, plan)

    def move(self, alias: str, before: str, after: str, act: Act) -> AuditEntry:
        """Let an alias stand for another model than before; the caller knows that it is there, and what the audit is to say.

        Raises:
            InputRefusedError: ``alias_moved``: it stands for something else than ``before`` by now.
        """

        def plan(connection: duckdb.DuckDBPyConnection) -> Act:
            row = connection.execute("SELECT model FROM model_aliases WHERE alias = ?", [alias]).fetchone()
            if row is None or str(row[0]) != before:
                told = f"{alias!r} stands for {row[0]!r}" if row is not None else f"{alias!r} is no alias any more"
                raise InputRefusedError("alias_moved", f"{told}, not for {before!r}", "llmops model alias lists them.")
            return act

        return change_alias(self.catalog, EventLog(self.catalog.workspace), alias, after, plan)

    def remove(self, alias: str) -> str:
        """Forget an alias; returns what it stood for.

        Raises:
            NotFoundError: there is none.
        """
        stood_for = ""

        def plan(connection: duckdb.DuckDBPyConnection) -> Act:
            nonlocal stood_for
            row = connection.execute("SELECT model FROM model_aliases WHERE alias = ?", [alias]).fetchone()
            if row is None:
                raise NotFoundError("alias", alias, "llmops model alias lists them.")
            stood_for = str(row[0])
            return _act(UNALIASED, alias, connection, stood_for)

        change_alias(self.catalog, EventLog(self.catalog.workspace), alias, None, plan)
        return stood_for

    def forget(self, name: str, also: Callable[[duckdb.DuckDBPyConnection], object]) -> None:
        """Forget the aliases of a model or an adapter that goes; ``also`` forgets that itself, in the same transaction."""

        def plan(connection: duckdb.DuckDBPyConnection) -> dict[str, Act]:
            sql = (
                "SELECT alias, model FROM model_aliases WHERE list_contains(string_split(model, '+'), ?) ORDER BY alias"
            )
            rows = connection.execute(sql, [name]).fetchall()
            return {str(alias): _act(UNALIASED, str(alias), connection, str(model)) for alias, model in rows}

        remove_aliases(self.catalog, EventLog(self.catalog.workspace), plan, also)


def alias_hash(alias: str) -> str:
    """What the audit calls an alias: it holds no names."""
    return sha256_text(alias)[:16]


def _act(kind: str, alias: str, connection: duckdb.DuckDBPyConnection, model: str) -> Act:
    base, _, adapter = model.partition("+")
    beside = {"adapter": _sha256(connection, adapter)} if adapter else {}
    return Act(kind, _sha256(connection, base) or "", {"alias": alias_hash(alias), **beside})


def _sha256(connection: duckdb.DuckDBPyConnection, name: str) -> str | None:
    """The hash of the file of a model or an adapter."""
    row = connection.execute("SELECT sha256 FROM models WHERE name = ?", [name]).fetchone()
    return None if row is None else str(row[0])


def alias_like(connection: duckdb.DuckDBPyConnection, name: str) -> tuple[str, str] | None:
    """The alias that is like a name, whatever the case, and what it stands for."""
    row = connection.execute("SELECT alias, model FROM model_aliases WHERE lower(alias) = lower(?)", [name]).fetchone()
    return None if row is None else (str(row[0]), str(row[1]))
