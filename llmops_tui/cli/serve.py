"""``llmops serve``: a model behind an OpenAI-compatible address, with a key; and ``llmops embed``."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.engine_flags import Engine, engine_flags
from llmops_tui.cli.output import Session, session_of
from llmops_tui.cli.serve_address import (
    TlsCert,
    TlsKey,
    announcement,
    check_encryption,
    in_the_clear,
    keys_of,
    origins_of,
)
from llmops_tui.cli.serve_process import ending_by_signals, port_for, stay, telling
from llmops_tui.errors import ExitCode, Interrupted, LlmopsError

if TYPE_CHECKING:
    from llmops_tui.inference.endpoints import Endpoint
    from llmops_tui.inference.options import LoadOptions
    from llmops_tui.inference.supervisor import ServerSupervisor
    from llmops_tui.inference.wire import Reply
    from llmops_tui.models.registry import Model


def own_options(session: Session) -> LoadOptions:
    """How models are loaded by the user's settings."""
    from llmops_tui.inference.options import options_from

    return options_from(session.settings)


def opener(session: Session) -> Callable[[Model], Endpoint]:
    """What finds the way to a model, its server started by the user's settings where it has to be."""
    from llmops_tui.inference.endpoints import open_endpoint
    from llmops_tui.inference.supervisor import ServerSupervisor

    supervisor = ServerSupervisor(session.workspace)
    return lambda model: open_endpoint(supervisor, model, own_options(session))


def endpoint_of(session: Session, name: str) -> Endpoint:
    """The way to a model by name."""
    from llmops_tui.models.registry import ModelRegistry

    return opener(session)(ModelRegistry(session.catalog).get(name))


@engine_flags
def serve(
    context: typer.Context,
    model: Annotated[str | None, typer.Argument(help="A registered model.")] = None,
    all_models: Annotated[
        bool, typer.Option("--all", help="Serve all registered models at one address, each loaded on demand.")
    ] = False,
    host: Annotated[
        str, typer.Option(help="Address to listen on; a non-loopback address requires a key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0: any free port.")] = 8080,
    socket_path: Annotated[
        Path | None, typer.Option("--socket", help="Listen on this Unix socket instead of a port.")
    ] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(help="A file with API keys, one per line; default: a key made in the workspace.")
    ] = None,
    no_key: Annotated[bool, typer.Option("--no-key", help="Require no key; only on a loopback address.")] = False,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    allow_host: Annotated[list[str] | None, typer.Option(help="An additional Host header to accept.")] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="An origin whose web pages may use the server with its key; *: any.")
    ] = None,
    special_in_content: Annotated[
        bool | None,
        typer.Option(
            "--special-in-content/--text-in-content",
            help="Whether control tokens that a message spells are read as such; default: they are text.",
        ),
    ] = None,
    spm_infill: Annotated[
        bool, typer.Option("--spm-infill", help="Tell the model the suffix of a gap before its prefix.")
    ] = False,
    engines: Annotated[
        int, typer.Option(min=1, max=64, help="Number of engine processes of a model, each with its memory.")
    ] = 1,
    record: Annotated[
        str,
        typer.Option(metavar="NAME", help="Mark the traces of what is asked as this recording, such as of an agent."),
    ] = "",
    replay: Annotated[str, typer.Option(metavar="NAME", help="Give the answers of a recording, and no others.")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Wait until memory is free instead of failing.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Run the server in the background.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a running server of this model that has other settings.")
    ] = False,
    max_loaded: Annotated[
        int | None, typer.Option(min=1, help="With --all: the most models loaded at a time; default: as many as fit.")
    ] = None,
    idle_unload: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="MINUTES", help="With --all: unload a model after this time without a request; 0: never."
        ),
    ] = None,
    *,
    engine: Engine,
) -> None:
    """Serve a model, or all of them, behind an OpenAI-compatible address until interrupted, or until the terminal is closed."""
    from dataclasses import replace as changed

    from llmops_tui.inference.server_conflict import check_replaceable, differences
    from llmops_tui.inference.supervisor import ServerSupervisor
    from llmops_tui.models.registry import ModelRegistry

    session = session_of(context)
    _check_which(model, all_models, {"--max-loaded": max_loaded, "--idle-unload": idle_unload})
    found = ModelRegistry(session.catalog).get(model) if model is not None else None
    keys, key_file = keys_of(session, api_key_file, no_key=no_key, host=None if socket_path else host)
    certificate, key_of_it = check_encryption(tls_cert, tls_key, address=socket_path is None)
    given = own_options(session)
    if replay:
        from llmops_tui.inference.server.recording import require_recording

        require_recording(session.catalog, session.event_log, _recording(replay))
    options = changed(
        engine(given),
        wait=wait,
        special_in_content=given.special_in_content if special_in_content is None else special_in_content,
        idle_seconds=1e12,
        host="" if socket_path else host,
        port=0 if socket_path else port,
        socket=str(socket_path.resolve()) if socket_path else "",
        keys=keys,
        open_access=no_key,
        allowed_hosts=tuple(allow_host or ()),
        allowed_origins=origins_of(session, allow_origin or (), no_key=no_key),
        tls_cert=certificate,
        tls_key=key_of_it,
        spm_infill=spm_infill,
        engines=engines,
        record=_recording(record),
        replay=_recording(replay),
        starter=0 if detach else os.getpid(),
    )
    if found is None:
        from llmops_tui.cli.serve_all import serve_all

        serve_all(session, options, key_file, max_loaded=max_loaded or 0, idle_minutes=idle_unload, replace=replace)
        return
    supervisor = ServerSupervisor(session.workspace)
    running = supervisor.find(found.name)
    differing = differences(running, options) if running is not None else []
    already = running is not None and not differing
    if running is not None and already:
        session.say(f"{found.name} is already served with these settings")
        options = changed(options, port=running.asked["port"])
    elif running is not None:
        if not replace:
            check_replaceable(running, differing)
        session.say(f"{found.name} is already loaded; its server is replaced")
    if options.host and not already:
        options = changed(options, port=port_for(supervisor, running, options.host, options.port))
    with ending_by_signals():
        try:
            _serve_until_ended(session, supervisor, found, options, key_file, already=already)
        except Interrupted:
            if not already:
                supervisor.stop(found.name)
                with contextlib.suppress(OSError):
                    # The terminal may be what ended it.
                    session.say(f"{found.name} is unloaded")
            raise


