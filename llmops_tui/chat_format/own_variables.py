"""Variables that a template of a family has of its own, beside those that all templates are given."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Collection
from typing import Any

# The tools as a text of JSON, and the time, as firefunction's template wants them.
NAMES = ("functions", "datetime")


def named_in(template: str) -> tuple[str, ...]:
    """Those that a template's source names."""
    return tuple(name for name in NAMES if re.search(rf"(?<![\w.'\"]){name}(?![\w'\"])", template))


def values(names: Collection[str], tools: Any) -> dict[str, str]:
    """The values of such variables, of a request with these tools."""
    made = {
        "functions": json.dumps(tools or [], indent=4, ensure_ascii=False),
        "datetime": dt.datetime.now().strftime("%A, %B %d, %Y, %H:%M"),  # noqa: DTZ005  templates mean the local time
    }
    return {name: made[name] for name in names}
