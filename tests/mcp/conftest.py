"""A workspace that the tests of this folder ask of, and writes of which no other test depends on."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from llmops_tui.inference.supervisor import ServerSupervisor
from llmops_tui.mcp_server.workbench import Workbench
from llmops_tui.workspace.layout import Workspace
from tests.later import Later

if TYPE_CHECKING:
    from mcp import Client

mcp, server = Later("mcp"), Later("llmops_tui.mcp_server.server")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, filled_once: Path) -> Iterator[Workspace]:
    """A copy of the sample for all tests of a module; its model servers are stopped at the end."""
    root = tmp_path_factory.mktemp("mcp") / "ws"
    shutil.copytree(filled_once, root)
    workspace = Workspace(root)
    yield workspace
    supervisor = ServerSupervisor(workspace)
    for handle in supervisor.running():
        supervisor.stop(handle.model)


@asynccontextmanager
async def connected(workspace: Workspace, *, allow_write: bool = False, mode: str = "auto") -> AsyncIterator[Client]:
    """The protocol's own client, connected to a workspace's server in this process."""
    bench = Workbench(workspace, allow_write=allow_write)
    try:
        async with mcp.Client(server.WorkspaceServer(bench).made(), mode=mode) as client:
            yield client
    finally:
        bench.close()
