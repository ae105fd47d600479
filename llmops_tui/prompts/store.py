"""Prompts and their versions: immutable, content-addressed, with parents, notes, and labels that move.

Chains are texts with versions and labels, too. They are kept in the same tables, under ``chain/NAME``, which no prompt can be
called; see :class:`llmops_tui.chains.store.ChainStore`.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.names import MOST, RULE, is_name
from llmops_tui.prompts.records import SummaryRecord, VersionRecord
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.files import sha256_text
from llmops_tui.workspace.ids import new_id
from llmops_tui.workspace.lineage import record_edges

if TYPE_CHECKING:
    import duckdb

_LABEL = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,49}")
_RESERVED = {"latest", "draft"}
CHAINS = "chain/"
"""What the names of chains begin with, and of no prompt: a name has no stroke."""
# What reads as a version's number behind the @.
_NUMBER = re.compile(r"[vV]\d+")
_COLUMNS = "id, prompt, number, sha256, parent, system, template, note, created_at"


@dataclass(frozen=True)
class PromptVersion:
    """One version of a prompt; its text never changes, its labels may move on."""

    id: str
    prompt: str
    number: int
    sha256: str
    parent: int | None
    system: str
    template: str
    note: str
    created_at: float
    labels: tuple[str, ...] = ()

    @property
    def ref(self) -> str:
        """How to name it: ``triage@12``."""
        return f"{self.prompt}@{self.number}"

    def as_dict(self) -> VersionRecord:
        """The version as the command line's JSON shows it."""
        return {
            "prompt": self.prompt,
            "version": self.number,
            "id": self.id,
            "sha256": self.sha256,
            "parent": self.parent,
            "system": self.system,
            "template": self.template,
            "note": self.note,
            "created_at": self.created_at,
            "labels": list(self.labels),
        }


@dataclass(frozen=True)
class PromptSummary:
    """A prompt in a list."""

    name: str
    latest: int
    versions: int
    labels: dict[str, int]
    changed_at: float

    def as_dict(self) -> SummaryRecord:
        """The prompt as the command line's JSON shows it."""
        return {
            "prompt": self.name,
            "latest": self.latest,
            "versions": self.versions,
            "labels": self.labels,
            "changed_at": self.changed_at,
        }


def check_name(name: str, kind: str = "prompt") -> None:
    """Refuse a name that cannot be a prompt's.

    Raises:
        InputRefusedError: ``bad_name``.
    """
    if not is_name(name):
        raise InputRefusedError("bad_name", f"{name[:MOST]!r} is not a valid {kind} name", RULE)


def content_hash(system: str, template: str) -> str:
    """What addresses a version: SHA-256 over its system and user templates."""
    return sha256_text(json.dumps([system, template], ensure_ascii=True))


