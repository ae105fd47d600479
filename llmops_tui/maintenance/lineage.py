"""The lineage of an object as a tree: its inputs, and what was derived from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError, NotFoundError
from llmops_tui.maintenance.erasure_ledger import Ledger
from llmops_tui.maintenance.erasure_records import ErasureRecord
from llmops_tui.maintenance.records import LineageRecord, NodeRecord
from llmops_tui.retrieval.store import IndexStore
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.event_log import EventLog
from llmops_tui.workspace.ingest import ingest
from llmops_tui.workspace.json_columns import kept

if TYPE_CHECKING:
    import duckdb

_DEEPEST = 50
_KINDS = {"dataset", "model", "prompt", "evaluation", "index", "file"}
# A model may have answered a million requests: of things of one kind so many are named, and the others counted.
MANY = 20


@dataclass
class Node:
    """One thing: its hash or id, what it is, and the things next to it. ``how`` is the work between it and the one above.

    ``more`` counts further things that are not listed; ``again`` says that what follows was shown above already.
    """

    id: str
    kind: str
    name: str
    how: str = ""
    at: float | None = None
    children: list[Node] = field(default_factory=list)
    more: dict[str, int] = field(default_factory=dict)
    again: bool = False

    def as_dict(self) -> NodeRecord:
        """For JSON."""
        return {
            "id": self.id,
            "kind": self.kind,
            "name": self.name,
            "how": self.how,
            "at": self.at,
            "again": self.again,
            "more": self.more,
            "children": [child.as_dict() for child in self.children],
        }


@dataclass(frozen=True)
class Lineage:
    """A thing with its ancestors (``sources``) and its descendants (``results``), each a tree that begins at it."""

    sources: Node
    results: Node

    def as_dict(self) -> LineageRecord:
        """For JSON."""
        node = self.sources
        return {
            "id": node.id,
            "kind": node.kind,
            "name": node.name,
            "sources": [child.as_dict() for child in node.children],
            "results": [child.as_dict() for child in self.results.children],
            "more": self.results.more,
        }


def trace_lineage(catalog: Catalog, event_log: EventLog, given: str) -> Lineage:
    """The lineage of what is meant by a name (``triage@3``, a model, a run), an id, or the beginning of a hash.

    Where a dataset and a prompt have the same name, the kind before it decides: ``prompt:triage``.

    Raises:
        NotFoundError: nothing is called so.
        InputRefusedError: ``ambiguous_id``: several things are.
    """
    ingest(catalog, event_log)
    erasures = Ledger(catalog.workspace).all()
    indexes = [(index.record["sha256"], index.ref) for index in IndexStore(catalog).readable()]

    def work(connection: duckdb.DuckDBPyConnection) -> Lineage:
        names = _Names(connection, erasures, indexes)
        start = names.find(given)
        return Lineage(_tree(connection, names, start, up=True), _tree(connection, names, start, up=False))

    return catalog.read(work)


class _Names:
    """What the catalog calls the things that lineage knows by hash or id."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        erasures: Iterable[ErasureRecord],
        indexes: Iterable[tuple[str, str]],
    ) -> None:
        self._connection = connection
        self._known: dict[str, tuple[str, str]] = {digest: ("index", ref) for digest, ref in indexes}
        for kind, sql in _NAMES:
            for digest, name in connection.execute(sql).fetchall():
                self._known.setdefault(str(digest), (kind, str(name)))
        for erasure in erasures:
            for stone, one in erasure["remade"].items():
                self._known.setdefault(stone, ("erased", f"{', '.join(one['refs'])} as before {erasure['id']}"))
        # A file that a dataset was read from is known by what the recipe calls it.
        for dataset, number, recipe in connection.execute(
            "SELECT dataset, number, recipe FROM dataset_versions"
        ).fetchall():
            for source in kept("dataset_versions", "recipe", f"{dataset}@{number}", recipe)["inputs"]:
                self._known.setdefault(str(source["sha256"]), ("file", str(source["ref"])))
        self._learn_from_runs()

    def _learn_from_runs(self) -> None:
        """Models that are registered no more, by what the runs that began with them call them; and files of rewards."""
        runs = self._connection.execute("SELECT name, base_sha256, recipe, result FROM training_runs").fetchall()
        for run, base, recipe, result in runs:
            if base and (name := kept("training_runs", "recipe", run, recipe).get("base")):
                self._known.setdefault(str(base), ("model", str(name)))
            rewards = kept("training_runs", "result", run, result).get("rewards") if result is not None else None
            for name, digest in (rewards or {}).items():
                self._known.setdefault(str(digest), ("file", f"reward {name}"))

    def of(self, digest: str) -> tuple[str, str]:
        """The kind and the name of a thing."""
        if digest in self._known:
            return self._known[digest]
        return ("request", digest) if digest.startswith("run_") else ("file", f"{digest[:12]}…")

    def find(self, given: str) -> str:
        """The hash or id of what is meant."""
        kind, colon, rest = given.partition(":")
        kinds = {kind} if colon and kind in _KINDS else _KINDS
        given = rest if colon and kind in _KINDS else given
        things = [(digest, name) for digest, (found, name) in self._known.items() if found in kinds]
        exact = {digest for digest, name in things if given in {name, digest}}
        if not exact and "@" not in given:
            exact = self._newest(given, things)
        if not exact and len(given) >= 4:
            exact = {digest for digest in self._known if digest.startswith(given)}
            sql = "SELECT DISTINCT id FROM requests WHERE starts_with(id, ?) LIMIT 10"
            exact |= {row[0] for row in self._connection.execute(sql, [given]).fetchall()}
            sql = "SELECT DISTINCT output FROM lineage WHERE starts_with(output, ?) LIMIT 10"
            exact |= {row[0] for row in self._connection.execute(sql, [given]).fetchall()}
        if not exact:
            raise NotFoundError("thing", given, "Give a dataset, prompt, model, run, trace, or the prefix of a hash.")
        if len(exact) > 1:
            shown = ", ".join(sorted(":".join(self.of(d)) for d in exact)[:5])
            raise InputRefusedError("ambiguous_id", f"{given!r} may be {shown}", "Give one of these.")
        return exact.pop()

    def _newest(self, given: str, things: list[tuple[str, str]]) -> set[str]:
        """A name alone means its newest version; of each kind that has one of that name."""
        newest: dict[str, tuple[int, str]] = {}
        for digest, full in things:
            name, _, number = full.rpartition("@")
            if name == given and number.isdigit():
                kind = self._known[digest][0]
                newest[kind] = max(newest.get(kind, (0, "")), (int(number), digest))
        return {digest for _, digest in newest.values()}


