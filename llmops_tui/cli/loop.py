"""``llmops loop``: from feedback to data, to a proposal to train, through the gate, and into use."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.output import Session, session_of
from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError

if TYPE_CHECKING:
    from llmops_tui.loop.gate import Gate
    from llmops_tui.loop.proposal import Proposal
    from llmops_tui.loop.stations import Loop
    from llmops_tui.loop.subject import Subject

app = typer.Typer(
    help="From use back to training: what feedback says, when to train anew, and how a retrained model gets into use.",
    no_args_is_help=True,
)
_Name = Annotated[
    str, typer.Argument(metavar="NAME", help="What applications ask for: a model, an alias, or prompt/NAME@LABEL.")
]
_Candidate = Annotated[str, typer.Argument(metavar="MODEL", help="The candidate, MODEL+ADAPTER with an adapter.")]
_Suites = Annotated[
    list[str] | None,
    typer.Option(
        "--suite", help="A suite of before; repeatable. Default: the stage's, and all that the model has a run of."
    ),
]
_New = Annotated[
    list[str] | None,
    typer.Option(
        "--new",
        help="A suite of what is new; repeatable. Default: those whose cases were held out of feedback on NAME.",
    ),
]
_Margin = Annotated[
    float, typer.Option("--margin", help="By how many points it may surely not be worse on a suite of before.")
]
_ASKS = {"before": "was asked before", "new": "is new"}
_Reason = Annotated[str, typer.Option("--reason", help="Why, in a sentence; kept with the move.")]


@app.command()
def status(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="One name; without it, the names that there are.")] = "",
) -> None:
    """Show where the loop stands for a name: each station with its count, its newest figure and the next step."""
    from llmops_tui.loop.subject import known_names

    session = session_of(context)
    loop = _loop(session)
    if not name:
        names = known_names(session.catalog, session.event_log)
        session.emit({"names": names}, lambda: "\n".join(names) or "no model is registered: llmops model add")
        return
    standing = loop.standing(_subject(session, name))
    step = standing.step
    data = {
        "subject": standing.subject.name,
        "model": standing.subject.model,
        "candidate": standing.candidate or None,
        "stations": [one.as_dict() for one in standing.stations],
        "next": step.next if step is not None else None,
        "feedback": standing.feedback.as_dict(),
    }

    def human() -> str:
        rows = [[one.station, one.state, one.count, one.told] for one in standing.stations]
        head = f"{standing.subject.name}, answered by {standing.subject.model}"
        after = f"next: {step.next}" if step is not None else "nothing is to be done"
        return f"{head}\n{session.rows(['station', 'state', 'count', 'newest'], rows)}\n{after}"

    session.emit(data, human)


@app.command()
def collect(
    context: typer.Context,
    name: _Name,
    dataset: Annotated[
        str, typer.Argument(help="The dataset; a new version is added, and one of DATASET-new held out.")
    ],
    shape: Annotated[str, typer.Option("--as", help="messages, or preference for pairs.")] = "messages",
    hold_out: Annotated[
        float, typer.Option("--hold-out", help="The share of what is new that no training sees; 0: none.")
    ] = 0.2,
    metric: Annotated[
        str, typer.Option("--metric", help="How a suite of the held-out rows measures; empty: no suite is kept.")
    ] = "token-f1",
    keep_personal: Annotated[
        bool, typer.Option("--keep-personal", help="Keep personal data; by default it is redacted.")
    ] = False,
) -> None:
    """Make reviewed feedback that no dataset has yet the next version of one; a part is held out to judge by."""
    from llmops_tui.datasets.authors import authors_of
    from llmops_tui.loop.collecting import keep_suite
    from llmops_tui.loop.feedback import collect as collected
    from llmops_tui.maintenance.undo import UndoHistory

    session = session_of(context)
    loop, subject = _loop(session), _subject(session, name)
    privacy = "keep" if keep_personal else "redact"
    version, held, parts = collected(loop.traces, subject, dataset, shape=shape, privacy=privacy, share=hold_out)
    UndoHistory(session.catalog, session.event_log).note_rows(version, *([held] if held is not None else []))
    suite = keep_suite(loop.evaluations, held, metric) if held is not None and metric else None
    authors = authors_of(version)
    data = {
        "version": version.ref,
        "rows": version.rows,
        "held_out": held.ref if held is not None else None,
        "held_out_rows": held.rows if held is not None else 0,
        "suite": suite.ref if suite is not None else None,
        "left_out": dict(parts.learned.left_out),
        "personal": dict(parts.learned.personal + parts.held_out.personal),
        "privacy": privacy,
        "authors": authors.as_dict(),
    }

    def human() -> str:
        lines = [f"{version.ref}: {version.note}; {authors.share:.0%} written by a model"]
        lines += [f"left out: {count} × {why}" for why, count in parts.learned.left_out.items()]
        if held is not None:
            lines.append(
                f"{held.ref}: {counted(held.rows, 'row')} held out" + (f", asked by {suite.ref}" if suite else "")
            )
        else:
            lines.append("nothing was held out: a retrained model cannot be judged on what is new")
        return "\n".join(lines)

    session.emit(data, human)


@app.command()
def propose(
    context: typer.Context,
    name: _Name,
    distinct: Annotated[
        int, typer.Option("--distinct", min=1, help="From how many new clusters on it is proposed.")
    ] = 50,
    labelled: Annotated[
        int, typer.Option("--labelled", min=1, help="From how many rated answers of a drift on it is proposed.")
    ] = 20,
    recipe: Annotated[str, typer.Option("--recipe", help="The recipe to fill in. Default: the newest run's.")] = "",
    go_on: Annotated[
        bool, typer.Option("--go-on", help="Go on from the newest run, instead of from the base on all data together.")
    ] = False,
    replay: Annotated[float, typer.Option("--replay", help="With --go-on, the share of old rows in an epoch.")] = 0.2,
    save: Annotated[bool, typer.Option("--save", help="Keep the recipe as the next version of its name.")] = False,
) -> None:
    """Say whether to train anew, each figure beside what it would take, and the recipe. Exit 1 if nothing speaks for it."""
    from llmops_tui.loop.proposal import Wanted

    session = session_of(context)
    loop, subject = _loop(session), _subject(session, name)
    proposal = loop.proposal(subject, Wanted(distinct, labelled, recipe, replay, go_on))
    kept = None
    if save:
        if proposal.recipe is None:
            raise InputRefusedError("no_recipe", f"there is no recipe to keep: {proposal.why_none}")
        kept = f"{proposal.recipe.name}@{loop.runs.save_recipe(proposal.recipe, f'proposed for {subject.name}')}"
    session.emit({**proposal.as_dict(), "kept": kept}, lambda: _told(session, proposal, kept))
    if not proposal.proposed:
        raise typer.Exit(1)


def _told(session: Session, proposal: Proposal, kept: str | None) -> str:
    rows = [[one.reason, "yes" if one.holds else "no", one.told] for one in proposal.reasons]
    lines = [
        f"{proposal.subject.name}: " + ("train anew" if proposal.proposed else "nothing speaks for a new training yet"),
        session.rows(["reason", "holds", "why"], rows),
    ]
    if proposal.recipe is None:
        return "\n".join([*lines, f"no recipe: {proposal.why_none}"])
    replay = proposal.replay
    told = f"{replay:.0%} of an epoch are old rows" if replay is not None else "no old rows"
    lines += [told, proposal.recipe.to_yaml().rstrip()]
    return "\n".join([*lines, f"kept as {kept}: llmops train start {kept}" if kept else "--save keeps it"])


@app.command()
def gate(
    context: typer.Context,
    name: _Name,
    candidate: _Candidate,
    suite: _Suites = None,
    new: _New = None,
    margin: _Margin = 2.0,
    evaluate: Annotated[bool, typer.Option("--evaluate", help="Make the runs that are missing first.")] = False,
) -> None:
    """Judge a candidate: surely not worse on each suite of before, better on what is new. Exit 1 where it does not pass."""
    from llmops_tui.loop.gate import missing_columns

    session = session_of(context)
    loop, subject = _loop(session), _subject(session, name)
    if evaluate:
        from llmops_tui.cli.evaluate import follow

        for version, columns in missing_columns(loop.evaluations, subject, candidate, suite or (), new or ()):
            runs = [one.name for one in loop.evaluations.start(version, columns)]
            follow(session, loop.evaluations, runs)
    found = _gate(loop, subject, candidate, suite, new, margin)
    session.emit(found.as_dict(), lambda: _gate_told(session, found))
    if not found.passes:
        raise typer.Exit(1)


def _gate(
    loop: Loop, subject: Subject, candidate: str, suite: list[str] | None, new: list[str] | None, margin: float
) -> Gate:
    from llmops_tui.loop.gate import gate_of

    return gate_of(loop.evaluations, subject, candidate, suite or (), new or (), margin)


def _gate_told(session: Session, found: Gate) -> str:
    rows = [[one.outcome, one.rule, one.why] for one in found.rulings]
    head = f"{found.candidate} beside {found.subject.model}: " + ("passes" if found.passes else "does not pass")
    lines = [head, session.rows(["", "rule", "why"], rows)] if rows else [head]
    lines += [f"missing: {one}" for one in found.missing]
    lines += [f"judged by {one['suite']}, which asks what {_ASKS[one['asks']]}" for one in found.suites]
    lines += [f"left out {one['what']}: {one['why']}" for one in found.left_out]
    if not found.has_new:
        lines.append("no suite asks what is new: llmops loop collect holds rows out for one, or name one with --new")
    return "\n".join(lines)


@app.command()
def promote(
    context: typer.Context,
    name: _Name,
    candidate: _Candidate,
    suite: _Suites = None,
    new: _New = None,
    margin: _Margin = 2.0,
    reason: _Reason = "",
    force: Annotated[bool, typer.Option("--force", help="Whatever the gate says; needs --reason.")] = False,
) -> None:
    """Have a candidate that passes the gate answer for a name from now on. Exit 1 where it does not pass."""
    from llmops_tui.loop.promotion import ClosedError

    session = session_of(context)
    loop, subject = _loop(session), _subject(session, name)
    found = _gate(loop, subject, candidate, suite, new, margin)
    try:
        made = loop.replacements().promote(found, reason=reason, force=force)
    except ClosedError:
        for one in found.rulings:
            session.say(f"{one.outcome:7}{one.rule}: {one.why}")
        raise
    data = {**found.as_dict(), "before": made.before, "after": made.after, "forced": force and not found.passes}
    session.emit(data, lambda: f"{subject.name} is answered by {made.after}, in place of {made.before}")


@app.command()
def rollback(context: typer.Context, name: _Name, reason: _Reason = "") -> None:
    """Have the model answer again that did before the one of now."""
    session = session_of(context)
    loop, subject = _loop(session), _subject(session, name)
    made = loop.replacements().roll_back(subject, reason=reason)
    data = {"subject": subject.name, "before": made.before, "after": made.after}
    session.emit(data, lambda: f"{subject.name} is answered by {made.after} again, in place of {made.before}")


@app.command()
def history(context: typer.Context, name: _Name) -> None:
    """List which models answered for a name: since when, in whose place, and why."""
    session = session_of(context)
    loop, subject = _loop(session), _subject(session, name)
    found = loop.replacements().history(subject.name)
    rows = [
        [time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.at)), one.kind.partition(".")[2].replace("_", " "),
         one.before, one.after, one.by, one.reason]
        for one in found
    ]  # fmt: skip
    data = {
        "subject": subject.name,
        "model": subject.model,
        "moves": [
            {"at": one.at, "kind": one.kind, "before": one.before, "after": one.after, "by": one.by,
             "reason": one.reason, "audit": one.audit}
            for one in found
        ],
    }  # fmt: skip
    session.emit(data, lambda: session.rows(["when", "what", "from", "to", "who", "why"], rows))


@app.command()
def authors(
    context: typer.Context,
    datasets: Annotated[list[str] | None, typer.Argument(metavar="[DATASET…]", help="Datasets; default: all.")] = None,
) -> None:
    """List the share of rows written by a model, by dataset version."""
    from llmops_tui.datasets.authors import authors_of
    from llmops_tui.datasets.store import DatasetStore

    session = session_of(context)
    store = DatasetStore(session.catalog)
    found = [authors_of(one) for dataset in (datasets or sorted(store.logs())) for one in store.log(dataset)]
    rows = [[one.version, one.rows, one.model, one.person, one.unsaid, f"{one.share:.0%}"] for one in found]
    heads = ["version", "rows", "by a model", "by a person", "unsaid", "share"]
    session.emit({"versions": [one.as_dict() for one in found]}, lambda: session.rows(heads, rows))


def _loop(session: Session) -> Loop:
    from llmops_tui.deployment.promotions import Promotions
    from llmops_tui.evaluation.store import EvaluationStore
    from llmops_tui.loop.stations import Loop

    evaluations = EvaluationStore(session.workspace)
    promotions = Promotions(session.catalog, session.event_log, evaluations)
    return Loop(session.catalog, session.event_log, evaluations, promotions)


def _subject(session: Session, name: str) -> Subject:
    from llmops_tui.loop.subject import subject_of

    return subject_of(session.catalog, session.event_log, name)
