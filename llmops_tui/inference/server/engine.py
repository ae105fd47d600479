"""The engine of one model server, as its options want it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

from llmops_tui.inference.engine_interface import Engine
from llmops_tui.inference.engine_pool import EnginePool
from llmops_tui.inference.engine_wire import EngineStart
from llmops_tui.inference.server.options import ServerOptions
from llmops_tui.inference.server.served_format import format_of
from llmops_tui.inference.worker_client import EngineProcess
from llmops_tui.models.engine_settings import EngineSettings, part
from llmops_tui.workspace.layout import Workspace


def make_engine(options: ServerOptions) -> Engine:
    """The engine's process, or several, not started yet; what one had to leave out is told in the workspace.

    The chat template is read while it starts: it has to know which control tokens are part of answers before it gives any.
    """
    workspace = Workspace(Path(options.workspace))

    def tell(text: str) -> None:
        from llmops_tui.workspace.notices import write_notice

        write_notice(workspace, text)

    def process(number: int) -> EngineProcess:
        start = {**part(EngineSettings, options), "path": options.path}
        if options.engines > 1 and not options.threads:
            # One engine has one thread less than cores; several share those.
            start["threads"] = max(1, ((os.cpu_count() or 2) - 1) // options.engines)
        name = f"engine-{options.model}.log" if number == 1 else f"engine-{options.model}-{number}.log"
        return EngineProcess(
            cast("EngineStart", start),
            workspace.logs / name,
            hang_seconds=options.hang_seconds,
            news=tell,
            visible=lambda: format_of(options.chat_template).visible,
        )

    if options.engines == 1:
        return process(1)
    return EnginePool([process(number) for number in range(1, options.engines + 1)], options.parallel)
