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
_UNCOUNTED = 10**9
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
    work = _ways(text, parsed, within=False)
    if work > _MOST_WORK:
        raise _wrong(text, f"it could try {work:,} ways at each place", "Bound its repeats more closely.")
    return BoundedPattern(compiled, most + 1)


def _ways(text: str, parsed: Any, *, within: bool) -> int:
    """In how many ways a sequence may match at one place, at most; no more than :data:`_UNCOUNTED`."""
    ways = 1
    for number, (operator, argument) in enumerate(parsed):
        follows = parsed[number + 1] if number + 1 < len(parsed) else None
        ways = min(_UNCOUNTED, ways * _ways_of(text, operator, argument, follows, within))
    return ways


def _ways_of(text: str, operator: Any, argument: Any, follows: Any, within: bool) -> int:
    if operator in _AHEAD:
        raise _wrong(text, "it looks ahead or behind", r"Match what is meant; \b, ^ and $ are taken.")
    if operator in {sre.GROUPREF, sre.GROUPREF_EXISTS}:
        raise _wrong(text, "it refers to a group of its own")
    if operator is sre.BRANCH:
        return _alike([(branch, _ways(text, branch, within=within)) for branch in argument[1]])
    if operator not in _REPEATS:
        return math.prod(_ways(text, part, within=within) for part in _parts(argument))
    least, most, repeated = argument
    if within and most > 1 and most != least:
        raise _wrong(text, "a repeat stands within another one, which may take for ever", "Write it out.")
    inner = _ways(text, repeated, within=within or most > 1)
    if (least, most) == (0, 1) and _decided(repeated, follows):
        return 1
    return _repeated(inner, int(least), int(most))


def _repeated(inner: int, least: int, most: int) -> int:
    """In how many ways what has so many of its own may stand so often."""
    if inner == 1:
        return min(_UNCOUNTED, most - least + 1)
    ways, power = 0, 1
    for times in range(most + 1):
        ways += power if times >= least else 0
        power *= inner
        if power > _UNCOUNTED:
            return _UNCOUNTED
    return ways


def _decided(optional: Any, follows: Any) -> bool:
    """Whether the next letter tells if something optional is there."""
    begins, goes_on = _begin(optional), _begin([follows]) if follows is not None else ""
    return bool(begins and goes_on and begins != goes_on)


def _begin(parsed: Any) -> str:
    """The letter that something begins with; empty where it may begin with others."""
    return chr(parsed[0][1]).casefold() if len(parsed) and parsed[0][0] is sre.LITERAL else ""


def _alike(branches: list[tuple[Any, int]]) -> int:
    """How many alternatives may have to be tried at one place: those that begin with the same letter, or with no letter."""
    counts: Counter[str] = Counter()
    for branch, ways in branches:
        counts[_begin(branch)] += ways
    return max((count + (counts[""] if begin else 0) for begin, count in counts.items()), default=1)


def _parts(argument: Any) -> Iterator[Any]:
    if isinstance(argument, sre_parse.SubPattern):
        yield argument
    elif isinstance(argument, (tuple, list)):
        for one in argument:
            yield from _parts(one)


def _wrong(pattern: str, told: str, hint: str = "") -> InputRefusedError:
    return InputRefusedError("bad_pattern", f"the pattern {pattern[:100]!r}: {told}", hint)
