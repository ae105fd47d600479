"""Finds, starts and stops the model servers of a workspace; one server per model, shared by all clients."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from llmops_tui.child_python import module_command
from llmops_tui.errors import InputRefusedError, LlmopsError, sentences
from llmops_tui.inference.engine_wire import Health
from llmops_tui.inference.fallback import apply_known, remembered
from llmops_tui.inference.memory_reservation import check_loadable, lease, ledger
from llmops_tui.inference.options import AskedRecord, LoadOptions, RouterOptions, ServingRecord, ServingSettings
from llmops_tui.inference.server_lock import check_not_lost, check_ours, claim, lives, lock_of, reachable
from llmops_tui.inference.server_record import ServedRecord, ServerHandle, ServerRecord, age_of, handle_of, read_record
from llmops_tui.inference.socket_transport import socket_transport
from llmops_tui.jobs.process import boot_time, endings_put_off, identify
from llmops_tui.models.engine_settings import EngineSettings, SettingsRecord, part
from llmops_tui.models.gguf import read_header
from llmops_tui.models.registry import Model
from llmops_tui.regular_files import read_regular_text
from llmops_tui.workspace.files import append_bytes, make_folder_within, write_atomic
from llmops_tui.workspace.ids import new_id
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.locks import is_held

# The name of the one server of all models, which no model can have; as commands take it.
ALL_MODELS = "--all"
# The one of all models has chains beside them, which are above this package.
_SERVER, _ROUTER = "llmops_tui.inference.server", "llmops_tui.chains.served"
_START_SECONDS = 600.0
_POLL_SECONDS = 0.02
_LONG_POLL_SECONDS = 0.25
_STOP_SECONDS = 5.0
# How long a process that was started may take to say which it is, where whoever started it cannot any more.
_NAMED_SECONDS = 60.0


class ServerSupervisor:
    """The model servers of one workspace. All methods block; call them outside an event loop's thread."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def running(self) -> list[ServerHandle]:
        """The servers that are alive now."""
        handles = (self._read(path) for path in self._states())
        return [handle for handle in handles if handle is not None]

    def fallen(self) -> list[ServerHandle]:
        """The servers that ended without a word: killed, or crashed.

        One of before the machine started is none, nor is one of the workspace that this one was copied from. Each is one until
        its model is loaded again, or stopped.
        """
        return [handle for path in self._states() if (handle := self._read_fallen(path)) is not None]

    def find(self, model: str) -> ServerHandle | None:
        """The live server of one model; one that was only just started is waited for until it says which process it is."""
        path = self._state(model)
        # A record that was left so long ago, or that cannot be read, is not waited for: nobody will name a process there.
        deadline = time.monotonic() + _NAMED_SECONDS - age_of(path)
        while (handle := read_record(path)) is not None and not handle.process.pid:
            if time.monotonic() > deadline or not is_held(lock_of(self._folder, model)):
                return None
            time.sleep(_POLL_SECONDS)
        return handle if handle is not None and self.alive(handle) else None

    def alive(self, handle: ServerHandle) -> bool:
        """Whether a server lives, in this container or in another one."""
        return lives(self._folder, handle.model, handle.process)

    def ensure(
        self, model: Model, options: LoadOptions | None = None, *, waiting: Callable[[float], None] | None = None
    ) -> ServerHandle:
        """The model's server, started and loaded where it was not; ``waiting`` is told the seconds spent so far.

        Raises:
            LlmopsError: it could not be started; the message has the cause.
            MemoryShortError: it does not fit into memory.
        """
        _check_file(model)
        with self._start_lock(model.name):
            handle = self.find(model.name)
            if handle is not None and handle.sha256 == model.sha256 and reachable(handle):
                try:
                    self._wait_ready(handle, waiting)
                except LlmopsError:
                    if self.alive(handle):
                        raise
                    # It was just being stopped when it was found.
                    return self._start(model, options or LoadOptions(), waiting)
                return handle
            if handle is not None:
                check_ours(handle, model)
                self.stop(model.name)
            return self._start(model, options or LoadOptions(), waiting)

    def replace(
        self, model: Model, options: LoadOptions, *, waiting: Callable[[float], None] | None = None
    ) -> ServerHandle:
        """A server with just these options, in place of one that may run; as :meth:`ensure`."""
        _check_file(model)
        with self._start_lock(model.name):
            self.stop(model.name)
            return self._start(model, options, waiting)

    def serve_all(self, options: RouterOptions, *, waiting: Callable[[float], None] | None = None) -> ServerHandle:
        """The one server of all models, in place of one that may run; found and stopped by :data:`ALL_MODELS`.

        Raises:
            LlmopsError: it could not be started; the message has the cause.
        """
        with self._start_lock(ALL_MODELS):
            self.stop(ALL_MODELS)
            record = self._record(ALL_MODELS, options, options)
            with self._explained(ALL_MODELS):
                handle = self._spawn(ALL_MODELS, record, _ROUTER)
            self._wait_ready(handle, waiting)
            return handle

    def _record(self, name: str, options: LoadOptions, asked: LoadOptions, model: Model | None = None) -> ServerRecord:
        """What a server is started with; without a model it is that of all."""
        started: ServedRecord = {
            "workspace": str(self.workspace.root),
            "model": name,
            "path": str(model.path) if model else "",
            "sha256": model.sha256 if model else "",
            "socket": options.socket or str(self.workspace.make_sockets() / f"{new_id('s')}.sock"),
            "key": secrets.token_urlsafe(32),
            "chat_template": model.header.get("chat_template") if model else None,
            **cast("SettingsRecord", part(EngineSettings, options)),
            **cast("ServingRecord", part(ServingSettings, options)),
        }
        return {"options": started, "asked": cast("AskedRecord", asdict(asked)), "notes": []}

    @contextlib.contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        """Say of what the system refuses that it is the start of a server."""
        try:
            yield
        except OSError as error:
            full = error.errno == errno.ENOSPC
            raise LlmopsError(
                "disk_full" if full else "server_start_failed",
                f"the server of {name!r} cannot be started: "
                + (f"no space left for {self._folder}" if full else f"{error.strerror}: {error.filename}"),
                "Free some space and try again." if full else "Check that the workspace's folder is writable.",
            ) from error

    def _start(self, model: Model, options: LoadOptions, waiting: Callable[[float], None] | None) -> ServerHandle:
        me = identify(os.getpid())
        assert me is not None
        # The memory is taken before anything is loaded, in our name until the server has one of its own.
        taken, planned = lease(self.workspace, model, options, me, waiting)
        asked, options = options, planned.options
        try:
            with self._explained(model.name):
                record = self._record(model.name, options, asked, model)
                record["notes"] = list(planned.notes)
                handle = self._spawn(model.name, record, _SERVER, planned.environment, taken.lock)
        except LlmopsError:
            ledger().give_back(taken)
            raise
        ledger().hand_over(taken, handle.process)
        self._wait_ready(handle, waiting)
        found = remembered(model.path)
        if found is not None and found.rung != planned.rung.name and apply_known(options, model.path)[0] != options:
            # It had to leave out something on the way, of which the plan and the memory that was taken know nothing.
            self.stop(model.name)
            return self._start(model, asked, waiting)
        return handle

    def stop(self, model: str) -> bool:
        """Stop a model's server and free its memory; false where none ran.

        Raises:
            LlmopsError: ``server_elsewhere``: in another container; ``server_lost``: without a record.
        """
        handle = self.find(model)
        if handle is None:
            check_not_lost(self._folder, model)
            if self._read_fallen(self._state(model)) is not None:
                self._state(model).unlink(missing_ok=True)
            return False
        if not handle.process.send(signal.SIGTERM) and self.alive(handle):
            raise LlmopsError(
                "server_elsewhere",
                f"the server of {model!r} runs as process {handle.process.pid} of another container, "
                "and cannot be stopped from here",
                f"Stop it there: llmops model stop {model}",
            )
        deadline = time.monotonic() + _STOP_SECONDS
        while self.alive(handle) or handle.process.alive():
            if time.monotonic() > deadline:
                handle.process.send(signal.SIGKILL)
            time.sleep(_POLL_SECONDS)
        self._state(model).unlink(missing_ok=True)
        Path(handle.socket).unlink(missing_ok=True)
        return True

    @property
    def _folder(self) -> Path:
        return self.workspace.runs / "servers"

    def _states(self) -> list[Path]:
        """The records of models' servers; that of all models is no model's."""
        return sorted(path for path in self._folder.glob("*.json") if path != self._state(ALL_MODELS))

    def _state(self, model: str) -> Path:
        return self._folder / f"{model}.json"

    def log(self, model: str) -> Path:
        """The log of a model's server; that of its engine is another."""
        return self.workspace.logs / f"server-{model}.log"

    @contextlib.contextmanager
    def _start_lock(self, model: str) -> Iterator[None]:
        """Two apps that ask at once start one server."""
        make_folder_within(self._folder)
        with (self._folder / f"{model}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _read(self, path: Path) -> ServerHandle | None:
        handle = read_record(path)
        # One that is being started has no pid yet.
        return handle if handle is not None and handle.process.pid and self.alive(handle) else None

    def _read_fallen(self, path: Path) -> ServerHandle | None:
        handle = read_record(path)
        # One that is being started has no pid yet.
        if handle is None or not handle.process.pid or self.alive(handle):
            return None
        with contextlib.suppress(OSError):
            if path.stat().st_mtime >= boot_time() and not self._came_with_a_copy(handle):
                return handle
        return None

    def _came_with_a_copy(self, handle: ServerHandle) -> bool:
        """Whether a record lies beside another lock than its server held; where the lock is gone nothing says so."""
        with contextlib.suppress(FileNotFoundError):
            return handle.lock not in {0, lock_of(self._folder, handle.model).stat().st_ino}
        return False

    def _spawn(
        self, model: str, record: ServerRecord, module: str, environment: dict[str, str] | None = None, *leases: int
    ) -> ServerHandle:
        state = self._state(model)
        try:
            # Asked to end before it listens for that, the process does so when it is ready for it, in good order.
            with append_bytes(self.log(model)) as log, claim(self._folder, model) as claimed, endings_put_off():
                record = {**record, "lock": os.fstat(claimed.fileno()).st_ino}
                write_atomic(state, json.dumps({**record, "pid": 0, "started": 0}))
                process = subprocess.Popen(
                    module_command(module, str(state)),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    pass_fds=(claimed.fileno(), *leases),
                    cwd="/",
                    env={**os.environ, **(environment or {}), "LLMOPS_SERVER": model},
                )
                claimed.write(str(process.pid).encode())
        except (LlmopsError, OSError):
            # There is no process that others would have to wait for.
            state.unlink(missing_ok=True)
            raise
        identity = identify(process.pid)
        if identity is None:
            raise self._start_failed(model, "it ended immediately")
        text = json.dumps({**record, "pid": identity.pid, "started": identity.started})
        write_atomic(state, text)
        return handle_of(json.loads(text), identity)

    def _wait_ready(self, handle: ServerHandle, waiting: Callable[[float], None] | None) -> None:
        import httpx

        started = time.monotonic()
        transport = socket_transport(handle.socket)
        with httpx.Client(transport=transport, base_url="http://model", timeout=5.0) as client:
            while (spent := time.monotonic() - started) < _START_SECONDS:
                if not self.alive(handle):
                    raise self._start_failed(handle.model, "its process ended while starting")
                facts: dict[str, Any] = {"status": "starting"}
                # It listens a while after it has begun: until then there is nobody to ask.
                if Path(handle.socket).exists():
                    with contextlib.suppress(httpx.TransportError, ValueError):
                        facts = client.get("/health").json()
                if facts["status"] == "ok":
                    return
                if facts["status"] == "failed":
                    raise LlmopsError(**facts["error"])
                if facts["status"] == "failing":
                    raise LlmopsError(
                        "engine_keeps_dying",
                        f"the engine of {handle.model!r} keeps dying: {facts.get('last_failure', '')}",
                        f"It is started again in {facts['retry_in_s']:.0f} s; llmops model stop {handle.model} stops that.",
                    )
                if waiting is not None:
                    waiting(spent)
                # A long load is asked about less often: it needs the cores itself.
                time.sleep(min(max(_POLL_SECONDS, spent / 20), _LONG_POLL_SECONDS))
        raise self._start_failed(handle.model, f"it was not ready after {_START_SECONDS:g} s")

    def _start_failed(self, model: str, cause: str) -> LlmopsError:
        log = self.log(model)
        last = ""
        with contextlib.suppress(OSError, IndexError):
            last = read_regular_text(log, "replace").strip().splitlines()[-1]
        told = sentences(f"the server of {model!r} did not start: {cause}", last)
        return LlmopsError("server_start_failed", told[:500], f"Its log is {log}.")


def health(handle: ServerHandle) -> Health:
    """What a server says of itself and its engine; empty where it does not answer."""
    import httpx

    transport = socket_transport(handle.socket)
    headers = {"Authorization": f"Bearer {handle.key}"}
    try:
        with httpx.Client(transport=transport, base_url="http://localhost", headers=headers, timeout=3.0) as client:
            return cast("Health", dict(client.get("/health").json()))
    except (httpx.TransportError, ValueError):
        return {}


def _check_file(model: Model) -> None:
    """Refuse a file that is gone, changed in size, damaged, or no whole model, before native code sees it."""
    check_loadable(model)
    if not model.path.exists():
        raise InputRefusedError(
            "model_missing", f"{model.path} does not exist any more", "Restore the file, or add the model again."
        )
    read_header(model.path)
    if not model.present:
        raise InputRefusedError(
            "model_changed", f"{model.path} is not the file that was registered", f"llmops model verify {model.name}"
        )
