"""``llmops serve --all``: all registered models at one address."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

from llmops_tui.cli.output import Session
from llmops_tui.cli.serve_address import announcement, in_the_clear
from llmops_tui.cli.serve_process import ending_by_signals, port_for, stay
from llmops_tui.errors import InputRefusedError, Interrupted
from llmops_tui.inference.options import LoadOptions, RouterOptions
from llmops_tui.inference.server_conflict import check_joinable, check_replaceable, differences
from llmops_tui.inference.supervisor import ALL_MODELS, ServerSupervisor
from llmops_tui.models.registry import ModelRegistry

_NEVER = 1e12


def serve_all(
    session: Session,
    options: LoadOptions,
    key_file: Path | None,
    *,
    max_loaded: int,
    idle_minutes: float | None,
    replace: bool,
) -> None:
    """Start the server of all models, tell where it is, and stay with it where it is not to outlive this command.

    Raises:
        InputRefusedError: ``bad_setting``; ``already_served``: it runs with other settings, and no ``replace``;
            ``served_otherwise``: a model that is loaded keeps or reads requests otherwise.
        LlmopsError: it cannot be started, or was ended.
    """
    wanted = _wanted(session, options, max_loaded, idle_minutes)
    supervisor = ServerSupervisor(session.workspace)
    for handle in supervisor.running():
        check_joinable(handle, wanted)
    running = supervisor.find(ALL_MODELS)
    differing = differences(running, wanted) if running is not None else []
    already = running is not None and not differing
    if running is not None and already:
        session.say("all models are already served with these settings")
    elif running is not None:
        if not replace:
            check_replaceable(running, differing)
        session.say("the server of all models is replaced")
    with ending_by_signals():
        try:
            if running is None or not already:
                port = port_for(supervisor, running, wanted.host, wanted.port) if wanted.host else 0
                wanted = _changed(wanted, port)
                running = supervisor.serve_all(wanted)
            place = f"{running.address}/v1" if running.address else f"unix:{running.socket}"
            names = [model.name for model in ModelRegistry(session.catalog).all() if model.kind == "gguf"]
            data = {
                "models": names,
                "url": place,
                "api_key_file": str(key_file) if key_file else None,
                "pid": running.process.pid,
                "max_loaded": max_loaded or None,
                "idle_minutes": None if wanted.idle_seconds >= _NEVER else wanted.idle_seconds / 60,
                "already": already,
                "encrypted": bool(wanted.tls_cert) if running.address else None,
            }
            wanted = _changed(wanted, running.asked["port"])
            told = ", ".join(names) or "none is registered yet"
            session.emit(data, lambda: announcement(place, wanted, key_file, told))
            if told_of := in_the_clear(wanted.host, encrypted=bool(wanted.tls_cert)):
                session.say(told_of)
            if wanted.starter and not already:
                stay(supervisor, running)
        except Interrupted:
            if not already:
                supervisor.stop(ALL_MODELS)
                with contextlib.suppress(OSError):
                    # The terminal may be what ended it.
                    session.say("all models are unloaded")
            raise


def _wanted(session: Session, options: LoadOptions, max_loaded: int, idle_minutes: float | None) -> RouterOptions:
    if options.draft:
        raise InputRefusedError(
            "bad_setting",
            f"draft is {options.draft!r}, and a draft model fits models with its vocabulary alone, not all",
            "Serve that model at its own address with --draft; --speculate works with all models.",
        )
    idle = session.settings.idle_minutes if idle_minutes is None else idle_minutes
    given = dataclasses.asdict(options) | {"idle_seconds": idle * 60 if idle else _NEVER, "max_loaded": max_loaded}
    return RouterOptions(**given)


def _changed(options: RouterOptions, port: int) -> RouterOptions:
    return dataclasses.replace(options, port=port)
