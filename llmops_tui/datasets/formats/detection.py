"""Detection of row formats, with the evidence; it proposes and decides nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from llmops_tui.datasets.formats.readers import RowRefusedError, mapped_kind, reader
from llmops_tui.datasets.records import Row
from llmops_tui.datasets.reports import Proposed

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


def _has(*names: str) -> Callable[[Row], bool]:
    return lambda row: all(row.get(name) is not None for name in names)


# In the order in which they are preferred: the more a row must have, the earlier.
_SIGNS: tuple[tuple[str, Callable[[Row], bool], str], ...] = (
    ("preference", _has("chosen", "rejected"), "have 'chosen' and 'rejected'"),
    (
        "kto",
        lambda r: "kto_tag" in r or ({"prompt", "completion", "label"} <= set(r) and isinstance(r["label"], (bool, int))),
        "have an answer with a label that is true or false",
    ),
    ("messages", _has("messages"), "have 'messages'"),
    ("sharegpt", _has("conversations"), "have 'conversations'"),
    ("alpaca", _has("instruction", "output"), "have 'instruction' and 'output'"),
    ("prompt-completion", _has("prompt", "completion"), "have 'prompt' and 'completion'"),
    ("text", lambda r: isinstance(r.get("text"), str), "have 'text'"),
)  # fmt: skip


def recognise(rows: Sequence[Row]) -> Proposal:
    """What format some rows have. Rows that are tables, or nothing known, are ``tabular``."""
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    fits: dict[str, int] = {}
    for form, sign, _ in _SIGNS:
        read = reader(form)
        fits[form] = sum(1 for row in rows if sign(row) and _reads(read, row))
    total = max(1, len(rows))
    signed = {form: sum(1 for row in rows if sign(row)) for form, sign, _ in _SIGNS}
    best = next((form for form, _, _ in _SIGNS if signed[form] * 2 > total and fits[form]), "")
    if best == "text" and not _only_text(rows, columns):
        best = ""
    if not best:
        return _table(rows, columns)
    words = next(text for form, _, text in _SIGNS if form == best)
    evidence = [f"{signed[best]:,} of {len(rows):,} rows {words}"]
    if fits[best] < signed[best]:
        evidence.append(f"{signed[best] - fits[best]:,} of them are not what the format says and would be rejected")
    roles = _roles(rows, best)
    if roles:
        evidence.append("roles: " + ", ".join(f"{name} {count:,}" for name, count in roles.most_common(8)))
    beside = [name for name in columns if name not in _own_columns(best)]
    if beside:
        evidence.append(
            "kept beside: " + ", ".join(beside[:12]) + (f" and {len(beside) - 12} more" * (len(beside) > 12))
        )
    others = {
        f: n / total
        for f, n in fits.items()
        if n and f != best and n > total * 0.01 and f not in _IMPLIED.get(best, ())
    }
    return Proposal(best, fits[best] / total, tuple(evidence), others=others, columns=columns)


_IMPLIED = {"kto": ("prompt-completion", "messages", "alpaca", "sharegpt"), "preference": ("sharegpt",)}


def _reads(read: Callable[[Row], Row], row: Row) -> bool:
    try:
        read(dict(row))
    except RowRefusedError:
        return False
    return True


def _own_columns(form: str) -> set[str]:
    return {
        "messages": {"messages", "tools"},
        "sharegpt": {"conversations", "system", "tools"},
        "alpaca": {"instruction", "input", "output", "system", "history"},
        "prompt-completion": {"prompt", "completion"},
        "text": {"text"},
        "preference": {"prompt", "chosen", "rejected", "conversations", "instruction", "input", "system", "history"},
        "kto": {"prompt", "completion", "label", "kto_tag", "messages"},
    }[form]


def _roles(rows: Sequence[Row], form: str) -> Counter[str]:
    column = {"messages": "messages", "sharegpt": "conversations"}.get(form)
    found: Counter[str] = Counter()
    if column:
        for row in rows:
            turns = row.get(column)
            for turn in turns if isinstance(turns, list) else []:
                if isinstance(turn, dict):
                    found[str(turn.get("role", turn.get("from", "none")))] += 1
    return found


def _only_text(rows: Sequence[Row], columns: tuple[str, ...]) -> bool:
    """Whether the text stands alone: a column of few values beside it is a label, and the rows are a table."""
    return not any(_values(rows, name) for name in columns if name != "text")


def _values(rows: Sequence[Row], name: str) -> int:
    """How many different values a column has where it looks like a label; else 0."""
    values = [row[name] for row in rows if isinstance(row.get(name), (str, int, bool))]
    different = len(set(values))
    return different if len(values) > 1 and 1 < different <= max(2, len(values) // 2) else 0


def _table(rows: Sequence[Row], columns: tuple[str, ...]) -> Proposal:
    evidence = [f"{len(rows):,} rows with {len(columns)} columns: {', '.join(columns[:12])}"]
    mapping: dict[str, str] = {}
    lower = {name.lower(): name for name in columns}
    question = next((lower[name] for name in _QUESTION if name in lower), None)
    answer = next((lower[name] for name in _ANSWER if name in lower and lower[name] != question), None)
    if question and answer and all(isinstance(row.get(question), (str, type(None))) for row in rows):
        mapping = {"user": question, "assistant": answer}
        evidence.append(
            f"{question!r} and {answer!r} look like questions and answers: as {mapped_kind(mapping)} only if you say so"
        )
    for name in columns:
        count = _values(rows, name)
        if count and not mapping:
            evidence.append(f"{name!r} has {count} different values: it may be a label")
    return Proposal("tabular", 1.0, tuple(evidence), mapping, columns=columns)
