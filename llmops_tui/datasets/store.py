"""Datasets and their versions in the catalog, with rows in content-addressed folders."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_tui.datasets.records import SCHEME, Column
from llmops_tui.datasets.reports import ViewRecord
from llmops_tui.datasets.version import DatasetVersion, Recipe
from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.names import MOST, RULE, is_name
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.files import sync_folder
from llmops_tui.workspace.ids import new_id
from llmops_tui.workspace.json_columns import kept
from llmops_tui.workspace.layout import Workspace, within
from llmops_tui.workspace.lineage import record_edges
from llmops_tui.workspace.marker import existing
from llmops_tui.workspace.sandbox import reading

if TYPE_CHECKING:
    import duckdb

_TAG = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,49}")
_COLUMNS = "id, dataset, number, sha256, parent, kind, rows, rejected, columns, recipe, note, size_bytes, created_at, hash_scheme"


class DatasetStore:
    """The datasets of one workspace."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    @property
    def workspace(self) -> Workspace:
        """The workspace they are in."""
        return self.catalog.workspace

    # ── finding ──

    def all(self) -> list[DatasetVersion]:
        """The latest version of each dataset, by name."""
        return [versions[0] for versions in self.logs().values()]

    def logs(self) -> dict[str, list[DatasetVersion]]:
        """All versions of all datasets, newest first, by name."""

        def work(db: duckdb.DuckDBPyConnection) -> dict[str, list[DatasetVersion]]:
            tags = _tags(db)
            rows = db.execute(f"SELECT {_COLUMNS} FROM dataset_versions ORDER BY dataset, number DESC").fetchall()
            found: dict[str, list[DatasetVersion]] = {}
            for row in rows:
                version = self._version(row, tags)
                found.setdefault(version.dataset, []).append(version)
            return found

        return self.catalog.read(work)

    def log(self, name: str) -> list[DatasetVersion]:
        """The versions of one dataset, newest first."""
        found = self.logs().get(name)
        if not found:
            raise NotFoundError("dataset", name, "llmops data list shows them.")
        return found

    def get(self, ref: str) -> DatasetVersion:
        """A version by ``name``, ``name@3``, ``name@tag``, or id.

        Raises:
            NotFoundError: there is no such dataset, version or tag.
        """
        name, _, wanted = ref.partition("@")
        if not wanted:
            if name.startswith("dsv_"):
                found = next((v for vs in self.logs().values() for v in vs if v.id == name), None)
                if found is not None:
                    return found
            return self.log(name)[0]
        for version in self.log(name):
            if wanted in {str(version.number), *version.tags}:
                return version
        raise NotFoundError("dataset version", ref, f"llmops data log {name} shows them.")

    # ── keeping ──

    def staging(self) -> Path:
        """A new folder to write a version's files in."""
        folder = existing(self.workspace).datasets / f".staging-{new_id('st')}"
        folder.mkdir(mode=0o700)
        return folder

    def keep(
        self,
        folder: Path,
        name: str,
        *,
        kind: str,
        columns: list[Column],
        recipe: Recipe,
        rejected: int = 0,
        note: str = "",
        parent: int | None = None,
        digest: str | None = None,
        beside: Callable[[DatasetVersion], None] = lambda _version: None,
    ) -> DatasetVersion:
        """Make the files in a staging folder the next version of a dataset.

        Where the newest version holds the same rows, made the same way, that version is returned. ``beside`` keeps what
        belongs to the version beside it, before anybody knows of it. ``digest`` is the content hash, where it was taken of
        the same rows while they were written.
        """
        from llmops_tui.datasets.content_hash import content_hash
        from llmops_tui.datasets.parts import source_sql

        check_name(name)
        files = sorted(folder.glob("part-*.parquet"))
        with reading(files, memory="1GB") as connection:
            digest = digest or content_hash(connection, source_sql(files), columns)
            found = connection.execute(f"SELECT count(*) FROM {source_sql(files)}").fetchone()
        assert found is not None
        final = self.workspace.datasets / digest
        shutil.rmtree(folder / "spill", ignore_errors=True)
        size = sum(f.stat().st_size for f in (final if final.is_dir() else folder).glob("part-*.parquet"))
        version = DatasetVersion(
            new_id("dsv"),
            name,
            0,
            digest,
            parent,
            kind,
            int(found[0]),
            rejected,
            tuple(columns),
            recipe,
            note,
            size,
            time.time(),
            final,
        )
        beside(version)
        kept = self._same_before(version, folder) or self._record(version, folder)
        shutil.rmtree(folder, ignore_errors=True)
        return kept

    def _same_before(self, version: DatasetVersion, folder: Path) -> DatasetVersion | None:
        """The newest version, where it holds the same rows, made the same way, under the hash of an older scheme."""
        newest = next(iter(self.logs().get(version.dataset, [])), None)
        if newest is None or newest.scheme == SCHEME or newest.recipe.sha256 != version.recipe.sha256:
            return None
        from llmops_tui.datasets.content_hash import hash_of

        same = newest.columns == version.columns and hash_of(folder, version.columns, newest.scheme) == newest.sha256
        return newest if same else None

    def _record(self, version: DatasetVersion, folder: Path | None = None) -> DatasetVersion:
        """Put a version into the catalog, and the ``folder`` that was made for it in its place where there is none."""

        def work(db: duckdb.DuckDBPyConnection) -> DatasetVersion:
            # With the catalog open: whoever takes such a folder away asks then whether it is needed.
            if not version.folder.is_dir() and folder is not None:
                folder.rename(version.folder)
                sync_folder(version.folder.parent)
            db.execute("INSERT OR IGNORE INTO datasets VALUES (?, ?)", [version.dataset, version.created_at])
            newest = db.execute(
                f"SELECT {_COLUMNS} FROM dataset_versions WHERE dataset = ? ORDER BY number DESC LIMIT 1",
                [version.dataset],
            ).fetchone()
            if newest is not None:
                old = self._version(newest, _tags(db))
                if (old.sha256, old.recipe.sha256) == (version.sha256, version.recipe.sha256):
                    return old
            number = (int(newest[2]) if newest is not None else 0) + 1
            db.execute(
                "INSERT INTO dataset_versions (id, dataset, number, sha256, parent, kind, rows, rejected, columns, recipe,"
                " recipe_sha256, note, size_bytes, created_at, hash_scheme)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    version.id,
                    version.dataset,
                    number,
                    version.sha256,
                    version.parent,
                    version.kind,
                    version.rows,
                    version.rejected,
                    json.dumps([c.as_dict() for c in version.columns]),
                    json.dumps(version.recipe.as_dict()),
                    version.recipe.sha256,
                    version.note,
                    version.size_bytes,
                    version.created_at,
                    version.scheme,
                ],
            )
            inputs = [digest for _, digest in version.recipe.inputs]
            record_edges(
                db, output=version.sha256, kind=version.recipe.operation, recipe=version.recipe.sha256, inputs=inputs
            )
            row = db.execute(f"SELECT {_COLUMNS} FROM dataset_versions WHERE id = ?", [version.id]).fetchone()
            assert row is not None
            return self._version(row, {})

        return self.catalog.write(work)

    def restore(self, ref: str) -> DatasetVersion:
        """Make an old version's rows the newest version of its dataset again."""
        old = self.get(ref)
        recipe = Recipe("restore", {"from": old.number}, ((old.ref, old.sha256),))
        fresh = DatasetVersion(
            new_id("dsv"),
            old.dataset,
            0,
            old.sha256,
            old.number,
            old.kind,
            old.rows,
            old.rejected,
            old.columns,
            recipe,
            f"as @{old.number}",
            old.size_bytes,
            time.time(),
            old.folder,
            scheme=old.scheme,
        )
        return self._record(fresh)

    def copy(self, ref: str, name: str) -> DatasetVersion:
        """Make the rows of a version the next one of another dataset; its files serve both.

        Raises:
            InputRefusedError: ``bad_name``.
        """
        old = self.get(ref)
        return self._record(
            replace(
                old,
                id=new_id("dsv"),
                dataset=check_name(name),
                number=0,
                parent=None,
                # All rows of one: that is how it is made again.
                recipe=Recipe("concat", {}, ((old.ref, old.sha256),)),
                note=f"copy of {old.ref}",
                created_at=time.time(),
                tags=(),
            )
        )

    def tag(self, ref: str, tag: str) -> DatasetVersion:
        """Point a tag at a version."""
        if not _TAG.fullmatch(tag) or tag == "latest":
            raise InputRefusedError(
                "bad_tag", f"{tag!r} is not a valid tag", "Use a letter, then letters, digits, . _ -"
            )
        version = self.get(ref)
        self.catalog.write(
            lambda db: db.execute(
                "INSERT OR REPLACE INTO dataset_tags VALUES (?, ?, ?, ?)",
                [version.dataset, tag, version.number, time.time()],
            )
        )
        return self.get(version.ref)

    def untag(self, name: str, tag: str) -> None:
        """Take a tag away."""
        self.catalog.write(lambda db: db.execute("DELETE FROM dataset_tags WHERE dataset = ? AND tag = ?", [name, tag]))

    # ── what is kept beside versions ──

    def report(self, sha256: str, what: str) -> dict[str, Any] | None:
        """A report that was made of some content, such as its profile; none where it was not made yet."""
        row = self.catalog.read(
            lambda db: db.execute(
                "SELECT report FROM dataset_reports WHERE sha256 = ? AND what = ?", [sha256, what]
            ).fetchone()
        )
        return kept("dataset_reports", "report", f"{sha256[:12]}… {what}", row[0], kind=what) if row else None

    def keep_report(self, sha256: str, what: str, report: Mapping[str, object]) -> None:
        """Keep a report of some content; a newer one replaces it."""
        text = json.dumps(report)
        self.catalog.write(
            lambda db: db.execute(
                "INSERT OR REPLACE INTO dataset_reports VALUES (?, ?, ?, ?)", [sha256, what, text, time.time()]
            )
        )

    def views(self, name: str) -> dict[str, ViewRecord]:
        """The saved views of a dataset."""
        rows = self.catalog.read(
            lambda db: db.execute(
                "SELECT name, view FROM dataset_views WHERE dataset = ? ORDER BY name", [name]
            ).fetchall()
        )
        return {str(n): kept("dataset_views", "view", f"{name} {n}", v) for n, v in rows}

    def save_view(self, name: str, view_name: str, view: ViewRecord) -> None:
        """Keep a view: its filter, sort and search."""
        text = json.dumps(view)
        self.catalog.write(
            lambda db: db.execute(
                "INSERT OR REPLACE INTO dataset_views VALUES (?, ?, ?, ?)", [name, view_name, text, time.time()]
            )
        )

    def remove_view(self, name: str, view_name: str) -> None:
        """Forget a view."""
        self.catalog.write(
            lambda db: db.execute("DELETE FROM dataset_views WHERE dataset = ? AND name = ?", [name, view_name])
        )

    def mapping(self, columns: tuple[str, ...]) -> dict[str, str]:
        """The mapping that was used last for a table with these columns; empty where there is none."""
        row = self.catalog.read(
            lambda db: db.execute(
                "SELECT mapping FROM dataset_mappings WHERE columns = ?", [_signature(columns)]
            ).fetchone()
        )
        return kept("dataset_mappings", "mapping", _signature(columns)[:100], row[0]) if row else {}

    def keep_mapping(self, columns: tuple[str, ...], mapping: dict[str, str]) -> None:
        """Remember a mapping for the next table with these columns."""
        self.catalog.write(
            lambda db: db.execute(
                "INSERT OR REPLACE INTO dataset_mappings VALUES (?, ?, ?)",
                [_signature(columns), json.dumps(mapping), time.time()],
            )
        )

    def _version(self, row: tuple[Any, ...], tags: dict[tuple[str, int], list[str]]) -> DatasetVersion:
        ref = f"{row[1]}@{row[2]}"
        recipe, columns = (
            kept("dataset_versions", "recipe", ref, row[9]),
            kept("dataset_versions", "columns", ref, row[8]),
        )
        return DatasetVersion(
            id=row[0],
            dataset=row[1],
            number=int(row[2]),
            sha256=row[3],
            parent=row[4],
            kind=row[5],
            rows=int(row[6]),
            rejected=int(row[7]),
            columns=tuple(Column(c["name"], c["type"]) for c in columns),
            recipe=Recipe(
                recipe["operation"], recipe["parameters"], tuple((i["ref"], i["sha256"]) for i in recipe["inputs"])
            ),
            note=row[10],
            size_bytes=int(row[11]),
            created_at=float(row[12]),
            folder=within(self.workspace.datasets, row[3]),
            tags=tuple(tags.get((row[1], int(row[2])), ())),
            scheme=row[13],
        )


def check_name(name: str) -> str:
    """A name that a dataset may have.

    Raises:
        InputRefusedError: it may not.
    """
    if not is_name(name):
        raise InputRefusedError("bad_name", f"{name[:MOST]!r} is not a valid dataset name", RULE)
    return name


def _tags(db: duckdb.DuckDBPyConnection) -> dict[tuple[str, int], list[str]]:
    found: dict[tuple[str, int], list[str]] = {}
    for name, number, tag in db.execute("SELECT dataset, number, tag FROM dataset_tags ORDER BY tag").fetchall():
        found.setdefault((name, int(number)), []).append(tag)
    return found


def _signature(columns: tuple[str, ...]) -> str:
    return json.dumps(sorted(columns))
