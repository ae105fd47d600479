"""``llmops eval show``, ``compare`` and ``export``: results of runs, as text and as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.evaluate_options import RunName, store_of
from llmops_tui.cli.output import LIMIT, Session, session_of
from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError
from llmops_tui.safe_text import safe_line, safe_text

if TYPE_CHECKING:
    from llmops_tui.evaluation.comparison import Comparison
    from llmops_tui.evaluation.difference import Difference
    from llmops_tui.evaluation.records import Costs, Figure, RunSummary, VariationRecord
    from llmops_tui.evaluation.run import EvalState
    from llmops_tui.evaluation.runner.results import Result
    from llmops_tui.evaluation.statistics.bootstrap import Interval
    from llmops_tui.evaluation.suite import Suite

_SHOWN = 60


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(show)
    app.command()(compare)
    app.command()(export)
    app.command()(metrics)


def cases_text(suite: Suite) -> str:
    """Where a suite's cases come from."""
    return suite.cases if isinstance(suite.cases, str) else f"{len(suite.cases)} written"


def figure_text(figure: Figure) -> str:
    """A figure with its interval."""
    if figure["mean"] is None:
        return f"not available for {counted(figure['unusable'], 'answer')}"
    text = f"{figure['mean']:.4g}"
    if figure["low"] is not None:
        text += f" [{figure['low']:.4g}, {figure['high']:.4g}]"
    return f"{text} {figure['unit']}".rstrip()


def first_figure(state: EvalState) -> str:
    """The first metric of a run, or how far it is."""
    if state.run.summary is None:
        return state.told
    if state.run.unanswered:
        return state.run.unanswered
    name, figure = next(iter(state.run.summary["metrics"].items()), ("", None))
    return f"{name} {figure_text(figure)}" if figure else ""


def run_text(session: Session, state: EvalState) -> str:
    """A run for people."""
    from llmops_tui.evaluation.kept_summary import answered, cache_told, errors_told, interval_told

    run, summary = state.run, state.run.summary
    head = f"{run.name}: {state.shown} · {run.suite_ref} · {run.column}"
    if summary is None:
        return head + (f" · {state.told}" if state.told else "")
    if run.unanswered:
        return f"{head}\n{run.name} {run.unanswered}"
    rows = [(n, figure_text(f), f["n"], f["unusable"] or "", interval_told(f)) for n, f in summary["metrics"].items()]
    cached = f", {cache_told(summary)}" if summary["cached"] else ""
    errors = f", {told}" if (told := errors_told(summary)) else ""
    early = " (stopped early: the interval is narrow enough)" if summary.get("stopped_early") else ""
    answers = counted(answered(summary), "answer")
    lines = [
        head,
        f"{counted(summary['cases'], 'case')}, {answers}{cached}{errors}{early}; {_costs(summary['costs'])}",
        session.rows(("metric", "figure, 95 %", "n", "unusable", "interval"), rows),
    ]
    lines += _judges(summary) + _overlap(summary)
    if a := summary.get("agreement"):
        lines.append(
            f"answers to one case agree: {a['mean']:.3g} [{a['low']:.3g}, {a['high']:.3g}], {counted(a['n'], 'case')}"
        )
    if summary["variations"]:
        lines.append(_variations(session, summary["variations"]))
    return "\n".join(lines)


def _costs(costs: Costs) -> str:
    from llmops_tui.evaluation.costs_told import costs_told

    return f"{costs['prompt_tokens']:,} + {costs['completion_tokens']:,} tokens, {costs['seconds']:.1f} s{costs_told(costs)}"


