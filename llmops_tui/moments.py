"""Moments in words, also those of damaged rows."""

from __future__ import annotations

import time


def moment_words(at: float, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """A moment of seconds since 1970 in local time; where no calendar has it, that it is damaged."""
    try:
        return time.strftime(form, time.localtime(at))
    except (OverflowError, ValueError, OSError):
        return f"damaged: {at}"


def iso_moment(at: float) -> str:
    """A moment as files have it, in UTC to the second, such as ``2026-03-05T14:05:00Z``; what no calendar has, as it is."""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    except (OverflowError, ValueError, OSError):
        return str(at)
