"""The process of all models at one address, and of what else goes by a model's name there; :mod:`llmops_tui.chains.served`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from llmops_tui.inference.options import AskedRecord
from llmops_tui.inference.router.serving import MakeOthers, MakePrompts, serve_all
from llmops_tui.inference.server.__main__ import noted
from llmops_tui.inference.server.options import ServerOptions
from llmops_tui.inference.server.shutdown import Ending
from llmops_tui.jobs.process import die_with_parent, endings_put_off
from llmops_tui.models.engine_settings import from_json
from llmops_tui.rotating_log import RotatingLog


async def _run(
    options: ServerOptions, asked: AskedRecord, state: Path, made_of: MakeOthers, prompts_of: MakePrompts
) -> None:
    await serve_all(options, asked, state, Ending(), made_of, prompts_of)


def main(made_of: MakeOthers, prompts_of: MakePrompts) -> None:
    """Serve with the options of the state file; ``made_of`` makes what is served beside the models, ``prompts_of`` prompts."""
    os.umask(0o077)
    with endings_put_off():
        state = Path(sys.argv[1])
        record = noted(state)
        options = ServerOptions(**from_json(record["options"]))
        if options.starter:
            # Asked to, it ends what it does and unloads what it loaded, as when it is stopped.
            die_with_parent(options.starter, signal.SIGTERM)
        with RotatingLog():
            asyncio.run(_run(options, record["asked"], state, made_of, prompts_of))