def _tree(connection: duckdb.DuckDBPyConnection, names: _Names, start: str, *, up: bool) -> Node:
    near, far = ("output", "input") if up else ("input", "output")
    sql = f"SELECT {far}, kind, made_at FROM lineage WHERE {near} = ? ORDER BY made_at DESC, {far}"
    shown: set[str] = set()

    def grow(digest: str, how: str, at: float | None, depth: int) -> Node:
        kind, name = names.of(digest)
        node = Node(digest, kind, name, how, at)
        if digest in shown or depth > _DEEPEST:
            node.again = True
            return node
        shown.add(digest)
        _add_children(node, connection.execute(sql, [digest]).fetchall(), names, partial_grow(depth))
        return node

    def partial_grow(depth: int) -> Callable[[str, str, float], Node]:
        return lambda digest, how, at: grow(digest, how, at, depth + 1)

    return grow(start, "", None, 0)


def _add_children(
    node: Node, rows: list[tuple[str, str, float]], names: _Names, grow: Callable[[str, str, float], Node]
) -> None:
    counted: dict[str, int] = {}
    for digest, how, at in dict.fromkeys((str(a), str(b), float(c)) for a, b, c in rows):
        kind = names.of(digest)[0]
        counted[kind] = counted.get(kind, 0) + 1
        if counted[kind] > MANY:
            node.more[kind] = node.more.get(kind, 0) + 1
        else:
            node.children.append(grow(digest, how, at))


_NAMES = (
    ("dataset", "SELECT sha256, dataset || '@' || number FROM dataset_versions ORDER BY created_at DESC"),
    ("model", "SELECT sha256, name FROM models WHERE sha256 <> '' ORDER BY added_at"),
    ("prompt", "SELECT sha256, prompt || '@' || number FROM prompt_versions ORDER BY created_at"),
    ("evaluation", "SELECT results_sha256, name FROM evaluation_runs WHERE results_sha256 IS NOT NULL"),
)


def draw(lineage: Lineage, *, utf8: bool = True) -> list[tuple[str, str, str]]:
    """The tree as lines: (branches, kind, text). Sources stand above the thing, results below it."""
    node = lineage.sources
    lines: list[tuple[str, str, str]] = []
    if node.children:
        lines.append(("", "title", "made from"))
        _branches(node, "", lines, utf8=utf8)
    else:
        lines.append(("", "title", "no known inputs: it was created outside this workspace"))
    lines.append(("", "here", f"{node.kind} {node.name}"))
    if lineage.results.children or lineage.results.more:
        lines.append(("", "title", "made of it"))
        _branches(lineage.results, "", lines, utf8=utf8)
    else:
        lines.append(("", "title", "nothing is derived from it yet"))
    return lines


def _branches(node: Node, indent: str, lines: list[tuple[str, str, str]], *, utf8: bool) -> None:
    corner, tee, bar = ("└─ ", "├─ ", "│  ") if utf8 else ("`- ", "|- ", "|  ")
    for place, child in enumerate(node.children):
        last = place == len(node.children) - 1 and not node.more
        how = f"  by {child.how}" if child.how else ""
        again = "  (as above)" if child.again else ""
        lines.append((indent + (corner if last else tee), child.kind, f"{child.kind} {child.name}{how}{again}"))
        _branches(child, indent + ("   " if last else bar), lines, utf8=utf8)
    for kind, count in node.more.items():
        lines.append((indent + corner, kind, f"and {count:,} more of kind {kind}"))
