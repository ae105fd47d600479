"""The funnel of a version that was written: how many rows were asked for, what fell at each stage, and what is left."""

from __future__ import annotations

from collections import Counter

from llmops_tui.counts import counted
from llmops_tui.datasets.origins import OPERATIONS
from llmops_tui.datasets.rejects import read_rejects
from llmops_tui.datasets.sources.base import Reject
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.synthesis.filters import STAGES
from llmops_tui.synthesis.plan import MOST_ROWS
from llmops_tui.synthesis.records import FunnelRecord
from llmops_tui.workspace.layout import Workspace

_EXAMPLES = 3
_SHOWN = 200
_BAR = 24


def is_written(version: DatasetVersion) -> bool:
    """Whether a model wrote the rows of a version, and filters sorted them."""
    return version.recipe.operation in OPERATIONS and version.recipe.operation != "noise"


def fallen_of(workspace: Workspace, version: DatasetVersion) -> list[Reject]:
    """What fell, in the order in which it was asked for; the source of each is its stage."""
    return read_rejects(workspace, version, MOST_ROWS)


def funnel_of(kept: int, fallen: list[Reject]) -> FunnelRecord:
    """The funnel of so many rows that were kept and of what fell."""
    counts = Counter(one.source for one in fallen)
    examples: dict[str, list[str]] = {}
    for one in fallen:
        shown = examples.setdefault(one.source, [])
        if len(shown) < _EXAMPLES:
            shown.append(f"{one.reason}: {one.raw.decode('utf-8', 'replace')}"[:_SHOWN])
    return {
        "asked": kept + len(fallen),
        "kept": kept,
        "stages": [
            {"stage": stage, "why": STAGES.get(stage, ""), "rows": counts[stage], "examples": examples[stage]}
            for stage in sorted(counts, key=lambda name: list(STAGES).index(name) if name in STAGES else len(STAGES))
        ],
    }


def funnel_lines(found: FunnelRecord) -> list[str]:
    """A line for what was asked for, each stage at which something fell, and what is left, with a bar of what goes on."""
    asked, left = found["asked"], found["asked"]
    lines = [_line("asked", left, asked, "")]
    for stage in found["stages"]:
        left -= stage["rows"]
        lines.append(_line(stage["stage"], left, asked, f"−{stage['rows']:,}  {stage['why']}"))
    share = left / asked if asked else 0.0
    return [*lines, f"{counted(found['kept'], 'row')} of {asked:,} left: {share:.1%}"]


def _line(stage: str, left: int, asked: int, told: str) -> str:
    bar = "█" * round(_BAR * left / max(1, asked))
    return f"{stage:<12} {left:>7,}  {bar:<{_BAR}}  {told}".rstrip()
