"""``llmops drift``: whether what users ask changed, what is new in it, and the evidence of many days."""

from __future__ import annotations

import datetime as dt
import re
import time
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.output import Session, is_given, session_of
from llmops_tui.counts import counted
from llmops_tui.errors import ExitCode, InputRefusedError, LlmopsError

if TYPE_CHECKING:
    from llmops_tui.drift.checking import Checked
    from llmops_tui.monitoring.traffic_days import TrafficDays

app = typer.Typer(help="Drift: whether traffic changed, by how much, and the rows behind it.", no_args_is_help=True)
_DAY = 86_400.0
_SPAN = re.compile(r"(\d{1,4})([hd])")

Model = Annotated[str, typer.Option("--model", help="Requests of this model alone.")]
Prompt = Annotated[str, typer.Option("--prompt", help="Requests of this prompt alone.")]
Embedder = Annotated[str, typer.Option("--embedder", help="A registered model that embeds.")]


@app.command()
def traffic(
    context: typer.Context,
    window: Annotated[str, typer.Option("--window", metavar="SPAN", help="How long the window is: 24h, 7d.")] = "7d",
    before: Annotated[
        str, typer.Option("--before", metavar="SPAN", help="How much before it is the reference.")
    ] = "28d",
    model: Model = "",
    prompt: Prompt = "",
    embedder: Embedder = "",
    keep: Annotated[
        str, typer.Option("--keep", metavar="DATASET", help="Keep what became more common, or is new, as a dataset.")
    ] = "",
    privacy: Annotated[
        str, typer.Option(help="What becomes of personal data in it: redact, or keep as it is.")
    ] = "redact",
) -> None:
    """Compare what users asked lately with what they asked before. Exit 1 if it changed."""
    from llmops_tui.drift.checking import keep_new

    session = session_of(context)
    _require(session, model, prompt)
    now = time.time()
    middle = now - seconds_of(window, "--window")
    checked = _checked(session, (middle - seconds_of(before, "--before"), middle, now), model, prompt, embedder)
    kept = None
    if keep and checked.new:
        from llmops_tui.traces.store import TraceStore

        version, _ = keep_new(TraceStore(session.catalog, session.event_log), checked, keep, privacy)
        kept = version.ref
    session.emit({**checked.facts(), **_topics(checked), "kept": kept}, lambda: _told(checked, kept))
    if checked.traffic.changed:
        raise typer.Exit(1)


@app.command()
def behaviour(
    context: typer.Context,
    suite: Annotated[
        str, typer.Argument(help="The suite, or its file, that is asked again, greedily: the fixed set of questions.")
    ],
    model: Annotated[str, typer.Option("--model", help="The model that is asked.")],
    prompt: Prompt = "",
    against: Annotated[
        str, typer.Option("--against", metavar="RUN", help="Compare with this run, not the first.")
    ] = "",
    ask: Annotated[bool, typer.Option("--ask/--no-ask", help="Ask now, or compare the runs that there are.")] = True,
    kl: Annotated[
        bool, typer.Option("--kl", help="Hold the probabilities of the answers' tokens against those recorded, too.")
    ] = False,
    judge: Annotated[
        str, typer.Option("--judge", help="Have this model, or plugin:NAME, judge the answers that are others.")
    ] = "",
    rubric: Annotated[str, typer.Option("--rubric", help="The criterion that the judge applies.")] = "",
    most: Annotated[
        int, typer.Option("--most", min=2, max=10_000, help="At most so many answers for --kl and for --judge.")
    ] = 50,
) -> None:
    """Ask a fixed set of questions again, and say whether the same model answers otherwise. Exit 1 if it does; for cron."""
    from llmops_tui.cli.drift_looks import Looks, looked_closer, refuse_looks
    from llmops_tui.cli.evaluate import follow
    from llmops_tui.cli.evaluate_options import suite_of
    from llmops_tui.drift.behaviour import compare_behaviour, first_run, refuse_by_chance
    from llmops_tui.evaluation.store import EvaluationStore

    session = session_of(context)
    store = EvaluationStore(session.workspace)
    version = suite_of(session, store, suite)
    refuse_by_chance(version)
    asked = store.columns(version.suite, [model], [prompt] if prompt else None, fresh=True)
    if len(asked) != 1:
        told = f"suite {version.ref} asks {counted(len(asked), 'column')}, and one is compared"
        raise InputRefusedError("many_columns", told, "Name one prompt with --prompt.")
    if not (kl or judge) and is_given(context, "most"):
        raise LlmopsError("usage", "--most is of --kl and of --judge", exit_code=ExitCode.USAGE)
    if rubric and not judge:
        raise LlmopsError("usage", "--rubric is of --judge", exit_code=ExitCode.USAGE)
    looks = Looks(kl, judge, rubric, most)
    refuse_looks(store, model, looks)
    if ask:
        follow(session, store, [one.name for one in store.start(version, asked)])
    runs, damaged = store.readable()
    for one in damaged.values():
        session.say(f"left out: {one.message}")
    meant = (version.suite.name, asked[0].model, asked[0].prompt)
    ours = [one for one in runs if (one.suite, one.asked.model, one.asked.prompt) == meant and one.summary is not None]
    if not ours:
        raise InputRefusedError("no_run", f"{version.ref} was never asked of {model}", "Leave --no-ask out.")
    first = store.get(against) if against else first_run(store, runs, ours[0], version)
    if first is None:
        told = f"{ours[0].name} is the first run of these files: what comes later is compared with it"
        told += "; there is nothing to judge yet" if judge else ""
        closer = looked_closer(session, ours[0].name, ours[0].name, Looks(kl, "", "", most))
        data = {"suite": version.ref, "model": model, "first": ours[0].name, "changed": None, **closer.data}
        session.emit(data, lambda: "\n".join([told, *closer.told]))
        return
    found = compare_behaviour(store, first, ours[0])
    closer = looked_closer(session, first.name, ours[0].name, looks)
    traffic = _alarms(session, model, prompt.partition("@")[0])
    both = (found.changed or closer.changed) and bool(traffic)
    said = f"traffic changed, too: {', '.join(traffic)}" if both else ""
    data = {**found.as_dict(), "traffic": traffic, "both": both, **closer.data}
    session.emit(data, lambda: "\n".join(filter(None, [found.told, *closer.told, said])))
    if found.changed or closer.changed:
        raise typer.Exit(1)


