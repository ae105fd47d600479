"""``llmops stage``: prompts served by label: which model answers, by which policy a label moves, and the way back."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.output import LIMIT, Session, session_of
from llmops_tui.errors import InputRefusedError

if TYPE_CHECKING:
    from llmops_tui.deployment.promotions import Moved, Promotions
    from llmops_tui.inference.stages import Stage

app = typer.Typer(help="Stages: prompts served by label, their policy, promotion and the way back.")
_Place = Annotated[str, typer.Argument(metavar="NAME@LABEL", help="A prompt's label, such as support@production.")]
_Reason = Annotated[str, typer.Option("--reason", help="Why, in a sentence; kept with the move.")]


@app.command("set")
def define(
    context: typer.Context,
    place: _Place,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", help="The model, alias or MODEL+ADAPTER that answers. Default: as it is, or the only one."
        ),
    ] = None,
    suite: Annotated[
        list[str] | None,
        typer.Option(
            "--suite", help="A suite whose rules a version must keep before the label moves to it; repeatable."
        ),
    ] = None,
    rule: Annotated[
        list[str] | None,
        typer.Option(
            "--rule",
            help="A rule beside those of the suites, such as 'exact not worse than baseline by > 1 point'; repeatable.",
        ),
    ] = None,
    no_policy: Annotated[
        bool, typer.Option("--no-policy", help="Take its suites and rules away; needs --reason.")
    ] = False,
    reason: _Reason = "",
    force: Annotated[
        bool, typer.Option("--force", help="Another model, whatever the policy says of it; needs --reason.")
    ] = False,
) -> None:
    """Make a label a stage: requests for the model prompt/NAME@LABEL are answered by its version.

    Of a stage, what is not named stays. Where it has a policy, another model has to pass it, as another version would, and
    what takes a suite or a rule away needs --reason. Exit 1 if the policy does not let the model in.
    """
    from llmops_tui.inference.stages import Stage

    session = session_of(context)
    if no_policy and (suite or rule):
        raise InputRefusedError("usage", "--no-policy takes suites and rules away", "Leave out --suite and --rule.")
    moving = _promotions(session)
    name, label = _parts(place)
    if moving.held(name, label) is None:
        told = f"{place}: no version of {name} has this label"
        raise InputRefusedError("no_label", told, f"llmops stage promote {name}@1 {label} gives it to one.")
    known = moving.stages.get(name, label) or Stage(name, label)
    wanted = Stage(
        name,
        label,
        known.model if model is None else model,
        () if no_policy else known.suites if suite is None else tuple(suite),
        () if no_policy else known.rules if rule is None else tuple(rule),
    )
    with _ruled(session):
        made, rulings = moving.define(wanted, reason=reason, force=force)
    for one in rulings:
        session.say(f"{one.outcome:7}{one.rule}: {one.why}")
    told_rulings = [one.as_dict() for one in rulings]
    session.emit({**made.as_record(), "rulings": told_rulings}, lambda: f"prompt/{made.ref}: {_words(made)}")


@contextlib.contextmanager
def _ruled(session: Session) -> Iterator[None]:
    """Say each ruling of a policy that lets nothing in."""
    from llmops_tui.deployment.promotions import PolicyError

    try:
        yield
    except PolicyError as error:
        for one in error.rulings:
            session.say(f"{one.outcome:7}{one.rule}: {one.why}")
        raise


@app.command()
def remove(context: typer.Context, place: _Place, reason: _Reason = "") -> None:
    """Make a stage a label again, which moves freely. The label stays; a policy is taken away only with --reason."""
    session = session_of(context)
    moving = _promotions(session)
    stage = _stage(moving, place)
    moving.forget(stage, reason=reason)
    session.emit({**stage.as_record(), "removed": True}, lambda: f"{stage.ref} is a label alone")


@app.command()
def promote(
    context: typer.Context,
    ref: Annotated[str, typer.Argument(metavar="NAME@VERSION", help="The version that the label is to be on.")],
    label: Annotated[str, typer.Argument(help="The label, such as production.")],
    reason: _Reason = "",
    expect: Annotated[
        str,
        typer.Option("--expect", metavar="VERSION", help="Only if the label is on this version now; none: on none."),
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Whatever the policy says; needs --reason.")] = False,
) -> None:
    """Move a label to a version that its policy lets in. Exit 1 if it does not, or somebody else moved it meanwhile."""
    from llmops_tui.prompts.store import ANY

    session = session_of(context)
    expected = ANY if not expect else None if expect == "none" else _number(expect)
    with _ruled(session):
        moved = _promotions(session).promote(ref, label, reason=reason, expected=expected, force=force)
    _tell(session, moved, "promoted")


@app.command()
def rollback(context: typer.Context, place: _Place, reason: _Reason = "") -> None:
    """Move a label back to the version that it was on before; requests follow at once."""
    session = session_of(context)
    name, label = _parts(place)
    _tell(session, _promotions(session).roll_back(name, label, reason=reason), "rolled back")


@app.command()
def withdraw(
    context: typer.Context,
    place: _Place,
    reason: _Reason = "",
    expect: Annotated[
        str, typer.Option("--expect", metavar="VERSION", help="Only if the label is on this version now.")
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it; without it, only what it means is shown.")] = False,
) -> None:
    """Take a label off its version: requests for prompt/NAME@LABEL are refused from then on. A policy asks for --reason.

    Without production, requests for prompt/NAME are refused as well.

    The stage stays, and llmops stage rollback or llmops undo brings back what answered.
    """
    from llmops_tui.inference.prompt_versions import DEFAULT_LABEL
    from llmops_tui.prompts.store import ANY

    session = session_of(context)
    moving = _promotions(session)
    name, label = _parts(place)
    held = moving.held(name, label)
    if yes or held is None:
        held = moving.withdraw(name, label, reason=reason, expected=_number(expect) if expect else ANY)
    refused = [f"prompt/{name}@{label}", *([f"prompt/{name}"] if label == DEFAULT_LABEL else [])]
    told = {"prompt": name, "label": label, "version": held, "withdrawn": yes, "refused": refused}
    names = " and ".join(refused)
    says = (
        f"{label} is taken off {name}@{held}: requests for {names} are refused; "
        f"llmops stage rollback {name}@{label} brings it back"
    )
    asks = f"{name}@{held} answers {names}; with --yes {label} is taken off it, and such requests are refused"
    session.emit(told, lambda: says if yes else asks)


@app.command()
def show(
    context: typer.Context,
    place: Annotated[str, typer.Argument(metavar="[NAME@LABEL]", help="One label, with its moves.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of stages or moves.")] = LIMIT,
) -> None:
    """List the stages, or show one label with its moves: when, from where to where, who and why."""
    session = session_of(context)
    moving = _promotions(session)
    if place:
        _show_one(session, moving, place, limit)
        return
    found = moving.stages.all()
    rows = [
        [f"prompt/{one.ref}", _at(moving.held(one.prompt, one.label)), one.model or "the only one", _policy(one)]
        for one in found[:limit]
    ]
    told = {"stages": [one.as_record() for one in found[:limit]], "total": len(found), "truncated": len(found) > limit}
    session.emit(told, lambda: session.rows(["asked by", "version", "model", "policy"], rows, len(found)))


def _show_one(session: Session, moving: Promotions, place: str, limit: int) -> None:
    name, label = _parts(place)
    stage = moving.stages.get(name, label)
    moves = moving.history(name, label)
    if not moves:
        raise InputRefusedError("no_label", f"{place}: {name} never had this label", "llmops stage show lists stages.")
    held, changes = moving.held(name, label), moving.changes(name, label)
    rows = [
        [
            time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(move.moved_at)),
            noted.kind.partition(".")[2].replace("_", " ") if noted else "",
            _at(move.before),
            _at(move.after),
            noted.by if noted else "",
            noted.reason if noted else "",
        ]
        for move, noted in moves[:limit]
    ]
    told = {
        "prompt": name,
        "label": label,
        "version": held,
        "stage": stage.as_record() if stage else None,
        "moves": [
            {
                "at": move.moved_at, "before": move.before, "after": move.after, "kind": noted.kind if noted else None,
                "by": noted.by if noted else None, "reason": noted.reason if noted else "",
                "audit": noted.seq if noted else None,
            }
            for move, noted in moves[:limit]
        ],
        "total": len(moves),
        "changes": [one.as_record() for one in changes[:limit]],
    }  # fmt: skip
    changed = [
        [
            time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.at)),
            one.kind.partition(".")[2],
            one.model or "the only one",
            "changed" if one.policy_changed else "",
            one.by,
            one.reason,
        ]
        for one in changes[:limit]
    ]

    def human() -> str:
        head = f"{place}: {_at(held)}; {_words(stage) if stage else 'no stage: it moves freely'}"
        parts = [head, session.rows(["when", "what", "from", "to", "who", "why"], rows, len(moves))]
        if changed:
            headers = ["when", "stage", "answered by", "policy", "who", "why"]
            parts += ["", session.rows(headers, changed, len(changes))]
        return "\n".join(parts)

    session.emit(told, human)


def _tell(session: Session, moved: Moved, what: str) -> None:
    for one in moved.rulings:
        session.say(f"{one.outcome:7}{one.rule}: {one.why}")
    told = {
        **moved.version.as_dict(),
        "label": moved.label,
        "before": moved.before,
        "rulings": [one.as_dict() for one in moved.rulings],
    }
    session.emit(told, lambda: f"{moved.label} is {moved.version.ref}, {what} from {_at(moved.before)}")


def _promotions(session: Session) -> Promotions:
    from llmops_tui.deployment.promotions import Promotions
    from llmops_tui.evaluation.store import EvaluationStore

    return Promotions(session.catalog, session.event_log, EvaluationStore(session.workspace))


def _stage(moving: Promotions, place: str) -> Stage:
    found = moving.stages.get(*_parts(place))
    if found is None:
        raise InputRefusedError("no_stage", f"{place} is no stage", "llmops stage show lists them.")
    return found


def _parts(place: str) -> tuple[str, str]:
    name, at, label = place.removeprefix("prompt/").partition("@")
    if not (name and at and label):
        raise InputRefusedError("bad_place", f"{place[:100]!r} is no prompt's label", "Such as support@production.")
    return name, label


def _number(said: str) -> int:
    text = said.removeprefix("@").removeprefix("v")
    if not text.isdigit():
        raise InputRefusedError("bad_version", f"{said[:40]!r} is no version", "Such as 3, or none.")
    return int(text)


def _at(number: int | None) -> str:
    return "none" if number is None else f"@{number}"


def _policy(stage: Stage) -> str:
    return "; ".join([f"suite {name}" for name in stage.suites] + list(stage.rules)) or "moves freely"


def _words(stage: Stage) -> str:
    return f"answered by {stage.model or 'the only model'}; {_policy(stage)}"