def _judges(summary: RunSummary) -> list[str]:
    from llmops_tui.evaluation.facts_told import facts_told

    lines = []
    for name, figure in summary["metrics"].items():
        lines += [f"{name}: {line}" for line in facts_told(figure)]
        facts = figure.get("facts") or {}
        if "human_labels" in facts:
            kappa = (
                f"κ {facts['kappa']:.2f} with people, n {facts['human_labels']}"
                if facts["kappa"] is not None
                else (f"not calibrated: {facts['human_labels']} human labels")
            )
            if facts.get("kappa_quadratic") is not None:
                kappa += f", with quadratic weights {facts['kappa_quadratic']:.2f}"
            lines.append(
                f"{name}: judged by {facts['judge']}; {kappa}; {counted(figure['unusable'], 'grade')} unusable"
            )
        if "signature" in facts:
            lines.append(f"{name}: {facts['signature']}")
        if "weighted" in facts:
            lines.append(
                f"{name}: the pass rate by test; a test's weighted score is {facts['weighted']:.4g} on average"
            )
    return lines


def _overlap(summary: RunSummary) -> list[str]:
    overlap = summary.get("overlap") or {}
    if not overlap.get("ancestors"):
        return [overlap["note"]] if overlap.get("note") else []
    told = ", ".join(f"{a['dataset']} {a['rows']:,}" for a in overlap["ancestors"])
    if not overlap["rows"]:
        return [f"no case is in the training data of the model ({told})"]
    name, figure = next(iter(overlap["metrics"].items()), ("", None))
    clean = f"; {name} {figure_text(figure)} on the {overlap['clean']:,} clean" if figure else ""
    return [
        f"{counted(overlap['rows'], 'case is', 'cases are')} also in the training data of the model ({told}){clean}"
    ]


def _variations(session: Session, variations: list[VariationRecord]) -> str:
    names = list(dict.fromkeys(name for v in variations for name in v["metrics"]))
    names = [n for n in names if n not in {"latency", "tokens-per-s", "tokens"}]
    rows = []
    for v in variations:
        told = [v["metrics"].get(n) for n in names]
        cells = [
            f"{m['mean']:.3g} ({m['difference']:+.3g} [{m['low']:+.3g}, {m['high']:+.3g}])" if m else "" for m in told
        ]
        rows.append((v["variation"], v["n"], f"{v['same_answer']:.0%}", *cells))
    return session.rows(("variation", "n", "same answer", *names), rows)


def show(
    context: typer.Context,
    name: RunName,
    failures: Annotated[
        bool, typer.Option("--failures", help="Show the cases that are wrong, unscored, or ended in an error.")
    ] = False,
    case: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER|ID",
            help="Show one case, by its number, from 0, or its id: what the model was asked, and what a judge was sent.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1)] = LIMIT,
) -> None:
    """Show the metrics of a run, or with --failures its failed cases, or with --case all that is kept of one."""
    from llmops_tui.evaluation.case_names import case_number, told_case
    from llmops_tui.evaluation.failures import failed_results, failure_record
    from llmops_tui.evaluation.run_comparison import results_so_far

    session = session_of(context)
    store = store_of(session)
    state = store.state(store.get(name))
    if case is not None:
        results = results_so_far(state.run)
        hint = f"llmops eval show {name} --failures lists cases with their numbers."
        number = case_number((r.case for r in results), case, hint)
        there = [r for r in results if r.case.index == number]
        answers = [_case_data(r) for r in there]
        session.emit({"run": name, "case": number, "answers": answers}, lambda: "\n\n".join(map(_case_text, there)))
        return
    if not failures:
        session.emit(state.as_dict(), lambda: run_text(session, state))
        return
    found = failed_results(state.run)
    data = {"run": name, "total": len(found), "failures": [failure_record(r) for r in found[:limit]]}
    rows = [
        (safe_line(told_case(r.case)), safe_line(r.answer.text or r.answer.error, _SHOWN), _reasons(r))
        for r in found[:limit]
    ]
    session.emit(data, lambda: session.rows(("case", "answer", "why"), rows, len(found)))


