"""``llmops serve``: a model behind an OpenAI-compatible address, with a key; and ``llmops embed``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmops_tui.cli.engine_flags import Engine, engine_flags
from llmops_tui.cli.output import Session, session_of
from llmops_tui.cli.serve_address import (
    TlsCert,
    TlsKey,
    announcement,
    check_encryption,
    free_port,
    in_the_clear,
    keys_of,
)
from llmops_tui.errors import ExitCode, LlmopsError

if TYPE_CHECKING:
    from llmops_tui.inference.endpoints import Endpoint
    from llmops_tui.inference.options import LoadOptions
    from llmops_tui.inference.server_record import ServerHandle
    from llmops_tui.inference.supervisor import ServerSupervisor
    from llmops_tui.inference.wire import Reply
    from llmops_tui.models.registry import Model

_POLL_SECONDS = 0.2
_KEY_WAIT_SECONDS = 5.0


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
    model: Annotated[str, typer.Argument(help="A registered model.")],
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
        list[str] | None, typer.Option(help="An Origin whose pages may send requests (CORS).")
    ] = None,
    special_in_content: Annotated[
        bool | None,
        typer.Option(
            "--special-in-content/--text-in-content",
            help="Whether control tokens that a message spells are read as such; default: they are text.",
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until memory is free instead of failing.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Run the server in the background.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a running server of this model that has other settings.")
    ] = False,
    *,
    engine: Engine,
) -> None:
    """Serve a model behind an OpenAI-compatible address until interrupted, or until the terminal is closed."""
    from dataclasses import replace as changed

    from llmops_tui.inference.server_conflict import check_replaceable, differences
    from llmops_tui.inference.supervisor import ServerSupervisor
    from llmops_tui.models.registry import ModelRegistry

    session = session_of(context)
    found = ModelRegistry(session.catalog).get(model)
    keys, key_file = keys_of(session, api_key_file, no_key=no_key, host=None if socket_path else host)
    certificate, key_of_it = check_encryption(tls_cert, tls_key, address=socket_path is None)
    given = own_options(session)
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
        allowed_origins=tuple(allow_origin or ()),
        tls_cert=certificate,
        tls_key=key_of_it,
        starter=0 if detach else os.getpid(),
    )
    supervisor = ServerSupervisor(session.workspace)
    running = supervisor.find(found.name)
    differing = differences(running, options) if running is not None else []
    already = running is not None and not differing
    if running is not None and already:
        session.say(f"{model} is already served with these settings")
        options = changed(options, port=running.asked["port"])
    elif running is not None:
        if not replace:
            check_replaceable(running, differing)
        session.say(f"{model} is already loaded; its server is replaced")
    if options.host and not already:
        options = changed(options, port=_port_for(supervisor, running, options.host, options.port))
    with _ending_by_signals():
        try:
            _serve_until_ended(session, supervisor, found, options, key_file, already=already)
        except LlmopsError as error:
            if error.exit_code == ExitCode.INTERRUPTED and not already:
                supervisor.stop(found.name)
                with contextlib.suppress(OSError):
                    # The terminal may be what ended it.
                    session.say(f"{found.name} is unloaded")
            raise


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
    handle = _start(session, supervisor, model, options, keep=already)
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
        "encrypted": bool(options.tls_cert) if handle.address else None,
    }
    session.emit(data, lambda: announcement(place, options, key_file, model.name))
    if told := in_the_clear(options.host, encrypted=bool(options.tls_cert)):
        session.say(told)
    if options.starter and not already:
        _stay(supervisor, handle)


@contextlib.contextmanager
def _ending_by_signals() -> Iterator[None]:
    """SIGTERM and the end of the terminal end a command as ctrl+c does; what was told to ignore them, as nohup does, goes on."""

    def ended(number: int, _frame: Any) -> None:
        # A second one must not break off the tidying up after the first.
        signal.signal(number, signal.SIG_IGN)
        raise LlmopsError("interrupted", f"ended by {signal.Signals(number).name}", exit_code=ExitCode.INTERRUPTED)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, ended)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _port_for(supervisor: ServerSupervisor, running: ServerHandle | None, host: str, port: int) -> int:
    """The port to listen on: that of the server that is to be replaced, or a free one.

    Raises:
        LlmopsError: as :func:`free_port`; another server of ours is named.
    """
    from llmops_tui.inference.server_record import address_of

    address = {address_of(host, port, encrypted=encrypted) for encrypted in (False, True)}
    if running is not None and running.address in address:
        return port
    other = next((handle for handle in supervisor.running() if handle.address in address), None)
    if other is not None:
        hint = f"Choose another with --port, or stop that server: llmops model stop {other.model}"
        raise LlmopsError("port_in_use", f"{other.model!r} is served at {other.address}", hint)
    return free_port(host, port)


def _start(
    session: Session, supervisor: ServerSupervisor, model: Model, options: LoadOptions, *, keep: bool
) -> ServerHandle:
    """The server, a new one or the one to ``keep``, when it is ready."""
    told = False

    def waiting(seconds: float) -> None:
        nonlocal told
        if seconds > 1 and not told:
            told = True
            session.say(f"loading {model.name} …")

    start = supervisor.ensure if keep else supervisor.replace
    return start(model, options, waiting=waiting)


def _stay(supervisor: ServerSupervisor, handle: ServerHandle) -> None:
    """Stay until the server ended."""
    while supervisor.alive(handle):
        time.sleep(_POLL_SECONDS)
    raise LlmopsError(
        "server_ended",
        f"the server of {handle.model!r} ended: it was stopped, replaced or crashed",
        f"Its log is {supervisor.log(handle.model)}.",
    )


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
