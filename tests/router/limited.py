"""All models at one address with the models' servers, in one process: ``python -m tests.router.limited WORKSPACE PORT``.

Two models, whose engines count and say nothing; what is let in, assigned and kept is as with any others.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from llmops_tui.inference.server.app import ModelServer
from llmops_tui.inference.server.listener import listen_on
from llmops_tui.inference.server.options import ServerOptions
from llmops_tui.inference.server.serving import make_http
from llmops_tui.inference.server_record import ServerHandle
from llmops_tui.jobs.process import ProcessIdentity
from llmops_tui.models.registry import Model
from llmops_tui.workspace.layout import Workspace
from tests.access.doors import OWN, TEMPLATE, Counting
from tests.engine.engines import MODEL
from tests.router.fakes import FakeServers, FixedModels, running

NAMES = ("one", "two")


class CountingServers(FakeServers):
    """Real servers of models over engines that count, on sockets of this process."""

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        super().__init__(folder)
        self._root = str(workspace.root)
        self._tasks: list[asyncio.Task[None]] = []
        self.handles: dict[str, ServerHandle] = {}

    async def start(self) -> None:
        """Begin to serve both."""
        for name in NAMES:
            path = str(self.folder / f"{name}.sock")
            options = ServerOptions(self._root, name, str(MODEL), name, path, OWN, TEMPLATE, parallel=256)
            http = make_http(ModelServer(options, Counting()).app(), options)  # type: ignore[arg-type]
            self._tasks.append(asyncio.create_task(http.serve([listen_on(path)])))
            self.handles[name] = ServerHandle(name, name, path, OWN, ProcessIdentity(os.getpid(), 1.0))

    def running(self) -> list[ServerHandle]:
        return list(self.handles.values())

    def ensure(self, model: Model) -> ServerHandle:
        return self.handles[model.name]


async def serve(root: Path, port: int) -> None:
    """Serve until the process is ended."""
    # Paths of sockets are short.
    with tempfile.TemporaryDirectory(prefix="llmops-l") as folder:
        workspace = Workspace(root)
        servers = CountingServers(workspace, Path(folder))
        await servers.start()
        async with running(workspace, FixedModels(*NAMES), servers, port=port):
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
