"""The address of a server: host, port, keys and certificate, and the messages about them."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from llmops_tui.cli.output import Session
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.regular_files import read_regular_text
from llmops_tui.workspace.locks import locked
from llmops_tui.workspace.trust import KEY_FILE, require_trust
from llmops_tui.workspace.written import write_noted

if TYPE_CHECKING:
    from llmops_tui.inference.options import LoadOptions

_KEY_WAIT_SECONDS = 5.0
# A host's name or address in an origin; no pattern, since origins are compared exactly.
_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")
# What every command that listens on an address takes.
TlsCert = Annotated[
    Path | None, typer.Option("--tls-cert", help="Serve over TLS: the certificate in PEM, with its chain.")
]
TlsKey = Annotated[Path | None, typer.Option("--tls-key", help="The private key of the certificate, in PEM.")]


def announcement(place: str, options: LoadOptions, key_file: Path | None, model: str) -> str:
    """What somebody has to know to use a server that was just started."""
    from llmops_tui.inference.server.callers import key_name

    named = ", ".join(key_name(key) for key in options.keys)
    key = f"key   {key_file} (in traces: {named})" if key_file else "key   not required"
    lines = [f"model {model}", f"url   {place}", key]
    lines += [f"pages {', '.join(options.allowed_origins)}"] if options.allowed_origins else []
    port = options.port
    if options.host in {"127.0.0.1", "localhost"} and os.environ.get("SSH_CONNECTION") and port:
        lines.append(
            f"from your own machine: ssh -N -L {port}:127.0.0.1:{port} {os.environ.get('USER', 'you')}@this-host"
        )
    return "\n".join(lines)


def in_the_clear(host: str, *, encrypted: bool) -> str:
    """What there is to be told of an address that others on the way can listen to; else nothing."""
    from llmops_tui.inference.server.guard import is_public

    if encrypted or not host or not is_public(host):
        return ""
    return (
        f"connections to {host} are not encrypted: the key and all texts can be read in transit. "
        "--tls-cert and --tls-key enable TLS; docs/serving.md shows how to use a reverse proxy or SSH"
    )


def origins_of(session: Session, given: Sequence[str], *, no_key: bool) -> tuple[str, ...]:
    """The origins whose pages may use a server, each once and in order.

    Raises:
        InputRefusedError: ``bad_origin``: no browser sends it so; or any page would be let in without a key.
    """
    from llmops_tui.inference.server.origins import ANY, NULL

    for origin in given:
        sent = _as_sent(origin)
        if origin not in {ANY, NULL} and (origin != sent or not sent):
            raise InputRefusedError(
                "bad_origin",
                f"--allow-origin {origin[:200]!r} is no origin as browsers send it: scheme, host and port, and nothing else",
                f"Use --allow-origin {sent}"
                if sent
                else "An origin looks like https://app.example or http://localhost:3000.",
            )
    anybody = {ANY, NULL} & set(given)
    if anybody and no_key:
        raise InputRefusedError(
            "key_needed",
            f"with --no-key, --allow-origin {min(anybody)!r} would let every web page use the model",
            "Leave out --no-key, or name the origins.",
        )
    if anybody:
        session.say(
            f"--allow-origin {min(anybody)!r}: any web page may send requests; only the key protects the server"
        )
    return tuple(sorted(set(given)))


def _as_sent(origin: str) -> str:
    """The origin of an address as a browser sends it; empty where it is none."""
    try:
        parts = urlsplit(origin)
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError:
        return ""
    if not parts.scheme or not _HOST.fullmatch(host):
        return ""
    shown = f"[{host}]" if ":" in host else host
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{shown}" + (f":{port}" if port not in {None, usual} else "")


def check_encryption(certificate: Path | None, key: Path | None, *, address: bool) -> tuple[str, str]:
    """The files of a certificate and its key, whole paths, or two empty texts.

    Raises:
        InputRefusedError: one without the other, no address to encrypt, files that do not belong together, or a key
            that others can read.
    """
    from llmops_tui.inference.server.listener import encryption

    if certificate is None and key is None:
        return "", ""
    if certificate is None or key is None:
        raise InputRefusedError("bad_certificate", "--tls-cert and --tls-key are required together", "Give both files.")
    if not address:
        raise InputRefusedError(
            "bad_certificate", "TLS is not available on a Unix socket", "Leave out --tls-cert and --tls-key."
        )
    try:
        if stat.S_IMODE(key.stat().st_mode) & 0o077:
            raise InputRefusedError("key_file_open", f"other users can read {key}", f"chmod 600 {key}")
        encryption(str(certificate), str(key))
    except (OSError, ValueError) as error:
        why = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        raise InputRefusedError(
            "bad_certificate",
            f"{certificate} and {key} are not a certificate and its key: {why}"[:400],
            "Both are PEM files; the key has no password.",
        ) from error
    return str(certificate.resolve()), str(key.resolve())


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
            "--host is empty, which would mean all addresses of this machine",
            "Give 0.0.0.0 for all addresses, or leave it out.",
        )
    if no_key:
        if host is not None and is_public(host):
            raise InputRefusedError(
                "key_needed", f"{host} can be reached from other machines and requires a key", "Leave out --no-key."
            )
        return (), None
    path = given or session.workspace.root / KEY_FILE
    if given is None:
        require_trust(session.workspace, f"its servers would use the key in {path}, which others may know")
        _make_key(session, path)
    try:
        status = path.stat()
        keys = read_keys(read_regular_text(path).splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise InputRefusedError("key_file_unreadable", f"cannot read {path}: {error}") from error
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise InputRefusedError("key_file_open", f"other users can read {path}", f"chmod 600 {path}")
    if not keys or any(len(key) < 16 for key in keys):
        raise InputRefusedError("key_too_short", f"{path} has no key, or a key of fewer than 16 characters")
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
        write_noted(path, f"# Made for llmops serve; one key per line.\n{secrets.token_urlsafe(32)}\n")


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
