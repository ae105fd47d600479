"""Seeded, stratified splits of a dataset, with no duplicate in two parts."""

from __future__ import annotations

from collections import defaultdict
from hashlib import blake2b
from typing import Any, cast

from llmops_tui.counts import counted
from llmops_tui.datasets.identity import media_of, normal
from llmops_tui.datasets.near_duplicates import Sketches, clusters
from llmops_tui.datasets.operations.base import Made, Work, apply
from llmops_tui.datasets.origins import Families, families_of, has_column, refuse_unasked
from llmops_tui.datasets.progress import Report
from llmops_tui.datasets.records import dump_json, question_text, whole_text
from llmops_tui.datasets.reports import SplitOptions, SplitParameters, SplitRecord
from llmops_tui.datasets.store import DatasetStore, check_name
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError

# Synthetic rows are as any others, and stay with those that they were made of.
SPREAD = "spread"
# A third three times is 0.99.
_ROUNDED = 0.02
_HINT = "Say where: synthetic={part} keeps them in that part, with the rows that they were made of; synthetic=spread in any."


def split(work: Work) -> Made:
    """The rows of one part, ``part``, of a split.

    ``parts`` are shares by name; ``stratify`` is a column whose values are spread evenly; ``group`` a column whose equal
    values stay together; rows that ask the same are always kept together, and with ``near`` those that ask nearly the
    same; ``synthetic`` says in which part the rows go that nobody wrote, with those that they were made of; ``seed`` decides
    the rest.
    """
    part = str(work.parameter("part"))
    places = assign(work.first, cast("SplitParameters", work.parameters), work.report)
    wanted = list(work.parameter("parts")).index(part)
    dropped = {number for number, place in enumerate(places) if place != wanted}
    given = {k: v for k, v in work.parameters.items() if k in {"seed", "stratify", "group"} and v is not None}
    return work.without(dropped, ", ".join([f"{part} of {work.first.ref}", *(f"{k} {v}" for k, v in given.items())]))


def assign(version: DatasetVersion, parameters: SplitParameters, report: Report) -> list[int]:
    """The part of each row, by position in ``parts``.

    Shares are of their sum: a recipe of an earlier release may have others than those that :func:`split_into` takes.
    """
    shares = {str(k): float(v) for k, v in parameters["parts"].items()}
    if not shares or min(shares.values()) <= 0:
        raise InputRefusedError("bad_split", "each part requires a share above 0", "Such as train=0.9 eval=0.1.")
    total = sum(shares.values())
    wanted = [s / total for s in shares.values()]
    seed = int(parameters.get("seed") or 0)
    pinned_to, families = _synthetic(version, parameters, list(shares))
    groups, strata = content_groups(version, parameters, report, families)
    placed = [0] * version.rows
    # By stratum, and in each in an order that the seed decides: the part that is furthest behind its share takes the group.
    ordered = sorted(groups.values(), key=lambda rows: (strata[rows[0]], _order(seed, rows[0])))
    behind = [0.0] * len(wanted)
    pinned = {number for _, number in families.synthetic} if pinned_to is not None else set()
    for rows in ordered:
        for index, share in enumerate(wanted):
            behind[index] += share * len(rows)
        # What is pinned brings along all that has to stay with it: what it was made of.
        to = pinned_to if not pinned.isdisjoint(rows) else None
        chosen = to if to is not None else max(range(len(wanted)), key=lambda i: behind[i])
        behind[chosen] -= len(rows)
        for row in rows:
            placed[row] = chosen
    empty = [name for index, name in enumerate(shares) if version.rows and index not in placed]
    if empty:
        raise _empty_part(empty[0], version.rows, list(groups.values()), parameters)
    return placed


def _empty_part(part: str, rows: int, groups: list[list[int]], parameters: SplitParameters) -> InputRefusedError:
    largest = max(map(len, groups))
    group = parameters.get("group")
    why = (f"have the same {group!r} or " if group else "") + (
        "ask nearly the same" if parameters.get("near") else "ask the same"
    )
    return InputRefusedError(
        "empty_part",
        f"the part {part!r} would have no rows: {counted(rows, 'row')} are {counted(len(groups), 'group')} that must stay "
        f"together, since they {why}; the largest has {largest:,}",
        "Give that part a larger share, use more rows, or choose another column for group."
        if group or largest < rows
        else "Remove duplicates first, or use rows with more than one question.",
    )


def _synthetic(version: DatasetVersion, parameters: SplitParameters, parts: list[str]) -> tuple[int | None, Families]:
    """The part that synthetic rows are pinned to, where they are, and which rows were made of which.

    Raises:
        InputRefusedError: ``synthetic_rows``: there are some, and where they go was not said.
    """
    families, told = families_of([version]), parameters.get("synthetic")
    if told and told != SPREAD and told not in parts:
        raise InputRefusedError("bad_split", f"synthetic: {told!r} is no part", f"{SPREAD}, or {', '.join(parts)}.")
    if families.synthetic and not told:
        count = counted(len(families.synthetic), "row")
        raise InputRefusedError(
            "synthetic_rows",
            f"a model or a rule made {count} of {version.ref}: a part that is measured on would have some of them",
            _HINT.format(part=parts[0]),
        )
    return (parts.index(told) if told and told != SPREAD else None), families


