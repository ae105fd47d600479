"""One way to write a value that comes from a record: units by its name, thousands apart, no more digits than are read."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_LONGEST = 12
# Moments that computers of today write: of 2001 to 2286.
_FIRST, _LAST = 1e9, 1e10
# The longest first: of two that fit, it is meant.
_ENDINGS = ((" per s", " /s"), (" seconds", " s"), (" ms", " ms"), (" s", " s"))


def figure(value: object, name: str = "") -> str:
    """A value as text; what its name ends with says the unit: ``bytes``, ``seconds`` or ``_s``, ``per_s``, ``ms``.

    What ends with ``_at`` is a moment, in seconds since 1970; it is told in local time.
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _number(value, name.replace("_", " "))
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {figure(item, str(key))}" for key, item in list(value.items())[:_LONGEST]) or "none"
    if isinstance(value, list | tuple):
        more = f", and {len(value) - _LONGEST:,} more" if len(value) > _LONGEST else ""
        return (", ".join(figure(item) for item in value[:_LONGEST]) + more) or "none"
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value) or "–"


def _number(value: float, name: str) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite"
    if name.endswith(" at") and _FIRST <= value < _LAST:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(value))
    if name.endswith("bytes"):
        return next(
            (f"{value / size:.3g} {unit}" for size, unit in _UNITS if abs(value) >= size), f"{value:,.0f} bytes"
        )
    unit = next((unit for end, unit in _ENDINGS if f" {name}".endswith(end)), "")
    if isinstance(value, int) or (value.is_integer() and abs(value) >= 1000):
        return f"{value:,.0f}{unit}"
    return (f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}") + unit
