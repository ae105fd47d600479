"""What is asked, one task a row: about which topic, made of which seed row, and which rows the model is shown.

A plan and its seeds decide all tasks, so that a synthesis that was killed goes on with the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import cycle, islice

from llmops_tui.datasets.label_columns import label_column
from llmops_tui.datasets.origins import ParentRecord, parent_of
from llmops_tui.datasets.records import Row
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError
from llmops_tui.synthesis.plan import SynthesisPlan
from llmops_tui.synthesis.shape import RowShape
from llmops_tui.synthesis.topics import leaves_of

_MOST_SEEDS = 100_000
# Examples of the same label beside the seed itself; the others show what there is besides.
_SAME_LABEL = 2


@dataclass(frozen=True)
class Seed:
    """A row that others are made of, or shown as an example: what it says as an answer, and what is kept of it."""

    number: int
    row: Row
    answer: Row
    parent: ParentRecord
    label: str = ""


@dataclass(frozen=True)
class Task:
    """One row to write.

    Attributes:
        number: its place, from 0; ``seed`` of its random numbers follows from it.
        base: the row that it is made of; none where it is only about a topic.
        shown: further rows that the model is shown, as examples.
    """

    number: int
    seed: int
    topic: str = ""
    base: Seed | None = None
    shown: tuple[Seed, ...] = ()

    @property
    def parents(self) -> list[ParentRecord]:
        """The rows it is made of first, then those that were shown."""
        made = [self.base.parent] if self.base is not None else []
        return [*made, *({**seed.parent, "shown": True} for seed in self.shown)]  # type: ignore[list-item]  # as ParentRecord


def read_rows_of(version: DatasetVersion) -> list[tuple[int, Row]]:
    """All rows of the seeds.

    Raises:
        InputRefusedError: ``too_many_seeds``, ``empty_input``.
    """
    if version.rows > _MOST_SEEDS:
        raise InputRefusedError(
            "too_many_seeds",
            f"{version.ref} has {version.rows:,} rows, and {_MOST_SEEDS:,} at most are seeds",
            f"Draw some: llmops data sample {version.ref} --rows 1000 --name SEEDS.",
        )
    if not version.rows:
        raise InputRefusedError("empty_input", f"{version.ref} has no rows")
    return [(number, row) for batch in version.read() for number, row in batch]


def seeds_of(version: DatasetVersion, rows: Sequence[tuple[int, Row]], shape: RowShape) -> list[Seed]:
    """The rows that can be seeds; others do not have what is written, or not as one text."""
    label = label_column(version.columns)
    found = []
    for number, row in rows:
        answer = shape.example(row)
        if answer is not None:
            found.append(Seed(number, row, answer, parent_of(version, number, row), str(row.get(label, ""))))
    return found


def tasks_of(plan: SynthesisPlan, seeds: Sequence[Seed]) -> list[Task]:
    """All tasks of a plan, in the order in which they are asked: those that begin alike follow each other.

    Each seed row gets as many as any other, or one more; each topic as many as its weight says.
    """
    if plan.topics:
        leaves = [name for name, weight in leaves_of(plan.topics) for _ in range(weight)]
        names = sorted(islice(cycle(leaves), plan.rows), key={n: i for i, n in enumerate(leaves)}.__getitem__)
        return [
            Task(number, _seed(plan, number), name, None, _drawn(plan, seeds, f"topic:{name}", plan.shots))
            for number, name in enumerate(names)
        ]
    if not seeds:
        return [Task(number, _seed(plan, number)) for number in range(plan.rows)]
    # More seeds than rows: those that are used are drawn.
    bases = sorted(seeds, key=lambda s: _order(plan.seed, f"base:{s.number}"))[: plan.rows]
    bases.sort(key=lambda s: s.number)
    each, over = divmod(plan.rows, len(bases))
    counts = [each + (place < over) for place in range(len(bases))]
    tasks: list[Task] = []
    for base, count in zip(bases, counts, strict=True):
        shown = _beside(plan, seeds, base) if plan.way == "rows" else ()
        for _ in range(count):
            tasks.append(Task(len(tasks), _seed(plan, len(tasks)), "", base, shown))
    return tasks


def _seed(plan: SynthesisPlan, number: int) -> int:
    return (plan.seed * 1_000_003 + number) % (2**31)


def _order(seed: int, what: str) -> bytes:
    return blake2b(f"{seed}:{what}".encode(), digest_size=8).digest()


def _drawn(plan: SynthesisPlan, seeds: Sequence[Seed], what: str, count: int) -> tuple[Seed, ...]:
    return tuple(sorted(seeds, key=lambda s: _order(plan.seed, f"{what}:{s.number}"))[:count])


def _beside(plan: SynthesisPlan, seeds: Sequence[Seed], base: Seed) -> tuple[Seed, ...]:
    """The rows that are shown before the one a new row is made of: of other labels first, then some of its own."""
    others = [seed for seed in seeds if seed.number != base.number]
    own = [s for s in others if base.label and s.label == base.label]
    alike = _drawn(plan, own, f"alike:{base.number}", min(_SAME_LABEL, plan.shots - 1))
    rest = [s for s in others if s not in alike and (not base.label or s.label != base.label)] or [
        s for s in others if s not in alike
    ]
    return (*_drawn(plan, rest, f"beside:{base.number}", plan.shots - 1 - len(alike)), *alike)
