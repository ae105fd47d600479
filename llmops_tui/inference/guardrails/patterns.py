"""Regular expressions that a guard may have: of bounded length and bounded work, so a stream can be held back just enough."""

from __future__ import annotations

import math
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from llmops_tui.errors import InputRefusedError

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from re import _constants as sre  # type: ignore[attr-defined]
    from re import _parser as sre_parse  # type: ignore[attr-defined]

LONGEST = 1000
"""The most characters that a match may have."""
# The product of the choices of all repeats is what a search may try at one place.
_MOST_WORK = 20_000
_REPEATS = {sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT}
_AHEAD = {sre.ASSERT, sre.ASSERT_NOT}


@dataclass(frozen=True)
class BoundedPattern:
    """A regular expression whose matches have at most ``reach`` characters."""

    compiled: re.Pattern[str]
    reach: int


def bounded_pattern(text: str) -> BoundedPattern:
    """A pattern, held to bounds; letters match in either case.

    Raises:
        InputRefusedError: ``bad_pattern``: it is none, it could match without end or for ever, or it matches nothing.
    """
    try:
        compiled = re.compile(text, re.IGNORECASE)
        parsed = sre_parse.parse(text, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise _wrong(text, f"it is no regular expression: {error}") from error
    least, most = parsed.getwidth()
    if most > LONGEST:
        raise _wrong(text, f"a match could have more than {LONGEST} characters", "Write {0,40} for * and {1,40} for +.")
    if least == 0:
        raise _wrong(text, "it also matches where nothing is")
    work = math.prod(_work(text, *node) for node in _walked(parsed, within=False))
    if work > _MOST_WORK:
        raise _wrong(text, f"it could try {work:,} ways at each place", "Bound its repeats more closely.")
    return BoundedPattern(compiled, most + 1)


def _work(text: str, operator: Any, argument: Any, within: bool) -> int:
    """In how many ways a part may match at one place."""
    if operator in _AHEAD:
        raise _wrong(text, "it looks ahead or behind", r"Match what is meant; \b, ^ and $ are taken.")
    if operator in {sre.GROUPREF, sre.GROUPREF_EXISTS}:
        raise _wrong(text, "it refers to a group of its own")
    if operator is sre.BRANCH:
        return _alike(argument[1])
    if operator not in _REPEATS or argument[1] <= 1 or argument[1] == argument[0]:
        return 1
    if within:
        raise _wrong(text, "a repeat stands within another one, which may take for ever", "Write it out.")
    return int(argument[1]) - int(argument[0]) + 1


def _alike(branches: Any) -> int:
    """How many alternatives may have to be tried at one place: those that begin with the same letter, or with no letter."""
    begins = [
        chr(branch[0][1]).casefold() if len(branch) and branch[0][0] is sre.LITERAL else "" for branch in branches
    ]
    counts = Counter(begins)
    return max((count + (counts[""] if begin else 0) for begin, count in counts.items()), default=1)


def _walked(parsed: Any, *, within: bool) -> Iterator[tuple[Any, Any, bool]]:
    for operator, argument in parsed:
        yield operator, argument, within
        repeats = operator in _REPEATS and argument[1] > 1
        for part in _parts(argument):
            yield from _walked(part, within=within or repeats)


def _parts(argument: Any) -> Iterator[Any]:
    if isinstance(argument, sre_parse.SubPattern):
        yield argument
    elif isinstance(argument, (tuple, list)):
        for one in argument:
            yield from _parts(one)


def _wrong(pattern: str, told: str, hint: str = "") -> InputRefusedError:
    return InputRefusedError("bad_pattern", f"the pattern {pattern[:100]!r}: {told}", hint)
