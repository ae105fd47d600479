"""A command that stays with a server: which port it takes, what ends it, and how long it waits."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from llmops_tui.cli.output import Session
from llmops_tui.cli.serve_address import free_port
from llmops_tui.errors import Interrupted, LlmopsError

if TYPE_CHECKING:
    from llmops_tui.inference.server_record import ServerHandle
    from llmops_tui.inference.supervisor import ServerSupervisor

_POLL_SECONDS = 0.2


@contextlib.contextmanager
def ending_by_signals() -> Iterator[None]:
    """SIGTERM and the end of the terminal end a command as ctrl+c does; what was told to ignore them, as nohup does, goes on."""

    def ended(number: int, _frame: Any) -> None:
        # A second one must not break off the tidying up after the first.
        signal.signal(number, signal.SIG_IGN)
        raise Interrupted(f"ended by {signal.Signals(number).name}")

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, ended)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def port_for(supervisor: ServerSupervisor, running: ServerHandle | None, host: str, port: int) -> int:
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


def telling(session: Session, name: str) -> Callable[[float], None]:
    """What says once, where it takes longer, that a model is being loaded."""
    told = False

    def waiting(seconds: float) -> None:
        nonlocal told
        if seconds > 1 and not told:
            told = True
            session.say(f"loading {name} …")

    return waiting


def stay(supervisor: ServerSupervisor, handle: ServerHandle) -> None:
    """Stay until the server ended."""
    while supervisor.alive(handle):
        time.sleep(_POLL_SECONDS)
    raise LlmopsError(
        "server_ended",
        f"the server of {handle.model!r} ended: it was stopped, replaced or crashed",
        f"Its log is {supervisor.log(handle.model)}.",
    )
