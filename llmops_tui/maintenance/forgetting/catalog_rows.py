"""Rows of the catalog that name a person: every text of every table is searched, and changed in one transaction."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from llmops_tui.datasets.version import Recipe
from llmops_tui.evaluation.suite import APART
from llmops_tui.maintenance.forgetting.change import Change
from llmops_tui.maintenance.forgetting.found import Findings
from llmops_tui.privacy.person import Person
from llmops_tui.prompts.store import content_hash as prompt_hash
from llmops_tui.workspace.files import sha256_text
from llmops_tui.workspace.sandbox import quote_name

if TYPE_CHECKING:
    import duckdb

# What rows of a table are called, where somebody is told of them.
PLACES = {
    "requests": "traces", "feedback": "feedback", "annotations": "labels", "prompt_versions": "prompts",
    "prompt_labels": "prompts", "prompt_label_moves": "prompts", "prompts": "prompts", "datasets": "datasets",
    "dataset_versions": "notes and recipes of datasets", "dataset_tags": "datasets", "dataset_views": "saved views of datasets",
    "dataset_mappings": "column mappings", "dataset_reports": "reports on datasets", "training_recipes": "training recipes",
    "training_runs": "training runs", "model_proofs": "proofs of models", "models": "models", "model_aliases": "models",
    "evaluation_suites": "evaluation suites", "evaluation_runs": "evaluation runs", "lineage": "lineage",
    "improvements": "improvements of prompts", "prompt_candidates": "prompts",
}  # fmt: skip
# Columns by which other rows, files and people find a row: no mark can stand there. What helps where one names a person.
NAMES: dict[str, tuple[tuple[str, ...], str]] = {
    "datasets": (("name",), "llmops data remove {0}"),
    "dataset_tags": (("dataset", "tag"), "llmops data tag {0} {1} --remove"),
    "prompts": (("name",), "llmops prompt remove {0}"),
    "prompt_labels": (("prompt", "label"), "llmops prompt tag {0} {1} --remove"),
    "models": (("name",), "llmops model remove {0}"),
    "model_aliases": (("alias", "model"), "llmops model alias --remove {0}"),
    "training_recipes": (("name",), "save the recipe under another name"),
    "training_runs": (("name",), "llmops train remove {0}"),
    "evaluation_suites": (("name",), "save the suite under another name"),
    "evaluation_runs": (("name",), "llmops eval remove {0}"),
}
# Columns that are such names, of the row itself or another, or that the erasure sets itself.
_KEPT = {
    "requests": {"id", "model", "prompt", "content"},
    "feedback": {"id", "request"},
    "annotations": {"id", "sha256", "task"},
    "prompts": {"name"},
    "prompt_versions": {"id", "prompt", "sha256"},
    "prompt_labels": {"prompt", "label"},
    "prompt_label_moves": {"prompt", "label"},
    "prompt_candidates": {"prompt", "improvement"},
    "improvements": {"id", "prompt", "parts"},
    "datasets": {"name"},
    "dataset_versions": {"id", "dataset", "sha256", "kind", "columns", "recipe_sha256", "hash_scheme"},
    "dataset_tags": {"dataset", "tag"},
    "dataset_reports": {"sha256", "what"},
    "models": {"name", "path", "sha256", "kind"},
    "model_aliases": {"alias", "model"},
    "training_recipes": {"name", "sha256"},
    "training_runs": {"name", "job", "base_sha256"},
    "training_measurements": {"shape", "device"},
    "model_proofs": {"sha256"},
    "evaluation_suites": {"name", "sha256"},
    "evaluation_runs": {"name", "suite", "job", "results_sha256"},
}
# Of these nothing else is made: a row that names the person goes whole.
_GOING = ("dataset_views", "dataset_mappings", "dataset_reports")
_APART = {"lineage", "folded", "workspace", "schema_version"}
# What has a hash: by which column it is called, and which columns the hash is of.
_HASHED = {
    "prompt_versions": ("prompt", ("system", "template", "settings")),
    "training_recipes": ("name", ("body",)),
    "evaluation_suites": ("name", ("body",)),
}
# Which fields the hash of a body leaves out.
_UNHASHED = {"training_recipes": {"name"}, "evaluation_suites": APART}
# So many traces are deleted by one statement.
_MANY = 5000


@dataclass(frozen=True)
class Table:
    """A table of the catalog: its columns of text and of JSON that may name a person."""

    name: str
    columns: tuple[str, ...]
    json: frozenset[str]

    @cached_property
    def place(self) -> str:
        """What its rows are called."""
        return PLACES.get(self.name, f"table {self.name}")

    def rows(self, db: duckdb.DuckDBPyConnection, person: Person | None) -> list[tuple[int, tuple[str | None, ...]]]:
        """Its rows by number with their texts; of a person those that may name them."""
        if not self.columns:
            return []
        casts = [f"CAST({quote_name(c)} AS VARCHAR)" for c in self.columns]
        where = person.sql_filter(casts) if person is not None else "true"
        found = db.execute(f"SELECT rowid, {', '.join(casts)} FROM {quote_name(self.name)} WHERE {where}").fetchall()
        return [(int(row), tuple(texts)) for row, *texts in found]


def tables(db: duckdb.DuckDBPyConnection) -> list[Table]:
    """All tables that people's texts may be in, those of later releases too."""
    rows = db.execute(
        "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE database_name = current_database() "
        "AND data_type IN ('VARCHAR', 'JSON') ORDER BY table_name, column_index"
    ).fetchall()
    names = dict.fromkeys(str(table) for table, *_ in rows if table not in _APART)
    found = []
    for name in names:
        own = [(str(c), t) for table, c, t in rows if table == name and c not in _KEPT.get(name, set())]
        found.append(Table(name, tuple(c for c, _ in own), frozenset(c for c, t in own if t == "JSON")))
    return found


