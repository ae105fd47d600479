"""Versions of prompts as they are read: which one a name, a number or a label stands for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypedDict

from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.names import is_name
from llmops_tui.workspace.files import sha256_text

if TYPE_CHECKING:
    import duckdb

    from llmops_tui.inference.answer_settings import AnswerSettings

CHAINS = "chain/"
"""What the names of chains begin with, and of no prompt: a name has no stroke, unless somebody planted it."""
COLUMNS = "id, prompt, number, sha256, parent, system, template, note, created_at, settings"
"""Those of ``prompt_versions``."""
DEFAULT_LABEL = "production"
"""The label that a bare name stands for, where it is set."""
UNREADABLE = "unreadable"
"""What is told of settings that are damaged, or that a later release wrote."""
NO_CANDIDATE = "NOT EXISTS (FROM prompt_candidates x WHERE x.prompt = v.prompt AND x.number = v.number)"
"""The condition of versions ``v`` that no improvement proposes."""


class _Version(TypedDict):
    prompt: str
    version: int
    id: str
    sha256: str
    parent: int | None
    system: str
    template: str
    note: str
    created_at: float
    labels: list[str]


class VersionRecord(_Version, total=False):
    """A version of a prompt; ``parent`` is the number it was made of, ``candidate_of`` the improvement that proposed it.

    ``settings`` are there where it holds some beside its texts, see :class:`.AnswerSettings`; where they cannot be read,
    ``unreadable`` says why.
    """

    settings: JsonObject
    unreadable: str
    candidate_of: str


@dataclass(frozen=True)
class PromptVersion:
    """One version of a prompt; its text and settings never change, its labels may move on.

    ``candidate_of`` is the improvement that proposed it; empty for all versions but candidates. ``settings_text`` is the JSON
    of what it holds beside its texts; empty where that is nothing.
    """

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
    candidate_of: str = ""
    settings_text: str = ""

    @property
    def ref(self) -> str:
        """How to name it: ``triage@12``."""
        return f"{self.prompt}@{self.number}"

    @cached_property
    def settings(self) -> AnswerSettings | None:
        """What it holds beside its texts; read when it is first needed, since lists have many versions.

        Raises:
            InputRefusedError: ``bad_settings``: it cannot be read.
        """
        if not self.settings_text:
            return None
        from llmops_tui.inference.answer_settings import kept_settings

        return kept_settings(self.settings_text, self.ref)

    @property
    def unreadable(self) -> str:
        """Why what it holds beside its texts cannot be read; empty where it can, or it holds nothing."""
        try:
            self.settings  # noqa: B018  asking for them tells whether they can be read
        except InputRefusedError as error:
            return error.message
        return ""

    @property
    def holds(self) -> str:
        """What it holds beside its texts, in one line of a list."""
        if self.unreadable:
            return UNREADABLE
        return self.settings.brief() if self.settings is not None else ""

    def as_dict(self) -> VersionRecord:
        """The version as the command line's JSON shows it."""
        record: VersionRecord = {
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
        if self.unreadable:
            record["unreadable"] = self.unreadable
        elif self.settings is not None:
            record["settings"] = self.settings.as_record()
        if self.candidate_of:
            record["candidate_of"] = self.candidate_of
        return record


def content_hash(system: str, template: str, settings: str = "") -> str:
    """What addresses a version: SHA-256 over its system and user templates, and over the JSON of its settings, if any."""
    parts: list[object] = [system, template]
    return sha256_text(json.dumps([*parts, json.loads(settings)] if settings else parts, ensure_ascii=True))


def of_kind(prefix: str) -> str:
    """The condition of rows ``v`` whose names begin with a prefix of ours; of prompts, whose names have none, without one."""
    return f"starts_with(v.prompt, '{prefix}')" if prefix else f"NOT starts_with(v.prompt, '{CHAINS}')"


def select_versions(
    connection: duckdb.DuckDBPyConnection, condition: str, values: list[Any], prefix: str = ""
) -> list[PromptVersion]:
    """The versions ``v`` for which a condition of SQL holds, the newest first; of one kind, see :func:`of_kind`."""
    columns = ", ".join(f"v.{c.strip()}" for c in COLUMNS.split(","))
    rows = connection.execute(
        f"SELECT {columns}, list(l.label ORDER BY l.label) FILTER (l.label IS NOT NULL), any_value(c.improvement) "
        "FROM prompt_versions v LEFT JOIN prompt_labels l ON l.prompt = v.prompt AND l.number = v.number "
        "LEFT JOIN prompt_candidates c ON c.prompt = v.prompt AND c.number = v.number "
        f"WHERE ({condition}) AND {of_kind(prefix)} GROUP BY ALL ORDER BY v.created_at DESC, v.number DESC",
        values,
    ).fetchall()
    return [
        PromptVersion(
            id=r[0],
            prompt=r[1],
            number=int(r[2]),
            sha256=r[3],
            parent=r[4],
            system=r[5],
            template=r[6],
            note=r[7],
            created_at=float(r[8]),
            labels=tuple(r[10] or ()),
            candidate_of=r[11] or "",
            settings_text=r[9] or "",
        )
        for r in rows
    ]


def find_version(connection: duckdb.DuckDBPyConnection, ref: str, prefix: str = "") -> PromptVersion:
    """The version that ``name``, ``name@number``, ``name@label``, ``name@latest``, an id or a hash stands for.

    A bare name stands for ``production`` where that label is set, else for the latest. Candidates are found by number, id
    and hash alone. With a ``prefix`` it is one of the kind whose names begin so.

    Raises:
        NotFoundError: it stands for nothing.
    """
    kind = prefix.rstrip("/") or "prompt"
    name, _, which = ref.partition("@")
    if not which and not is_name(name.removeprefix(prefix)):
        raise NotFoundError(kind, ref)
    found = _meant(connection, name, which, prefix) or select_versions(connection, "v.prompt = ?", [name], prefix)
    if not found:
        own = "starts_with(v.id, ?) OR starts_with(v.sha256, ?)"
        found = select_versions(connection, own, [ref, ref], prefix) if len(ref) > 5 else []
        if len(found) == 1:
            return found[0]
        raise NotFoundError(kind, ref, f"llmops {kind} list shows them.")
    plain = [v for v in found if not v.candidate_of] or found
    if which == "latest":
        return plain[0]
    if not which:
        return next((v for v in found if DEFAULT_LABEL in v.labels), plain[0])
    # A number is a number, whatever label an earlier version let somebody make of it.
    for version in found:
        if which in {str(version.number), f"v{version.number}"}:
            return version
    for version in found:
        if which in version.labels:
            return version
    raise NotFoundError(f"{kind} version", ref, f"{name} has versions 1 to {plain[0].number}.")


def find_served(connection: duckdb.DuckDBPyConnection, ref: str, prefix: str = "") -> PromptVersion:
    """The version that answers a request by this name: as :func:`find_version`, but never an unreviewed one unsaid.

    Once ``production`` is taken off a version, a bare name stands for nothing until the label is on a version again.

    Raises:
        NotFoundError: it stands for nothing.
    """
    found = find_version(connection, ref, prefix)
    if ref != found.prompt or found.prompt not in withdrawn(connection, found.prompt):
        return found
    kind = prefix.rstrip("/") or "prompt"
    hint = f"{DEFAULT_LABEL} was taken off its version. With @latest the newest answers, with @NUMBER that version."
    raise NotFoundError(f"{kind} version", f"{ref}@{DEFAULT_LABEL}", hint)


def withdrawn(connection: duckdb.DuckDBPyConnection, prefix: str = "") -> set[str]:
    """Names beginning so whose ``production`` was taken off a version and put on none since: bare, they answer nothing."""
    rows = connection.execute(
        "SELECT prompt FROM prompt_label_moves WHERE starts_with(prompt, ?) AND label = ? "
        "GROUP BY prompt HAVING last(after ORDER BY moved_at, rowid) IS NULL",
        [prefix, DEFAULT_LABEL],
    ).fetchall()
    return {row[0] for row in rows}


def _meant(connection: duckdb.DuckDBPyConnection, name: str, which: str, prefix: str) -> list[PromptVersion]:
    """What has that number or that label: of a prompt with thousands of versions not all are read for one."""
    if not which or which == "latest":
        return []
    number = which.removeprefix("v")
    labelled = "v.number IN (SELECT number FROM prompt_labels WHERE prompt = v.prompt AND label = ?)"
    return select_versions(
        connection,
        f"v.prompt = ? AND (v.number::VARCHAR = ? OR {labelled})",
        [name, number, which],
        prefix,
    )
