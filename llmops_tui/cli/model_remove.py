"""``llmops model remove``: show what is deleted and what used the model, then remove it with ``--yes``."""

from __future__ import annotations

from typing import Annotated

import typer

from llmops_tui.cli.output import session_of


def remove(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The model's name.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete; without it, only a preview is shown.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Remove it even if runs or other models depend on it.")
    ] = False,
) -> None:
    """Unregister a model. A file in the workspace is deleted; a file elsewhere is kept."""
    from llmops_tui.maintenance.model_removal import plan_removal, remove_model

    session = session_of(context)
    workspace = session.workspace
    found = remove_model(workspace, name, force=force) if yes else plan_removal(workspace, name)

    def human() -> str:
        lines = [f"in use: {what}" for what in found.in_the_way]
        lines += [f"used: {what}" for what in found.uses]
        lines += [f"{'deleted' if yes else 'would be deleted'}: {path}" for path in found.paths]
        lines += [f"stays where it is: {found.stays}"] if found.stays else []
        freed = f"{found.size / 1e6:,.1f} MB"
        flags = "--yes --force" if found.needs_force else "--yes"
        end = f"{name} removed, {freed} freed" if yes else f"{freed} would be freed; {flags} removes it"
        return "\n".join([*lines, end])

    session.emit(found.as_dict(), human)
