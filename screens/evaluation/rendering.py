"""Rendering of the evaluation screen: lists, metrics with intervals, calibration charts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.content import Content

from llmops_tui.counts import counted
from llmops_tui.evaluation.digits import SHARE, fixed, interval, places
from llmops_tui.evaluation.facts_told import facts_told
from llmops_tui.evaluation.kept_summary import answered, cache_told, errors_told, failure_lines
from llmops_tui.evaluation.statistics.words import too_few_to_say
from llmops_tui.safe_text import safe_line
from llmops_tui.states import mark_of, tone_of
from screens.evaluation.suite_rendering import case_count, source
from screens.widgets import units
from screens.widgets.chart import short_number
from screens.widgets.columns import Column, Part

if TYPE_CHECKING:
    from llmops_tui.evaluation.records import Figure, RunSummary
    from llmops_tui.evaluation.run import EvalState
    from screens.evaluation.model import KeptSuite, Opened

NO_RUNS = "No runs yet.\nF5 runs the suite that is chosen."
NO_SUITES = "No suites yet.\nn writes one."
NO_CASES = "Choose a run to show its cases.\nspace on another run makes that the baseline."
NO_CASE = "The case under the cursor is shown here: its input, what was expected, and the answers."
NO_RESULTS = "The run has no answers yet.\nCases appear as they are answered."
NONE_LEFT = {
    "worse": "No case got worse.\nf shows those that got better.", "wrong": "No case is wrong.\nf shows those that are right.",
    "better": "No case got better.\nf shows all cases.", "right": "No case is right.\nf shows all cases.",
}  # fmt: skip
HELP_RUNS = (
    "Newest first. space makes a run the baseline of comparisons; t checks the run against its suite's rules. "
    "C shows the marked runs, or all columns of the suite, side by side."
)
HELP_SUITES = (
    "The newest version of each suite, then the bundled ones. F5 runs one, n writes one, e edits it, w shows its file. "
    "O runs a task of lm-eval or Inspect on a model, which becomes a suite."
)
HELP_FIGURES = (
    "Each metric with its 95 % interval. In a comparison: the paired difference, its p-value, and the smallest "
    "difference that this number of cases could detect; ▲ are cases that got better, ▼ worse. "
    "w: slices, classes, variations, quality against cost, manifest, card."
)
HELP_CASES = "Regressions first. f filters, s orders by another metric, o opens the case in the playground."
HELP_CASE = "The input and the expected answer, both answers with their differences, and the reasons of the scores."

VIEWS = ("Figures", "Slices", "Classes", "Variations", "Quality and cost", "Manifest", "Card")
COSTS = ("latency", "tokens-per-s", "tokens")
_BAR = 24


def _state(state: EvalState) -> Part:
    told = state.state
    if state.all_errors:
        return f"{mark_of(state.shown)} {state.shown}", tone_of(state.shown)
    if state.state == "running" and state.job is not None:
        told = state.job.message.partition(" · ")[0] or f"{state.job.progress:.0%}"
    return f"{mark_of(state.state)} {safe_line(told, 40)}", tone_of(state.state)


def _prompt(state: EvalState) -> str:
    """The prompt, and how many cases were asked where that is not all."""
    asked = state.run.asked
    parts = [asked.prompt, f"limit {asked.limit:,}" if asked.limit else ""]
    return safe_line(" · ".join(part for part in parts if part), 200)


def _first(state: EvalState) -> tuple[str, float | None]:
    """The first metric with its mean."""
    metrics = state.run.summary["metrics"] if state.run.summary is not None else {}
    name, figure = next(iter(metrics.items()), ("", None))
    return name, figure["mean"] if figure is not None else None


RUN_COLUMNS: list[Column[EvalState]] = [
    Column("run", lambda state: safe_line(state.run.name, 200), share=2, least=8, names=True),
    Column("state", _state, rank=1, most=16),
    Column("model", lambda state: (safe_line(state.run.asked.model, 200), "muted"), share=3, least=26, rank=4, names=True),
    Column("prompt", lambda state: (_prompt(state), "muted"), share=1, least=10, rank=6, names=True, spare=True),
    Column("metric", lambda state: (safe_line(_first(state)[0], 40), "muted"), rank=3, most=14),
    Column("mean", lambda state: score(_first(state)[1]), lambda state: _first(state)[1], right=True, falling=True, rank=2,
        least=5),
    Column("cases", lambda state: units.whole(state.run.summary["cases"] if state.run.summary is not None else None),
        lambda state: state.run.summary["cases"] if state.run.summary is not None else None, right=True, falling=True, rank=5),
    Column("began", lambda state: units.moment(state.run.created_at), lambda state: state.run.created_at, falling=True, rank=7),
    Column("suite", lambda state: (safe_line(state.run.suite, 200), "muted"), rank=8, names=True),
]  # fmt: skip


def _metrics(kept: KeptSuite) -> Part:
    named = [m if isinstance(m, str) else str(m.get("name") or m.get("type")) for m in kept.suite.metrics]
    return safe_line(", ".join(named), 80), "muted"


SUITE_COLUMNS: list[Column[KeptSuite]] = [
    Column("suite", lambda kept: (safe_line(kept.ref, 200), "plain" if kept.kept else "muted"), share=4, least=16, names=True),
    Column("cases", lambda kept: units.whole(case_count(kept)), case_count, right=True, falling=True, rank=1),
    Column("from", lambda kept: (safe_line(source(kept), 60), "muted"), rank=2),
    Column("metrics", _metrics, share=1, least=12, rank=3),
]  # fmt: skip


def number(value: float | None) -> str:
    """A figure in three digits, or a dash."""
    return "–" if value is None else f"{value:.3g}" if abs(value) < 1000 else short_number(value)


def score(value: float | None) -> str:
    """A mean of a table: a share with the same digits in each row."""
    return fixed(value, SHARE) if value is not None and abs(value) <= 1 else number(value)


def ends(low: float | None, high: float | None) -> str:
    """An interval."""
    return "" if low is None or high is None else f"[{number(low)}, {number(high)}]"


def bar(value: float, low: float, high: float, *, utf8: bool) -> str:
    """A share from 0 to 1 with its interval as a bar."""
    full, thin, none = ("━", "─", " ") if utf8 else ("#", "-", " ")
    cells = []
    for i in range(_BAR):
        middle = (i + 0.5) / _BAR
        inside = low <= middle <= high or int(value * _BAR) == i
        cells.append(thin if inside and middle > value else full if middle <= value else none)
    return "".join(cells)


# ── figures ──


def progress(state: EvalState, *, utf8: bool) -> Content:
    """How far a run is, with its running figures."""
    job = state.job
    if job is None:
        return Content("Starting.")
    share = max(0.0, min(1.0, job.progress))
    told = job.message.split(" · ")
    parts: list[Any] = [(bar(share, share, share, utf8=utf8), "$accent"), f" {share:.0%}\n", f"{safe_line(told[0])}\n"]
    parts += [(f"{safe_line(figure)}  so far, 95 %\n", "$muted") for figure in told[1:]]
    return Content.assemble(*parts)


def figures(opened: Opened, *, utf8: bool) -> Content:
    """The figures of one run."""
    summary = opened.run.summary
    if summary is None:
        return Content("Its metrics appear when it is done. R resumes a run that ended early.")
    if opened.run.unanswered:
        return _nothing(opened, summary)
    parts: list[Any] = [(f"{safe_line(opened.run.column, 300)}\n", "$muted"), _headline(summary), "\n"]
    width = max((len(safe_line(n)) for n in summary["metrics"]), default=6)
    beside = max((len(_interval(f)) + len(f["unit"]) + 1 for f in summary["metrics"].values()), default=0)
    digits = max((len(f"{f['n']:,}") for f in summary["metrics"].values()), default=1)
    for name, f in summary["metrics"].items():
        mean, low, high = f["mean"], f["low"], f["high"]
        chosen = "bold" if name == opened.metric else ""
        parts += [(f"{safe_line(name):{width}}  ", chosen or ("$muted" if name in COSTS else ""))]
        if mean is None:
            parts += [
                ("not available", "$warning"),
                (f"  {counted(f['unusable'], 'answer')} without a score\n", "$muted"),
            ]
            continue
        told = _interval(f)
        parts += [(f"{fixed(mean, _places(f)):>8}", "bold"), told]
        parts += [(f"{f['unit']:{beside - len(told)}} n {f['n']:>{digits},}", "$muted")]
        if _is_share(f) and low is not None and high is not None:
            parts += ["  ", (bar(mean, low, high, utf8=utf8), "$accent")]
        if f["too_few"]:
            parts += [(f"  {too_few_to_say(f['needed'])}", "$warning")]
        if f["unusable"]:
            parts += [(f"  {f['unusable']:,} without a score", "$warning")]
        parts.append("\n")
        parts += _facts(f)
    parts += overlap_told(summary)
    return Content.assemble(*parts)


def _nothing(opened: Opened, summary: RunSummary) -> Content:
    """Of a run without an answer: why, in front of all else, and nothing that looks like a figure."""
    parts: list[Any] = [("No figures: all requests failed.\n", "bold $error")]
    parts += [(f"{safe_line(line, 600)}\n", "$error") for line in failure_lines(summary)]
    if summary.get("gave_up"):
        parts.append(
            (
                f"It ended early, at {summary['cases']:,} of {counted(summary['of'], 'case')}: none was answered.\n",
                "$muted",
            )
        )
    return Content.assemble(*parts, (f"{safe_line(opened.run.column, 300)}\n", "$muted"))


def _is_share(figure: Figure) -> bool:
    """Whether it is one from 0 to 1, which is drawn as a bar."""
    low, high = figure["low"], figure["high"]
    return low is not None and high is not None and low >= 0 and high <= 1 and not figure["unit"]


def _interval(figure: Figure) -> str:
    """The interval of a figure, with the blanks beside it; its unit stands behind."""
    low, high = figure["low"], figure["high"]
    if low is None or high is None:
        return " "
    return f" {interval(low, high, _places(figure))} "


def _places(figure: Figure) -> int:
    return SHARE if _is_share(figure) else places(figure["mean"])


def _headline(summary: RunSummary) -> Content:
    costs = summary["costs"]
    parts: list[Any] = [counted(summary["cases"], "case")]
    if answered(summary) != summary["cases"]:
        parts.append(f", {counted(answered(summary), 'answer')}")
    if summary["cached"]:
        parts.append((f", {cache_told(summary)}", "$muted"))
    if told := errors_told(summary):
        parts.append((f", {told}", "$error"))
    if summary.get("stopped_early"):
        parts.append((f", stopped early of {summary['of']:,}: the interval is narrow enough", "$warning"))
    tokens = costs["prompt_tokens"] + costs["completion_tokens"]
    parts.append((f"  {counted(tokens, 'token')}, {costs['seconds']:.1f} s", "$muted"))
    return Content.assemble(*parts)


def _facts(figure: Figure) -> list[Any]:
    facts = figure.get("facts") or {}
    told = [(f"  {line}\n", "$muted") for line in facts_told(figure)]
    if "human_labels" in facts:
        kappa = (
            f"κ {facts['kappa']:.2f} with people, n {facts['human_labels']}"
            if facts["kappa"] is not None
            else (f"not calibrated: {facts['human_labels']} human labels")
        )
        if facts.get("kappa_quadratic") is not None:
            kappa += f", with quadratic weights {facts['kappa_quadratic']:.2f}"
        return [
            (
                f"  judged by {safe_line(facts['judge'])}, {kappa}\n",
                "$muted" if facts["kappa"] is not None else "$warning",
            )
        ]
    if "log_ratio" in facts:
        return [(f"  no preference is 0.5; log ratio {facts['log_ratio']:+.3f} nats\n", "$muted")]
    if "measured" in facts:
        return [*told, (f"  {safe_line(facts['measured'])}\n", "$muted")]
    if "signature" in facts:
        return [(f"  {facts['signature']}\n", "$muted")]
    if "weighted" in facts:
        return [(f"  the pass rate by test; weighted score {number(facts['weighted'])} on average\n", "$muted")]
    if "p95" in facts:
        quantiles = "  ".join(f"{name} {fixed(facts[name], _places(figure))}" for name in ("p50", "p95", "p99"))
        return [(f"  {quantiles}\n", "$muted")]
    return []


def overlap_told(summary: RunSummary) -> list[Any]:
    """Whether the cases are in the training data of the model."""
    overlap = summary.get("overlap") or {}
    if not overlap.get("ancestors"):
        return [(f"{safe_line(overlap.get('note', ''))}\n", "$muted")]
    told = ", ".join(f"{safe_line(a['dataset'])} {a['rows']:,}" for a in overlap["ancestors"])
    if not overlap["rows"]:
        return [(f"no case is in the training data of the model ({told})\n", "$muted")]
    name, figure = next(iter(overlap["metrics"].items()), ("", None))
    clean = (
        f"; {name} {number(figure['mean'])} {ends(figure['low'], figure['high'])} on the {overlap['clean']:,} clean"
        if figure
        else ""
    )
    return [
        (
            f"{counted(overlap['rows'], 'case is', 'cases are')} also in its training data ({told}){clean}\n",
            "$warning",
        )
    ]
