"""Rows that no person wrote: the column that says so, which part of a version they are, and whose children they are.

A row that a model wrote, or that a rule made of another row, has a column ``synthetic`` with what made it and of which
rows. The column goes wherever the row goes, through filters, mixtures, exports and imports, so that the share of such rows
in any version can be counted. Where it was dropped on the way, the recipes still tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NotRequired, TypedDict, cast

from llmops_tui.counts import counted
from llmops_tui.datasets.identity import row_key
from llmops_tui.datasets.records import Row
from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject

if TYPE_CHECKING:
    from llmops_tui.datasets.store import DatasetStore
    from llmops_tui.datasets.version import DatasetVersion

COLUMN = "synthetic"
# The operations whose rows nobody wrote.
OPERATIONS = frozenset({"synthesise", "noise"})
_MAKERS = ("model", "rule")


class ParentRecord(TypedDict):
    """A row that another was made of: its version, its number there, and its hash, which stays where numbers do not.

    ``shown`` says that it was only shown as an example; without that the row was made of it.
    """

    version: str
    row: int
    hash: str
    shown: NotRequired[bool]


class OriginRecord(TypedDict):
    """What made a row: ``by`` is ``model`` or ``rule``, ``way`` how, and ``seed`` what decided its random numbers.

    Of a model there are its name and hash, the prompt's version and the sampling parameters.
    """

    by: str
    way: str
    seed: int
    parents: list[ParentRecord]
    model: NotRequired[str]
    model_sha256: NotRequired[str]
    prompt: NotRequired[str]
    parameters: NotRequired[JsonObject]
    topic: NotRequired[str]
    between: NotRequired[str]


class WrittenRecord(TypedDict):
    """How many rows of a version nobody wrote, by what made them.

    ``unmarked`` has the versions that it was made from whose rows were made so, where the rows here do not say it any more.
    """

    version: str
    rows: int
    model: int
    rule: int
    unmarked: list[str]


def parent_of(version: DatasetVersion, number: int, row: Row) -> ParentRecord:
    """What is kept of a row that another is made of."""
    return {"version": version.ref, "row": number, "hash": row_key(version.kind, row).hex()}


def origin_of(row: Row) -> OriginRecord | None:
    """What made a row; none where a person did, or nothing is said that can be read.

    A file that was imported may say anything: parents without a hash are left out.
    """
    said = row.get(COLUMN)
    if not isinstance(said, dict) or said.get("by") not in _MAKERS:
        return None
    parents = said.get("parents")
    known = [one for one in parents if isinstance(one, dict) and "hash" in one] if isinstance(parents, list) else []
    return cast("OriginRecord", said | {"parents": known})


@dataclass(frozen=True)
class Written:
    """As :class:`WrittenRecord`."""

    version: str
    rows: int
    model: int
    rule: int
    unmarked: tuple[str, ...] = ()

    @property
    def any(self) -> bool:
        """Whether a row may be one that nobody wrote."""
        return bool(self.model or self.rule or self.unmarked)

    @property
    def share(self) -> float:
        """The part of the rows that say that nobody wrote them, from 0 to 1."""
        return (self.model + self.rule) / self.rows if self.rows else 0.0

    @property
    def told(self) -> str:
        """In words; empty where people wrote all rows as far as is known."""
        parts = [f"{self.model:,} of {counted(self.rows, 'row')} written by a model"] if self.model else []
        parts += [f"{self.rule:,} of {counted(self.rows, 'row')} made by a rule"] if self.rule else []
        if self.unmarked:
            parts.append(f"made from {', '.join(self.unmarked)}, whose synthetic rows are not marked here any more")
        return "; ".join(parts)

    def as_dict(self) -> WrittenRecord:
        """For JSON."""
        return {
            "version": self.version,
            "rows": self.rows,
            "model": self.model,
            "rule": self.rule,
            "unmarked": list(self.unmarked),
        }


def has_column(version: DatasetVersion) -> bool:
    """Whether rows of a version may say what made them."""
    return any(c.name == COLUMN and c.type == "json" for c in version.columns)


def written_of(
    store: DatasetStore, version: DatasetVersion, logs: Mapping[str, Sequence[DatasetVersion]] | None = None
) -> Written:
    """Count the rows of a version that nobody wrote, by their column and, where that is gone, by the recipes.

    ``logs`` are all versions, where they were read already.
    """
    counts = dict.fromkeys(_MAKERS, 0)
    if has_column(version):
        from llmops_tui.workspace.sandbox import quote_name, reading

        with reading(version.files, memory="1GB") as connection:
            by = f"json_extract_string({quote_name(COLUMN)}, '$.by')"
            found = connection.execute(
                f"SELECT {by}, count(*) FROM {version.source} WHERE {by} IN ('model', 'rule') GROUP BY 1"
            ).fetchall()
        counts |= {str(maker): int(count) for maker, count in found}
        return Written(version.ref, version.rows, counts["model"], counts["rule"])
    return Written(version.ref, version.rows, 0, 0, tuple(_made_from(store.logs() if logs is None else logs, version)))


def _made_from(logs: Mapping[str, Sequence[DatasetVersion]], version: DatasetVersion) -> Iterable[str]:
    """The versions of synthetic rows that a version goes back to, in order of their names."""
    by_hash: dict[str, list[DatasetVersion]] = {}
    for log in logs.values():
        for one in log:
            by_hash.setdefault(one.sha256, []).append(one)
    seen: set[str] = set()
    waiting, found = [version], set()
    while waiting:
        one = waiting.pop()
        if one.id in seen:
            continue
        seen.add(one.id)
        if one.recipe.operation in OPERATIONS:
            found.add(one.ref)
        # What a seed is to a model is no origin of the seed's rows: the walk goes up alone.
        waiting += [above for _, digest in one.recipe.inputs for above in by_hash.get(digest, [])]
    return sorted(found)


def refuse_unasked(store: DatasetStore, version: DatasetVersion, what: str, hint: str) -> Written:
    """How many rows of a version nobody wrote; refused where there are any.

    Raises:
        InputRefusedError: ``synthetic_rows``.
    """
    found = written_of(store, version)
    if found.any:
        raise InputRefusedError("synthetic_rows", f"{what} would be measured on synthetic rows: {found.told}", hint)
    return found


@dataclass(frozen=True)
class Families:
    """The rows of some versions that belong together because one was made of the other.

    Attributes:
        synthetic: the places of rows that nobody wrote.
        family: for the place of a row its family, where it has one; of the rows of a family one was made of another.
    """

    synthetic: frozenset[tuple[int, int]]
    family: Mapping[tuple[int, int], int]

    @property
    def kept_together(self) -> frozenset[tuple[int, int]]:
        """Synthetic rows and the rows that they were made of: nothing of them may be held out for the others."""
        touched = {self.family[place] for place in self.synthetic if place in self.family}
        return frozenset(place for place, name in self.family.items() if name in touched) | self.synthetic


def families_of(versions: Sequence[DatasetVersion]) -> Families:
    """Find the families in some versions; reads them only where a row may be synthetic. Places are (version, row number)."""
    if not any(map(has_column, versions)):
        return Families(frozenset(), {})
    joined: dict[str, str] = {}

    def root(digest: str) -> str:
        while joined.setdefault(digest, digest) != digest:
            joined[digest] = joined[joined[digest]]
            digest = joined[digest]
        return digest

    own: dict[tuple[int, int], str] = {}
    synthetic = set()
    for index, version in enumerate(versions):
        for batch in version.read():
            for number, row in batch:
                place, digest = (index, number), row_key(version.kind, row).hex()
                own[place] = digest
                origin = origin_of(row)
                if origin is None:
                    continue
                synthetic.add(place)
                for parent in origin["parents"]:
                    if not parent.get("shown"):
                        joined[root(digest)] = root(str(parent["hash"]))
    names = {name: number for number, name in enumerate(sorted({root(digest) for digest in list(joined)}))}
    family = {place: names[root(digest)] for place, digest in own.items() if digest in joined}
    return Families(frozenset(synthetic), family)


def parents_among(versions: Sequence[DatasetVersion]) -> list[int]:
    """The rows of the last of some versions of which synthetic rows of the others were made."""
    families, last = families_of(versions), len(versions) - 1
    made = {families.family[place] for place in families.synthetic if place[0] != last and place in families.family}
    return sorted(number for (index, number), name in families.family.items() if index == last and name in made)
