"""Assertions of a test as metrics of its case: one for each, one for each name, and the test's verdict."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.metrics.assertions import KINDS, value_of
from llmops_tui.evaluation.metrics.base import MetricEntry
from llmops_tui.evaluation.metrics.built_in import ALWAYS
from llmops_tui.evaluation.metrics.registry import make_metric
from llmops_tui.evaluation.promptfoo import files
from llmops_tui.evaluation.promptfoo.filling import Filler
from llmops_tui.evaluation.promptfoo.keys import Assertion, Tell, refused
from llmops_tui.evaluation.promptfoo.table import CARRIED, REFUSED
from llmops_tui.inference.template_renderer import Variables

_HALF = 0.5
_NAME = 50
# Names of the verdict, and of what is measured with every run.
_TAKEN = {"pass", *(metric.called for metric in ALWAYS)}
Parts = list[MetricEntry]


def check_kind(given: Assertion, where: str) -> None:
    """Refuse a kind that is not carried, by its name.

    Raises:
        InputRefusedError: ``bad_suite``.
    """
    kind = given.type.removeprefix("not-")
    if kind.startswith("promptfoo:redteam:"):
        raise refused(where, f"{given.type} cannot be used: red teams of promptfoo are not read", "Remove it.")
    if kind in REFUSED:
        why, hint = REFUSED[kind]
        raise refused(where, f"{given.type} cannot be used: {why}", hint)
    if kind not in CARRIED or given.type in {"not-llm-rubric", "not-assert-set"}:
        from difflib import get_close_matches

        close = get_close_matches(kind, [*CARRIED, *REFUSED], 1)
        hint = f"Did you mean {close[0]}?" if close and close[0] != kind else f"Those are {', '.join(CARRIED)}."
        raise refused(where, f"{given.type} is no assertion that can be used", hint)


class CaseChecks:
    """Collects the metrics of one case."""

    def __init__(self, filler: Filler, folder: Path, variables: Variables, grader: str | None, tell: Tell) -> None:
        self._filler, self._folder, self._variables, self._grader, self._tell = filler, folder, variables, grader, tell
        self._names: Counter[str] = Counter()
        self._metrics: Parts = []
        self._by_name: dict[str, Parts] = defaultdict(list)

    def metrics(self, asserts: list[tuple[str, Any]], threshold: float | None) -> Parts:
        """The metrics: the verdict first, then those by name, then each assertion; ``asserts`` are with their places.

        Raises:
            InputRefusedError: ``bad_suite``: an assertion cannot be carried.
        """
        parts = []
        for where, given in asserts:
            made = Assertion.read(given, where, self._tell)
            parts.append(self._set(made, where) if made.type == "assert-set" else self._one(made, where, 1.0))
        verdict = {"type": "verdict", "parts": parts} | ({} if threshold is None else {"threshold": threshold})
        taken = _TAKEN | {str(entry["name"]) for entry in self._metrics}
        named: Parts = []
        for name, found in self._by_name.items():
            called = f"{name} (by name)" if name in taken else name
            named.append({"type": "combined", "name": called, "parts": found})
        return [verdict, *named, *self._metrics]

    def _set(self, given: Assertion, where: str) -> MetricEntry:
        for key in ("value", "provider"):
            if getattr(given, key) is not None:
                raise refused(f"{where}.{key}", "a set of assertions has none", "Remove it.")
        name = self._named(given.metric, where)
        parts = []
        for number, one in enumerate(given.asserts or []):
            place = f"{where}.assert[{number}]"
            made = Assertion.read(one, place, self._tell)
            if made.type == "assert-set":
                raise refused(
                    place, "promptfoo has no sets of assertions within sets", "Write its assertions into the outer one."
                )
            parts.append(self._one(made, place, float(given.weight), within=name))
        if not parts:
            raise refused(where, "the set has no assertions")
        found: MetricEntry = {"parts": parts} | ({} if given.threshold is None else {"threshold": given.threshold})
        if name:
            self._by_name[name].append({**found, "weight": given.weight})
        return {**found, "weight": given.weight}

    def _one(self, given: Assertion, where: str, outer: float, within: str = "") -> MetricEntry:
        check_kind(given, where)
        if given.asserts is not None:
            raise refused(f"{where}.assert", f"{given.type} has no assertions of its own", "type: assert-set has.")
        entry, part = self._judge(given, where) if given.type == "llm-rubric" else self._checked(given, where)
        self._metrics.append(entry)
        part |= {"metric": entry["name"], "weight": given.weight}
        if (name := self._named(given.metric, where)) and name != within:
            self._by_name[name].append({"metric": entry["name"], "weight": given.weight * outer})
        return part

    def _named(self, name: str, where: str) -> str:
        return self._filler.filled(name, self._variables, f"{where}.metric")[:_NAME]

    def _called(self, name: str) -> str:
        name = f"{name} limit" if name in _TAKEN else name
        self._names[name] += 1
        return name if self._names[name] == 1 else f"{name} {self._names[name]}"

    def _checked(self, given: Assertion, where: str) -> tuple[MetricEntry, MetricEntry]:
        kind = given.type.removeprefix("not-")
        if given.provider is not None:
            self._tell(f"{where}.provider: no model decides {given.type}")
        if given.value is None and "value" not in given.model_fields_set and kind == "equals":
            raise refused(where, "equals takes a value")
        try:
            value = value_of(kind, self._value(given.value, where))
        except ValueError as error:
            raise refused(f"{where}.value", f"{kind}: {error}") from error
        entry: MetricEntry = {
            "type": "graded-assertion" if KINDS[kind].graded else "assertion",
            "check": kind,
            "name": self._called(given.type),
        }
        entry |= {} if value is None else {"value": value}
        entry |= {"inverse": True} if given.type != kind else {}
        if given.threshold is not None and (KINDS[kind].limit is not None or kind == "latency"):
            entry["threshold"] = given.threshold
        elif given.threshold is not None:
            self._tell(f"{where}.threshold: promptfoo gives {given.type} none, and it changes nothing")
        try:
            make_metric(entry, where)
        except InputRefusedError as error:
            why = error.message.partition("Value error, ")[2] or error.message
            raise refused(where, why, "promptfoo fails over it, too.") from error
        return entry, {}

    def _judge(self, given: Assertion, where: str) -> tuple[MetricEntry, MetricEntry]:
        grader = given.provider if given.provider is not None else self._grader
        if not isinstance(grader, str) or not grader:
            raise refused(where, "llm-rubric has no judge", "Name a judge with provider: MODEL, a model's name here.")
        if not isinstance(given.value, str):
            raise refused(f"{where}.value", "llm-rubric takes a text")
        rubric = str(self._value(given.value, where))
        entry = {
            "type": "judge",
            "rubric": rubric,
            "model": grader,
            "low": 0,
            "high": 1,
            "name": self._called("llm-rubric"),
        }
        return entry, {"at_least": _HALF if given.threshold is None else given.threshold}

    def _value(self, value: Any, where: str) -> Any:
        """A value with templates filled in and files read; what stands in an object stays as it is."""
        if isinstance(value, str) and not files.is_file_name(value):
            if value.startswith("package:"):
                raise refused(f"{where}.value", f"{value} is code, and reading a configuration runs none")
            return self._filler.filled(value, self._variables, f"{where}.value")
        if isinstance(value, list):
            return [self._value(one, where) if isinstance(one, str) else one for one in value]
        return files.assertion_value(value, self._folder, f"{where}.value")
