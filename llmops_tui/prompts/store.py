"""Prompts and their versions: immutable, content-addressed, with parents, notes, and labels that move.

Chains are texts with versions and labels, too. They are kept in the same tables, under ``chain/NAME``, which no prompt can be
called; see :class:`llmops_tui.chains.store.ChainStore`.

A candidate is a version that an improvement proposed. It has its number and its parent as any other, and stands in no list, nor
is it ever the latest, until somebody promotes it, labels it, or saves the same text.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.inference.prompt_versions import (
    COLUMNS,
    NO_CANDIDATE,
    PromptVersion,
    content_hash,
    find_served,
    find_version,
    of_kind,
    select_versions,
)
from llmops_tui.names import MOST, RULE, is_name
from llmops_tui.prompts.named_variables import refuse_unnamed
from llmops_tui.prompts.partials import put_in, sources
from llmops_tui.prompts.records import SummaryRecord
from llmops_tui.prompts.template_syntax import refuse_unfinished, unfinished
from llmops_tui.workspace.catalog import Catalog, Stamp
from llmops_tui.workspace.ids import new_id
from llmops_tui.workspace.lineage import record_edges

if TYPE_CHECKING:
    import duckdb

    from llmops_tui.inference.answer_settings import AnswerSettings

__all__ = [
    "ANY", "KEEP", "Held", "Kept", "LabelMove", "PromptStore", "PromptSummary", "PromptVersion", "check_name", "content_hash",
]  # fmt: skip
_LABEL = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,49}")
_RESERVED = {"latest", "draft"}
# What reads as a version's number behind the @.
_NUMBER = re.compile(r"[vV]\d+")


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


class AnyVersion(Enum):
    """Whatever version has a label."""

    ANY = "any"


ANY: Final = AnyVersion.ANY
Held = int | AnyVersion | None
"""Which version has a label: its number, none, or whichever does."""


class ParentSettings(Enum):
    """The settings of the version that a text was edited from."""

    KEEP = "keep"


KEEP: Final = ParentSettings.KEEP
Kept = ParentSettings | None
"""Besides settings: those of the parent, or none."""


class LabelMove(NamedTuple):
    """A label that moved from one version's number to another's; none where it was, or is, on none."""

    prompt: str
    label: str
    before: int | None
    after: int | None
    moved_at: float


def check_name(name: str, kind: str = "prompt") -> None:
    """Refuse a name that cannot be a prompt's.

    Raises:
        InputRefusedError: ``bad_name``.
    """
    if not is_name(name):
        raise InputRefusedError("bad_name", f"{name[:MOST]!r} is not a valid {kind} name", RULE)


class PromptStore:
    """Save, find and label the prompts of a workspace, or of another kind of text whose names begin with a ``prefix``."""

    def __init__(self, catalog: Catalog, prefix: str = "") -> None:
        self._catalog = catalog
        self._prefix = prefix
        self._kind = prefix.rstrip("/") or "prompt"
        self._hint = f"llmops {self._kind} list shows them."

    def save(
        self,
        name: str,
        *,
        template: str,
        system: str = "",
        note: str = "",
        parent: int | None = None,
        candidate_of: str = "",
        settings: AnswerSettings | Kept = KEEP,
        as_it_is: bool = False,
    ) -> tuple[PromptVersion, bool]:
        """Keep this text as a version; returns it, and whether it is new.

        Text that is there already gives the version that has it; a candidate is none any more then. A note given for one
        without a note is added. ``parent`` is the version the text was edited from; without one it is the latest.
        With ``candidate_of`` a new version is a candidate of that improvement. ``settings`` are what it holds beside its text:
        those of its parent, if nothing else is said, so that whoever changes a text alone loses none.
        Partials that a text includes are put in, see :mod:`llmops_tui.prompts.partials`: the version's text is the whole.
        A text that is no template is refused by its line; ``as_it_is`` keeps it, where it would be lost otherwise.

        Raises:
            InputRefusedError: the name is unfit, there is no text, or settings name a variable that no text has; ``bad_partial``;
                ``template_failed``.
        """
        self._check_name(name)
        if not template.strip() and not system.strip():
            raise InputRefusedError(
                "empty_prompt", f"{name} has no text: neither a system nor a user template", "Write one first."
            )
        given = "" if settings is None or settings is KEEP else settings.as_text()
        # Lines are counted in the text as it was written, before partials bring theirs.
        fault = "" if as_it_is or self._prefix else unfinished(system, template)
        system, template = self._whole(name, system), self._whole(name, template)

        def kept(connection: duckdb.DuckDBPyConnection) -> tuple[PromptVersion, bool]:
            # Read before it is committed: to open the catalog once more takes as long as to write.
            created, digest = work(connection)
            same = "v.prompt = ? AND v.sha256 = ?"
            return select_versions(connection, same, [name, digest], self._prefix)[0], created

        def work(connection: duckdb.DuckDBPyConnection) -> tuple[bool, str]:
            now = time.time()
            origin = parent if parent is not None else _latest(connection, name)
            held = _settings(connection, name, origin) if settings is KEEP else given
            digest = content_hash(system, template, held)
            rows = connection.execute(
                "SELECT number, sha256, note = '' FROM prompt_versions WHERE prompt = ?", [name]
            ).fetchall()
            same = next((row for row in rows if row[1] == digest), None)
            if same is not None:
                if not candidate_of:
                    _accept(connection, name, same[0])
                if note and same[2]:
                    connection.execute(
                        "UPDATE prompt_versions SET note = ? WHERE prompt = ? AND number = ?", [note, name, same[0]]
                    )
                return False, digest
            refuse_unfinished(name, fault)
            refuse_unnamed(name, system, template, json.loads(held) if held else {})
            connection.execute("INSERT OR IGNORE INTO prompts VALUES (?, ?)", [name, now])
            number = max((row[0] for row in rows), default=0) + 1
            connection.execute(
                f"INSERT INTO prompt_versions ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [new_id("pv"), name, number, digest, origin, system, template, note, now, held or None],
            )
            if candidate_of:
                connection.execute(
                    "INSERT INTO prompt_candidates VALUES (?, ?, ?, ?)", [name, number, candidate_of, now]
                )
            before = [sha256 for of, sha256, _ in rows if of == origin]
            record_edges(connection, output=digest, kind="prompt_version", recipe="edit", inputs=before)
            examples = (json.loads(held).get("examples") or {}) if held else {}
            # Without the hash of its turns nothing shows that they are rows of that dataset.
            if examples.get("sha256") and examples.get("turns_sha256"):
                inputs = [examples["sha256"]]
                record_edges(connection, output=digest, kind="prompt_version", recipe="examples", inputs=inputs)
            record_edges(
                connection, output=digest, kind="prompt_version", recipe="partial", inputs=sources(system, template)
            )
            return True, digest

        return self._catalog.write(kept)

    def stamp(self) -> Stamp:
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
                f"WHERE {of_kind(self._prefix)} AND {NO_CANDIDATE} GROUP BY prompt ORDER BY max(created_at) DESC, prompt"
            ).fetchall()
            return [PromptSummary(r[0], int(r[1]), int(r[2]), labels.get(r[0], {}), float(r[3])) for r in rows]

        return self._catalog.read(work)

    def versions(self, name: str, *, candidates: bool = False) -> list[PromptVersion]:
        """All versions of one prompt, the newest first; candidates only where they are asked for.

        Raises:
            NotFoundError: there is no such prompt.
        """
        found = self._select("v.prompt = ?" if candidates else f"v.prompt = ? AND {NO_CANDIDATE}", [name])
        if not found:
            raise NotFoundError(self._kind, name, self._hint)
        return found

    def search(self, text: str) -> list[PromptVersion]:
        """Versions whose name, note, text or settings contain ``text``, whatever the case; the newest first."""
        words = "concat_ws(chr(10), v.prompt, v.note, v.system, v.template, v.settings)"
        return self._select(f"contains(lower({words}), lower(?)) AND {NO_CANDIDATE}", [text])

    def get(self, ref: str) -> PromptVersion:
        """The version that ``name``, ``name@number``, ``name@label``, ``name@latest``, an id or a hash stands for.

        A bare name stands for ``production`` where that label is set, else for the latest. Candidates are found by number, id
        and hash alone.

        Raises:
            NotFoundError: it stands for nothing.
        """
        return self._catalog.read(lambda connection: find_version(connection, ref, self._prefix))

    def served(self, ref: str) -> PromptVersion:
        """The version that answers a request by this name; see :func:`llmops_tui.inference.prompt_versions.find_served`.

        Raises:
            NotFoundError: it stands for nothing; or for ``production``, which was taken off its version.
        """
        return self._catalog.read(lambda connection: find_served(connection, ref, self._prefix))

    def move_label(self, ref: str, label: str, expected: Held = ANY) -> PromptVersion:
        """Point a label at a version; the move is kept. ``expected`` is the version that has it now, for who looked before.

        Raises:
            NotFoundError: there is no such version.
            InputRefusedError: ``bad_label``; ``label_moved``: another version has it now than was expected.
        """
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
        self._point(version.prompt, label, version.number, expected)
        return self.get(version.ref)

    def promote(self, ref: str) -> PromptVersion:
        """Make a candidate a version as any other; one that is no candidate stays as it is."""
        version = self.get(ref)
        self._catalog.write(lambda connection: _accept(connection, version.prompt, version.number))
        return self.get(version.ref)

    def remove_label(self, name: str, label: str, expected: Held = ANY) -> None:
        """Take a label away; where ``expected`` is given, as :meth:`move_label` does."""
        self._point(name, label, None, expected)

    def label_moves(self, name: str, label: str) -> list[LabelMove]:
        """Where a label of a prompt was, the oldest move first."""
        return [move for move in self.all_label_moves(name) if move.label == label]

    def all_label_moves(self, name: str | None = None) -> list[LabelMove]:
        """All moves of labels, of one prompt or of all, the oldest first."""
        where, values = ("WHERE prompt = ? ", [name]) if name is not None else ("", [])

        def work(connection: duckdb.DuckDBPyConnection) -> list[LabelMove]:
            rows = connection.execute(
                f"SELECT prompt, label, before, after, moved_at FROM prompt_label_moves {where}ORDER BY moved_at, rowid",
                values,
            ).fetchall()
            return [LabelMove(*row) for row in rows]

        return self._catalog.read(work)

    def version_ids(self, names: Collection[str]) -> dict[tuple[str, int | None], str]:
        """The ids of all versions of some prompts, and chains, by name and number; of those that are gone none."""

        def work(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, int | None], str]:
            rows = connection.execute(
                "SELECT prompt, number, id FROM prompt_versions WHERE list_contains(?, prompt)", [list(names)]
            ).fetchall()
            return {(str(row[0]), int(row[1])): str(row[2]) for row in rows}

        return self._catalog.read(work)

    def set_note(self, ref: str, note: str) -> PromptVersion:
        """Give a version another note; its text stays as it is."""
        version = self.get(ref)
        self._catalog.write(
            lambda connection: connection.execute(
                "UPDATE prompt_versions SET note = ? WHERE id = ?", [note, version.id]
            )
        )
        return self.get(version.ref)

    def _point(self, name: str, label: str, number: int | None, expected: Held = ANY) -> None:
        def work(connection: duckdb.DuckDBPyConnection) -> None:
            row = connection.execute(
                "SELECT number FROM prompt_labels WHERE prompt = ? AND label = ?", [name, label]
            ).fetchone()
            before = int(row[0]) if row else None
            if not isinstance(expected, AnyVersion) and before != expected:
                raise InputRefusedError(
                    "label_moved",
                    f"{label} of {name} is {_told(before)} now and not {_told(expected)}: somebody else moved it meanwhile",
                    "Nothing was changed. Look at what it is now, and decide again.",
                )
            if before == number:
                return
            if number is not None:
                _accept(connection, name, number)
            _set_label(connection, name, label, number)
            connection.execute(
                "INSERT INTO prompt_label_moves VALUES (?, ?, ?, ?, ?)", [name, label, before, number, time.time()]
            )

        self._catalog.write(work)

    def _check_name(self, name: str) -> None:
        if not name.startswith(self._prefix):
            raise InputRefusedError("bad_name", f"{name[:MOST]!r} is not the name of a {self._kind}", RULE)
        check_name(name.removeprefix(self._prefix), self._kind)

    def _whole(self, name: str, text: str) -> str:
        """A text with the partials that it includes; a chain's text is no template."""
        return text if self._prefix else put_in(self.get, name, text)

    def _select(self, condition: str, values: list[Any]) -> list[PromptVersion]:
        return self._catalog.read(lambda connection: select_versions(connection, condition, values, self._prefix))


