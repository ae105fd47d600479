"""A model's server in a process of its own, over an engine that counts: ``python -m tests.access.served WORKSPACE PORT``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from llmops_tui.inference.server.app import ModelServer
from llmops_tui.inference.server.listener import listen_at
from llmops_tui.inference.server.options import ServerOptions
from llmops_tui.inference.server.serving import make_http
from tests.access.doors import OWN, TEMPLATE, Counting
from tests.engine.engines import MODEL


async def serve(root: Path, port: int) -> None:
    """Serve until the process is ended."""
    options = ServerOptions(
        str(root), "m", str(MODEL), "", "", OWN, TEMPLATE, host="127.0.0.1", port=port, keys=(OWN,), parallel=256
    )
    server = ModelServer(options, Counting())  # type: ignore[arg-type]
    http = make_http(server.app(), options)
    await http.serve([listen_at("127.0.0.1", port)])


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
