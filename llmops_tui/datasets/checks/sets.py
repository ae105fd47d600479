"""Checks across rows: duplicates, conflicting labels, class imbalance, overlong texts."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from hashlib import blake2b
from typing import Any

from llmops_tui.counts import counted
from llmops_tui.datasets.checks.base import CONVERSATIONS, Check, CheckOptions, Finding
from llmops_tui.datasets.formats.base import RowRefusedError, structured
from llmops_tui.datasets.identity import COMPARED, frame_key, left_out, media_of, normal, row_key
from llmops_tui.datasets.label_columns import label_column
from llmops_tui.datasets.near_duplicates import Sketches, clusters
from llmops_tui.datasets.records import (
    Column,
    Message,
    Row,
    answer_text,
    as_messages,
    dump_json,
    input_text,
    whole_text,
)

_MAX_LABELS = 200


def _key(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "replace"), digest_size=12).digest()


class ExactDuplicates(Check):
    """Rows that are the same: in their content, unless ``same`` says in what."""

    id = "duplicate"
    title = "Duplicate rows"
    why = "A duplicate row counts twice, and may be in training and evaluation at once."
    fix = "keep the first of each"

    def __init__(self, kind: str, columns: tuple[Column, ...], parameters: CheckOptions) -> None:
        super().__init__(kind, columns, parameters)
        self._same = parameters.get("same") or "content"
        self._first: dict[bytes, int] = {}
        self._groups: dict[int, list[int]] = {}

    def inspect(self, number: int, row: Row) -> None:
        """Compare it with those before."""
        first = self._first.setdefault(row_key(self.kind, row, self._same), number)
        if first != number:
            self.hit(number, f"the same as row {first:,}")
            self._groups.setdefault(first, [first]).append(number)

    def finish(self) -> Finding:
        """The groups of duplicates, and what was compared."""
        self.finding.groups = list(self._groups.values())
        if self._groups:
            passed = left_out(self.kind, self.columns, self._same)
            not_compared = f"; not compared: {', '.join(passed)}" if passed else ""
            self.finding.note = f"rows with the same {COMPARED[self._same]}{not_compared}"
        return self.finding


class NearDuplicates(Check):
    """Rows that say nearly the same."""

    id = "near-duplicate"
    title = "Near-duplicate rows"
    why = "Rows that share four in five of their five-word sequences add little, and leak between splits."
    fix = "keep the first of each cluster"

    def __init__(self, kind: str, columns: tuple[Column, ...], parameters: CheckOptions) -> None:
        super().__init__(kind, columns, parameters)
        self._sketches = Sketches()
        self._numbers: list[int] = []
        self._seen: set[bytes] = set()

    def inspect(self, number: int, row: Row) -> None:
        """Sketch it, unless it is an exact duplicate, which is another check's."""
        key = row_key(self.kind, row)
        if key not in self._seen:
            self._seen.add(key)
            self._sketches.add([whole_text(self.kind, row)], frame_key(self.kind, row))
            self._numbers.append(number)

    def finish(self) -> Finding:
        """Clusters of rows above the threshold, 0.8 unless ``threshold`` says otherwise."""
        threshold = float(self.parameters.get("threshold") or 0.8)
        found: dict[int, str] = {}
        for members in clusters(self._sketches.pairs(threshold)):
            rows = [self._numbers[m] for m in members]
            self.finding.groups.append(rows)
            for position, row in zip(members[1:], rows[1:], strict=True):
                similarity = self._sketches.similarity(members[0], position)
                found[row] = f"like row {rows[0]:,}: {similarity:.0%} of their shingles are the same"
        self.hit_many(found)
        return self.finding


class ConflictingLabels(Check):
    """One question with several answers."""

    id = "conflict"
    title = "Conflicting answers or labels"
    why = "The same input with different labels cannot be learned; one of them is wrong, or the task is not clear."
    fix = "remove all rows of each conflict"
    # KTO has good and bad answers to one question; that is what it learns from.
    kinds = (CONVERSATIONS - {"kto"}) | {"tabular"}

    def __init__(self, kind: str, columns: tuple[Column, ...], parameters: CheckOptions) -> None:
        super().__init__(kind, columns, parameters)
        self._label = str(parameters.get("label") or "")
        self._answers: dict[bytes, dict[str, list[int]]] = {}

    def inspect(self, number: int, row: Row) -> None:
        """Keep its input and its answer."""
        if self.kind == "tabular":
            label = self._label or label_column(self.columns)
            if not label or label not in row:
                return
            answer = dump_json(row[label])
            asked = "\n".join(v for k, v in row.items() if isinstance(v, str) and k not in {label, "id"})
        else:
            before, after = _parted(self.kind, row)
            answer = "\n".join([answer_text(self.kind, row), *_calls(after)]).strip()
            asked = "\n".join([input_text(self.kind, row), *_calls(before)])
        # Another image makes another question.
        asked = "\n".join([asked, *media_of(row)])
        if asked.strip():
            self._answers.setdefault(_key(normal(asked)), {}).setdefault(normal(answer)[:200], []).append(number)

    def finish(self) -> Finding:
        """Inputs with more than one answer."""
        found: dict[int, str] = {}
        for answers in self._answers.values():
            if len(answers) > 1:
                rows = sorted(n for numbers in answers.values() for n in numbers)
                self.finding.groups.append(rows)
                shown = " or ".join(repr(a[:40]) for a in list(answers)[:3])
                found |= dict.fromkeys(rows, f"the same input has the answers {shown}")
        self.hit_many(found)
        return self.finding