def _alarms(session: Session, model: str, prompt: str) -> list[str]:
    """The monitors of this model's traffic whose evidence is an alarm."""
    from llmops_tui.decisions.change_alarm import USUAL_THRESHOLD
    from llmops_tui.monitoring.traffic_days import TrafficDays

    ours = {_monitor("", ""), _monitor(model, ""), _monitor("", prompt), _monitor(model, prompt)}
    evidence = TrafficDays(session.event_log).evidence()
    return [name for name, found in evidence.items() if name in ours and found >= USUAL_THRESHOLD]


@app.command()
def check(
    context: typer.Context,
    before: Annotated[
        str, typer.Option("--before", metavar="SPAN", help="How much before the day is the reference.")
    ] = "28d",
    day: Annotated[
        str, typer.Option("--day", metavar="DAY", help="Which day, such as 2027-03-01; default: yesterday.")
    ] = "",
    model: Model = "",
    prompt: Prompt = "",
    embedder: Embedder = "",
) -> None:
    """Check one day and add it to the evidence; for cron. Checking a day again replaces it. Exit 1 at an alarm."""
    from llmops_tui.decisions.change_alarm import USUAL_THRESHOLD
    from llmops_tui.monitoring.traffic_days import TrafficDays

    session = session_of(context)
    _require(session, model, prompt)
    begin = _day(day)
    end = begin + _DAY
    if end > time.time():
        session.say(f"{day} is not over: check it again when it is, which replaces what is kept of it now")
    checked = _checked(session, (begin - seconds_of(before, "--before"), begin, end), model, prompt, embedder)
    name, date = _monitor(model, prompt), dt.datetime.fromtimestamp(begin).astimezone().date().isoformat()
    daily = TrafficDays(session.event_log)
    daily.record(name, date, None if checked.traffic.changed is None else checked.traffic.p, checked.facts())
    last = next(one for one in daily.course(name) if one.day == date)
    data = {
        **checked.facts(),
        **_topics(checked),
        "monitor": name,
        "day": date,
        "statistic": last.statistic,
        "alarm": last.alarm,
    }
    said = f"{date}: evidence {last.statistic:,.1f} of {USUAL_THRESHOLD:,.0f}" + (", an alarm" if last.alarm else "")
    session.emit(data, lambda: f"{_told(checked, None)}\n{said}")
    if last.alarm:
        raise typer.Exit(1)


@app.command()
def days(context: typer.Context, model: Model = "", prompt: Prompt = "") -> None:
    """List the days that were checked, with the evidence up to each."""
    from llmops_tui.decisions.change_alarm import USUAL_THRESHOLD
    from llmops_tui.monitoring.traffic_days import TrafficDays

    session = session_of(context)
    daily = TrafficDays(session.event_log)
    course = daily.course(_monitor(model, prompt))
    if not course:
        _require(session, model, prompt)
    rows = [
        [one.day, "too few" if one.p is None else f"{one.p:.3f}", f"{one.statistic:,.1f}", "alarm" if one.alarm else ""]
        for one in course
    ]
    told = [{"day": one.day, "p": one.p, "statistic": one.statistic, "alarm": one.alarm, **one.facts} for one in course]
    data = {
        "monitor": _monitor(model, prompt),
        "threshold": USUAL_THRESHOLD,
        "days": told,
        "monitors": daily.monitors(),
    }
    session.emit(data, lambda: session.rows(("day", "p", "evidence", ""), rows) if rows else _none(daily))


