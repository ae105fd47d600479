"""The summary of a run as the catalog stores it, completed: figures that another version did not write are empty.

What has to be there is in :mod:`llmops_tui.workspace.json_columns`; whoever shows a summary may rely on the rest after this.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, cast

from llmops_tui.counts import counted
from llmops_tui.evaluation.fact_records import AbstentionFacts, CellFacts, SentenceFacts
from llmops_tui.evaluation.records import Figure, RunSummary
from llmops_tui.evaluation.statistics.words import too_few_to_say
from llmops_tui.foreign_text import JsonObject

_FIGURE = {"mean": None, "low": None, "high": None, "n": 0, "unusable": 0, "method": "", "better": 0, "unit": "", "type": "",
           "binary": False, "too_few": False, "needed": ""}  # fmt: skip
_COSTS = {"prompt_tokens": 0, "completion_tokens": 0, "seconds": 0.0}
_PAIRED = {"mean": None, "difference": None, "low": None, "high": None, "n": 0}
# Facts of a metric that are shown together: by the one that says that they are there, what goes with it.
_TOGETHER = {
    "confusion": ("classes", "averages"),
    "bins": ("brier",),
    "human_labels": ("judge",),
    "p95": ("p50", "p99"),
}
_CLASS = ("class", "n", "f1")
_BIN = ("n", "confidence", "right")


def whole(summary: JsonObject | None) -> RunSummary | None:
    """The summary with all that is shown of one; parts that lack what they are about are left out."""
    if summary is None:
        return None
    made = dict(summary)
    made["metrics"] = _figures(made["metrics"])
    made["of"] = made["cases"] if made.get("of") is None else made["of"]
    made["costs"] = _with(_COSTS, made["costs"])
    made["variations"] = _paired(made["variations"], ("variation", "n", "same_answer"))
    made["gaps"] = _paired(made.get("gaps") or (), ("first", "second", "n"))
    agreement = made.get("agreement")
    made["agreement"] = _with(_FIGURE, agreement) if agreement and _has(agreement, ("mean",)) else None
    if overlap := made.get("overlap"):
        made["overlap"] = _overlap(overlap)
    return cast("RunSummary", made)


def answered_at(at: float | None) -> str:
    """When an answer from the cache was given, in words."""
    return "" if at is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def answered(summary: RunSummary) -> int:
    """How many requests were answered: of all that were made, those without an error."""
    return max(0, summary["answers"] - summary["errors"])


def errors_told(summary: RunSummary) -> str:
    """How many requests ended in an error, in words; empty where none did."""
    return counted(summary["errors"], "error") if summary["errors"] else ""


def failures_told(summary: RunSummary) -> str:
    """How many requests failed for which reason, of how many; of runs of earlier versions how many, the cases say why."""
    return "; ".join(failure_lines(summary))


def failure_lines(summary: RunSummary) -> list[str]:
    """The same, a line for each reason."""
    errors = summary["errors"]
    return reason_lines(summary) or (
        [f"{errors:,} of {counted(summary['answers'], 'request')} failed"] if errors else []
    )


def reason_lines(summary: RunSummary) -> list[str]:
    """Why requests failed, and how many of them for each reason; none of a run of an earlier version, which did not say."""
    known = (one for one in summary.get("failures") or () if _has(one, ("count", "reason")))
    return [f"{one['count']:,} of {summary['answers']:,}: {one['reason']}" for one in known]


def cache_told(summary: RunSummary) -> str:
    """How many answers came from the cache, and how old they may be."""
    oldest = answered_at(summary.get("oldest"))
    return f"{summary['cached']:,} from the cache" + (f" (the oldest of {oldest})" if oldest else "")


def interval_told(figure: Figure) -> str:
    """How a figure's interval was computed, and whether there was too little for one that keeps its promise."""
    return figure["method"] + (f", {too_few_to_say(figure['needed'])}" if figure["too_few"] else "")


def _with(usual: JsonObject, found: Mapping[Any, Any]) -> JsonObject:
    """What is said, and the usual for what is not."""
    return {**usual, **{name: value for name, value in found.items() if value is not None}}


def _mapping(found: Any) -> Mapping[str, Any]:
    return found if isinstance(found, Mapping) else {}


def _has(found: Any, names: Iterable[str]) -> bool:
    return isinstance(found, Mapping) and all(name in found for name in names)


def _all_have(found: Any, names: Iterable[str]) -> bool:
    return isinstance(found, list) and all(_has(one, names) for one in found)


def _figures(figures: JsonObject) -> JsonObject:
    made = {name: _with(_FIGURE, figure) for name, figure in figures.items() if isinstance(figure, Mapping)}
    for figure in made.values():
        if "facts" in figure:
            figure["facts"] = _facts(figure["facts"])
    return made


def _facts(facts: JsonObject) -> JsonObject:
    made = dict(facts)
    for sign, others in _TOGETHER.items():
        if sign in made and not _has(made, others):
            del made[sign]
    if "confusion" in made and not _all_have(made["classes"], _CLASS):
        del made["confusion"]
    if "bins" in made and not _all_have(made["bins"], _BIN):
        del made["bins"]
    if "sentences" in made and not _has(made["sentences"], SentenceFacts.__required_keys__):
        del made["sentences"]
    if "abstention" in made and not _is_table(made["abstention"]):
        del made["abstention"]
    return {"kappa": None, **made} if "human_labels" in made else made


def _is_table(found: Any) -> bool:
    cells = AbstentionFacts.__required_keys__ - {"balanced"}
    whole = _has(found, AbstentionFacts.__required_keys__)
    return whole and all(_has(found[name], CellFacts.__required_keys__) for name in cells)


def _paired(rows: Iterable[Any], names: tuple[str, ...]) -> list[JsonObject]:
    """Rows that say what they are of, and of their figures those that have a difference."""
    found = []
    for row in rows:
        if _has(row, names):
            figures = {
                name: _with(_PAIRED, one)
                for name, one in _mapping(row.get("metrics")).items()
                if isinstance(one, Mapping)
            }
            found.append({**row, "metrics": {n: f for n, f in figures.items() if f["difference"] is not None}})
    return found


def _overlap(overlap: JsonObject) -> JsonObject:
    made = {"rows": 0, "clean": 0, "note": "", **overlap}
    made["ancestors"] = [one for one in made.get("ancestors") or () if _has(one, ("dataset", "rows"))]
    made["metrics"] = _figures(made.get("metrics") or {})
    return made
