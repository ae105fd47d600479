"""``llmops plugin``: what installed packages add."""

from __future__ import annotations

from typing import Annotated

import typer

from llmops_tui.cli.output import session_of
from llmops_tui.errors import ExitCode

app = typer.Typer(help="Plugins from installed packages: metrics, formats, checks, judges, exporters, reports, themes.")


@app.command("list")
def list_(
    context: typer.Context,
    kind: Annotated[str | None, typer.Option(help="Only this kind, such as metrics.")] = None,
) -> None:
    """List all plugins with kind, name, package and state. Exit 1 if one of them does not work."""
    from llmops_tui.errors import InputRefusedError
    from llmops_tui.plugin_kinds import KINDS, installed

    session = session_of(context)
    if kind is not None and kind not in KINDS:
        raise InputRefusedError("unknown_kind", f"{kind!r} is not a kind of plugin", f"One of: {', '.join(KINDS)}.")
    found = [plugin for plugin in installed() if kind in {None, plugin.kind}]
    rows = [(p.kind, p.name, p.package, p.version, p.problem or "works") for p in found]
    session.emit(
        {"plugins": [plugin.as_dict() for plugin in found]},
        lambda: session.rows(("kind", "name", "package", "version", "state"), rows),
    )
    if any(plugin.problem for plugin in found):
        raise typer.Exit(int(ExitCode.FAILED))