@app.command()
def reset(
    context: typer.Context,
    model: Model = "",
    prompt: Prompt = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Forget them; without it, only a preview is shown.")] = False,
) -> None:
    """Begin the evidence anew, after a change that was looked at. The traces stay."""
    from llmops_tui.monitoring.traffic_days import TrafficDays

    session = session_of(context)
    name = _monitor(model, prompt)
    days = TrafficDays(session.event_log)
    there = len(days.course(name))
    if not there:
        _require(session, model, prompt)
    if not yes:
        told = f"{counted(there, 'day')} of {name}; --yes forgets them"
        session.emit({"monitor": name, "days": there, "preview": True}, lambda: told)
        return
    gone = days.begin_anew(name)
    session.emit({"monitor": name, "days": gone}, lambda: f"{counted(gone, 'day')} of {name} forgotten")


def _require(session: Session, model: str, prompt: str) -> None:
    """Refuse names that are nowhere: their series would stay empty, and never alarm."""
    from llmops_tui.traces.known_names import refuse_unknown_names
    from llmops_tui.traces.store import TraceFilter

    refuse_unknown_names(session.catalog, session.event_log, TraceFilter(model=model, prompt=prompt))


def _monitor(model: str, prompt: str) -> str:
    return " ".join(part for part in (model, f"prompt {prompt}" if prompt else "") if part) or "all traffic"


def _none(daily: TrafficDays) -> str:
    known = ", ".join(daily.monitors())
    return f"no day was checked; there are days of: {known}" if known else "no day was checked: llmops drift check"


def seconds_of(span: str, option: str) -> float:
    """A span such as 24h or 7d, in seconds.

    Raises:
        LlmopsError: ``usage``: it is none.
    """
    match = _SPAN.fullmatch(span)
    if match is None or not int(match[1]):
        raise LlmopsError("usage", f"{option} takes a span such as 24h or 7d, not {span!r}", exit_code=ExitCode.USAGE)
    return int(match[1]) * (3600.0 if match[2] == "h" else _DAY)


def _day(said: str) -> float:
    if not said:
        today = dt.datetime.now().astimezone().date()
        return dt.datetime.combine(today - dt.timedelta(days=1), dt.time()).timestamp()
    try:
        begin = dt.datetime.combine(dt.date.fromisoformat(said), dt.time()).timestamp()
    except (ValueError, OverflowError) as error:
        raise InputRefusedError("bad_day", f"{said!r} is no day", "Write 2027-03-01.") from error
    if begin > time.time():
        raise InputRefusedError("day_to_come", f"{said!r} is to come: nobody has asked anything", "Say a day that was.")
    return begin


def _checked(session: Session, moments: tuple[float, float, float], model: str, prompt: str, embedder: str) -> Checked:
    import asyncio

    from llmops_tui.drift.checking import check_traffic
    from llmops_tui.embeddings.embedder import embedder_spec
    from llmops_tui.models.registry import ModelRegistry
    from llmops_tui.traces.store import TraceFilter

    spec = embedder_spec(ModelRegistry(session.catalog), embedder)
    wanted = TraceFilter(model=model, prompt=prompt)
    show = session.progress("embedding")

    def report(share: float) -> None:
        if show is not None:
            show(share)

    return asyncio.run(check_traffic(session.catalog, session.event_log, spec, wanted, moments, report))


def _topics(checked: Checked) -> dict[str, object]:
    return {
        "grown_topics": [
            {
                "words": list(topic.words),
                "before": topic.before,
                "now": topic.now,
                "p": topic.p,
                "rows": len(topic.rows),
                "requests": [checked.window.rows[row].request for row in topic.rows[:20]],
            }
            for topic in checked.topics
        ]
    }


def _told(checked: Checked, kept: str | None) -> str:
    traffic = checked.traffic
    sizes = f"{traffic.units[1]:,} conversations beside {traffic.units[0]:,} before"
    blind = checked.reference.without_content + checked.window.without_content
    lines = []
    if traffic.changed is None:
        lines.append(f"too few to say: {sizes}; 50 of each are needed")
    else:
        verdict = "traffic changed" if traffic.changed else "no change of traffic was seen"
        could = (
            "even half of it taken over by one topic would have been missed"
            if traffic.smallest is None
            else f"a topic that took over {traffic.smallest:.0%} would have been seen in four of five cases"
        )
        lines.append(f"{verdict} (p {traffic.p:.3f}, {sizes}); {could}")
        lines += [
            f"  {one.name:9} {one.effect:.3g} {one.unit} [{one.low:.3g}, {one.high:.3g}], p {one.p:.3f}"
            for one in traffic.looks
        ]
        lines.append(
            f"  {counted(len(traffic.new), 'row')} unlike all before, about {0.01 * traffic.rows[1]:.0f} expected"
        )
        lines += [
            f"  more common: {topic.before:.1%} → {topic.now:.1%}  {', '.join(topic.words) or '(no word names it)'}"
            for topic in checked.topics
        ]
    if blind:
        lines.append(f"{counted(blind, 'request')} without content: nothing is known of what they asked")
    if kept:
        lines.append(f"kept as {kept}")
    return "\n".join(lines)
