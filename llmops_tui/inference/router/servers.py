"""The model servers of a workspace as the pool uses them: by their supervisor, and by the ledger of memory."""

from __future__ import annotations

import contextlib
import threading

from llmops_tui.errors import LlmopsError
from llmops_tui.inference.memory_reservation import ledger
from llmops_tui.inference.options import LoadOptions
from llmops_tui.inference.server_conflict import check_joinable
from llmops_tui.inference.server_record import ServerHandle
from llmops_tui.inference.supervisor import ServerSupervisor, health
from llmops_tui.models.registry import Model
from llmops_tui.regular_files import read_regular_text
from llmops_tui.workspace.files import write_atomic
from llmops_tui.workspace.layout import Workspace


class SupervisedServers:
    """The servers of one workspace, loaded with ``options``; see :class:`llmops_tui.inference.router.pool.Servers`."""

    def __init__(self, workspace: Workspace, options: LoadOptions) -> None:
        self._workspace = workspace
        self._options = options
        self._supervisor = ServerSupervisor(workspace)
        self._ending = threading.Event()
        # Beside the servers' records, since whoever is killed leaves its models to the next.
        self._notes = workspace.runs / "servers" / "loaded-by-all"
        self._noting = threading.Lock()

    def running(self) -> list[ServerHandle]:
        """Those that live."""
        return self._supervisor.running()

    def ensure(self, model: Model) -> ServerHandle:
        """A model's server, loaded where it was not.

        Raises:
            LlmopsError: as :meth:`ServerSupervisor.ensure`; :func:`check_joinable`; ``server_ending``:
                :meth:`end` was called meanwhile.
        """
        try:
            handle = self._supervisor.ensure(model, self._options, waiting=self._go_on)
        except LlmopsError as error:
            if error.code == "server_ending":
                self._supervisor.stop(model.name)
            raise
        check_joinable(handle, self._options)
        return handle

    def stop(self, model: str) -> bool:
        """Unload a model."""
        return self._supervisor.stop(model)

    def busy(self, handle: ServerHandle) -> bool:
        """Whether a server answers anybody now, or is still being loaded for somebody else."""
        facts = health(handle)
        if facts.get("status") == "ok":
            return bool(facts["active"] or facts["waiting"])
        return facts.get("status") == "loading"

    def note(self, handle: ServerHandle) -> None:
        """Remember that a server was loaded from here, also for whoever serves all models next."""
        with self._noting, contextlib.suppress(OSError):
            live = {each.socket for each in self.running()}
            write_atomic(self._notes, "\n".join(sorted((self._noted() & live) | {handle.socket})))

    def noted(self, handle: ServerHandle) -> bool:
        """Whether it was; by one that ended without unloading it, too."""
        # A socket's name is of one server alone.
        return handle.socket in self._noted()

    def _noted(self) -> set[str]:
        try:
            return set(read_regular_text(self._notes).split("\n"))
        except (OSError, ValueError):
            return set()

    def room_of(self, handles: list[ServerHandle], device: str) -> int:
        """Bytes of a device that these servers hold."""
        names, root = {handle.model for handle in handles}, str(self._workspace.root)
        found = [lease for lease in ledger().leases() if lease.name in names and lease.workspace == root]
        return sum(lease.sizes.get(device, 0) for lease in found if lease.kind == "server")

    def end(self) -> None:
        """Wait for no load any more, in whichever thread; what is half loaded is unloaded."""
        self._ending.set()

    def _go_on(self, _seconds: float) -> None:
        if self._ending.is_set():
            raise LlmopsError("server_ending", "the server of all models is ending")
