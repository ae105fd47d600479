"""Dates, times and durations in the cells of a workbook, which are numbers that a format says something of."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import NamedTuple

# The formats that have a number and no code: of dates, times, both and elapsed time (ECMA-376, part 1, 18.8.30); those from 27
# on are of East Asian languages.
_DATES = frozenset({*range(14, 18), *range(27, 32), 36, *range(50, 55), 57, 58})
_TIMES = frozenset({*range(18, 22), *range(32, 36), 45, 47, 55, 56})
_BOTH, _ELAPSED = 22, 46
# What in a code stands for itself: quoted text, a sign behind a backslash or as wide as it, a colour or a country.
_LITERAL = re.compile(r'"[^"]*"|[\\_*].|\[(?![hmsHMS]+\])[^\]]*\]')
_ELAPSED_CODE = re.compile(r"\[[hms]+\]")
# There is a 29 February 1900 in workbooks, which is day 60.
_LEAP_DAY = 60
_FIRST = dt.datetime(1899, 12, 30)  # noqa: DTZ001  no cell has a zone
_DAYS_FROM_1904 = 1462
_DAY_MS = 86_400_000


class Style(NamedTuple):
    """What the format of a cell makes of its number: a date, a time of day, both, or a duration."""

    date: bool = False
    time: bool = False
    elapsed: bool = False

    @property
    def is_moment(self) -> bool:
        """Whether it is one of them."""
        return self.date or self.time or self.elapsed


def style_of(number: str, codes: Mapping[str, str]) -> Style:
    """What a format makes of a number: by its code, where the workbook has one of this number."""
    if number in codes:
        # Behind a semicolon stands how negative numbers are shown.
        code = _LITERAL.sub("", codes[number]).lower().partition(";")[0]
        if _ELAPSED_CODE.search(code):
            return Style(elapsed=True)
        time = "h" in code or "s" in code
        return Style(date="d" in code or "y" in code or ("m" in code and not time), time=time)
    given = int(number) if number.isdecimal() and len(number) < 4 else 0
    return Style(given in _DATES or given == _BOTH, given in _TIMES or given == _BOTH, given == _ELAPSED)


def moment(days: float, style: Style, *, from_1904: bool) -> str | float:
    """A moment as ISO 8601 text, to the millisecond; the number itself where no date is so early or late."""
    milliseconds = round(days * _DAY_MS)
    if style.elapsed:
        sign, (seconds, rest) = "-" if milliseconds < 0 else "", divmod(abs(milliseconds), 1000)
        return f"{sign}PT{seconds}{f'.{rest:03}'.rstrip('0') if rest else ''}S"
    if not style.date and 0 <= milliseconds < _DAY_MS:
        return _clock(milliseconds)
    if from_1904:
        milliseconds += _DAYS_FROM_1904 * _DAY_MS
    elif milliseconds // _DAY_MS == _LEAP_DAY:
        return "1900-02-29" + _behind(milliseconds % _DAY_MS, style)
    elif 0 <= milliseconds < _LEAP_DAY * _DAY_MS:
        milliseconds += _DAY_MS
    try:
        found = _FIRST + dt.timedelta(milliseconds=milliseconds)
    except OverflowError:
        return days
    if milliseconds < 0:
        return days
    return found.date().isoformat() + _behind(milliseconds % _DAY_MS, style)


def _behind(milliseconds: int, style: Style) -> str:
    return f"T{_clock(milliseconds)}" if style.time or milliseconds else ""


def _clock(milliseconds: int) -> str:
    found = (_FIRST + dt.timedelta(milliseconds=milliseconds)).time()
    return found.isoformat("milliseconds" if milliseconds % 1000 else "seconds")
