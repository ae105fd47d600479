"""The interface of a check: it inspects every row once, reports problems, and may repair rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, TypedDict

from llmops_tui.datasets.identity import Sameness
from llmops_tui.datasets.records import Column, Row

if TYPE_CHECKING:
    from llmops_tui.datasets.meaning.index import MeaningIndex
    from llmops_tui.datasets.tokens import ModelText

CONVERSATIONS = frozenset({"messages", "prompt-completion", "preference", "kto"})
EVERYTHING = CONVERSATIONS | {"text", "tabular"}
_EXAMPLES = 5


@dataclass
class Finding:
    """What one check found.

    Attributes:
        rows: the numbers of the rows, in ascending order.
        reasons: why, for the first few of them, by row.
        groups: rows that belong together, such as duplicates of each other.
        note: what is to be said of the dataset as a whole.
    """

    rows: list[int] = field(default_factory=list)
    reasons: dict[int, str] = field(default_factory=dict)
    groups: list[list[int]] = field(default_factory=list)
    note: str = ""


class CheckOptions(TypedDict, total=False):
    """What checks may be told.

    The column of labels, what makes rows duplicates, how near is near from 0 to 1, how many tokens are too many of what model,
    the embeddings of the version, and what cosine is near.
    """

    same: Sameness | None
    label: str | None
    threshold: float | None
    max_tokens: int | None
    model_text: ModelText
    meaning: MeaningIndex
    cosine: float | None


class Check:
    """A check. Subclasses say what they are and override :meth:`inspect`, and :meth:`finish` or :meth:`repair` as needed.

    One object looks at one version: rows go to :meth:`inspect` in their order, then :meth:`finish` is called.
    """

    id: ClassVar[str] = ""
    title: ClassVar[str] = ""
    why: ClassVar[str] = ""
    # What the one-key fix does; empty where only a person can decide.
    fix: ClassVar[str] = ""
    kinds: ClassVar[frozenset[str]] = EVERYTHING
    # Whether it goes by the embeddings of a version, and is left out where there are none.
    by_meaning: ClassVar[bool] = False

    def __init__(self, kind: str, columns: tuple[Column, ...], parameters: CheckOptions) -> None:
        self.kind = kind
        self.columns = columns
        self.parameters = parameters
        self.finding = Finding()

    def inspect(self, number: int, row: Row) -> None:
        """Look at a row."""

    def finish(self) -> Finding:
        """What was found."""
        return self.finding

    def repair(self, row: Row) -> Row | None:
        """The row without the problem; none where the row has to go. Only called for rows that were found."""
        del row
        return None

    def hit(self, number: int, reason: str) -> None:
        """Note that something is wrong with a row."""
        if not self.finding.rows or self.finding.rows[-1] != number:
            self.finding.rows.append(number)
            if len(self.finding.reasons) < _EXAMPLES:
                self.finding.reasons[number] = reason

    def hit_many(self, rows: dict[int, str]) -> None:
        """Note rows that were found out of order."""
        for number in sorted(rows):
            self.hit(number, rows[number])
