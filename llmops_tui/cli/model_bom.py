"""``llmops model bom``: what a model was made from and what was measured of it, for other programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from llmops_tui.cli.output import session_of
from llmops_tui.counts import counted
from llmops_tui.errors import InputRefusedError


def bom(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The model's name.")],
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="A new file; without it, the document is printed.")
    ] = None,
) -> None:
    """Write a model's bill of materials (CycloneDX 1.6): hash, license, base, datasets, and measured figures."""
    from llmops_tui.evaluation.store import EvaluationStore
    from llmops_tui.maintenance.model_bom import bill_of_materials
    from llmops_tui.user_files import with_home
    from llmops_tui.workspace.files import write_atomic

    session = session_of(context)
    path = with_home(to) if to is not None else None
    if path is not None and path.exists():
        raise InputRefusedError("file_exists", f"{path} exists", "Give another file.")
    made = bill_of_materials(session.catalog, session.event_log, EvaluationStore(session.workspace), name)
    text = json.dumps(made, indent=2, ensure_ascii=False)
    if path is None:
        session.emit({**made}, lambda: text)
        return
    write_atomic(path, text + "\n")
    parts = len(made["components"])
    session.emit({"file": str(path), "components": parts}, lambda: f"{counted(parts, 'component')}: {path}")
