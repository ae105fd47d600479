"""What a model server is started with."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ServerOptions:
    """The options of one model server.

    ``socket`` is where this workspace's apps and commands reach it, with ``key``; ``host`` and ``port`` are where others
    do, if any, with one of ``keys``.
    """

    workspace: str
    model: str
    path: str
    sha256: str
    socket: str
    key: str
    chat_template: str | None
    context: int = 0
    threads: int = 0
    gpu_layers: int = 0
    parallel: int = 4
    cache_bytes: int = 1 << 30
    speculate: bool = False
    precision: str = "fast"
    trace_content: str = "keep"
    idle_seconds: float = 900.0
    hang_seconds: float = 300.0
    host: str = ""
    port: int = 0
    keys: tuple[str, ...] = ()
    open_access: bool = False
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = field(default=())
