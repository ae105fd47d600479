"""Versions of prompts as they are read: which one a name, a number or a label stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from llmops_tui.errors import NotFoundError
from llmops_tui.names import is_name

if TYPE_CHECKING:
    import duckdb

COLUMNS = "id, prompt, number, sha256, parent, system, template, note, created_at"
"""Those of ``prompt_versions``, in the order of the fields of a :class:`PromptVersion`."""
DEFAULT_LABEL = "production"
"""The label that a bare name stands for, where it is set."""


class VersionRecord(TypedDict):
    """A version of a prompt; ``parent`` is the number it was made of."""

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


def select_versions(connection: duckdb.DuckDBPyConnection, condition: str, values: list[Any]) -> list[PromptVersion]:
    """The versions ``v`` for which a condition of SQL holds, the newest first."""
    columns = ", ".join(f"v.{c.strip()}" for c in COLUMNS.split(","))
    rows = connection.execute(
        f"SELECT {columns}, list(l.label ORDER BY l.label) FILTER (l.label IS NOT NULL) FROM prompt_versions v "
        "LEFT JOIN prompt_labels l ON l.prompt = v.prompt AND l.number = v.number "
        f"WHERE {condition} GROUP BY ALL ORDER BY v.created_at DESC, v.number DESC",
        values,
    ).fetchall()
    return [
        PromptVersion(r[0], r[1], int(r[2]), r[3], r[4], r[5], r[6], r[7], float(r[8]), tuple(r[9] or ())) for r in rows
    ]


def find_version(connection: duckdb.DuckDBPyConnection, ref: str) -> PromptVersion:
    """The version that ``name``, ``name@number``, ``name@label``, ``name@latest``, an id or a hash stands for.

    A bare name stands for ``production`` where that label is set, else for the latest.

    Raises:
        NotFoundError: it stands for nothing.
    """
    name, _, which = ref.partition("@")
    if not which and not is_name(name):
        raise NotFoundError("prompt", ref)
    found = select_versions(connection, "v.prompt = ?", [name])
    if not found:
        own = "starts_with(v.id, ?) OR starts_with(v.sha256, ?)"
        found = select_versions(connection, own, [ref, ref]) if len(ref) > 5 else []
        if len(found) == 1:
            return found[0]
        raise NotFoundError("prompt", ref, "llmops prompt list shows them.")
    if which == "latest":
        return found[0]
    if not which:
        return next((v for v in found if DEFAULT_LABEL in v.labels), found[0])
    # A number is a number, whatever label an earlier version let somebody make of it.
    for version in found:
        if which in {str(version.number), f"v{version.number}"}:
            return version
    for version in found:
        if which in version.labels:
            return version
    raise NotFoundError("prompt version", ref, f"{name} has versions 1 to {found[0].number}.")
