"""Rules of gates, read from their texts."""

from __future__ import annotations

import re
from dataclasses import dataclass

from llmops_tui.errors import InputRefusedError

_METRIC = r"(?P<metric>[\w.+~-]+(?: [\w.+~-]+)*?)"
_RELATIVE = re.compile(
    rf"^{_METRIC} (?:not worse than baseline(?: by > ?(?P<margin>\d+(?:\.\d+)?) ?(?P<unit>points?|%|ms|tokens|tokens/s)?)?)$"
)
_BETTER = re.compile(rf"^{_METRIC} better than baseline$")
_ABSOLUTE = re.compile(
    rf"^{_METRIC}(?: (?P<percentile>p50|p95|p99))? ?(?P<sign>>=|<=|>|<) ?(?P<limit>-?\d+(?:\.\d+)?) ?(?P<unit>points?|%|ms)?"
    r"(?P<surely> surely)?$"
)


@dataclass(frozen=True)
class Rule:
    """A rule, read.

    Attributes:
        kind: ``not-worse``, ``better`` or ``absolute``.
        margin: how much worse is allowed, as a share or in the metric's unit.
        relative: whether the margin is a share of the baseline's figure.
        surely: whether the interval's end must keep the limit, not only the figure.
    """

    text: str
    kind: str
    metric: str
    margin: float = 0.0
    relative: bool = False
    sign: str = ""
    limit: float = 0.0
    percentile: str = ""
    surely: bool = False


def parse_rule(text: str) -> Rule:
    """A rule from its text.

    Raises:
        InputRefusedError: ``bad_rule``.
    """
    bare = " ".join(text.split())
    if match := _RELATIVE.match(bare):
        unit, margin = match["unit"] or "", float(match["margin"] or 0)
        scaled = margin / 100 if unit.startswith("point") or unit == "%" else margin
        return Rule(text, "not-worse", match["metric"], scaled, relative=unit == "%")
    if match := _BETTER.match(bare):
        return Rule(text, "better", match["metric"])
    if match := _ABSOLUTE.match(bare):
        limit = float(match["limit"])
        if (match["unit"] or "").startswith(("point", "%")):
            limit /= 100
        return Rule(
            text,
            "absolute",
            match["metric"],
            sign=match["sign"],
            limit=limit,
            percentile=match["percentile"] or "",
            surely=bool(match["surely"]),
        )
    raise InputRefusedError(
        "bad_rule",
        f"{text!r} is not a rule",
        "Examples: exact not worse than baseline by > 1 point; exact better than baseline; exact >= 0.9; latency p95 <= 500 ms.",
    )