def find(db: duckdb.DuckDBPyConnection, person: Person, findings: Findings, becomes: str) -> list[str]:
    """Note all rows that name a person; returns the ids of traces that do, or on which feedback does."""
    traces: dict[str, None] = {}
    for table in tables(db):
        if table.name in {"requests", "feedback"}:
            continue
        fate = "removed" if table.name in _GOING else "redacted"
        for _, texts in table.rows(db, person):
            findings.take(table.place, "", (text for text in texts if text), fate)
    for table in tables(db):
        if table.name not in {"requests", "feedback"}:
            continue
        key = "id" if table.name == "requests" else "request"
        for row, texts in table.rows(db, person):
            if findings.take(table.place, "", (text for text in texts if text), becomes):
                found = db.execute(f"SELECT {key} FROM {table.name} WHERE rowid = ?", [row]).fetchall()
                traces[str(found[0][0])] = None
    for one in named_ids(db, person):
        findings.add("traces", "", becomes, things=1, mentions=1, samples=())
        traces[one] = None
    return list(traces)


def named_ids(db: duckdb.DuckDBPyConnection, person: Person) -> list[str]:
    """The traces whose own id names a person: a client may have chosen it."""
    wanted = person.sql_filter(["id"])
    return [
        str(one)
        for (one,) in db.execute(f"SELECT id FROM requests WHERE {wanted}").fetchall()
        if person.named_in(str(one))
    ]


def names_in_the_way(db: duckdb.DuckDBPyConnection, person: Person) -> list[str]:
    """Things whose names name the person, each with what helps: a mark in a name would cut off all that refer to it."""
    found = []
    for table, (columns, remedy) in NAMES.items():
        rows = db.execute(f"SELECT DISTINCT {', '.join(columns)} FROM {table}").fetchall()
        meant = [row for row in rows if any(person.named_in(str(value)) for value in row)]
        found += [f"{PLACES[table]}: {row[0]} is named so ({remedy.format(*row)})" for row in meant]
    for (columns,) in db.execute("SELECT DISTINCT columns::VARCHAR FROM dataset_versions").fetchall():
        named = (c["name"] for c in json.loads(columns) if person.named_in(c["name"]))
        found += [f"a column of a dataset is named so: {name} (llmops data select NAME without it)" for name in named]
    return list(dict.fromkeys(found))