def _told(number: int | None) -> str:
    return "on no version" if number is None else f"@{number}"


def _latest(connection: duckdb.DuckDBPyConnection, name: str) -> int | None:
    """The number of the latest version that is no candidate."""
    row = connection.execute(
        f"SELECT max(number) FROM prompt_versions v WHERE prompt = ? AND {NO_CANDIDATE}", [name]
    ).fetchone()
    return int(row[0]) if row and row[0] is not None else None


def _settings(connection: duckdb.DuckDBPyConnection, name: str, number: int | None) -> str:
    """The settings of a version, as they are kept; empty where it has none, or there is no such version."""
    row = connection.execute(
        "SELECT settings FROM prompt_versions WHERE prompt = ? AND number = ?", [name, number]
    ).fetchone()
    return str(row[0]) if row and row[0] is not None else ""


def _accept(connection: duckdb.DuckDBPyConnection, name: str, number: int) -> None:
    """Let a version be no candidate any more."""
    connection.execute("DELETE FROM prompt_candidates WHERE prompt = ? AND number = ?", [name, number])


def _set_label(connection: duckdb.DuckDBPyConnection, name: str, label: str, number: int | None) -> None:
    connection.execute("DELETE FROM prompt_labels WHERE prompt = ? AND label = ?", [name, label])
    if number is not None:
        connection.execute("INSERT INTO prompt_labels VALUES (?, ?, ?, ?)", [name, label, number, time.time()])
