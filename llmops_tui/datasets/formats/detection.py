"""Detection of row formats, with the evidence; it proposes and decides nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from llmops_tui.counts import counted
from llmops_tui.datasets.formats.base import Format, RowRefusedError
from llmops_tui.datasets.formats.readers import mapped_kind
from llmops_tui.datasets.formats.registry import PLUGINS, all_formats, calls
from llmops_tui.datasets.formats.tabular import label_values
from llmops_tui.datasets.records import Row
from llmops_tui.datasets.reports import Proposed

# Of fewer rows nearly every column has few values.
_ENOUGH_ROWS = 10
_QUESTION = ("question", "query", "instruction", "prompt", "user", "problem", "input")
_ANSWER = ("answer", "response", "output", "completion", "assistant", "solution", "target", "reply")


@dataclass(frozen=True)
class Proposal:
    """What rows seem to be.

    Attributes:
        format: the name of the format.
        share: the share of the looked-at rows that have it, from 0 to 1.
        evidence: sentences that say why.
        mapping: for a table, columns that look like questions and answers; a suggestion, never taken unasked.
        others: other formats that some rows have, with their share.
        columns: all columns seen, in the order of their first appearance.
    """

    format: str
    share: float
    evidence: tuple[str, ...]
    mapping: dict[str, str] = field(default_factory=dict)
    others: dict[str, float] = field(default_factory=dict)
    columns: tuple[str, ...] = ()

    def as_dict(self) -> Proposed:
        """The proposal as JSON."""
        return {
            "format": self.format,
            "share": self.share,
            "evidence": list(self.evidence),
            "mapping": self.mapping,
            "others": self.others,
            "columns": list(self.columns),
        }


@dataclass(frozen=True)
class _Seen:
    """How many rows look like a format, how many of them it can read, whether they stand alone; what its code raised."""

    form: Format
    signed: int
    fits: int
    alone: bool = False
    failed: str = ""


def recognise(rows: Sequence[Row]) -> Proposal:
    """What format some rows have. Rows that are tables, or nothing known, are ``tabular``."""
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    *seen, _table_like = [_inspect(form, rows) for form in all_formats()]
    total = max(1, len(rows))
    best = next((one for one in seen if one.signed * 2 > total and one.fits and one.alone), None)
    broken = [one.failed for one in seen if one.failed] + [p.told for p in PLUGINS.listed() if p.problem]
    if best is None:
        return _table(rows, columns, broken)
    form = best.form
    evidence = [f"{best.signed:,} of {len(rows):,} rows {form.sign or 'look like ' + form.name}"]
    if best.fits < best.signed:
        evidence.append(f"{best.signed - best.fits:,} of them do not follow the format and would be rejected")
    roles = _roles(rows, form)
    if roles:
        evidence.append("roles: " + ", ".join(f"{name} {count:,}" for name, count in roles.most_common(8)))
    beside = [name for name in columns if name not in form.columns]
    if beside:
        evidence.append(
            "kept beside: " + ", ".join(beside[:12]) + (f" and {len(beside) - 12} more" * (len(beside) > 12))
        )
    others = {
        one.form.name: one.fits / total
        for one in seen
        if one is not best and one.fits > total * 0.01 and one.form.name not in form.implies
    }
    return Proposal(form.name, best.fits / total, (*evidence, *broken), others=others, columns=columns)


def _inspect(form: Format, rows: Sequence[Row]) -> _Seen:
    """Try a format on all rows."""
    called = calls(form)
    try:
        signed = [row for row in rows if called.recognises(row)]
        alone = bool(signed) and called.alone(rows)
    except RowRefusedError as error:
        return _Seen(form, 0, 0, failed=str(error))
    return _Seen(form, len(signed), sum(1 for row in signed if _reads(called.read, row)), alone)


def _reads(read: Callable[[Row], Row], row: Row) -> bool:
    try:
        read(dict(row))
    except RowRefusedError:
        return False
    return True


def _roles(rows: Sequence[Row], form: Format) -> Counter[str]:
    found: Counter[str] = Counter()
    if form.turns:
        for row in rows:
            turns = row.get(form.turns)
            for turn in turns if isinstance(turns, list) else []:
                if isinstance(turn, dict):
                    found[str(turn.get("role", turn.get("from", "none")))] += 1
    return found


def _table(rows: Sequence[Row], columns: tuple[str, ...], broken: Sequence[str]) -> Proposal:
    evidence = [f"{counted(len(rows), 'row')} with {counted(len(columns), 'column')}: {', '.join(columns[:12])}"]
    mapping: dict[str, str] = {}
    lower = {name.lower(): name for name in columns}
    question = next((lower[name] for name in _QUESTION if name in lower), None)
    answer = next((lower[name] for name in _ANSWER if name in lower and lower[name] != question), None)
    if question and answer and all(isinstance(row.get(question), (str, type(None))) for row in rows):
        mapping = {"user": question, "assistant": answer}
        evidence.append(
            f"{question!r} and {answer!r} look like questions and answers: imported as {mapped_kind(mapping)} only on request"
        )
    for name in columns:
        count = label_values(rows, name)
        if count and not mapping and len(rows) >= _ENOUGH_ROWS:
            evidence.append(f"{name!r} has {count} different values: it may be a label")
    return Proposal("tabular", 1.0, (*evidence, *broken), mapping, columns=columns)
