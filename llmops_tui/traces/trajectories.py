"""What agents did: the requests of a conversation put together, with the tools they called, and checks of that.

A request goes on from an earlier one where it begins with all that was said there. The last one of each conversation has all
of it: the calls with their arguments, what came of them, and the answer at the end.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import pydantic
from pydantic import ConfigDict, Field

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject, parse_yaml
from llmops_tui.inference.schema_validation import validator_of
from llmops_tui.inference.server.recording import conversation_key
from llmops_tui.workspace.catalog_file import connect_memory

if TYPE_CHECKING:
    from llmops_tui.traces.store import Trace, TraceFilter, TraceStore

_MOST = 5_000
# What is wrong with a value, where the words of its kind name classes of ours.
_WRONG = {"extra_forbidden": "there is no such field here", "model_type": "it is no object with fields"}


class CallRecord(TypedDict):
    """A call of a tool, as JSON; ``arguments`` is their text where it is no JSON."""

    tool: str
    arguments: Any
    result: str | None


class TrajectoryRecord(TypedDict):
    """What an agent did, as JSON: its requests by the ids of their traces, and what is wrong with it by the checks."""

    traces: list[str]
    calls: list[CallRecord]
    answer: str
    end: str
    tokens: int
    seconds: float
    problems: list[str]


@dataclass
class Trajectory:
    """One conversation of an agent; tokens and seconds are those of all of its requests."""

    traces: list[str]
    calls: list[CallRecord]
    answer: str
    end: str
    tokens: int
    seconds: float
    problems: list[str] = field(default_factory=list)

    def as_dict(self) -> TrajectoryRecord:
        """For JSON."""
        return {
            "traces": self.traces, "calls": self.calls, "answer": self.answer, "end": self.end, "tokens": self.tokens,
            "seconds": round(self.seconds, 3), "problems": self.problems,
        }  # fmt: skip


def trajectories(store: TraceStore, wanted: TraceFilter) -> list[Trajectory]:
    """The conversations of the traces that are wanted, in the order in which they began.

    Raises:
        InputRefusedError: ``too_many``: they are of more than 5,000 traces.
    """
    lines, total = store.page(wanted, _MOST)
    if total > _MOST:
        raise InputRefusedError(
            "too_many", f"these are {total:,} traces, and {_MOST:,} are put together at most", "Filter."
        )
    runs: list[list[Trace]] = []
    # By all that was said in the newest request of a conversation.
    ends: dict[str, int] = {}
    for line in reversed(lines):
        trace = store.get(line.id)
        said = trace.messages
        begun = (ends.pop(key) for n in range(len(said) - 1, 0, -1) if (key := conversation_key(said[:n])) in ends)
        number = next(begun, None)
        if number is None:
            number = len(runs)
            runs.append([])
        runs[number].append(trace)
        ends[conversation_key(said)] = number
    return [_trajectory(run) for run in runs]


def _trajectory(run: Sequence[Trace]) -> Trajectory:
    last = run[-1]
    results = {
        one.get("tool_call_id"): str(one.get("content") or "") for one in last.messages if one.get("role") == "tool"
    }
    calls: list[CallRecord] = []
    for message in last.messages:
        for call in message.get("tool_calls") or ():
            function = call.get("function") or {}
            given = _arguments(function.get("arguments"))
            calls.append({"tool": str(function.get("name")), "arguments": given, "result": results.get(call.get("id"))})
    tokens = sum((one.line.prompt_tokens or 0) + (one.line.completion_tokens or 0) for one in run)
    seconds = sum((one.line.total_ms or 0.0) for one in run) / 1000
    return Trajectory([one.line.id for one in run], calls, last.output, last.line.finish_reason, tokens, seconds)


def _arguments(given: object) -> object:
    if not isinstance(given, str):
        return given
    try:
        return json.loads(given)
    except (ValueError, RecursionError):
        return given


# ── checks ──


class Check(pydantic.BaseModel):
    """What has to be so of each conversation; of several fields all.

    ``called`` is a tool that was called, with ``arguments`` as a JSON Schema where it is given, at least ``least`` times and at
    most ``most``; ``order`` are tools whose calls follow each other, with others between.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    called: str = ""
    arguments: JsonObject | None = None
    least: Annotated[int, Field(ge=0, strict=True)] = 1
    most: Annotated[int, Field(ge=0, strict=True)] | None = None
    never: str = ""
    order: tuple[str, ...] = ()
    most_calls: Annotated[int, Field(ge=0, strict=True)] | None = None
    most_repeats: Annotated[int, Field(ge=1, strict=True)] | None = None
    most_tokens: Annotated[int, Field(ge=1, strict=True)] | None = None
    answer: Annotated[str, Field(max_length=2000)] = ""

    def problems(self, found: Trajectory) -> list[str]:
        """What is not so."""
        names = [one["tool"] for one in found.calls]
        told = [*self._called(found), *self._limits(found)]
        if self.never in names and self.never:
            told.append(f"{self.never} was called")
        if self.order and not _in_order(self.order, names):
            told.append(f"not in the order {' → '.join(self.order)}: {' → '.join(names) or 'no calls'}")
        if self.answer and not _matches(self.answer, found.answer):
            told.append(f"the answer has nothing like {self.answer!r}")
        return told

    def _called(self, found: Trajectory) -> list[str]:
        if not self.called:
            return []
        mine = [one for one in found.calls if one["tool"] == self.called]
        if self.arguments is not None:
            validator = validator_of(self.arguments)
            mine = [one for one in mine if validator.is_valid(one["arguments"])]
        as_asked = " with such arguments" if self.arguments is not None else ""
        if len(mine) < self.least:
            return [f"{self.called} was called {len(mine)} times{as_asked}, at least {self.least} are asked for"]
        if self.most is not None and len(mine) > self.most:
            return [f"{self.called} was called {len(mine)} times{as_asked}, at most {self.most} are asked for"]
        return []

    def _limits(self, found: Trajectory) -> list[str]:
        told = []
        if self.most_calls is not None and len(found.calls) > self.most_calls:
            told.append(f"{len(found.calls)} calls, at most {self.most_calls} are asked for")
        if self.most_tokens is not None and found.tokens > self.most_tokens:
            told.append(f"{found.tokens:,} tokens, at most {self.most_tokens:,} are asked for")
        if self.most_repeats is not None:
            counts: dict[str, int] = {}
            for one in found.calls:
                same = json.dumps([one["tool"], one["arguments"]], sort_keys=True)
                counts[same] = counts.get(same, 0) + 1
            if (most := max(counts.values(), default=0)) > self.most_repeats:
                told.append(f"the same call {most} times, at most {self.most_repeats} are asked for")
        return told


