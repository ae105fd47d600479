"""``llmops guard``: guards for what clients ask and are answered, measured, and first in the shadow."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.output import LIMIT, Session, session_of
from llmops_tui.errors import InputRefusedError

if TYPE_CHECKING:
    from llmops_tui.deployment.guard_reports import ShareRecord, TrafficFigures
    from llmops_tui.inference.guardrails.checks import Prepared
    from llmops_tui.inference.guardrails.guard_file import Side
    from llmops_tui.inference.guardrails.store import GuardStore, GuardVersion

app = typer.Typer(help="Guards for requests and answers of served models: shadow first, measured on labelled texts.")
_Set = Annotated[str, typer.Argument(metavar="SET", help="A guard set: NAME or NAME@VERSION.")]
_Model = Annotated[str, typer.Option("--model", help="A registered model. Default: all that have no set of their own.")]
_Labelled = Annotated[
    Path, typer.Option("--file", metavar="FILE", help='JSON Lines with "text" and "label": attack or benign.')
]
_WEEK = 7 * 86_400.0


@app.command()
def save(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A guard set, in YAML.")],
) -> None:
    """Keep a guard set as a version. Nothing looks at requests until it is used."""
    from llmops_tui.foreign_text import text_of
    from llmops_tui.inference.guardrails.guard_file import read_guard_set
    from llmops_tui.user_files import with_home

    session = session_of(context)
    path = with_home(file)
    made, new = _store(session).save(read_guard_set(text_of(path), str(path)))
    told = "" if new else ", which was there already"
    session.emit({**made.as_record(), "created": new}, lambda: f"{made.ref}: {_guards(made)}{told}")


@app.command("list")
def list_sets(
    context: typer.Context, limit: Annotated[int, typer.Option(min=1, help="Maximum number of versions.")] = LIMIT
) -> None:
    """List guard sets, and which is in force for which model."""
    session = session_of(context)
    store = _store(session)
    found, force = store.all(), store.in_force()
    used: dict[str, list[str]] = {}
    for one in force:
        used.setdefault(one.version.ref, []).append(one.model or "all models")
    rows = [[one.ref, _guards(one), ", ".join(used.get(one.ref, []))] for one in found[:limit]]
    damaged = store.damaged()
    rows += [
        [
            f"{one['set']}@{one['version']}",
            f"damaged: {one['why']}",
            ", ".join(m or "all models" for m in one["used_for"]),
        ]
        for one in damaged
    ]
    told = {
        "sets": [one.as_record() for one in found[:limit]],
        "in_force": [one.as_record() for one in force],
        "heads": store.heads(),
        "damaged": damaged,
        "total": len(found),
    }
    session.emit(told, lambda: session.rows(["set", "guards", "in force for"], rows, len(found) + len(damaged)))


@app.command()
def show(context: typer.Context, name: _Set) -> None:
    """Show the guards of a set, with what they did on the traffic of the last week, or would have done."""
    from llmops_tui.deployment.guard_reports import traffic

    session = session_of(context)
    version = _store(session).get(name)
    now = time.time()
    figures = traffic(session.catalog, session.event_log, version.guards.name, now - _WEEK, now)
    rows = [
        [one.name, one.kind, "+".join(one.sides), one.action, one.mode, f"fails {one.fails}", *_did(one.name, figures)]
        for one in version.guards.guards
    ]
    told = {**version.as_record(), "body": version.guards.model_dump(by_alias=True, mode="json"), "traffic": figures}
    headers = ["guard", "kind", "on", "action", "mode", "otherwise", "looked at", "found", "a day", "ms"]
    session.emit(told, lambda: f"{version.ref}\n{session.rows(headers, rows)}")


@app.command()
def use(context: typer.Context, name: _Set, model: _Model = "") -> None:
    """Have a set look at the requests of clients; servers follow within a second."""
    session = session_of(context)
    store = _store(session)
    version = store.get(name)
    store.use(version, _known(session, model))
    told = {**version.as_record(), "model": model}
    session.emit(told, lambda: f"{version.ref} looks at requests for {model or 'all models'}: {_guards(version)}")


@app.command()
def off(context: typer.Context, model: _Model = "") -> None:
    """Have no set look at the requests of a model any more, or at those of all that have none of their own."""
    session = session_of(context)
    ended = _store(session).stop(model)
    session.emit(
        {**ended, "off": True},
        lambda: f"{ended['set']}@{ended['version']} looks no more at requests for {model or 'all models'}",
    )


@app.command()
def switch(
    context: typer.Context,
    name: _Set,
    guard: Annotated[str, typer.Argument(help="One guard of the set.")],
    mode: Annotated[str, typer.Argument(help="on, or shadow.")],
) -> None:
    """Switch a guard on, or back into the shadow: a new version, in force wherever this one is."""
    session = session_of(context)
    store = _store(session)
    made = store.switch(store.get(name), guard, mode)
    session.emit(made.as_record(), lambda: f"{made.ref}: {_guards(made)}")


@app.command()
def check(
    context: typer.Context,
    name: _Set,
    text: Annotated[str, typer.Argument(help="The text; - reads standard input.")],
    answer: Annotated[bool, typer.Option("--answer", help="As an answer of a model, not as a request.")] = False,
) -> None:
    """Show what each guard says of a text, and in which time. Exit 1 if one that is on refuses it."""
    import sys

    from llmops_tui.inference.guardrails.checks import acting
    from llmops_tui.inference.guardrails.redaction import redacted

    session = session_of(context)
    prepared = _prepared(session, name)
    said = sys.stdin.read() if text == "-" else text
    side: Side = "output" if answer else "input"
    found = asyncio.run(prepared.check(said, side, every=True))
    places = [place for one in found if one.guard.action == "redact" for place in one.places]
    rows = [
        [
            one.guard.name,
            one.told(prepared.ref, side)["tier"],
            one.verdict,
            one.guard.action,
            one.guard.mode,
            "" if one.score is None else f"{one.score:.3f}",
            f"{one.milliseconds:.2f}",
            one.why or (f"{len(one.places)} places" if one.places else ""),
        ]
        for one in found
    ]
    refused = acting(found, "block", "retry")
    told = {
        "verdicts": [one.told(prepared.ref, side) for one in found],
        "refused_by": refused.guard.name if refused else None,
        "redacted": redacted(said, places),
    }
    headers = ["guard", "tier", "verdict", "action", "mode", "score", "ms", "what"]
    session.emit(told, lambda: session.rows(headers, rows))
    if refused is not None:
        raise typer.Exit(1)


@app.command()
def train(
    context: typer.Context,
    head: Annotated[str, typer.Argument(help="What the head is called; a set names it in its guard of kind head.")],
    file: _Labelled,
    most_false: Annotated[
        float, typer.Option(min=0.0, max=0.5, help="The largest share of benign texts that it may refuse.")
    ] = 0.02,
    embed: Annotated[
        str, typer.Option("--embed", metavar="MODEL", help="Also on the embeddings of a registered model.")
    ] = "",
) -> None:
    """Train a head on labelled texts: the threshold is chosen on one half, what it does is told on the other."""
    from llmops_tui.deployment.guard_reports import read_labelled
    from llmops_tui.deployment.guard_reports import train as train_head
    from llmops_tui.user_files import with_home

    session = session_of(context)
    rows = read_labelled(with_home(file))
    session.say(f"{len(rows)} labelled texts: one half trains and chooses, the other tells")
    vectors = None
    if embed:
        from llmops_tui.inference.guardrails.peers import Peers

        session.say(f"embedding them by {embed}")
        vectors = asyncio.run(Peers(session.workspace.root).vectors(embed, [row["text"] for row in rows]))
    made = train_head(head, rows, most_false, vectors, embed)
    assert made.told is not None
    report = {
        "rows": made.rows,
        "embedder": embed,
        "threshold": made.head.threshold,
        "told": made.told,
        "curve": made.curve,
    }
    _store(session).save_head(head, made.head, report)

    def human() -> str:
        told = made.told
        assert told is not None
        step = max(1, len(made.curve) // 12)
        points = [
            [f"{one['threshold']:.3f}", f"{one['precision']:.3f}", f"{one['recall']:.3f}", f"{one['false_share']:.3f}"]
            for one in made.curve[::step]
        ]
        curve = session.rows(["threshold", "precision", "recall", "false share"], points)
        return (
            f"{head}: threshold {made.head.threshold:.3f}; on the other half precision {_share(told['precision'])}, "
            f"recall {_share(told['recall'])}, of benign texts refused {_share(told['false_share'])}\n{curve}"
        )

    session.emit({"head": head, **report}, human)


@app.command("eval")
def evaluate(
    context: typer.Context,
    name: _Set,
    file: _Labelled,
    answers: Annotated[bool, typer.Option("--answers", help="The texts are answers, not requests.")] = False,
    both_halves: Annotated[
        bool, typer.Option("--all", help="All texts, also the half on which heads are trained and thresholds chosen.")
    ] = False,
) -> None:
    """Measure a set on labelled texts: precision, recall and time of each guard; false blocks a day at your traffic."""
    from llmops_tui.deployment.guard_reports import (
        false_blocks_a_day,
        halves,
        measure,
        read_labelled,
        requests_a_day,
    )
    from llmops_tui.user_files import with_home

    session = session_of(context)
    prepared = _prepared(session, name)
    rows = read_labelled(with_home(file))
    told = rows if both_halves else halves(rows)[1]
    figures = asyncio.run(measure(prepared, told, "output" if answers else "input"))
    now = time.time()
    rate = requests_a_day(session.catalog, now - _WEEK, now)
    blocks = {one["name"]: false_blocks_a_day(one, rate) for one in figures}
    shown = [
        [
            one["name"],
            one["tier"],
            one["mode"],
            _share(one["precision"]),
            _share(one["recall"]),
            _share(one["false_share"]),
            f"{one['ms']:.3f}",
            f"{blocks[one['name']][0]:.1f} ({blocks[one['name']][1]:.1f} to {blocks[one['name']][2]:.1f})",
        ]
        for one in figures
    ]
    attacks = sum(row["attack"] for row in told)
    data = {
        "set": prepared.ref,
        "texts": len(told),
        "attacks": attacks,
        "figures": figures,
        "requests_a_day": rate,
        "false_blocks_a_day": {one: {"expected": b[0], "low": b[1], "high": b[2]} for one, b in blocks.items()},
    }
    headers = ["guard", "tier", "mode", "precision", "recall", "false share", "ms", "false blocks a day"]

    def human() -> str:
        half = "all texts" if both_halves else "the half that chose nothing"
        head = f"{prepared.ref} on {len(told)} texts, {attacks} of them attacks ({half}); {rate:.0f} requests a day"
        return f"{head}\n{session.rows(headers, shown)}"

    session.emit(data, human)


def _store(session: Session) -> GuardStore:
    from llmops_tui.inference.guardrails.store import GuardStore

    return GuardStore(session.event_log)


def _prepared(session: Session, name: str) -> Prepared:
    from llmops_tui.inference.guardrails.checks import Prepared
    from llmops_tui.inference.guardrails.peers import Peers

    store = _store(session)
    version = store.get(name)
    peers = Peers(session.workspace.root)
    return Prepared(version.ref, version.guards, store.head, peers.says, peers.vectors)


def _known(session: Session, model: str) -> str:
    from llmops_tui.models.registry import ModelRegistry

    if not model:
        return ""
    found = ModelRegistry(session.catalog).get(model)
    if found.kind != "gguf":
        raise InputRefusedError("model_not_served", f"{model!r} is of kind {found.kind}", "Name a GGUF model.")
    return found.name


def _guards(version: GuardVersion) -> str:
    return ", ".join(f"{one.name} ({one.mode})" for one in version.guards.guards)


def _did(guard: str, figures: list[TrafficFigures]) -> list[str]:
    mine = [one for one in figures if one["guard"] == guard]
    if not mine:
        return ["", "", "", ""]
    looked = sum(one["looked"] for one in mine)
    found = sum(one["found"] for one in mine)
    shadow = sum(one["found"] for one in mine if one["mode"] == "shadow")
    said = f"{found}" + (f" ({shadow} would have)" if shadow else "")
    mean = sum(one["ms"] * one["looked"] for one in mine) / looked
    return [f"{looked}", said, f"{sum(one['found_a_day'] for one in mine):.1f}", f"{mean:.2f}"]


def _share(told: ShareRecord) -> str:
    if told["share"] is None:
        return "none"
    return f"{told['share']:.3f} ({told['low']:.3f} to {told['high']:.3f})"
