"""``llmops quality``: what cheap checks find in the answers in use, as shares of all traffic, corrected by your labels."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.drift import seconds_of
from llmops_tui.cli.output import Session, is_given, session_of
from llmops_tui.counts import counted
from llmops_tui.errors import ExitCode, InputRefusedError, LlmopsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmops_tui.quality.judging import JudgedRecord
    from llmops_tui.quality.sampling import Sample

app = typer.Typer(help="Quality in use: refusals, abuse, personal data, schemas, grounding.", no_args_is_help=True)
_Window = Annotated[str, typer.Option("--window", metavar="SPAN", help="How far back: 24h, 7d.")]
_Filter = Annotated[str, typer.Option("--filter", help="Which traces, as llmops traces list takes it.")]
_Most = Annotated[
    int, typer.Option("--most", min=10, max=100_000, help="At most so many answers are drawn and judged.")
]


@app.command()
def check(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Option("--check", help="A check or a judge by name; repeatable. Default: all checks, without --metric."),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", help="A metric that needs the answer alone, by its type or as JSON; repeatable."),
    ] = None,
    window: _Window = "7d",
    said: _Filter = "",
    most: _Most = 2000,
    seconds: Annotated[
        float, typer.Option("--seconds", min=1, help="The most time for judging; what is not reached is not judged.")
    ] = 120.0,
    above: Annotated[
        float | None, typer.Option("--above", min=0, max=1, help="Exit 1 where a share is surely above this.")
    ] = None,
    asked: Annotated[
        int, typer.Option("--judge-most", min=2, max=100_000, help="At most so many answers are drawn for a judge.")
    ] = 100,
    when_idle: Annotated[
        bool, typer.Option("--when-idle/--now", help="Ask judges only while no server answers anybody else.")
    ] = True,
) -> None:
    """Judge a sample of answers, and say what share of all traffic each check finds, with its interval and its cost."""
    from llmops_tui.quality.checks import checks_of
    from llmops_tui.quality.estimates import look
    from llmops_tui.quality.judges import JudgeStore
    from llmops_tui.quality.labels import LabelStore

    session = session_of(context)
    store = JudgeStore(session.event_log)
    # One that is damaged says so when it is asked.
    kept = {one.name for one in store.all()} | set(store.damaged())
    judges = [store.get(name).name for name in names or () if name in kept]
    plain = [name for name in names or () if name not in kept]
    # Where judges alone are named, no check is meant.
    checks = checks_of(plain, metric) if plain or metric or not judges else []
    if not judges and (is_given(context, "asked") or is_given(context, "when_idle")):
        raise LlmopsError(
            "usage", "--judge-most and --now are of a judge: name one with --check", exit_code=ExitCode.USAGE
        )
    sample = _sample(session, window, said, most)
    show = session.progress("judging")
    judged = look(
        session.catalog,
        sample,
        checks,
        LabelStore(session.event_log),
        seconds=seconds,
        report=show if show is not None else lambda _share: None,
    )
    found = judged.found
    _name_damaged(session, judged.damaged)
    looked = max((one.looked for one in found), default=0)
    data = {
        "answers": sample.size,
        "looked": looked,
        "without_content": sample.without_content,
        "without_passages": judged.without_passages,
        "damaged": sorted(judged.damaged),
        "strata": {one.stratum: one.size for one in sample.strata},
        "checks": [one.as_dict() for one in found],
    }
    graded = _graded(session, judges, window, said, (asked, seconds), when_idle=when_idle)
    data["judges"] = graded

    def human() -> str:
        head = f"{looked:,} of {sample.size:,} answers judged, {sum(one.seconds for one in found):.1f} s"
        head = head if found else f"{sample.size:,} answers"
        lines = [head, *(f"  {one.told}; {one.ms:.2f} ms each" for one in found)]
        lines += [f"  {one['sentence']}" for one in graded]
        if sample.without_content:
            lines.append(f"{sample.without_content:,} answers without content: nothing is known of them")
        if judged.without_passages and any(one.check.name == "ungrounded" for one in found):
            told = counted(judged.without_passages, "answer")
            lines.append(f"{told} not judged for groundedness: not all that was retrieved for them is there any more")
        return "\n".join(lines)

    session.emit(data, human)
    if above is not None and any(not math.isnan(one.estimate.value) and one.estimate.low > above for one in found):
        raise typer.Exit(1)
    if above is not None and any(one["value"] is not None and one["low"] > above for one in graded):
        raise typer.Exit(1)


def _graded(
    session: Session, names: list[str], window: str, said: str, most: tuple[int, float], *, when_idle: bool
) -> list[JudgedRecord]:
    """What judges say, asked as a job, which the same interrupt cancels."""
    from llmops_tui.cli.job import run_job
    from llmops_tui.quality.judging import ENTRY

    if not names:
        return []
    now = time.time()
    arguments = {
        "names": names, "begin": now - seconds_of(window, "--window"), "end": now, "said": said,
        "most": most[0], "seconds": most[1], "when_idle": when_idle,
    }  # fmt: skip
    title = f"judge answers in use by {', '.join(names)}"
    done = run_job(session, kind="quality", title=title, entry=ENTRY, arguments=arguments)
    for trace in done["damaged"]:
        session.say(f"left out: {trace} is damaged; llmops check says how")
    return done["judges"]


@app.command()
def judge(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the judge and its labels are called.")],
    model: Annotated[str, typer.Option("--model", help="The model that grades.")] = "",
    rubric: Annotated[str, typer.Option("--rubric", help="What it grades by.")] = "",
    low: Annotated[int, typer.Option("--low", min=0, max=9, help="The worst grade.")] = 1,
    high: Annotated[int, typer.Option("--high", min=1, max=9, help="The best grade.")] = 5,
    remove: Annotated[bool, typer.Option("--remove", help="Forget the judge; its labels stay.")] = False,
) -> None:
    """Keep a judge of answers in use: a model with a rubric. `quality check --check NAME` asks it; labels correct it."""
    from llmops_tui.models.registry import ModelRegistry
    from llmops_tui.quality.judges import JudgeStore

    session = session_of(context)
    store = JudgeStore(session.event_log)
    if remove:
        if any(is_given(context, name) for name in ("model", "rubric", "low", "high")):
            raise LlmopsError("usage", "--remove takes the name alone", exit_code=ExitCode.USAGE)
        gone = store.remove(name)
        session.emit({**gone.as_record(), "removed": True}, lambda: f"{name} is removed; its labels stay")
        return
    if not model or not rubric:
        raise LlmopsError("usage", "a judge needs --model and --rubric", exit_code=ExitCode.USAGE)
    kept = store.keep(name, ModelRegistry(session.catalog).writing(model).name, rubric, low, high)
    data = {**kept.as_record(), "removed": False}
    session.emit(data, lambda: f"{name} is kept; llmops quality check --check {name} asks {model}")


@app.command("next")
def next_(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="CHECK", help="The check that is labelled.")],
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=200, help="How many.")] = 10,
    window: _Window = "7d",
    said: _Filter = "",
) -> None:
    """List the answers to label next; they are drawn by chance, so that labels say something of all traffic."""
    from llmops_tui.quality.estimates import to_label
    from llmops_tui.quality.labels import LabelStore
    from llmops_tui.quality.sampling import read_exchanges

    session = session_of(context)
    sample = _sample(session, window, said, 10)
    traces = to_label(sample, LabelStore(session.event_log), name, count)
    exchanges = read_exchanges(session.catalog, traces)
    found = exchanges.found
    _name_damaged(session, exchanges.damaged)
    rows = [[one, found[one].question[:60], found[one].output[:60]] for one in traces if one in found]
    data = [
        {"trace": one, "question": found[one].question, "answer": found[one].output} for one in traces if one in found
    ]
    told = {"check": name, "next": data, "damaged": sorted(exchanges.damaged)}
    session.emit(told, lambda: session.rows(["trace", "question", "answer"], rows))


@app.command()
def label(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="CHECK", help="The check that is labelled.")],
    trace: Annotated[str, typer.Argument(help="The trace, as llmops quality next names it.")],
    says: Annotated[str, typer.Argument(metavar="yes|no", help="Whether the answer is what the check looks for.")],
    metric: Annotated[
        str | None, typer.Option("--metric", metavar="JSON", help="The metric, where it has a name of its own.")
    ] = None,
    window: _Window = "7d",
    said: _Filter = "",
) -> None:
    """Say whether an answer is what a check looks for. Labels correct the check; only what was drawn can be labelled."""
    from llmops_tui.quality.checks import refuse_unknown
    from llmops_tui.quality.judges import JudgeStore
    from llmops_tui.quality.labels import LabelStore

    session = session_of(context)
    if metric is not None or name not in {one.name for one in JudgeStore(session.event_log).all()}:
        refuse_unknown(name, metric)
    if says not in {"yes", "no"}:
        raise InputRefusedError("bad_label", f"{says[:20]!r} is no label", "Say yes or no.")
    store = LabelStore(session.event_log)
    store.give(trace, name, float(says == "yes"), _sample(session, window, said, 10).stream)
    labels = len(store.of(name))
    session.emit({"trace": trace, "check": name, "label": says, "labels": labels}, lambda: f"{name}: {labels:,} labels")


@app.command()
def replay(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What the dataset and the suite of the questions are called.")
    ],
    model: Annotated[str, typer.Option("--model", help="The model that is asked.")],
    margin: Annotated[
        float,
        typer.Option("--margin", min=0.1, max=50, help="Groups are alike where they surely differ by fewer points."),
    ] = 5.0,
    most: Annotated[int, typer.Option("--most", min=1, max=10_000, help="At most so many questions.")] = 200,
    keep_personal: Annotated[
        bool, typer.Option("--keep-personal", help="Ask them with their personal data; by default it is redacted.")
    ] = False,
    window: _Window = "7d",
    said: _Filter = "",
) -> None:
    """Ask real questions again for other people, and say whether answers depend on whom they are about. Exit 1 if so."""
    from llmops_tui.cli.evaluate import follow
    from llmops_tui.evaluation.store import EvaluationStore
    from llmops_tui.quality.counterfactual import groups_of, keep_replay
    from llmops_tui.traces.store import TraceStore

    session = session_of(context)
    store = EvaluationStore(session.workspace)
    store.registry.get(model)
    sample = _sample(session, window, said, 10)
    traces = TraceStore(session.catalog, session.event_log)
    kept = keep_replay(store, traces, sample, name, most, "keep" if keep_personal else "redact")
    suite, questions = kept.suite, kept.questions
    _name_damaged(session, kept.damaged)
    (run,) = [one.name for one in store.start(suite, store.columns(suite.suite, [model]))]
    follow(session, store, [run])
    summary = store.get(run).summary or {}
    found = groups_of(summary.get("gaps", []), margin / 100)
    data = {
        "suite": suite.ref,
        "run": run,
        "questions": questions,
        "margin": margin / 100,
        "groups": [one.as_dict() for one in found],
        "damaged": sorted(kept.damaged),
    }

    def human() -> str:
        rows = [
            [
                one.outcome,
                one.first,
                one.second,
                one.metric,
                f"{one.difference:+.1%}",
                _interval(one.low, one.high),
                one.n,
            ]
            for one in found
        ]
        table = session.rows(["", "of", "to", "answers as they should be", "change", "95 %", "pairs"], rows)
        return f"{questions:,} questions, {suite.ref}, {run}; alike means by less than {margin:g} points\n{table}"

    session.emit(data, human)
    if any(one.outcome == "differs" for one in found):
        raise typer.Exit(1)


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:+.1%} to {high:+.1%}"


@app.command("list")
def list_(context: typer.Context) -> None:
    """List the checks that there are, and the judges that are kept."""
    from llmops_tui.quality.checks import CHECKS
    from llmops_tui.quality.judges import JudgeStore

    session = session_of(context)
    store = JudgeStore(session.event_log)
    judges, damaged = store.all(), store.damaged()
    _name_damaged(session, damaged)
    rows = [[one.name, one.about] for one in CHECKS] + [[one.name, one.about] for one in judges]
    data = {
        "checks": [{"check": one.name, "about": one.about} for one in CHECKS],
        "judges": [one.as_record() for one in judges],
        "damaged": sorted(damaged),
    }
    session.emit(data, lambda: session.rows(["check", "counts"], rows))


def _name_damaged(session: Session, damaged: Mapping[str, LlmopsError]) -> None:
    for error in damaged.values():
        session.say(f"left out: {error.message}")


def _sample(session: Session, window: str, said: str, most: int) -> Sample:
    from llmops_tui.quality.sampling import draw
    from llmops_tui.traces.known_names import known_filter

    now = time.time()
    wanted = known_filter(session.catalog, session.event_log, said)
    return draw(session.catalog, wanted, now - seconds_of(window, "--window"), now, most)
