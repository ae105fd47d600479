"""Which rows are held out of training: from all of the data, by dataset and label, and never one with a twin in training."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b

from llmops_tui.datasets.identity import normal, row_key
from llmops_tui.datasets.near_duplicates import Sketches
from llmops_tui.datasets.origins import families_of
from llmops_tui.datasets.records import Row, answer_text, dump_json, whole_text
from llmops_tui.datasets.version import DatasetVersion

# Columns that say what a row is an example of.
_LABELS = ("label", "labels", "category", "class", "intent")
_MOST_LABELS = 100
_ROWS_PER_LABEL = 4
_MOST_COMPARED = 50_000
# Ten seconds of a processor, and five times as many bytes of memory.
_MOST_CHARACTERS = 50_000_000
_SIMILAR = 0.8
_BATCH = 2000

Place = tuple[int, int]
"""A row: which of the recipe's datasets, and its number there."""


@dataclass(frozen=True)
class Looked:
    """A row as it is looked at: where it is, what it shares with its twins, what it is an example of, and its text.

    It is ``synthetic`` where nobody wrote it, and ``fixed`` where it is that or the row that such a one was made of: both are
    trained on, since a loss on what a model wrote, or on what it wrote of, says nothing of what people write.
    """

    place: Place
    key: bytes
    label: str
    text: str
    synthetic: bool = False
    fixed: bool = False


@dataclass
class HeldOut:
    """The rows that are held out, and what is to be told of them.

    Attributes:
        rows: their places, in the order in which they were drawn.
        classes: how many kinds of rows there are, by dataset and label; ``missing`` has those that no held-out row is of.
        twins: rows of an evaluation dataset of its own that are in training too.
        near: held-out rows that are nearly the same as one that is trained on; none where there was too much to compare.
        fixed: rows that are never held out, since nobody wrote them or since such rows were made of them.
        synthetic: rows of an evaluation dataset of its own that nobody wrote.
        parents: rows of it of which rows in training were made.
    """

    rows: list[Place] = field(default_factory=list)
    classes: int = 0
    missing: list[str] = field(default_factory=list)
    twins: int = 0
    near: int | None = 0
    fixed: int = 0
    synthetic: int = 0
    parents: int = 0


def look(versions: Sequence[DatasetVersion], limit: int | None = None) -> list[Looked]:
    """Every row of some datasets, with what decides where it goes."""
    found = []
    families = families_of(versions)
    fixed = families.kept_together
    for index, version in enumerate(versions):
        column = next((c.name for c in version.columns if c.name.lower() in _LABELS), None)
        for batch in version.read(batch=_BATCH, limit=limit):
            for number, row in batch:
                place = (index, number)
                looked = _looked(place, version.kind, row, column)
                if place in fixed:
                    looked = replace(looked, fixed=True, synthetic=place in families.synthetic)
                found.append(looked)
    return found


def _looked(place: Place, kind: str, row: Row, column: str | None) -> Looked:
    label = dump_json(row.get(column)) if column is not None else normal(answer_text(kind, row))
    return Looked(place, row_key(kind, row, "text"), label, whole_text(kind, row))


def choose(rows: Sequence[Looked], share: float, most: int, seed: int) -> HeldOut:
    """Draw rows: all copies of a text together, each kind of row by its share, in an order that the seed decides."""
    groups: dict[bytes, list[Looked]] = defaultdict(list)
    for row in rows:
        groups[row.key].append(row)
    kinds = _kinds(rows)
    kind_of = {key: kinds[group[0].place] for key, group in groups.items()}
    free = [key for key, group in groups.items() if not any(row.fixed for row in group)]
    drawn = sorted(free, key=lambda key: (kind_of[key], _order(seed, key)))
    found, credit, left = HeldOut(classes=len(set(kind_of.values()))), 0.0, most
    found.fixed = sum(row.fixed for row in rows)
    share = min(share, most / max(1, len(rows)))
    wanted = share * len(rows)
    taken: set[tuple[int, str]] = set()
    for key in drawn:
        size = len(groups[key])
        # A text that is repeated more often than there is to hold out stays in training, and the others do not stand in
        # for it: nothing of them would be left to learn from.
        if size / 2 > wanted:
            continue
        credit += share * size
        if size <= left and credit >= size / 2:
            found.rows += [row.place for row in groups[key]]
            taken.add(kind_of[key])
            credit, left = credit - size, left - size
    found.missing = [label for _, label in sorted(set(kind_of.values()) - taken) if label]
    found.rows.sort(key=lambda place: _order(seed, repr(place).encode()))
    _find_near(rows, set(found.rows), found)
    return found


def measured_on(rows: Sequence[Looked], trained: Sequence[Looked], most: int, seed: int) -> HeldOut:
    """Which rows of an evaluation dataset of its own are used, and how many of them are in training too."""
    known = {row.key for row in trained}
    # It was named: its synthetic rows are measured on, which is told.
    rows = [replace(row, fixed=False) if row.fixed else row for row in rows]
    chosen = choose(rows, 1.0, most, seed) if len(rows) > most else HeldOut([row.place for row in rows])
    places = set(chosen.rows)
    used = [row for row in rows if row.place in places]
    # Those that were not drawn are not trained on: what is near to them does not count.
    chosen.near = 0
    chosen.synthetic = sum(row.synthetic for row in used)
    chosen.twins = sum(row.key in known for row in used)
    apart = [row for row in used if row.key not in known]
    moved = [Looked((-1, number), row.key, row.label, row.text) for number, row in enumerate(apart)]
    _find_near([*moved, *trained], {row.place for row in moved}, chosen)
    return chosen


def _kinds(rows: Iterable[Looked]) -> dict[Place, tuple[int, str]]:
    """What each row is an example of: its dataset, and there its label, where labels are few and each has several rows."""
    labels: dict[int, Counter[str]] = defaultdict(Counter)
    for row in rows:
        labels[row.place[0]][row.label] += 1
    spread = {
        index: 1 < len(counts) <= min(_MOST_LABELS, counts.total() // _ROWS_PER_LABEL)
        for index, counts in labels.items()
    }
    return {row.place: (row.place[0], row.label if spread[row.place[0]] else "") for row in rows}


def _order(seed: int, key: bytes) -> bytes:
    return blake2b(key, digest_size=8, key=str(seed).encode()).digest()


def _find_near(rows: Sequence[Looked], held: set[Place], found: HeldOut) -> None:
    """Count held-out rows that have a near-duplicate among the others."""
    if not held:
        return
    if len(rows) > _MOST_COMPARED or sum(len(row.text) for row in rows) > _MOST_CHARACTERS:
        found.near = None
        return
    inside = [row.text for row in rows if row.place in held]
    outside = list({row.key: row.text for row in rows if row.place not in held}.values())
    sketches = Sketches()
    sketches.add(inside)
    sketches.add(outside)
    found.near = len({pair.left for pair in sketches.pairs(_SIMILAR, split_at=len(inside))})
