"""``llmops eval redteam``: make attacks, run them, and keep those that succeed as cases."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.evaluate_options import RunName, store_of
from llmops_tui.cli.output import Session, is_given, session_of
from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError
from llmops_tui.user_files import with_home

if TYPE_CHECKING:
    from llmops_tui.evaluation.redteam.by_model import Written
    from llmops_tui.evaluation.redteam.seeds import Seed


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(redteam)
    app.command("redteam-keep")(redteam_keep)


def redteam(
    context: typer.Context,
    name: Annotated[str, typer.Option(help="The name of the suite that is made.")] = "redteam",
    kinds: Annotated[
        list[str] | None, typer.Option("--kind", help="A kind of attack, such as base64 or document; repeatable.")
    ] = None,
    seeds: Annotated[Path | None, typer.Option(metavar="FILE", help="Seeds of your own, as YAML.")] = None,
    writer: Annotated[str, typer.Option("--with", metavar="MODEL", help="Have this model write further attacks.")] = "",
    each: Annotated[int, typer.Option(min=1, max=20, help="With --with: attacks of each way on each seed.")] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="Draw so many of the attacks.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="What the draw depends on.")] = 0,
) -> None:
    """Make a suite of attacks from seeds: encodings, roles, languages, many shots, documents; offline. eval run runs it."""
    from llmops_tui.evaluation.redteam.making import choose, make_suite
    from llmops_tui.evaluation.redteam.seeds import OWN, read_seeds
    from llmops_tui.maintenance.undo import UndoHistory

    session = session_of(context)
    if not writer and is_given(context, "each"):
        raise InputRefusedError("bad_option", "--each goes with --with", "Add --with MODEL, or leave it out.")
    store = store_of(session)
    found = read_seeds(with_home(seeds) if seeds is not None else OWN)
    attacks = choose(found, kinds or [])
    unusable: list[str] = []
    if writer:
        written = _written(session, found, writer, each)
        attacks += written.attacks
        unusable = written.unusable
    version = store.save_suite(make_suite(attacks, name, limit, seed), "attacks made from seeds")
    UndoHistory(session.catalog, session.event_log).note_suite(version)
    by_kind: dict[str, int] = {}
    for case in version.suite.cases:
        assert isinstance(case, dict)
        kind = case["slices"]["kind"]
        by_kind[kind] = by_kind.get(kind, 0) + 1
    data = {"suite": version.ref, "attacks": sum(by_kind.values()), "kinds": by_kind, "unusable": unusable}
    told = "".join(f"\nnot usable: {why}" for why in unusable)
    session.emit(
        data,
        lambda: (
            f"{version.ref}: {counted(data['attacks'], 'attack')}\n"  # type: ignore[arg-type]
            f"{session.rows(('kind', 'attacks'), list(by_kind.items()))}{told}\n"
            f"llmops eval run {version.ref} --model MODEL runs it"
        ),
    )


def _written(session: Session, seeds: list[Seed], name: str, each: int) -> Written:
    """What a model writes; it samples, so that each try is another, and the same seed gives the same."""
    from llmops_tui.cli.serve import own_options
    from llmops_tui.evaluation.redteam.by_model import WAYS, attacks_by
    from llmops_tui.inference.client import ModelClient
    from llmops_tui.inference.endpoints import open_endpoint
    from llmops_tui.inference.supervisor import ServerSupervisor
    from llmops_tui.models.registry import ModelRegistry

    entry = ModelRegistry(session.catalog).get(name)
    endpoint = open_endpoint(ServerSupervisor(session.workspace), entry, own_options(session))

    async def work() -> Written:
        async with ModelClient(endpoint) as client:

            async def write(asked: str, number: int) -> str:
                body = {
                    "messages": [{"role": "user", "content": asked}],
                    "temperature": 0.8,
                    "max_tokens": 200,
                    "seed": number,
                }
                reply = await client.complete("/v1/chat/completions", body)
                return str((reply["choices"][0].get("message") or {}).get("content") or "")

            return await attacks_by(seeds, write, list(WAYS), each)

    return asyncio.run(work())


def redteam_keep(
    context: typer.Context,
    name: RunName,
    to: Annotated[str, typer.Option(help="The suite that they are added to.")] = "redteam-found",
) -> None:
    """Add the attacks that succeeded in a run to a suite, so that they are asked from now on."""
    from llmops_tui.evaluation.redteam.making import keep_found
    from llmops_tui.maintenance.undo import UndoHistory

    session = session_of(context)
    store = store_of(session)
    version, new = keep_found(store, store.get(name), to)
    UndoHistory(session.catalog, session.event_log).note_suite(version)
    session.emit({**version.as_dict(), "new": new}, lambda: f"{version.ref}: {counted(new, 'new attack')}")
