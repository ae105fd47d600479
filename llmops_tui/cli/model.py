"""``llmops model``: register, show, verify, quantize and unload models."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmops_tui.cli.archive import AlsoArchived, left
from llmops_tui.cli.engine_flags import Engine, engine_flags
from llmops_tui.cli.job import run_job
from llmops_tui.cli.output import LIMIT, Session, session_of
from llmops_tui.counts import counted
from llmops_tui.errors import ExitCode, LlmopsError

if TYPE_CHECKING:
    from llmops_tui.models.registry import ModelRegistry

app = typer.Typer(help="Models.", no_args_is_help=True, rich_markup_mode=None)

_Name = Annotated[str, typer.Argument(help="The model's name.")]


def _registry(session: Session) -> ModelRegistry:
    from llmops_tui.models.registry import ModelRegistry

    return ModelRegistry(session.catalog)


@app.command()
def add(
    context: typer.Context,
    place: Annotated[str, typer.Argument(metavar="PATH|URL", help="A GGUF file, which is not moved, or a URL.")],
    name: Annotated[str | None, typer.Option(help="The model's name; default: the name of the file.")] = None,
    remote_model: Annotated[str | None, typer.Option(help="With a URL: the model to use at this endpoint.")] = None,
    key_env: Annotated[str | None, typer.Option(help="With a URL: the environment variable with the API key.")] = None,
    store_key: Annotated[
        bool, typer.Option("--store-key", help="Read the API key from stdin and store it in the keyring.")
    ] = False,
    load_adapter: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="With a URL of vLLM: have it load the adapter in this folder of its own machine, as NAME.",
        ),
    ] = None,
    move: Annotated[
        bool, typer.Option("--move", help="If the model is registered at another path: use this path from now on.")
    ] = False,
) -> None:
    """Register a model: a GGUF file, validated and hashed, or an OpenAI-compatible URL."""
    session = session_of(context)
    if not place.strip():
        hint = "llmops model add PATH, or: llmops model add https://… --name NAME"
        raise LlmopsError("usage", "the path or URL is empty", hint, ExitCode.USAGE)
    remote = "://" in place
    unfit = {"--remote-model": remote_model, "--key-env": key_env, "--store-key": store_key}
    unfit = {**unfit, "--load-adapter": load_adapter} if not remote else {}
    for option, given in (unfit or {"--move": move}).items():
        if given:
            goes = "a file" if remote else "a URL"
            raise LlmopsError("usage", f"{option} goes with {goes}", exit_code=ExitCode.USAGE)
    if remote:
        _add_remote(session, place, name, remote_model, key_env, store_key=store_key, adapter=load_adapter)
        return
    from llmops_tui.maintenance.undo import UndoHistory
    from llmops_tui.models.names import fit_name, name_of_file
    from llmops_tui.models.registration import add_file

    path = Path(place)
    made = fit_name(path.resolve().name) if path.is_dir() else name_of_file(path.name)
    added = add_file(_registry(session), path, name or made, session.progress(f"hashing {path.name}"), move=move)
    model = added.model
    if added.new:
        UndoHistory(session.catalog, session.event_log).note_registered(model)
    for note in added.notes:
        session.say(note)
    session.emit(added.as_dict(), lambda: f"{model.name}: {model.quantization}, sha256 {model.sha256[:16]}…")


def _add_remote(
    session: Session,
    url: str,
    name: str | None,
    wanted: str | None,
    key_env: str | None,
    *,
    store_key: bool,
    adapter: str | None,
) -> None:
    import os

    from llmops_tui.inference.approved_keys import approve, key_variable
    from llmops_tui.inference.remote import check_url, load_adapter, probe_remote
    from llmops_tui.inference.remote import store_key as keep
    from llmops_tui.maintenance.undo import UndoHistory

    url = check_url(url)
    if name is None:
        raise LlmopsError("usage", "a URL needs a name: --name NAME", exit_code=ExitCode.USAGE)
    key = sys.stdin.readline().strip() if store_key else os.environ.get(key_env or key_variable(name), "")
    if adapter is not None:
        wanted = wanted or name
        load_adapter(url, key, wanted, adapter)
    facts = probe_remote(url, key, wanted)
    if store_key:
        keep(name, key)
    # Whoever types the address lets the key go there, also one that is set later.
    approve(key_env or key_variable(name), url)
    known = any(model.name == name for model in _registry(session).all())
    model = _registry(session).add_remote(url, name, facts, key_env)
    if not known:
        UndoHistory(session.catalog, session.event_log).note_registered(model)
    lacks = "".join(f"\n  lacks {what}: {why}" for what, why in facts["lacks"].items())
    server = f", {told}" if (told := facts.get("server")) else ""
    beside = f"\n  adapters: {', '.join(found)}" if (found := facts.get("adapters")) else ""
    session.emit(model.as_dict(), lambda: f"{name}: {facts['remote_model']} at {url}{server}{beside}{lacks}")


@app.command()
def discover(context: typer.Context, limit: Annotated[int, typer.Option(min=1)] = LIMIT) -> None:
    """List the GGUF files of Hugging Face, Ollama and LM Studio on this machine; `model add` registers them in place."""
    from llmops_tui.models.discovery import find_models

    session = session_of(context)
    found = find_models()
    data = [
        {"name": f.name, "path": str(f.path), "source": f.source, "size_bytes": f.size_bytes} for f in found[:limit]
    ]
    rows = [(f.name, f.source, round(f.size_bytes / 1e9, 2), str(f.path)) for f in found[:limit]]
    headers = ("name", "source", "GB", "path")
    session.emit({"models": data, "total": len(found)}, lambda: session.rows(headers, rows, len(found)))


@app.command()
@engine_flags
def estimate(
    context: typer.Context,
    name: _Name,
    *,
    engine: Engine,
) -> None:
    """Estimate the memory of a model before it is loaded, by part, and whether it fits now."""
    from llmops_tui.cli.serve import own_options
    from llmops_tui.inference.memory_reservation import ledger, plan
    from llmops_tui.models.engine_settings import EngineSettings, part

    session = session_of(context)
    options = engine(own_options(session))
    planned = plan(session.workspace, _registry(session).get(name).base, options)
    needed, connection = planned.needed, ledger()
    devices = {d: {"wanted": size, "available": connection.available(d)} for d, size in planned.sizes.items()}
    fits = all(d["wanted"] <= d["available"] for d in devices.values())
    chosen = planned.options
    data = needed.as_dict() | {
        "model": name,
        "device": planned.device,
        "devices": devices,
        "fits": fits,
        "notes": list(planned.notes),
        "draft": planned.draft,
        "settings": part(EngineSettings, chosen),
    }
    rows = list(needed.parts().items())
    rows += [("draft model", planned.draft)] if planned.draft else []
    for device, figures in devices.items():
        rows += [(f"on {device}", figures["wanted"]), (f"free on {device}", figures["available"])]
    for note in planned.notes:
        session.say(note)

    def human() -> str:
        table = session.rows(("part", "GB"), [(n, round(b / 1e9, 3)) for n, b in rows])
        layers = f"{needed.gpu_layers} of {counted(needed.layers + 1, 'layer')} on GPUs"
        verdict = "fits" if fits else "does not fit"
        kinds = f"cache {chosen.cache_types[0]}/{chosen.cache_types[1]}"
        beside = f"in addition, up to {chosen.cache_bytes / 1e9:.1f} GB for cached prompts"
        return (
            f"{table}\ncontext {needed.context:,} × {counted(needed.parallel, 'request')}, {kinds}, {layers}: "
            f"{verdict} on {planned.device}\n{beside}"
        )

    session.emit(data, human)


@app.command()
def quantize(
    context: typer.Context,
    name: _Name,
    kind: Annotated[str, typer.Option("--type", help="The quantization type, such as Q4_K_M or Q8_0.")],
    target: Annotated[str | None, typer.Option("--name", help="The new model's name; default: NAME-TYPE.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Quantize the model even if it is already quantized.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Run the job in the background.")] = False,
) -> None:
    """Quantize a model, as a job; the new file is registered in the workspace."""
    from llmops_tui.models.names import derived_name
    from llmops_tui.models.quantize import ENTRY, check_quantization

    session = session_of(context)
    made = target or derived_name(name, kind)
    check_quantization(_registry(session).get(name), kind, session.workspace.models, again=again)
    found = run_job(
        session,
        kind="quantize",
        title=f"quantize {name} to {kind}",
        entry=ENTRY,
        arguments={"name": name, "kind": kind, "target": made, "again": again},
        detach=detach,
    )
    if found is not None:
        session.emit(found, lambda: f"{made} is registered")


@app.command()
def convert(
    context: typer.Context,
    name: _Name,
    target: Annotated[str | None, typer.Option("--name", help="The new model's name; default: NAME-F16.")] = None,
) -> None:
    """Convert a safetensors folder to 16-bit GGUF, as a job; the new file is registered."""
    from llmops_tui.models.names import derived_name
    from llmops_tui.training.export.validation import CONVERT_ENTRY

    session = session_of(context)
    made = target or derived_name(name, "F16")
    _registry(session).get(name)
    arguments = {"name": name, "target": made}
    found = run_job(session, kind="convert", title=f"convert {name}", entry=CONVERT_ENTRY, arguments=arguments)
    session.emit(found, lambda: f"{made} is registered")


@app.command()
def merge(
    context: typer.Context,
    name: _Name,
    adapter: Annotated[str, typer.Option(help="The adapter, by the name of its training run.")],
    quantize_to: Annotated[
        str | None,
        typer.Option("--quantize", metavar="TYPE", help="Also quantize the result to this type, such as Q8_0."),
    ] = None,
) -> None:
    """Merge an adapter into a model, verify that the answers are the same, and register it."""
    from llmops_tui.training.export.validation import ENTRY, check_export
    from llmops_tui.training.runs import RunStore

    session = session_of(context)
    _registry(session).get(f"{name}+{adapter}")
    check_export(RunStore(session.workspace), adapter, quantize_to)
    arguments = {"run_name": adapter, "merge": True, "quantize": quantize_to, "serving": name}
    title = f"merge {adapter} into {name}"
    found = run_job(session, kind="export", title=title, entry=ENTRY, arguments=arguments)
    session.emit(found, lambda: f"{', '.join(found.get('models') or [])}: registered")


@app.command("list")
def list_(
    context: typer.Context, limit: Annotated[int, typer.Option(min=1)] = LIMIT, archived: AlsoArchived = False
) -> None:
    """List the models."""
    from llmops_tui.inference.supervisor import ServerSupervisor

    session = session_of(context)
    found = left(session, "model", _registry(session).all(), lambda m: m.name, also=archived)
    loaded = {handle.model for handle in ServerSupervisor(session.workspace).running()}
    rows = [
        (
            m.name,
            m.header.get("architecture"),
            m.quantization,
            round(m.size_bytes / 1e6, 1),
            m.header.get("context_length"),
            "loaded" if m.name in loaded else m.trouble,
        )
        for m in found[:limit]
    ]
    data = {"models": [m.as_dict() | {"loaded": m.name in loaded} for m in found[:limit]], "total": len(found)}
    headers = ("model", "architecture", "type", "MB", "context", "state")
    session.emit(data, lambda: session.rows(headers, rows, len(found)))


@app.command()
def show(context: typer.Context, name: _Name) -> None:
    """Show the metadata of a model."""
    from llmops_tui.models.aliases import AliasBook

    session = session_of(context)
    model = _registry(session).get(name)
    aliases = AliasBook(session.catalog).of(model.name)
    facts = {**model.as_dict(), "aliases": aliases}
    shown = {**facts, "aliases": ", ".join(aliases) or None}
    session.emit(facts, lambda: "\n".join(f"{key:16} {value}" for key, value in shown.items() if value is not None))


@app.command()
def verify(
    context: typer.Context,
    name: _Name,
    detach: Annotated[bool, typer.Option("--detach", help="Run as a job in the background.")] = False,
) -> None:
    """Hash the file again and compare it with the recorded hash."""
    session = session_of(context)
    if detach:
        from llmops_tui.models.tasks import VERIFY

        _registry(session).get(name)
        run_job(
            session,
            kind="verify",
            title=f"verify {name}",
            entry=VERIFY,
            arguments={"name": name},
            detach=True,
        )
        return
    model = _registry(session).verify(name, session.progress(f"hashing {name}"))
    data = {"model": model.name, "sha256": model.sha256, "intact": True}
    session.emit(data, lambda: f"{name} is intact: sha256 {model.sha256}")


@app.command()
def stop(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="The model's name.")] = None,
    all_models: Annotated[
        bool, typer.Option("--all", help="Stop the server of all models (serve --all) and unload its models.")
    ] = False,
) -> None:
    """Stop the model's server and free its memory."""
    from llmops_tui.inference.supervisor import ALL_MODELS, ServerSupervisor

    session = session_of(context)
    if (name is None) != all_models:
        told = "NAME and --all exclude each other" if all_models else "which model? Give its name, or --all"
        raise LlmopsError("usage", told, exit_code=ExitCode.USAGE)
    server = _registry(session).get(name).base.name if name is not None else ALL_MODELS
    stopped = ServerSupervisor(session.workspace).stop(server)
    data = {"model": name, "all": all_models, "stopped": stopped}
    session.emit(data, lambda: f"{name or 'all models'}: {'stopped' if stopped else 'was not loaded'}")