class CatalogErasure:
    """Changes all rows of the catalog, within one transaction of the caller's.

    Attributes:
        rehashed: what has another hash afterwards, by its old one: what it is, how it is called, and the new hash.
    """

    def __init__(self, db: duckdb.DuckDBPyConnection, change: Change, bury: Callable[[str], str]) -> None:
        """``bury`` gives the tombstone of a hash."""
        self._db = db
        self._change = change
        self._bury = bury
        self.rehashed: dict[str, tuple[str, str, str]] = {}

    def learn_hashes(self) -> None:
        """Find which prompts, recipes and suites will have another hash, so that texts can name tombstones of the old."""
        while True:
            known = len(self.rehashed)
            for table in tables(self._db):
                if table.name in _HASHED:
                    self._learn(table)
            # A body may name the hash of another.
            if len(self.rehashed) == known:
                return

    def _learn(self, table: Table) -> None:
        key = _HASHED[table.name][0]
        for row, texts in table.rows(self._db, None):
            fresh = self._fresh_row(table, texts)
            if fresh is None:
                continue
            name, number, old = self._db.execute(
                f"SELECT {key}, number, sha256 FROM {table.name} WHERE rowid = ?", [row]
            ).fetchall()[0]
            self.rehashed[old] = (table.place, f"{name}@{number}", _digest(table.name, fresh))
            self._change.stones[old] = self._bury(old)

    def _fresh_row(self, table: Table, texts: tuple[str | None, ...]) -> dict[str, str] | None:
        """All texts of a row as they are to be; none where what its hash is of stays as it is."""
        before = {column: text or "" for column, text in zip(table.columns, texts, strict=True)}
        fresh = {column: self._fresh(table, column, text) if text else "" for column, text in before.items()}
        of = _HASHED[table.name][1]
        return fresh if any(fresh[column] != before[column] for column in of) else None

    def erase(self) -> None:
        """Remove or change all rows that name the person."""
        for table in tables(self._db):
            if table.name in _GOING:
                going = [row for row, texts in table.rows(self._db, self._change.person) if self._named(texts)]
                self._db.execute(f"DELETE FROM {table.name} WHERE list_contains(?::BIGINT[], rowid)", [going])
        self._remove_traces()
        for table in tables(self._db):
            self._rewrite(table)
        self._rewrite_lineage()

    def _named(self, texts: tuple[str | None, ...]) -> bool:
        return any(self._change.person.named_in(text) for text in texts if text)

    def _remove_traces(self) -> None:
        """Remove traces whole, or those alone whose id names the person."""
        if self._change.how == "remove":
            ids = find(self._db, self._change.person, Findings(self._change.person), "")
        else:
            ids = named_ids(self._db, self._change.person)
        for at in range(0, len(ids), _MANY):
            some = ids[at : at + _MANY]
            self._db.execute("DELETE FROM feedback WHERE list_contains(?::VARCHAR[], request)", [some])
            self._db.execute("DELETE FROM requests WHERE list_contains(?::VARCHAR[], id)", [some])

    def _rewrite(self, table: Table) -> None:
        # Traces name no hashes of content; all of the other tables are few rows.
        some = self._change.person if table.name in {"requests", "feedback"} else None
        for row, texts in table.rows(self._db, some):
            changed = {
                column: fresh
                for column, text in zip(table.columns, texts, strict=True)
                if text and (fresh := self._fresh(table, column, text)) != text
            }
            if changed and table.name in _HASHED and (whole := self._fresh_row(table, texts)) is not None:
                changed |= self._hashed(table.name, row, whole)
            if "recipe" in changed and table.name == "dataset_versions":
                changed["recipe_sha256"] = _recipe_digest(changed["recipe"])
            if changed:
                sets = ", ".join(f"{quote_name(column)} = ?" for column in changed)
                self._db.execute(f"UPDATE {table.name} SET {sets} WHERE rowid = ?", [*changed.values(), row])

    def _fresh(self, table: Table, column: str, text: str) -> str:
        return self._change.json_text(text) if column in table.json else self._change.text(text)

    def _hashed(self, table: str, row: int, fresh: dict[str, str]) -> dict[str, str]:
        """What a row of a hashed thing is to be, with its hash."""
        # A prompt may hold nothing beside its texts.
        of = {column: fresh[column] for column in _HASHED[table][1] if fresh[column] or column != "settings"}
        if table != "prompt_versions":
            return of | {"sha256": _digest(table, fresh)}
        taken = {
            digest
            for (digest,) in self._db.execute(
                "SELECT sha256 FROM prompt_versions WHERE rowid <> ? "
                "AND prompt = (SELECT prompt FROM prompt_versions WHERE rowid = ?)",
                [row, row],
            ).fetchall()
        }
        number, first = 1, of
        # Two versions that differed in the person alone stay two.
        while (digest := _digest(table, of)) in taken:
            number += 1
            of = {column: re.sub(r"\[([A-Z_]+)\]", rf"[\1 {number}]", text) for column, text in first.items()}
        return of | {"sha256": digest}

    def _rewrite_lineage(self) -> None:
        person, stones = self._change.person, self._change.stones
        rows = self._db.execute("SELECT rowid, output, kind, recipe, input, made_at FROM lineage").fetchall()
        for row, output, kind, recipe, source, at in rows:
            ends = [stones.get(end) or person.redact(end)[0] for end in (output, source)]
            fresh = [ends[0], kind, self._change.text(recipe), ends[1], at]
            if fresh != [output, kind, recipe, source, at]:
                self._db.execute("DELETE FROM lineage WHERE rowid = ?", [row])
                self._db.execute("INSERT OR IGNORE INTO lineage VALUES (?, ?, ?, ?, ?)", fresh)


def _recipe_digest(text: str) -> str:
    raw = json.loads(text)
    inputs = tuple((one["ref"], one["sha256"]) for one in raw["inputs"])
    return Recipe(raw["operation"], raw["parameters"], inputs).sha256


def _digest(table: str, fresh: dict[str, str]) -> str:
    """The hash of a prompt, recipe or suite, as those who make it take it."""
    if table == "prompt_versions":
        return prompt_hash(fresh["system"], fresh["template"], fresh.get("settings", ""))
    fields = {name: value for name, value in json.loads(fresh["body"]).items() if name not in _UNHASHED[table]}
    return sha256_text(json.dumps(fields, sort_keys=True))
