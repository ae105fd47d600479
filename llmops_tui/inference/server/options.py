"""Options of a model server process."""

from __future__ import annotations

from dataclasses import dataclass

from llmops_tui.inference.options import ServingSettings
from llmops_tui.models.engine_settings import EngineSettings


@dataclass(frozen=True)
class ServerOptions(EngineSettings, ServingSettings):
    """The options of one model server: which model, how it is loaded, and how it is served.

    ``socket`` is where this workspace's apps and commands reach it, with ``key``.
    """

    workspace: str
    model: str
    path: str
    sha256: str
    socket: str
    key: str
    chat_template: str | None
