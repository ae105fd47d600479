"""``llmops model``: register, show and verify model files, and stop their servers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.output import LIMIT, Session, session_of

if TYPE_CHECKING:
    from llmops_tui.models.registry import ModelRegistry

app = typer.Typer(help="Models.", no_args_is_help=True, rich_markup_mode=None)

_Name = Annotated[str, typer.Argument(help="The model's name.")]


def _registry(session: Session) -> ModelRegistry:
    from llmops_tui.models.registry import ModelRegistry

    return ModelRegistry(session.catalogue)


@app.command()
def add(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="A GGUF file; it stays where it is.")],
    name: Annotated[str | None, typer.Option(help="Its name; else the file's.")] = None,
) -> None:
    """Check a file's header, hash it, and register it."""
    session = session_of(context)
    model = _registry(session).add(path, name or path.stem, session.progress(f"hashing {path.name}"))
    session.emit(model.as_dict(), lambda: f"{model.name}: {model.quantization}, sha256 {model.sha256[:16]}…")


@app.command("list")
def list_(context: typer.Context, limit: Annotated[int, typer.Option(min=1)] = LIMIT) -> None:
    """All models."""
    from llmops_tui.inference.supervisor import ServerSupervisor

    session = session_of(context)
    found = _registry(session).all()
    loaded = {handle.model for handle in ServerSupervisor(session.workspace).running()}
    rows = [
        (
            m.name, m.header.get("architecture"), m.quantization, round(m.size_bytes / 1e6, 1),
            m.header.get("context_length"), "loaded" if m.name in loaded else "" if m.present else "file missing",
        )
        for m in found[:limit]
    ]  # fmt: skip
    data = {"models": [m.as_dict() | {"loaded": m.name in loaded} for m in found[:limit]], "total": len(found)}
    headers = ("model", "architecture", "type", "MB", "context", "state")
    session.emit(data, lambda: session.rows(headers, rows, len(found)))


@app.command()
def show(context: typer.Context, name: _Name) -> None:
    """All that is known of a model."""
    session = session_of(context)
    facts = _registry(session).get(name).as_dict()
    session.emit(facts, lambda: "\n".join(f"{key:16} {value}" for key, value in facts.items() if value is not None))


@app.command()
def verify(
    context: typer.Context,
    name: _Name,
    detach: Annotated[bool, typer.Option("--detach", help="As a job, in the background.")] = False,
) -> None:
    """Hash the file again and compare."""
    session = session_of(context)
    if detach:
        from llmops_tui.jobs.launcher import JobLauncher

        _registry(session).get(name)
        job = JobLauncher(session.workspace).start(
            kind="verify", title=f"verify {name}", entry="llmops_tui.models.tasks:verify", arguments={"name": name}
        )
        session.emit({"job": job.id}, lambda: f"started {job.id}; llmops job show {job.id}")
        return
    model = _registry(session).verify(name, session.progress(f"hashing {name}"))
    data = {"model": model.name, "sha256": model.sha256, "intact": True}
    session.emit(data, lambda: f"{name} is intact: sha256 {model.sha256}")


@app.command()
def stop(context: typer.Context, name: _Name) -> None:
    """Stop the model's server and free its memory."""
    from llmops_tui.inference.supervisor import ServerSupervisor

    session = session_of(context)
    stopped = ServerSupervisor(session.workspace).stop(_registry(session).get(name).name)
    session.emit({"model": name, "stopped": stopped}, lambda: f"{name}: {'stopped' if stopped else 'was not loaded'}")
