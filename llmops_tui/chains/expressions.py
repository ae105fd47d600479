"""Expressions of chains and answers read as JSON, in a process with limits; what is only a name or a path needs none."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from llmops_tui.chains.values import kept
from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import parse_json
from llmops_tui.inference.helper_process import HelperLostError, HelperProcess
from llmops_tui.inference.schema_keywords import Schema

# Of the processor.
SECONDS = 1.0
_SECONDS_A_MEGABYTE = 0.5
_MOST_REQUEST = 24_000_000
# Characters of expressions that are read by one question.
_NAMED_AT_ONCE = 20_000
_PATH = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*|\[\d{1,6}\])*", re.ASCII)
_PART = re.compile(r"\.?([A-Za-z_]\w*)|\[(\d+)\]", re.ASCII)
_WORDS = {"true": True, "false": False, "none": None, "True": True, "False": False, "None": None}


class StepProcess:
    """The process, started on first use. Thread-safe; one question at a time."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._process = HelperProcess(
            "llmops_tui.chains.step_worker",
            greeting=b'{"op": "names", "sources": []}\n',
            work="evaluates expressions of chains",
        )

    def names(self, sources: Sequence[str]) -> list[list[str] | str]:
        """The variables that each expression uses; of one that is none, why, as a text."""
        found: list[list[str] | str] = []
        told = self._told([source for source in dict.fromkeys(sources) if not _PATH.fullmatch(source)])
        for source in sources:
            if _PATH.fullmatch(source):
                first = re.split(r"[.\[]", source, maxsplit=1)[0]
                found.append([] if first in _WORDS else [first])
            else:
                found.append(told[source])
        return found

    def _told(self, sources: list[str]) -> dict[str, list[str] | str]:
        """What the process says of each, asked in parts that it has the time for."""
        found: dict[str, list[str] | str] = {}
        while sources:
            ends = accumulate(len(source) for source in sources)
            count = max(1, sum(end <= _NAMED_AT_ONCE for end in ends))
            part, sources = sources[:count], sources[count:]
            try:
                answers = self._ask({"op": "names", "sources": part})
                found |= {
                    source: one["names"] if "names" in one else str(one["error"])
                    for source, one in zip(part, answers, strict=True)
                }
            except _FailedError as error:
                found |= dict.fromkeys(part, f"it cannot be read: {error}")
        return found

    def evaluate(self, source: str, values: Mapping[str, object]) -> Any:
        """The value of an expression.

        Raises:
            InputRefusedError: ``bad_expression``: it cannot be evaluated with these values, or takes too much. ``bad_value``: a
                run cannot keep what comes.
            LlmopsError: ``helper_unusable``.
        """
        found = _of_path(source, values)
        return self._evaluated(source, values) if found is _UNKNOWN else found

    def _evaluated(self, source: str, values: Mapping[str, object]) -> Any:
        try:
            value = self._ask({"op": "evaluate", "source": source, "values": values})
        except _FailedError as error:
            raise InputRefusedError(
                "bad_expression", f"{source[:100]!r} cannot be evaluated: {error}", "Change the expression."
            ) from error
        return kept(value, f"the value of {source[:100]!r}")

    def read(self, text: str, schema: Schema) -> Any:
        """The value of a text in JSON that keeps a schema; an empty schema takes any.

        Raises:
            InputRefusedError: ``not_json``, ``schema_broken``: with the places; ``bad_value``: a run cannot keep it.
        """
        try:
            value = parse_json(text, constants=False)
        except ValueError as error:
            raise InputRefusedError("not_json", f"the text is not JSON: {error}"[:300]) from error
        if schema:
            try:
                wrong = self._ask({"op": "schema", "schema": schema, "text": text})
            except _FailedError as error:
                raise InputRefusedError("schema_broken", f"it cannot be held against the schema: {error}") from error
            if wrong:
                raise InputRefusedError("schema_broken", f"the value does not keep the schema: {'; '.join(wrong[:3])}")
        return kept(value, "the value")

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def _ask(self, request: Mapping[str, object]) -> Any:
        line = json.dumps(request).encode() + b"\n"
        if len(line) > _MOST_REQUEST:
            raise _FailedError(f"its values have {len(line):,} bytes, more than {_MOST_REQUEST:,}")
        try:
            reply = json.loads(
                self._process.ask(line, self._seconds + len(line) / 1e6 * _SECONDS_A_MEGABYTE, of_processor=True)
            )
        except HelperLostError as error:
            raise _FailedError(str(error)) from error
        if "result" not in reply:
            raise _FailedError(reply["error"])
        return reply["result"]


class _FailedError(Exception):
    """What was asked has no answer; says why."""


_UNKNOWN = object()


def _of_path(source: str, values: Mapping[str, object]) -> Any:
    """The value at the end of a plain path of names and numbers; ``_UNKNOWN`` where the process has to say."""
    if not _PATH.fullmatch(source):
        return _UNKNOWN
    found: Any = values
    for name, number in _PART.findall(source):
        if name and isinstance(found, dict) and name in found:
            found = found[name]
        elif number and isinstance(found, list) and int(number) < len(found):
            found = found[int(number)]
        else:
            return _UNKNOWN
    return found