def _case_data(result: Result) -> dict[str, object]:
    from llmops_tui.evaluation.metrics.model_graded import conversation_of

    case, answer = result.case, result.answer
    return {
        "repeat": result.repeat,
        "id": case.id,
        "variables": case.variables,
        "asked": list(conversation_of(case, answer)),
        "expected": case.expected,
        "searches": answer.searches,
        "passages": list(answer.passages),
        "output": answer.text,
        "error": answer.error,
        "trace": answer.trace,
        "cached": answer.cached,
        "kept_at": answer.kept_at,
        "scores": {n: {"value": s.value, "reason": s.reason, "detail": s.detail} for n, s in result.scores.items()},
    }


def _case_text(result: Result) -> str:
    from llmops_tui.evaluation.case_names import told_case
    from llmops_tui.evaluation.facts_told import passage_lines, sentence_lines
    from llmops_tui.evaluation.metrics.model_graded import conversation_of

    case, answer = result.case, result.answer
    lines = [f"case {told_case(case)}" + (f", answer {result.repeat + 1}" if result.repeat else "")]
    lines += [f"{m.get('role')}: {m.get('content')}" for m in conversation_of(case, answer)]
    lines += [f"expected: {case.expected_text}"] if case.expected is not None else []
    lines += [f"retrieved: {line}" for line in passage_lines(answer)]
    lines.append(f"answer: {answer.text or answer.error}")
    for name, score in result.scores.items():
        value = "without a score" if score.value is None else f"{score.value:.4g}"
        lines.append(f"{name}: {value}  {score.reason}".rstrip())
        lines += [f"  {line}" for line in sentence_lines(score)]
        lines += [f"  sent to the judge as {m['role']}: {m['content']}" for m in score.detail.get("sent") or ()]
    return safe_text("\n".join(lines))


def _reasons(result: Result) -> str:
    return safe_line(
        "; ".join(s.reason for s in result.scores.values() if s.reason and s.reason != "from the cache"), 120
    )


def compare(
    context: typer.Context,
    baseline: Annotated[str, typer.Argument(help="The baseline run.")],
    candidates: Annotated[list[str], typer.Argument(metavar="CANDIDATE…", help="The candidate runs.")],
    metric: Annotated[str, typer.Option(help="The metric for the order of cases and for slices.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Number of regressed cases to show.")] = 20,
) -> None:
    """Compare runs with a baseline on their common cases. Exit 3 if they are not comparable."""
    from llmops_tui.evaluation.run_comparison import compare_runs

    session = session_of(context)
    store = store_of(session)
    found = [compare_runs(store, baseline, candidate, metric) for candidate in candidates]
    told = []
    for one in found:
        data = one.as_dict()
        told.append(data | {"regressed_total": len(data["regressed"]), "regressed": data["regressed"][:limit]})
    session.emit(
        told[0] if len(told) == 1 else {"comparisons": told},
        lambda: "\n\n".join(
            (f"{one.candidate.name} against {baseline}\n" if len(found) > 1 else "") + compare_text(session, one, limit)
            for one in found
        ),
    )
    refused = next((one for one in found if one.comparable.refused), None)
    if refused is not None:
        raise InputRefusedError(
            "not_comparable",
            f"{baseline} and {refused.candidate.name} are not comparable: {'; '.join(refused.comparable.refused)}",
            "Run both again, with the same suite.",
        )


