"""What is told of intervals, without the packages that compute them."""

from __future__ import annotations


def too_few_to_say(needed: str) -> str:
    """What is told where there are too few cases, with how many would be enough where that is known."""
    return f"too few to say: {needed} are needed" if needed else "too few to say"
