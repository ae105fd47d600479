"""Rows of a table as tests: columns with two underscores say what is expected, all others are variables."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from llmops_tui.evaluation.metrics.assertions import separated
from llmops_tui.evaluation.promptfoo.keys import Tell, refused
from llmops_tui.evaluation.promptfoo.table import CARRIED, REFUSED
from llmops_tui.foreign_text import JsonObject

_SPECIAL = {"human", "select-best", "max-score", "assert-set"}
_KINDS = "|".join(re.escape(kind) for kind in (*CARRIED, *REFUSED) if kind not in _SPECIAL)
_EXPECTED = re.compile(rf"(not-)?({_KINDS})(?:\((\d+(?:\.\d+)?)\))?(?::(.*))?", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_LISTS = {"contains-all", "contains-any", "icontains-all", "icontains-any"}
# Of these the threshold in a cell is .75 where none is given.
_WITH_THRESHOLD = {
    "answer-relevance", "classifier", "context-faithfulness", "context-recall", "context-relevance", "cost", "latency",
    "levenshtein", "perplexity-score", "perplexity", "rouge-n", "similar", "starts-with",
}  # fmt: skip
_USUAL = 0.75
_SINGLE = ("expected", "prefix", "suffix", "description", "providerOutput", "metric", "threshold", "metadata", "config")
_CODE = ("javascript:", "fn:", "eval:", "python:", "file://")


def assertion_of(cell: str, where: str) -> JsonObject:
    """What ``__expected`` says: a kind with a value, or a text that the answer equals."""
    if cell.startswith(_CODE):
        raise refused(where, f"{cell[:40]!r} runs code", "Write contains:, regex:, is-json or equals: instead.")
    if cell.startswith("grade:"):
        return {"type": "llm-rubric", "value": cell.removeprefix("grade:")}
    found = _EXPECTED.fullmatch(cell)
    if found is None:
        return {"type": "equals", "value": cell}
    inverse, kind, threshold, value = found.groups()
    made: JsonObject = {"type": f"{inverse or ''}{kind}"}
    if kind in _LISTS:
        try:
            made["value"] = separated(value) if value else value
        except ValueError as error:
            raise refused(where, str(error)) from error
    elif kind in {"contains-json", "is-json"} or kind == "llm-rubric":
        made["value"] = value
    else:
        made["value"] = value.strip() if value is not None else None
        if kind in _WITH_THRESHOLD:
            made["threshold"] = float(threshold) if threshold else _USUAL
    return made


@dataclass
class _Row:
    """A test that its columns fill in one by one."""

    tell: Tell
    variables: dict[str, str] = field(default_factory=dict)
    asserts: list[JsonObject] = field(default_factory=list)
    options: JsonObject = field(default_factory=dict)
    metadata: JsonObject = field(default_factory=dict)
    limits: dict[int, float] = field(default_factory=dict)
    others: JsonObject = field(default_factory=dict)
    metric: str = ""

    def take(self, name: str, value: str, where: str) -> None:
        """One cell."""
        if not name.startswith("__"):
            if name.startswith("_") and name[1:].startswith(_SINGLE):
                self.tell(
                    f"{where}: it is a variable; with two underscores (_{name}) it would say something of the test"
                )
            self.variables[name] = value
        elif name.startswith("__expected"):
            self.asserts += [assertion_of(value.strip(), where)] if value.strip() else []
        elif name.startswith("__metadata:"):
            _metadata(self.metadata, name.removeprefix("__metadata:"), value)
        elif name.startswith("__config:"):
            self.limits |= _limit(name, value, where)
        else:
            self._whole(name[2:], value, where)

    def _whole(self, name: str, value: str, where: str) -> None:
        """A cell about the test as a whole."""
        if name in {"prefix", "suffix"}:
            self.options[name] = value
        elif name == "description":
            self.others[name] = value
        elif name == "metric":
            self.metric = value
        elif name == "threshold":
            if (found := number_of(value)) is not None:
                self.others[name] = found
        else:
            raise refused(
                where, "it is not carried", "Carried are __expected, __threshold, __metric and __metadata:NAME."
            )

    def test(self) -> JsonObject:
        """The test."""
        asserts = []
        for number, one in enumerate(self.asserts):
            limit = {"threshold": self.limits[number]} if number in self.limits else {}
            asserts.append(one | ({"metric": self.metric} if self.metric else {}) | limit)
        made = {"vars": self.variables, "assert": asserts, "options": self.options, **self.others}
        return made | ({"metadata": self.metadata} if self.metadata else {})


def row_test(row: dict[str, str], where: str, tell: Tell) -> JsonObject:
    """A row as a test.

    Raises:
        InputRefusedError: ``bad_suite``: a column cannot be carried.
    """
    made = _Row(tell)
    for name, value in row.items():
        made.take(name.strip(), value, f"{where}, column {name.strip()}")
    return made.test()


def number_of(cell: str) -> float | None:
    """A cell's number; none where it is empty or no number."""
    bare = cell.strip()
    return float(bare) if _NUMBER.fullmatch(bare) else None


def _metadata(metadata: JsonObject, name: str, value: str) -> None:
    if not value.strip():
        return
    if name.endswith("[]"):
        parts: list[Any] = re.split(r"(?<!\\),", value)
        metadata[name[:-2]] = [part.strip().replace("\\,", ",") for part in parts]
    else:
        metadata[name] = value


def _limit(name: str, value: str, where: str) -> dict[int, float]:
    found = re.fullmatch(r"__config:__expected(\d*):threshold", name)
    limit = number_of(value)
    if found is None or found.group(1) == "0" or limit is None:
        raise refused(where, "it says no threshold", "Write __config:__expected:threshold, with a number in each row.")
    return {int(found.group(1) or 1) - 1: limit}