def _parted(kind: str, row: Row) -> tuple[list[Message], list[Message]]:
    """The turns of a row before its answer, and those of its answer."""
    if kind == "messages":
        turns = as_messages(row.get("messages"), "user")
        count = len(turns) - (bool(turns) and turns[-1].get("role") == "assistant")
        return turns[:count], turns[count:]
    answer = "chosen" if kind == "preference" else "completion"
    return as_messages(row.get("prompt"), "user"), as_messages(row.get(answer), "assistant")


def _calls(turns: list[Message]) -> list[str]:
    """The calls of tools in some turns, which are what is said where there is no text."""
    lists = [calls for turn in turns if isinstance(calls := turn.get("tool_calls"), list)]
    functions = [call.get("function", call) for calls in lists for call in calls if isinstance(call, dict)]
    return [f"{f.get('name')}({_arguments(f.get('arguments'))})" for f in functions if isinstance(f, dict)]


def _arguments(given: Any) -> str:
    # Where a key is repeated in them they are what they are as a text.
    with suppress(RowRefusedError):
        given = structured(given)
    return dump_json(given)


class SkewedLabels(Check):
    """Labels of which some are rare."""

    id = "skewed-labels"
    title = "Skewed labels"
    why = "A label with few rows is learned and measured badly; the most common label is guessed."
    kinds = frozenset({"tabular", "kto", "messages", "text", "prompt-completion"})

    def __init__(self, kind: str, columns: tuple[Column, ...], parameters: CheckOptions) -> None:
        super().__init__(kind, columns, parameters)
        self._counts: Counter[str] = Counter()
        self._rows: dict[str, list[int]] = {}

    def inspect(self, number: int, row: Row) -> None:
        """Count its label, where the dataset has a column of labels."""
        name = str(self.parameters.get("label") or label_column(self.columns))
        if name in row:
            value = str(row[name])
            self._counts[value] += 1
            if len(self._counts) <= _MAX_LABELS:
                self._rows.setdefault(value, []).append(number)

    def finish(self) -> Finding:
        """Labels with less than a tenth of the rows that the middle one has."""
        if 2 <= len(self._counts) <= _MAX_LABELS:
            ordered = sorted(self._counts.values())
            middle = ordered[len(ordered) // 2]
            most, least = ordered[-1], ordered[0]
            self.finding.note = f"{len(ordered)} labels, from {least:,} to {most:,} rows"
            rare = [v for v, n in self._counts.items() if n * 10 < middle or (len(ordered) == 2 and n * 10 < most)]
            self.hit_many(
                {n: f"{value!r} has {counted(self._counts[value], 'row')}" for value in rare for n in self._rows[value]}
            )
        return self.finding


class TooLong(Check):
    """Rows with more tokens than a length."""

    id = "too-long"
    title = "Longer than the training length"
    why = "Tokens after the maximum length are cut, and with them often the answer."
    fix = "remove these rows"

    def __init__(self, kind: str, columns: tuple[Column, ...], parameters: CheckOptions) -> None:
        super().__init__(kind, columns, parameters)
        self._text = parameters.get("model_text")
        self._limit = int(parameters.get("max_tokens") or 0)
        self._waiting: list[tuple[int, str]] = []
        if self._text is None or not self._limit:
            self.finding.note = "not checked: no model and length were chosen"

    def inspect(self, number: int, row: Row) -> None:
        """Count the tokens of the rendered row, in batches."""
        if self._text is not None and self._limit:
            self._waiting.append((number, self._text.row_text(self.kind, row).text))
            if len(self._waiting) >= 500:
                self._count()

    def _count(self) -> None:
        assert self._text is not None
        counts = self._text.tokenizer.counts([text for _, text in self._waiting])
        for (number, _), count in zip(self._waiting, counts, strict=True):
            if count > self._limit:
                self.hit(number, f"{count:,} tokens")
        self._waiting = []

    def finish(self) -> Finding:
        """Count what waits."""
        if self._waiting:
            self._count()
        return self.finding