class PromptStore:
    """Save, find and label the prompts of a workspace, or of another kind of text whose names begin with a ``prefix``."""

    def __init__(self, catalog: Catalog, prefix: str = "") -> None:
        self._catalog = catalog
        self._prefix = prefix
        self._kind = prefix.rstrip("/") or "prompt"
        self._hint = f"llmops {self._kind} list shows them."

    def save(
        self, name: str, *, template: str, system: str = "", note: str = "", parent: int | None = None
    ) -> tuple[PromptVersion, bool]:
        """Keep this text as a version; returns it, and whether it is new.

        Text that is there already gives the version that has it. A note given for one without a note is added.
        ``parent`` is the version the text was edited from; without one it is the latest.

        Raises:
            InputRefusedError: the name is unfit, or there is no text.
        """
        self._check_name(name)
        if not template.strip() and not system.strip():
            raise InputRefusedError(
                "empty_prompt", f"{name} has no text: neither a system nor a user template", "Write one first."
            )
        digest = content_hash(system, template)

        def work(connection: duckdb.DuckDBPyConnection) -> bool:
            now = time.time()
            same = connection.execute(
                "SELECT number, note FROM prompt_versions WHERE prompt = ? AND sha256 = ?", [name, digest]
            ).fetchone()
            if same is not None:
                if note and not same[1]:
                    connection.execute(
                        "UPDATE prompt_versions SET note = ? WHERE prompt = ? AND number = ?", [note, name, same[0]]
                    )
                return False
            connection.execute("INSERT OR IGNORE INTO prompts VALUES (?, ?)", [name, now])
            row = connection.execute("SELECT max(number) FROM prompt_versions WHERE prompt = ?", [name]).fetchone()
            latest = int(row[0]) if row and row[0] is not None else None
            origin = parent if parent is not None else latest
            number = (latest or 0) + 1
            connection.execute(
                f"INSERT INTO prompt_versions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [new_id("pv"), name, number, digest, origin, system, template, note, now],
            )
            if origin is not None:
                before = connection.execute(
                    "SELECT sha256 FROM prompt_versions WHERE prompt = ? AND number = ?", [name, origin]
                ).fetchone()
                if before is not None:
                    record_edges(connection, output=digest, kind="prompt_version", recipe="edit", inputs=[before[0]])
            return True

        created = self._catalog.write(work)
        return next(v for v in self.versions(name) if v.sha256 == digest), created

    def stamp(self) -> tuple[tuple[int, int], ...]:
        """What changes whenever a prompt does, and with anything else in the catalog; cheap."""
        return self._catalog.stamp()

    def summaries(self) -> list[PromptSummary]:
        """All prompts, the last changed first."""

        def work(connection: duckdb.DuckDBPyConnection) -> list[PromptSummary]:
            labels: dict[str, dict[str, int]] = {}
            for prompt, label, number in connection.execute(
                "SELECT prompt, label, number FROM prompt_labels"
            ).fetchall():
                labels.setdefault(prompt, {})[label] = int(number)
            rows = connection.execute(
                "SELECT prompt, max(number), count(*), max(created_at) FROM prompt_versions v "
                f"WHERE {self._own} GROUP BY prompt ORDER BY max(created_at) DESC, prompt"
            ).fetchall()
            return [PromptSummary(r[0], int(r[1]), int(r[2]), labels.get(r[0], {}), float(r[3])) for r in rows]

        return self._catalog.read(work)

    def versions(self, name: str) -> list[PromptVersion]:
        """All versions of one prompt, the newest first.

        Raises:
            NotFoundError: there is no such prompt.
        """
        found = self._select("v.prompt = ?", [name])
        if not found:
            raise NotFoundError(self._kind, name, self._hint)
        return found

    def search(self, text: str) -> list[PromptVersion]:
        """Versions whose name, note or text contains ``text``, whatever the case; the newest first."""
        words = "concat_ws(chr(10), v.prompt, v.note, v.system, v.template)"
        return self._select(f"contains(lower({words}), lower(?))", [text])

    def get(self, ref: str) -> PromptVersion:
        """The version that ``name``, ``name@number``, ``name@label``, ``name@latest``, an id or a hash stands for.

        A bare name stands for ``production`` where that label is set, else for the latest.

        Raises:
            NotFoundError: it stands for nothing.
        """
        name, _, which = ref.partition("@")
        if not which and not is_name(name.removeprefix(self._prefix)):
            raise NotFoundError(self._kind, ref)
        found = self._select("v.prompt = ?", [name])
        if not found:
            found = self._select("starts_with(v.id, ?) OR starts_with(v.sha256, ?)", [ref, ref]) if len(ref) > 5 else []
            if len(found) == 1:
                return found[0]
            raise NotFoundError(self._kind, ref, self._hint)
        if which == "latest":
            return found[0]
        if not which:
            return next((v for v in found if "production" in v.labels), found[0])
        # A number is a number, whatever label an earlier version let somebody make of it.
        for version in found:
            if which in {str(version.number), f"v{version.number}"}:
                return version
        for version in found:
            if which in version.labels:
                return version
        raise NotFoundError(f"{self._kind} version", ref, f"{name} has versions 1 to {found[0].number}.")

    def move_label(self, ref: str, label: str) -> PromptVersion:
        """Point a label at a version; the move is kept."""
        if _NUMBER.fullmatch(label):
            raise InputRefusedError(
                "bad_label", f"{label!r} reads as the number of a version", "Choose a name, such as production."
            )
        if not _LABEL.fullmatch(label) or label in _RESERVED:
            raise InputRefusedError(
                "bad_label",
                f"{label!r} is not a valid label",
                "Use a letter, then letters, digits and . _ -; not 'latest' or 'draft'.",
            )
        version = self.get(ref)
        self._point(version.prompt, label, version.number)
        return self.get(version.ref)

    def remove_label(self, name: str, label: str) -> None:
        """Take a label away."""
        self._point(name, label, None)

    def set_note(self, ref: str, note: str) -> PromptVersion:
        """Give a version another note; its text stays as it is."""
        version = self.get(ref)
        self._catalog.write(
            lambda connection: connection.execute(
                "UPDATE prompt_versions SET note = ? WHERE id = ?", [note, version.id]
            )
        )
        return self.get(version.ref)

    def _point(self, name: str, label: str, number: int | None) -> None:
        def work(connection: duckdb.DuckDBPyConnection) -> None:
            row = connection.execute(
                "SELECT number FROM prompt_labels WHERE prompt = ? AND label = ?", [name, label]
            ).fetchone()
            before = int(row[0]) if row else None
            if before == number:
                return
            _set_label(connection, name, label, number)
            connection.execute(
                "INSERT INTO prompt_label_moves VALUES (?, ?, ?, ?, ?)", [name, label, before, number, time.time()]
            )

        self._catalog.write(work)

    def _check_name(self, name: str) -> None:
        if not name.startswith(self._prefix):
            raise InputRefusedError("bad_name", f"{name[:MOST]!r} is not the name of a {self._kind}", RULE)
        check_name(name.removeprefix(self._prefix), self._kind)

    @property
    def _own(self) -> str:
        """The condition of rows ``v`` that are of this kind; a prefix is ours, and no text of a user's."""
        return f"starts_with(v.prompt, '{self._prefix}')" if self._prefix else f"NOT starts_with(v.prompt, '{CHAINS}')"

    def _select(self, condition: str, values: list[Any]) -> list[PromptVersion]:
        columns = ", ".join(f"v.{c.strip()}" for c in _COLUMNS.split(","))

        def work(connection: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
            return connection.execute(
                f"SELECT {columns}, list(l.label ORDER BY l.label) FILTER (l.label IS NOT NULL) FROM prompt_versions v "
                "LEFT JOIN prompt_labels l ON l.prompt = v.prompt AND l.number = v.number "
                f"WHERE ({condition}) AND {self._own} GROUP BY ALL ORDER BY v.created_at DESC, v.number DESC",
                values,
            ).fetchall()

        return [
            PromptVersion(r[0], r[1], int(r[2]), r[3], r[4], r[5], r[6], r[7], float(r[8]), tuple(r[9] or ()))
            for r in self._catalog.read(work)
        ]


def _set_label(connection: duckdb.DuckDBPyConnection, name: str, label: str, number: int | None) -> None:
    connection.execute("DELETE FROM prompt_labels WHERE prompt = ? AND label = ?", [name, label])
    if number is not None:
        connection.execute("INSERT INTO prompt_labels VALUES (?, ?, ?, ?)", [name, label, number, time.time()])
