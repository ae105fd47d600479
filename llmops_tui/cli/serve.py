"""``llmops serve``: a model behind an OpenAI-compatible address, with a key; and ``llmops embed``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmops_tui.cli.engine_flags import Engine, engine_flags
from llmops_tui.cli.output import Session, session_of
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.workspace.files import write_atomic
from llmops_tui.workspace.locks import locked
from llmops_tui.workspace.trust import KEY_FILE, require_trust

if TYPE_CHECKING:
    from llmops_tui.inference.endpoints import Endpoint
    from llmops_tui.inference.options import LoadOptions
    from llmops_tui.inference.supervisor import ServerHandle, ServerSupervisor
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

    return opener(session)(ModelRegistry(session.catalogue).get(name))


@engine_flags
def serve(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="A registered model.")],
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than this machine's own need a key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 takes a free one.")] = 8080,
    socket_path: Annotated[
        Path | None, typer.Option("--socket", help="Listen on this Unix socket, and on no port.")
    ] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(help="Keys, one a line; else one is made in the workspace.")
    ] = None,
    no_key: Annotated[
        bool, typer.Option("--no-key", help="Ask for no key; on this machine's own address alone.")
    ] = False,
    allow_host: Annotated[list[str] | None, typer.Option(help="A further Host to answer to.")] = None,
    allow_origin: Annotated[list[str] | None, typer.Option(help="An Origin whose pages may ask.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for memory instead of refusing.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Leave it running in the background.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="End a server of this model that runs with other settings.")
    ] = False,
    *,
    engine: Engine,
) -> None:
    """Serve a model behind an OpenAI-compatible address until interrupted."""
    from dataclasses import replace as changed

    from llmops_tui.inference.standing import check_replaceable, differences
    from llmops_tui.inference.supervisor import ServerSupervisor
    from llmops_tui.models.registry import ModelRegistry

    session = session_of(context)
    found = ModelRegistry(session.catalogue).get(model)
    keys, key_file = keys_of(session, api_key_file, no_key=no_key, host=None if socket_path else host)
    options = changed(
        engine(own_options(session)),
        wait=wait,
        idle_seconds=1e12,
        host="" if socket_path else host,
        port=0 if socket_path else port,
        socket=str(socket_path.resolve()) if socket_path else "",
        keys=keys,
        open_access=no_key,
        allowed_hosts=tuple(allow_host or ()),
        allowed_origins=tuple(allow_origin or ()),
    )
    supervisor = ServerSupervisor(session.workspace)
    running = supervisor.find(found.name)
    differing = differences(running, options) if running is not None else []
    already = running is not None and not differing
    if running is not None and already:
        session.say(f"{model} is served already, with just these settings")
        options = changed(options, port=running.asked["port"])
    elif running is not None:
        if not replace:
            check_replaceable(running, differing)
        session.say(f"{model} was loaded already; its server is replaced")
    if options.host and not already:
        options = changed(options, port=_port_for(supervisor, running, options.host, options.port))
    handle = _start(session, supervisor, found, options, keep=already)
    for note in handle.notes:
        session.say(note)
    place = f"{handle.address}/v1" if handle.address else f"unix:{handle.socket}"
    data = {
        "model": model, "url": place, "api_key_file": str(key_file) if key_file else None, "pid": handle.process.pid,
        "parallel": options.parallel, "already": already, "notes": list(handle.notes),
    }  # fmt: skip
    session.emit(data, lambda: _announce(place, model, key_file, host, port=int(handle.asked["port"])))
    if not detach and not already:
        _stay(session, supervisor, handle)


def _port_for(supervisor: ServerSupervisor, running: ServerHandle | None, host: str, port: int) -> int:
    """The port to listen on: that of the server that is to be replaced, or a free one.

    Raises:
        LlmopsError: as :func:`free_port`; another server of ours is named.
    """
    from llmops_tui.inference.supervisor import address_of

    address = address_of(host, port)
    if running is not None and running.address == address:
        return port
    other = next((handle for handle in supervisor.running() if handle.address == address), None)
    if other is not None:
        hint = f"Choose another with --port, or end that one: llmops model stop {other.model}"
        raise LlmopsError("port_in_use", f"{other.model!r} is served at {address}", hint)
    return free_port(host, port)


def _announce(place: str, model: str, key_file: Path | None, host: str, port: int) -> str:
    key = f"key   {key_file}" if key_file else "key   none asked for"
    lines = [f"model {model}", f"url   {place}", key]
    if host in {"127.0.0.1", "localhost"} and os.environ.get("SSH_CONNECTION") and port:
        lines.append(
            f"from your own machine: ssh -N -L {port}:127.0.0.1:{port} {os.environ.get('USER', 'you')}@this-host"
        )
    return "\n".join(lines)


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


def _stay(session: Session, supervisor: ServerSupervisor, handle: ServerHandle) -> None:
    """Stay until interrupted or until the server ended."""
    try:
        while handle.process.alive():
            time.sleep(_POLL_SECONDS)
    except LlmopsError:
        supervisor.stop(handle.model)
        session.say(f"{handle.model} is unloaded")
        raise
    raise LlmopsError(
        "server_ended",
        f"the server of {handle.model!r} ended: it was stopped or replaced, or it died",
        f"Its log is {supervisor.log(handle.model)}.",
    )


def keys_of(
    session: Session, given: Path | None, *, no_key: bool, host: str | None
) -> tuple[tuple[str, ...], Path | None]:
    """The keys to let in, and the file they are in; ``host`` is the address to listen on, none for a socket.

    Raises:
        InputRefusedError: ``bad_address``: an empty one, which would be all of this machine's; no key for a public
            address, or a key file that others can read.
    """
    from llmops_tui.inference.server.guard import is_public, read_keys

    if host is not None and not host.strip():
        raise InputRefusedError(
            "bad_address",
            "--host is empty, which would be all addresses of this machine",
            "Say 0.0.0.0 for that, or leave it out.",
        )
    if no_key:
        if host is not None and is_public(host):
            raise InputRefusedError(
                "key_needed", f"{host} can be reached from other machines; a key is needed there", "Leave out --no-key."
            )
        return (), None
    path = given or session.workspace.root / KEY_FILE
    if given is None:
        require_trust(session.workspace, f"its servers would take the key in {path}, which others may know")
        _make_key(session, path)
    try:
        status = path.stat()
        keys = read_keys(path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise InputRefusedError("key_file_unreadable", f"cannot read {path}: {error}") from error
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise InputRefusedError("key_file_open", f"others can read {path}", f"chmod 600 {path}")
    if not keys or any(len(key) < 16 for key in keys):
        raise InputRefusedError("key_too_short", f"{path} has no key, or one of less than 16 characters")
    return keys, path


def _make_key(session: Session, path: Path) -> None:
    """Make the workspace's own key where it has none, or an empty file, which earlier versions left on a full disk.

    Raises:
        OSError: it cannot be written; nothing of it is left.
    """
    # Two that begin at once take one key.
    with locked(session.workspace.make_sockets() / f"{KEY_FILE}.lock", _KEY_WAIT_SECONDS):
        if os.path.lexists(path) and not (path.is_file() and path.stat().st_size == 0):
            return
        if os.path.lexists(path):
            session.say(f"{path} was empty: a new key is made")
        write_atomic(path, f"# Made for llmops serve; one key a line.\n{secrets.token_urlsafe(32)}\n")


def free_port(host: str, port: int) -> int:
    """The port, where it is free; a free one for 0.

    Raises:
        LlmopsError: ``port_in_use`` or ``bad_address``.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise LlmopsError(
                "port_in_use", f"cannot listen on {host} port {port}: {error.strerror}", "Choose another with --port."
            ) from error
        return int(probe.getsockname()[1])


def embed(
    context: typer.Context,
    model: Annotated[str, typer.Option("--model", help="A registered model.")],
    text: Annotated[list[str], typer.Option("--text", help="A text; may be given several times.")],
) -> None:
    """The embeddings of texts, as JSON."""
    session = session_of(context)
    endpoint = endpoint_of(session, model)

    async def ask() -> dict[str, Any]:
        from llmops_tui.inference.client import ModelClient

        async with ModelClient(endpoint) as client:
            return await client.complete("/v1/embeddings", {"input": text, "encoding_format": "float"})

    answer = asyncio.run(ask())
    vectors = [item["embedding"] for item in answer["data"]]
    data = {"model": model, "embeddings": vectors, "dimensions": len(vectors[0]), "usage": answer["usage"]}
    session.emit(data, lambda: "\n".join(" ".join(f"{x:.6f}" for x in vector) for vector in vectors))
