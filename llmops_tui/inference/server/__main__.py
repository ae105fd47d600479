"""The process of one model server: ``python -m llmops_tui.inference.server STATE``."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import sys
from pathlib import Path

from llmops_tui.inference.server.engine import make_engine
from llmops_tui.inference.server.options import ServerOptions
from llmops_tui.inference.server.served_format import format_of
from llmops_tui.inference.server.shutdown import Ending
from llmops_tui.inference.server_record import ServerRecord
from llmops_tui.jobs.process import die_with_parent, endings_put_off, identify
from llmops_tui.models.engine_settings import from_json
from llmops_tui.rotating_log import RotatingLog
from llmops_tui.workspace.files import write_atomic


async def _run(options: ServerOptions, state: Path) -> None:
    """Start the engine, and only then load what serves and read the chat template: the one takes as long as the others."""
    ending = Ending()
    engine = await asyncio.to_thread(make_engine, options)
    starting = asyncio.create_task(engine.start())
    try:
        reading = asyncio.create_task(asyncio.to_thread(format_of, options.chat_template))
        serving = await asyncio.to_thread(importlib.import_module, "llmops_tui.inference.server.serving")
        await reading
        await serving.serve(options, state, engine, starting, ending)
    finally:
        starting.cancel()
        await engine.stop()


def noted(state: Path) -> ServerRecord:
    """What the state file says, after it says which process this is: whoever started it may be gone and cannot."""
    kept: ServerRecord = json.loads(state.read_text())
    me = identify(os.getpid())
    if me is not None and kept["pid"] != me.pid:
        kept["pid"], kept["started"] = me.pid, me.started
        write_atomic(state, json.dumps(kept))
    return kept


def main() -> None:
    """Serve with the options of the state file."""
    os.umask(0o077)
    with endings_put_off():
        state = Path(sys.argv[1])
        options = ServerOptions(**from_json(noted(state)["options"]))
        if options.starter:
            # Asked to, it ends what it does and keeps its records, as when it is stopped.
            die_with_parent(options.starter, signal.SIGTERM)
        with RotatingLog():
            asyncio.run(_run(options, state))


if __name__ == "__main__":
    main()
