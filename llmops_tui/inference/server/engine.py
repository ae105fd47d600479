"""The engine of one model server, as its options want it."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from llmops_tui.inference.engine_wire import EngineStart
from llmops_tui.inference.server.options import ServerOptions
from llmops_tui.inference.server.served_format import format_of
from llmops_tui.inference.worker_client import EngineProcess
from llmops_tui.models.engine_settings import EngineSettings, part
from llmops_tui.workspace.layout import Workspace


def make_engine(options: ServerOptions) -> EngineProcess:
    """The engine's process, not started yet; what it had to leave out is told in the workspace.

    The chat template is read while it starts: it has to know which control tokens are part of answers before it gives any.
    """
    workspace = Workspace(Path(options.workspace))

    def tell(text: str) -> None:
        from llmops_tui.workspace.notices import write_notice

        write_notice(workspace, text)

    return EngineProcess(
        {
            **cast("EngineStart", part(EngineSettings, options)),
            "path": options.path,
        },
        workspace.logs / f"engine-{options.model}.log",
        hang_seconds=options.hang_seconds,
        news=tell,
        visible=lambda: format_of(options.chat_template).visible,
    )
