"""Deduplication, fixes of checks, redaction and pseudonymisation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, cast

from llmops_tui.counts import counted
from llmops_tui.datasets.checks.base import CheckOptions
from llmops_tui.datasets.checks.registry import PLUGINS, find_check, is_plugin
from llmops_tui.datasets.content_hash import BULK_ROWS
from llmops_tui.datasets.duplicates import repeated_rows
from llmops_tui.datasets.identity import COMPARED, SAMENESS, Sameness
from llmops_tui.datasets.operations.base import Made, Work
from llmops_tui.datasets.overlap import find_overlap
from llmops_tui.datasets.privacy.replacement import Key, Pseudonyms, replace_in_row, reveal_texts
from llmops_tui.datasets.privacy.report import personal_names
from llmops_tui.datasets.records import Row
from llmops_tui.errors import InputRefusedError
from llmops_tui.jobs.worker import JobCancelledError
from llmops_tui.privacy.detection import KINDS
from llmops_tui.privacy.replacement import mark
from llmops_tui.user_files import with_home

if TYPE_CHECKING:
    from llmops_tui.datasets.meaning.index import MeaningIndex


def dedup(work: Work) -> Made:
    """Leave duplicates out, the first of each stays: ``method`` is ``exact``, ``near`` or ``meaning``, at ``threshold``.

    ``same`` says what makes rows duplicates: ``row``, all columns, ``content``, all but ids, or ``text``.
    With a second input the rows that stand in it too are left out instead.
    """
    if len(work.inputs) > 1:
        overlap = find_overlap(work.first, work.inputs[1], float(work.parameters.get("threshold") or 0.8))
        return work.without(set(overlap.rows), f"−{len(overlap.rows):,} that are also in {work.inputs[1].ref}")
    method = str(work.parameter("method", "exact"))
    if method == "meaning":
        return _dedup_by_meaning(work)
    if method not in {"exact", "near"}:
        raise InputRefusedError("bad_method", f"{method!r} is not a method", "Use exact, near or meaning.")
    same = work.parameters.get("same") or "content"
    if same not in SAMENESS:
        raise InputRefusedError("bad_method", f"{same!r} is not a choice", f"Use {', '.join(SAMENESS)}.")
    names = ["duplicate"] if method == "exact" else ["duplicate", "near-duplicate"]
    dropped: set[int] = set()
    for name in names:
        repeated = (
            repeated_rows(work.first, same, work.folder)
            if name == "duplicate" and work.first.rows >= BULK_ROWS
            else None
        )
        dropped |= _found(work, name, same) if repeated is None else set(repeated[0].tolist())
    return work.without(dropped, f"−{counted(len(dropped), f'{method} duplicate')} of {COMPARED[same]}")


def _dedup_by_meaning(work: Work) -> Made:
    """Leave out rows that say what an earlier row says in other words; ``keep`` says which of each group stays."""
    from llmops_tui.datasets.meaning.duplicates import THRESHOLD, find_semantic_duplicates, rows_to_drop

    given = work.parameters.get("threshold")
    threshold = THRESHOLD if given is None else float(given)
    index = _embeddings(work)
    found = find_semantic_duplicates(index, threshold, lambda share: work.report(0.6 * share, "comparing"))
    dropped = set(rows_to_drop(index, found, str(work.parameters.get("keep") or "first")))
    told = f"−{counted(len(dropped), 'semantic duplicate')}, cosine ≥ {threshold:g} by {index.spec.model}"
    return work.without(dropped, told)


def _embeddings(work: Work) -> MeaningIndex:
    """The embeddings of the version: those that the recipe names, or the latest, which it names from now on."""
    from llmops_tui.datasets.meaning.index import pinned_index, require_index

    if "embedder" in work.parameters:
        return pinned_index(work.first, work.parameters["embedder"], str(work.parameters.get("of") or ""))
    index = require_index(work.first, str(work.parameters.get("model") or ""))
    work.pin("embedder", index.spec.as_dict())
    work.pin("of", index.text.of)
    return index


def _found(work: Work, name: str, same: Sameness | None = None) -> set[int]:
    version = work.first
    options = cast("CheckOptions", work.parameters | ({"same": same} if same else {}))
    kind = find_check(name)
    if kind.by_meaning:
        options["meaning"] = _embeddings(work)
    check = kind(version.kind, version.columns, options)
    done = 0
    for batch in version.read():
        for number, row in batch:
            check.inspect(number, row)
        done += len(batch)
        work.report(0.6 * done / max(1, version.rows), f"{done:,} of {counted(version.rows, 'row')}")
    return set(check.finish().rows)


def fix(work: Work) -> Made:
    """Fix all rows that a check, named by ``check``, finds."""
    name = str(work.parameter("check"))
    check = find_check(name)
    if not check.fix:
        raise InputRefusedError("no_fix", f"{check.title}: there is no automatic fix")
    with PLUGINS.at_work(name, JobCancelledError) if is_plugin(check) else nullcontext():
        hits = _found(work, name)
        repairer = check(work.first.kind, work.first.columns, cast("CheckOptions", work.parameters))
        made = work.rewrite(lambda number, row: repairer.repair(row) if number in hits else row)
    found, kept = counted(len(hits), "row"), work.kept()
    # Where just those went that were found, one number says both.
    return Made(made.columns, made.kind, f"{name}: {kept}" if kept == f"−{found}" else f"{name}: {found}, {kept}")


def _kinds(work: Work) -> tuple[str, ...]:
    kinds = tuple(work.parameters.get("kinds") or KINDS)
    unknown = [k for k in kinds if k not in KINDS]
    if unknown:
        raise InputRefusedError("unknown_kind", f"{unknown[0]!r} is not a kind of personal data", ", ".join(KINDS))
    return kinds


def redact(work: Work) -> Made:
    """Put [EMAIL] and the like in the place of personal data, of the ``kinds`` asked for or all."""
    kinds = _kinds(work)
    counts: Counter[str] = Counter()

    names: dict[str, None] = {}

    def change(_number: int, row: Row) -> Row:
        names.update(dict.fromkeys(row))
        fresh, found = replace_in_row(row, mark, kinds)
        counts.update(found)
        return fresh

    made = work.rewrite(change)
    return Made(made.columns, made.kind, _said(counts) + _left(names, kinds))


def pseudonymise(work: Work) -> Made:
    """Put stand-ins in the place of personal data, with the key in the file ``key``, which is made where there is none."""
    key = Key.load(with_home(str(work.parameter("key"))), make=True)
    pseudonyms = Pseudonyms(key)
    kinds = _kinds(work)
    counts: Counter[str] = Counter()
    names: dict[str, None] = {}

    def change(_number: int, row: Row) -> Row:
        names.update(dict.fromkeys(row))
        fresh, found = replace_in_row(row, pseudonyms.stand_in, kinds)
        counts.update(found)
        return fresh

    made = work.rewrite(change)
    pseudonyms.save(_vaults(work), work.first.sha256)
    return Made(made.columns, made.kind, f"{_said(counts)}, key {key.id}{_left(names, kinds)}")


def _left(names: Iterable[str], kinds: tuple[str, ...]) -> str:
    """What stays in the names of columns."""
    told = personal_names(names, kinds)
    return f"; the names of columns stay: {told}" if told else ""


def reveal(work: Work) -> Made:
    """Put the values back for stand-ins, with the key they were made with."""
    key = Key.load(with_home(str(work.parameter("key"))))
    put_back = reveal_texts(_vaults(work), key)
    made = work.rewrite(lambda _number, row: put_back(row))
    return Made(made.columns, made.kind, f"pseudonyms reversed, key {key.id}")


def _vaults(work: Work) -> Path:
    return work.folder.parent / "vaults"


def _said(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in counts.most_common()) or "nothing found"
