"""``llmops model alias``: other names under which ``serve --all`` finds a model."""

from __future__ import annotations

from typing import Annotated

import typer

from llmops_tui.cli.output import session_of
from llmops_tui.errors import ExitCode, LlmopsError


def alias(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="The model's name; NAME+ADAPTER for one with an adapter.")] = None,
    other: Annotated[str | None, typer.Argument(metavar="ALIAS", help="The name to add, such as qwen3:8b.")] = None,
    remove: Annotated[str | None, typer.Option("--remove", metavar="ALIAS", help="Remove an alias.")] = None,
) -> None:
    """Give a model another name for clients of `serve --all`; without arguments, list the aliases."""
    from llmops_tui.models.aliases import AliasBook
    from llmops_tui.models.registry import ModelRegistry

    session = session_of(context)
    book = AliasBook(session.catalog)
    if remove is not None:
        if name is not None:
            raise LlmopsError("usage", "--remove takes the alias alone", exit_code=ExitCode.USAGE)
        stood_for = book.remove(remove)
        session.emit({"alias": remove, "model": stood_for, "removed": True}, lambda: f"{remove} is removed")
    elif name is None:
        found = book.all()
        rows = list(found.items())
        data = {"aliases": [{"alias": one, "model": model} for one, model in rows], "total": len(rows)}
        session.emit(data, lambda: session.rows(("alias", "model"), rows, len(rows)))
    else:
        model = ModelRegistry(session.catalog).get(name).name
        if other is not None:
            book.add(model, other)
        aliases = book.of(model)
        data = {"model": model, "aliases": aliases}
        session.emit(data, lambda: f"{model}: {', '.join(aliases) or 'no aliases'}")
