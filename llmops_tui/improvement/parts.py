"""The three parts of the rows: reflect, select, and sealed, with no row in one that asks nearly the same as a row in another.

Which rows are sealed follows from the rows alone, so that another run, or another seed, does not make rows sealed that an earlier
one has learned from. Rows that may not be sealed are those that nobody wrote, that the model was trained on, that an earlier
improvement of the prompt proposed or chose by, or that one has looked at: such rows only rank.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from hashlib import blake2b

from llmops_tui.counts import counted
from llmops_tui.datasets.operations.splits import content_groups
from llmops_tui.datasets.origins import Families, families_of
from llmops_tui.datasets.overlap import compare_texts
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.metrics.base import Case
from llmops_tui.improvement.candidates import asked_text

SHARES = {"reflect": 0.2, "select": 0.4, "sealed": 0.4}
LEAST = {"reflect": 12, "select": 20, "sealed": 30}
_REFLECT, _SELECT, _SEALED = range(3)
Report = Callable[[float, str], None]


@dataclass(frozen=True)
class Parts:
    """The cases of each part by their keys, the group of each, and what is to be told of how they came about."""

    reflect: tuple[str, ...]
    select: tuple[str, ...]
    sealed: tuple[str, ...]
    groups: Mapping[str, str]
    told: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """The number of rows of each."""
        return {"reflect": len(self.reflect), "select": len(self.select), "sealed": len(self.sealed)}

    def shuffled(self, seed: int) -> Parts:
        """The same, each part in an order that the seed decides."""
        reflect, select, sealed = (_shuffled(part, seed + n) for n, part in enumerate(self._parts))
        return Parts(reflect, select, sealed, self.groups, self.told)

    @property
    def _parts(self) -> tuple[tuple[str, ...], ...]:
        return self.reflect, self.select, self.sealed


def _shuffled(keys: Sequence[str], seed: int) -> tuple[str, ...]:
    # Sorted first: parts that were noted come back in another order, and have to go the same way.
    return tuple(random.Random(seed).sample(sorted(keys), len(keys)))  # noqa: S311


@dataclass(frozen=True)
class Barred:
    """Keys of cases that may not be sealed, by why."""

    trained: AbstractSet[str] = frozenset()
    used: AbstractSet[str] = frozenset()
    looked: AbstractSet[str] = frozenset()


def split(version: DatasetVersion, cases: Sequence[Case], barred: Barred, *, group: str = "", most: int = 0) -> Parts:
    """The parts of a dataset's cases; ``group`` is a column whose equal values stay together, ``most`` limits the rows.

    Raises:
        InputRefusedError: ``too_few_rows``.
    """
    groups, families = _grouped(version, group)
    return _placed(cases, groups, _synthetic(families), barred, SHARES, most)


def split_beside(
    version: DatasetVersion,
    cases: Sequence[Case],
    sealed: tuple[DatasetVersion, Sequence[Case]],
    barred: Barred,
    *,
    group: str = "",
    most: int = 0,
) -> Parts:
    """The same where the sealed rows are of another dataset; of those the rows that the first one has, too, are left out.

    Raises:
        InputRefusedError: ``too_few_rows``.
    """
    groups, _ = _grouped(version, group)
    shares = {"reflect": SHARES["reflect"], "select": SHARES["select"]}
    own = _placed(cases, groups, frozenset(), Barred(), shares, most)
    other, rest = sealed
    there, families = _grouped(other, group)
    nobodys = _synthetic(families)
    found = compare_texts(("sealed", [_asked(c) for c in rest]), ("data", [_asked(c) for c in cases]))
    twins = {rest[n].key for n in found.rows}
    reasons: Counter[str] = Counter()
    kept = []
    for case in rest:
        why = "asks what a row of the other dataset asks" if case.key in twins else _why(case, nobodys, barred)
        if why:
            reasons[why] += 1
        else:
            kept.append(case)
    kept = _drawn(kept, round(most * SHARES["sealed"]) if most else 0)
    names = {case.key: f"{other.ref} {there[case.row or 0]}" for case in kept}
    told = (*own.told, *(f"not sealed: {counted(n, 'row')} of {other.ref}: {why}" for why, n in reasons.items()))
    parts = Parts(own.reflect, own.select, tuple(c.key for c in kept), {**own.groups, **names}, told)
    _check(parts)
    return parts


def _asked(case: Case) -> str:
    return asked_text(case.variables)


def _grouped(version: DatasetVersion, group: str) -> tuple[dict[int, int], Families]:
    """The group of each row by its number, and the families of rows that nobody wrote."""
    families = families_of([version])
    column = group if group in {c.name for c in version.columns} else None
    found, _ = content_groups(version, {"parts": {}, "near": True, "group": column}, lambda *_: None, families)
    return {row: first for first, rows in found.items() for row in rows}, families


def _synthetic(families: Families) -> frozenset[int]:
    return frozenset(number for _, number in families.kept_together)


def _why(case: Case, synthetic: AbstractSet[int], barred: Barred) -> str:
    """Why a case may not be sealed; empty where it may."""
    if case.row in synthetic:
        return "nobody wrote it, or a synthetic row was made of it"
    if case.key in barred.trained:
        return "the model was trained on it"
    if case.key in barred.used:
        return "an earlier improvement of the prompt worked with it"
    if case.key in barred.looked:
        return "it was looked at before"
    return ""


def _drawn(cases: list[Case], most: int) -> list[Case]:
    """So many of them at the most, by an order that follows from what they are."""
    if not most or len(cases) <= most:
        return cases
    chosen = {case.key for case in sorted(cases, key=lambda c: _order(c.key))[:most]}
    return [case for case in cases if case.key in chosen]


def _order(key: str) -> bytes:
    return blake2b(key.encode(), digest_size=8).digest()


def _placed(
    cases: Sequence[Case],
    groups: Mapping[int, int],
    synthetic: AbstractSet[int],
    barred: Barred,
    shares: Mapping[str, float],
    most: int,
) -> Parts:
    """Groups by an order that follows from their rows; the part that is furthest behind its share takes the next one."""
    members: dict[int, list[Case]] = {}
    for case in cases:
        members.setdefault(groups.get(case.row or 0, case.row or 0), []).append(case)
    total = sum(shares.values())
    wanted = [share / total for share in shares.values()]
    behind = [0.0] * len(wanted)
    parts: list[list[str]] = [[] for _ in SHARES]
    reasons: Counter[str] = Counter()
    names: dict[str, str] = {}
    taken = 0
    for first, group in sorted(members.items(), key=lambda one: _order(min(case.key for case in one[1]))):
        if most and taken >= most:
            break
        whys = [why for case in group if (why := _why(case, synthetic, barred))]
        for index, share in enumerate(wanted):
            behind[index] += share * len(group)
        open_to = [n for n in range(len(wanted)) if n != _SEALED or not whys]
        # Synthetic and leaked rows only rank; what an earlier run worked with may be worked with again.
        chosen = _SELECT if any("earlier" not in why for why in whys) else max(open_to, key=lambda n: behind[n])
        behind[chosen] -= len(group)
        taken += len(group)
        for why in whys:
            reasons[why] += 1
        for case in group:
            parts[chosen].append(case.key)
            names[case.key] = str(first)
    told = tuple(f"not sealed: {counted(n, 'row')}: {why}" for why, n in sorted(reasons.items()))
    found = Parts(tuple(parts[_REFLECT]), tuple(parts[_SELECT]), tuple(parts[_SEALED]), names, told)
    if len(shares) == len(SHARES):
        _check(found)
    return found


def _check(parts: Parts) -> None:
    short = next((name for name, count in parts.counts.items() if count < LEAST[name]), None)
    if short is None:
        return
    counts = ", ".join(f"{count} {name}" for name, count in parts.counts.items())
    raise InputRefusedError(
        "too_few_rows",
        f"the {short} part would have {counted(parts.counts[short], 'row')}, and needs {LEAST[short]} ({counts})"
        + "".join(f"; {told}" for told in parts.told),
        "Use more rows; sealed rows may be of another dataset (--sealed-data).",
    )