def _check_which(model: str | None, all_models: bool, only_with_all: dict[str, float | None]) -> None:
    """Refuse a command that names no model or a model beside ``--all``, and flags without what they go with."""
    if (model is None) != all_models:
        told = "MODEL and --all exclude each other" if all_models else "which model? Give its name, or --all"
        raise LlmopsError("usage", told, "llmops serve MODEL, or: llmops serve --all", ExitCode.USAGE)
    for option, given in only_with_all.items():
        if given is not None and not all_models:
            raise LlmopsError("usage", f"{option} goes with --all", exit_code=ExitCode.USAGE)


def _recording(name: str) -> str:
    """The name of a recording.

    Raises:
        InputRefusedError: ``bad_name``: it cannot be one.
    """
    from llmops_tui.errors import InputRefusedError
    from llmops_tui.names import is_name

    if name and not is_name(name):
        raise InputRefusedError(
            "bad_name", f"{name[:60]!r} cannot be the name of a recording", "Use letters and digits."
        )
    return name


def _serve_until_ended(
    session: Session,
    supervisor: ServerSupervisor,
    model: Model,
    options: LoadOptions,
    key_file: Path | None,
    *,
    already: bool,
) -> None:
    """Start the server, tell where it is, and stay with it where it is not to outlive this command."""
    start = supervisor.ensure if already else supervisor.replace
    handle = start(model, options, waiting=telling(session, model.name))
    for note in handle.notes:
        session.say(note)
    place = f"{handle.address}/v1" if handle.address else f"unix:{handle.socket}"
    data = {
        "model": model.name,
        "url": place,
        "api_key_file": str(key_file) if key_file else None,
        "pid": handle.process.pid,
        "parallel": options.parallel,
        "already": already,
        "notes": list(handle.notes),
        "allowed_origins": list(options.allowed_origins),
        "encrypted": bool(options.tls_cert) if handle.address else None,
    }
    session.emit(data, lambda: announcement(place, options, key_file, model.name))
    if told := in_the_clear(options.host, encrypted=bool(options.tls_cert)):
        session.say(told)
    if options.starter and not already:
        stay(supervisor, handle)


def embed(
    context: typer.Context,
    model: Annotated[str, typer.Option("--model", help="A registered model.")],
    text: Annotated[list[str], typer.Option("--text", help="A text to embed; repeatable.")],
) -> None:
    """Compute embeddings of texts, as JSON."""
    session = session_of(context)
    endpoint = endpoint_of(session, model)

    async def ask() -> Reply:
        from llmops_tui.inference.client import ModelClient

        async with ModelClient(endpoint) as client:
            return await client.complete("/v1/embeddings", {"input": text, "encoding_format": "float"})

    answer = asyncio.run(ask())
    vectors = [item["embedding"] for item in answer["data"]]
    data = {"model": model, "embeddings": vectors, "dimensions": len(vectors[0]), "usage": answer["usage"]}
    session.emit(data, lambda: "\n".join(" ".join(f"{x:.6f}" for x in vector) for vector in vectors))