class _Checks(pydantic.BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    checks: Annotated[tuple[Check, ...], Field(min_length=1)]


def read_checks(text: str, source: str) -> tuple[Check, ...]:
    """Checks from YAML: a list under ``checks``.

    Raises:
        InputRefusedError: ``bad_checks``, with the first field that is wrong.
    """
    import yaml

    try:
        given = parse_yaml(text, core=True)
    except yaml.YAMLError as error:
        raise _wrong(source, f"it is no YAML: {error}") from error
    try:
        found = _Checks.model_validate(given).checks
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        told = _WRONG.get(first["type"], first["msg"])
        raise _wrong(source, f"{place}: {told}" if place else told) from error
    for number, one in enumerate(found):
        _check_one(one, f"checks.{number}", source)
    return found


def _check_one(one: Check, place: str, source: str) -> None:
    asked = (one.called, one.never, one.order, one.answer, one.most_calls, one.most_repeats, one.most_tokens)
    if not any(part not in ("", (), None) for part in asked):
        raise _wrong(source, f"{place}: it says nothing that has to be so")
    if not one.called and (one.arguments is not None or one.most is not None or one.least != 1):
        raise _wrong(source, f"{place}: arguments, least and most go with called")
    if one.most is not None and one.most < one.least:
        raise _wrong(source, f"{place}: at least {one.least} and at most {one.most} calls can never be")
    try:
        _matches(one.answer, "")
        if one.arguments is not None:
            validator = validator_of(one.arguments)
            validator.check_schema(one.arguments)
    except Exception as error:
        # Of the expression, or of the schema by whichever package reads it.
        raise _wrong(source, f"{place}: {str(error).splitlines()[0][:200]}") from error


def _matches(pattern: str, text: str) -> bool:
    """Whether an expression is somewhere in a text, by RE2 as in filters: it takes no longer for a text that a model wrote."""
    connection = connect_memory()
    try:
        found = connection.execute("SELECT regexp_matches(?, ?)", [text, pattern]).fetchone()
    finally:
        connection.close()
    return bool(found and found[0])


def _in_order(wanted: Sequence[str], names: Sequence[str]) -> bool:
    left = iter(names)
    return all(any(name == one for one in left) for name in wanted)


def _wrong(source: str, why: str) -> InputRefusedError:
    return InputRefusedError("bad_checks", f"{source}: {why}"[:600], "docs/traces.md has the fields.")