def compare_text(session: Session, found: Comparison, limit: int) -> str:
    """A comparison for people."""
    from llmops_tui.evaluation.difference import change_words, points

    def change(told: Interval, of: Difference) -> str:
        return " ".join((*change_words(told, share=of.share), "pt" if of.share else of.unit)).strip()

    if found.baseline.unanswered or found.candidate.unanswered:
        return found.sentence
    rows = []
    for d in found.differences:
        i, p, unit = d.interval, d.p_holm if d.p_holm is not None else d.p, "pt" if d.share else d.unit
        own = "" if d.share else f" {unit}".rstrip()
        told = "" if p is None else f"{p:.3g}" if p >= 0.001 else "<0.001"
        rows.append(
            (
                d.name,
                f"{d.baseline:.4g}{own}",
                f"{d.candidate:.4g}{own}",
                change(i, d),
                told,
                f"▲{d.wins} ={d.ties} ▼{d.losses}",
                "too few to say" if i.too_few else d.verdict,
                f"{points(d.smallest, share=d.share, signed=False)} {unit}".rstrip(),
            )
        )
    headers = (
        "metric",
        "baseline",
        "candidate",
        "difference, 95 % interval",
        "p (Holm)",
        "cases",
        "verdict",
        "smallest seen",
    )
    lines = [found.sentence, *(f"note: {note}" for note in found.comparable.notes), session.rows(headers, rows)]
    lines += _overlap(found.candidate.summary or {})
    main = next((d for d in found.differences if d.name == found.metric), None)
    if found.slices and main is not None:
        parts = [
            (
                f"{s.by} = {safe_line(s.value, 40)}",
                s.n,
                f"{s.baseline:.3g}",
                f"{s.candidate:.3g}",
                change(s.interval, main),
                "few cases" if s.few else "",
            )
            for s in found.slices
        ]
        lines.append(session.rows(("slice", "n", "baseline", "candidate", "difference, 95 % interval", ""), parts))
    worse = found.regressed()
    if worse:
        cells = [
            (
                p.baseline.case.index,
                safe_line(p.baseline.answer.text, 40),
                safe_line(p.candidate.answer.text, 40),
                _reasons(p.candidate),
            )
            for p in worse[:limit]
        ]
        lines.append(session.rows(("case", "baseline", "candidate", "why"), cells, len(worse)))
    return "\n".join(lines)


def export(
    context: typer.Context,
    name: RunName,
    to: Annotated[
        Path,
        typer.Option(
            help="File: .json for lm-eval results, .jsonl for samples, .csv .parquet .md .xml (JUnit), or a plugin's suffix."
        ),
    ],
    overwrite: Annotated[bool, typer.Option("--overwrite")] = False,
) -> None:
    """Write a run to a file; the suffix selects the format."""
    from llmops_tui.evaluation.reports import export as write

    session = session_of(context)
    if to.exists() and not overwrite:
        raise InputRefusedError("file_exists", f"{to} already exists", "--overwrite replaces it.")
    form = write(store_of(session).get(name), to)
    session.emit({"run": name, "path": str(to), "form": form}, lambda: f"{to}: {form}")


def metrics(context: typer.Context) -> None:
    """List the metrics with description, settings and source."""
    from llmops_tui.evaluation.metrics.custom import PLUGINS, Function
    from llmops_tui.evaluation.metrics.labelled_sets import qualities
    from llmops_tui.evaluation.metrics.registry import METRICS

    session = session_of(context)
    quality = qualities()
    data = [
        {
            "type": name,
            "about": " ".join((kind.__doc__ or "").split()),
            "settings": [f for f in kind.model_fields if f not in {"type", "name"}],
        }
        for name, kind in METRICS.items()
    ]
    data += [
        {
            "type": "python",
            "entry": name,
            "about": " ".join(((given.call if isinstance(given, Function) else given).__doc__ or "").split()),
            "settings": []
            if isinstance(given, Function)
            else [f for f in given.model_fields if f not in {"type", "name"}],
        }
        for name, given in PLUGINS.all().items()
    ]
    for plugin in PLUGINS.listed():
        if plugin.problem:
            session.say(plugin.told)
    rows = [
        (
            f"{d['type']} {d.get('entry', '')}".rstrip(),
            ", ".join(d["settings"]),
            str(d["about"]).split(". ")[0] + (f"; finds {quality[str(d['type'])]}" if d["type"] in quality else ""),
        )
        for d in data
    ]
    told = [d | {"measured": quality[str(d["type"])].as_dict() if d["type"] in quality else None} for d in data]
    session.emit({"metrics": told}, lambda: session.rows(("metric", "settings", "what it measures"), rows))
