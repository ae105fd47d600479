"""A tool server written with the protocol's own package: an independent counterpart."""

from __future__ import annotations

import asyncio
import os
from typing import TypedDict

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ToolAnnotations

server = MCPServer("counterpart", version="7")


class Sum(TypedDict):
    """A sum."""

    total: int


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: int) -> Sum:
    """Add two numbers."""
    return {"total": a + b}


@server.tool()
def weather(city: str) -> str:
    """The weather of a city."""
    return f"It rains in {city}."


@server.tool()
def variables() -> str:
    """The names of the environment's variables."""
    return " ".join(sorted(os.environ)) + f" in {os.getcwd()}"  # noqa: PTH109  where it was started


@server.tool()
def fail() -> str:
    """Fail."""
    raise ValueError("this went wrong")


@server.tool()
async def slow(context: Context) -> str:
    """Tell progress, and never end."""
    await context.report_progress(1, 3, "one of three")
    await asyncio.Event().wait()
    return ""


if __name__ == "__main__":
    server.run("stdio")