def _order(seed: int, row: int) -> bytes:
    return blake2b(f"{seed}:{row}".encode(), digest_size=8).digest()


def content_groups(
    version: DatasetVersion, parameters: SplitParameters, report: Report, families: Families
) -> tuple[dict[int, list[int]], list[str]]:
    """Rows that must stay together, by the first of them, and the stratum of each row.

    They ask the same, or with ``near`` nearly the same, have the same value of ``group``, or one was made of the other.
    """
    stratify, group, near = parameters.get("stratify"), parameters.get("group"), bool(parameters.get("near"))
    columns = {c.name for c in version.columns}
    for name in (stratify, group):
        if name is not None and name not in columns:
            raise InputRefusedError(
                "unknown_column", f"there is no column {name!r}", f"Columns: {', '.join(sorted(columns))}"
            )
    texts = tuple(c.name for c in version.columns if c.type == "text" and c.name not in {stratify, group})
    sketches = Sketches()
    first: dict[tuple[str, bytes], int] = {}
    parent: list[int] = []
    strata: list[str] = []
    for batch in version.read():
        for number, row in batch:
            # Another image makes another question.
            media = media_of(row)
            asked = "\n".join([question_text(version.kind, row, texts), *media])
            parent.append(number)
            for key in _keys(asked, row.get(group) if group is not None else None):
                _join(parent, first.setdefault(key, number), number)
            strata.append(dump_json(row.get(stratify)) if stratify else "")
            if near:
                text = whole_text(version.kind, row) if version.kind == "tabular" else asked
                sketches.add([text], "\n".join(media).encode("utf-8", "replace"))
        report(0.5 * len(parent) / max(1, version.rows), f"grouping {counted(len(parent), 'row')}")
    for members in clusters(sketches.pairs()):
        for member in members[1:]:
            _join(parent, members[0], member)
    _join_families(parent, families)
    found: dict[int, list[int]] = defaultdict(list)
    for number in range(len(parent)):
        found[_root(parent, number)].append(number)
    return dict(found), strata


def _join_families(parent: list[int], families: Families) -> None:
    made: dict[int, int] = {}
    for (_, number), family in families.family.items():
        _join(parent, made.setdefault(family, number), number)


def _keys(asked: str, group: Any) -> list[tuple[str, bytes]]:
    """What rows that stay together share."""
    keys = [("text", _digest(normal(asked)))] if asked.strip() else []
    return keys if group is None else [*keys, ("group", _digest(dump_json(group)))]


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()


def _root(parent: list[int], item: int) -> int:
    while parent[item] != item:
        parent[item] = parent[parent[item]]
        item = parent[item]
    return item


def _join(parent: list[int], left: int, right: int) -> None:
    a, b = _root(parent, left), _root(parent, right)
    parent[max(a, b)] = min(a, b)


def _check_shares(parts: dict[str, float]) -> None:
    """Refuse fractions that leave rows in no part, or give them twice: every row goes to one part. 8 and 2 are weights."""
    total = sum(parts.values())
    if all(0 < share < 1 for share in parts.values()) and abs(total - 1) > _ROUNDED:
        raise InputRefusedError(
            "bad_split",
            f"the shares add up to {total:g}, not to 1, and every row goes to one part",
            "Such as train=0.9 eval=0.1, or train=9 eval=1. llmops data sample takes a share of the rows.",
        )


def split_into(
    store: DatasetStore, ref: str, parts: dict[str, float], report: Report, **options: Any
) -> list[DatasetVersion]:
    """Split a version into datasets named after it and the part, such as ``triage-train``.

    Raises:
        InputRefusedError: ``bad_split``: a share is not above 0, or fractions do not add up to 1.
    """
    version = store.get(ref)
    _check_shares(parts)
    for part in parts:
        check_name(f"{version.dataset}-{part}")
    if not options.get("synthetic") and not has_column(version):
        # Where the rows do not say it any more, the recipes do.
        refuse_unasked(store, version, f"a part of {version.ref}", _HINT.format(part=next(iter(parts), "train")))
    parameters = {"parts": parts, "seed": 0} | {k: v for k, v in options.items() if v is not None}
    return [
        apply(
            store,
            "split",
            [version.ref],
            {**parameters, "part": part},
            name=f"{version.dataset}-{part}",
            report=lambda share, text, done=index: report((done + share) / len(parts), text),  # type: ignore[misc]
        )
        for index, part in enumerate(parts)
    ]


def run_split(context: Any, ref: str, parts: dict[str, float], options: SplitOptions) -> SplitRecord:
    """The job: all parts of a split."""
    from llmops_tui.workspace.catalog import Catalog

    made = split_into(DatasetStore(Catalog(context.workspace)), ref, parts, context.report, **options)
    return {"parts": [v.as_dict() for v in made]}
