"""What becomes of the answers: each is a row, or falls at one stage, with the reason; none is lost."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from llmops_tui.datasets.identity import normal
from llmops_tui.datasets.near_duplicates import Sketches
from llmops_tui.datasets.origins import COLUMN
from llmops_tui.datasets.records import Row, dump_json
from llmops_tui.datasets.rewording import Rewording
from llmops_tui.foreign_text import parse_json
from llmops_tui.inference.schema_keywords import Schema
from llmops_tui.inference.schema_validation import problems_of
from llmops_tui.synthesis.attempts import Attempt, Grade
from llmops_tui.synthesis.languages import LEAST_ALIKE, alike, nearer_to
from llmops_tui.synthesis.plan import Filters, SynthesisPlan
from llmops_tui.synthesis.shape import RowShape
from llmops_tui.synthesis.tasks import Task
from llmops_tui.synthesis.writer import text_in

# The stages in their order, each with what falls there.
STAGES: dict[str, str] = {
    "answered": "the model gave no answer",
    "whole": "the answer was cut off at the most tokens",
    "schema": "the answer does not keep the schema",
    "language": "the text was not translated there and back",
    "numbers": "a number, address or link of the source is missing, and what is carried along may depend on it",
    "length": "too short or too long",
    "copy": "the same text is in the source",
    "near source": "nearly the same text is in the source",
    "repeat": "the same text was written before",
    "near new": "nearly the same text was written before",
    "judge": "the judge's grade is too low, or it gave none",
}
# What a carried answer may depend on: numbers, and what has an @ or a scheme.
_FACTS = re.compile(r"\d+(?:[.,:]\d+)*|\S+@\S+|https?://\S+")


@dataclass(frozen=True)
class Candidate:
    """An answer that is a row so far, and its text."""

    task: Task
    attempt: Attempt
    row: Row
    text: str


@dataclass(frozen=True)
class Fallen:
    """A task whose answer is no row: the stage, why, and what was answered."""

    task: int
    stage: str
    reason: str
    said: str


@dataclass
class Sorted:
    """All tasks: rows, and what fell."""

    kept: list[Candidate] = field(default_factory=list)
    fallen: list[Fallen] = field(default_factory=list)


class Sieve:
    """Looks at answers one stage after another. ``source`` has the texts of the seeds; ``language`` is theirs."""

    def __init__(
        self,
        plan: SynthesisPlan,
        shape: RowShape,
        rewording: Rewording | None,
        source: Sequence[str],
        language: str = "en",
    ) -> None:
        self._plan, self._shape, self._rewording = plan, shape, rewording
        self._source, self._language = source, language
        self._filters: Filters = plan.filters

    def sort(self, tasks: Iterable[Task], attempts: Mapping[int, Attempt]) -> Sorted:
        """All stages but the judge's, over all tasks in their order."""
        found = Sorted()
        for task in tasks:
            made = self._candidate(task, attempts[task.number])
            if isinstance(made, Candidate):
                found.kept.append(made)
            else:
                found.fallen.append(made)
        found.kept = self._different(found.kept, found.fallen)
        return found

    def judged(self, found: Sorted, grades: Mapping[int, Grade]) -> Sorted:
        """The last stage: what the judge graded too low, or could not grade."""
        kept = []
        for one in found.kept:
            grade = grades[one.task.number]
            if grade.value is None or grade.value < self._filters.least:
                reason = f"grade {grade.value:.2f}" if grade.value is not None else f"no grade: {grade.reason}"
                found.fallen.append(Fallen(one.task.number, "judge", reason, one.text))
            else:
                kept.append(one)
        found.kept = kept
        return found

    def _candidate(self, task: Task, attempt: Attempt) -> Candidate | Fallen:
        """A task's row by its answer alone."""

        def fallen(stage: str, reason: str) -> Fallen:
            return Fallen(task.number, stage, reason, attempt.text)

        if attempt.error:
            return fallen("answered", attempt.error)
        if attempt.finish == "length":
            return fallen("whole", f"cut off after {attempt.completion_tokens:,} tokens")
        if self._rewording is None:
            answer = _object_of(attempt.text, self._shape.schema)
            if isinstance(answer, str):
                return fallen("schema", answer)
            text = text_of(answer, self._shape)
            row = self._shape.row_of(answer, task.base.row if task.base is not None else None)
        else:
            assert task.base is not None
            source = self._rewording.text_of(task.base.row) or ""
            text = text_in(attempt.text)
            if not text:
                return fallen("schema", "there is no text in the answer")
            if self._plan.way == "back-translation" and (why := self._untranslated(source, attempt.between, text)):
                return fallen("language", why)
            if self._rewording.carried and (missing := _missing(source, text)):
                return fallen("numbers", f"{missing} is missing, or new")
            row = self._rewording.with_text(task.base.row, text)
        if not self._filters.min_chars <= len(text.strip()) <= self._filters.max_chars:
            return fallen("length", f"{len(text):,} characters")
        return Candidate(task, attempt, row, text)

    def _untranslated(self, source: str, between: str, text: str) -> str:
        """Why a text was not translated there and back; empty where it was, or is too short to tell."""
        if normal(between) == normal(source) or nearer_to(between, self._plan.language, self._language) is False:
            return f"between is not {self._plan.language}: {between[:80]}"
        if nearer_to(text, self._language, self._plan.language) is False:
            return f"not translated back into {self._language}"
        if (found := alike(source, text)) < LEAST_ALIKE:
            return f"it has {found:.0%} in common with the source, and {LEAST_ALIKE:.0%} are the least"
        return ""

    def _different(self, candidates: list[Candidate], fallen: list[Fallen]) -> list[Candidate]:
        """Those whose text is neither in the source nor among those before, exactly or nearly."""
        known = {normal(text): number for number, text in reversed(list(enumerate(self._source)))}
        fresh, seen = [], dict[str, int]()
        for one in candidates:
            same = normal(one.text)
            if same in known:
                fallen.append(Fallen(one.task.number, "copy", f"as row {known[same]:,} of the source", one.text))
            elif same in seen:
                fallen.append(Fallen(one.task.number, "repeat", f"as new row {seen[same]:,}", one.text))
            else:
                seen[same] = one.task.number
                fresh.append(one)
        return self._not_near(fresh, fallen)

    def _not_near(self, candidates: list[Candidate], fallen: list[Fallen]) -> list[Candidate]:
        sketches, first = Sketches(), len(self._source)
        sketches.add(self._source)
        sketches.add([one.text for one in candidates])
        of_source: dict[int, int] = {}
        before: dict[int, list[int]] = {}
        for pair in sketches.pairs(self._filters.near):
            if pair.left < first <= pair.right:
                of_source.setdefault(pair.right - first, pair.left)
            elif pair.left >= first:
                before.setdefault(pair.right - first, []).append(pair.left - first)
        kept, gone = [], set[int]()
        for place, one in enumerate(candidates):
            # Only one that stays makes a later one fall.
            twin = next((other for other in before.get(place, ()) if other not in gone), None)
            if place in of_source:
                why = Fallen(one.task.number, "near source", f"near row {of_source[place]:,} of the source", one.text)
            elif twin is not None:
                why = Fallen(one.task.number, "near new", f"near new row {candidates[twin].task.number:,}", one.text)
            else:
                kept.append(one)
                continue
            gone.add(place)
            fallen.append(why)
        return kept


def text_of(answer: Row, shape: RowShape) -> str:
    """What a written row says: its texts, one below another."""
    values = [answer.get(name) for name in shape.write]
    return "\n".join(value if isinstance(value, str) else dump_json(value) for value in values if value is not None)


def _object_of(text: str, schema: Schema) -> Row | str:
    """The object of an answer, or why it is none."""
    try:
        problems = problems_of(schema, text)
    except ValueError as error:
        problems = [str(error)]
    if problems:
        return "; ".join(problems)
    value = parse_json(text)
    if not isinstance(value, dict):
        return "it is not an object"
    return "it says what made it itself" if COLUMN in value else value


def _missing(source: str, text: str) -> str:
    """Numbers, addresses and links that stand in one of two texts alone."""
    left, right = (Counter(_FACTS.findall(each)) for each in (source, text))
    return ", ".join(list(((left - right) + (right - left)).elements())[:3])
