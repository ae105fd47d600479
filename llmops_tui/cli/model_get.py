"""``llmops model get``: show what would be downloaded, ask, and download it as a job."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, cast

import typer

from llmops_tui.cli.job import follow_to_end, run_job
from llmops_tui.cli.output import Session, session_of
from llmops_tui.errors import ExitCode, InputRefusedError, LlmopsError

if TYPE_CHECKING:
    from llmops_tui.inference.fit import Room
    from llmops_tui.models.fetch import Choices, Plan, Request
    from llmops_tui.models.hub import Offer, Repository
    from llmops_tui.models.records import FetchedRecord


def get(
    context: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            metavar="NAME|hf:REPO[@REV][:QUANT]|URL",
            help="A known small model (smollm2-135m), a repository of Hugging Face, or the URL of a GGUF file.",
        ),
    ],
    name: Annotated[
        str | None, typer.Option(help="The name to register it under; default: the name of the file.")
    ] = None,
    file: Annotated[str | None, typer.Option(help="With hf: the file, if the type is ambiguous.")] = None,
    sha256: Annotated[str | None, typer.Option(help="With a URL: the expected SHA-256.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Run the job in the background.")] = False,
) -> None:
    """Download a model and register it, as a job. Shows size and licence and asks first."""
    from llmops_tui.jobs.launcher import JobLauncher
    from llmops_tui.models.fetch import ENTRY, KIND, already, check_disk, job_arguments, parse, running_job
    from llmops_tui.models.registry import ModelRegistry

    session = session_of(context)
    request = parse(what)
    _check_options(request, file, sha256)
    plan = _plan(session, request, name, file, sha256, yes=yes)
    launcher = JobLauncher(session.workspace)
    # In this order: a job that ends in between has registered it.
    job = running_job(launcher.store, plan)
    here = already(ModelRegistry(session.catalog), plan) if job is None else None
    if here is not None:
        session.emit(here.as_dict(), lambda: f"{plan.name} is already downloaded: {here.path}")
        return
    if job is not None:
        session.say(
            f"{job.id} is already downloading it, at {job.progress:.0%}{f': {job.message}' if job.message else ''}"
        )
        if detach:
            session.emit(job.as_dict(), lambda: f"llmops job show {job.id}")
            return
        found: FetchedRecord | None = cast("FetchedRecord", follow_to_end(session, launcher, job.id).result or {})
    else:
        check_disk(session.workspace, plan)
        _agree(session, plan, yes=yes)
        title, arguments = f"get {plan.name}", job_arguments(session.workspace, plan)
        found = run_job(session, kind=KIND, title=title, entry=ENTRY, arguments=arguments, detach=detach)
    if found is not None:
        session.emit(found, lambda: _human(plan, found))


def _check_options(request: Request, file: str | None, sha256: str | None) -> None:
    unfit = [("--file", file, "hub"), ("--sha256", sha256, "url")]
    for option, value, kind in unfit:
        if value is not None and request.kind != kind:
            goes = "hf:REPO" if kind == "hub" else "a URL"
            raise LlmopsError("usage", f"{option} goes with {goes}", exit_code=ExitCode.USAGE)


def _plan(
    session: Session, request: Request, name: str | None, file: str | None, sha256: str | None, *, yes: bool
) -> Plan:
    from llmops_tui.inference.fit import room
    from llmops_tui.models.fetch import Plan, resolve_source
    from llmops_tui.models.known_models import known_model

    if request.kind == "known":
        session.say(known_model(request.text).describe())
    found = resolve_source(request, name, path=file or "", sha256=sha256 or "")
    if isinstance(found, Plan):
        if request.kind == "url":
            free = room()
            verdict = f"weights alone: {free.verdict(found.size)} ({free.text()})"
            session.say(f"{found.origin['source']}: {_size(found.size)}, {verdict}")
        return found
    free = room()
    only = found.offers[0] if len(found.offers) == 1 else None
    _show(session, found.repository, free, only)
    return found.plan(only or _choose(session, found, free, yes=yes))


def _show(session: Session, repository: Repository, free: Room, chosen: Offer | None) -> None:
    gated = ", available only after you accept its conditions" if repository.gated else ""
    licence = repository.licence or "no licence given"
    session.say(f"{repository.name} at {repository.revision[:12]}: {licence}{gated}")
    rows = [
        (
            number,
            offer.path,
            offer.quantization,
            _size(offer.size),
            len(offer.files),
            free.verdict(offer.size),
            "chosen" if offer == chosen else "",
        )
        for number, offer in enumerate(repository.offers, 1)
    ]
    session.say(session.rows(("no", "file", "type", "size", "files", "weights alone", ""), rows))
    for path, why in repository.left_out.items():
        session.say(f"left out: {path}: {why}")
    session.say(free.text())


def _choose(session: Session, found: Choices, free: Room, *, yes: bool) -> Offer:
    from llmops_tui.models.hub import sensible

    repository, offers = found.repository, found.offers
    asks = not yes and sys.stdin.isatty()
    if len(offers) < len(repository.offers) and not asks:
        paths = ", ".join(offer.path for offer in offers)
        raise InputRefusedError(
            "unclear", f"{repository.name} offers several files: {paths}", "Choose one with --file."
        )
    usual = sensible(offers, free.fits)
    if yes:
        session.say(f"selected: {usual.path}")
        return usual
    if not asks:
        raise _nobody_to_ask(
            f"{repository.name} offers {len(offers)} models, and without a terminal none can be chosen"
        )
    numbers = [repository.offers.index(offer) + 1 for offer in offers]
    default = repository.offers.index(usual) + 1
    while (answer := int(typer.prompt("Which one?", default=default, type=int, err=True))) not in numbers:
        session.say(f"one of {', '.join(str(number) for number in numbers)}")
    return repository.offers[answer - 1]


def _agree(session: Session, plan: Plan, *, yes: bool) -> None:
    for note in plan.notes:
        session.say(note)
    if not plan.vouched:
        session.say(
            "there is no known checksum for this file: its SHA-256 is printed after the download; --sha256 verifies it"
        )
    if yes or not plan.size:
        return
    if not sys.stdin.isatty():
        raise _nobody_to_ask(f"{_size(plan.size)} would be downloaded, and without a terminal this cannot be confirmed")
    if not typer.confirm(f"Download {_size(plan.size)} as {plan.name}?", default=True, err=True):
        raise InputRefusedError("not_agreed", "nothing was downloaded")


def _nobody_to_ask(message: str) -> LlmopsError:
    hint = "Give --yes; with hf: also a type, as in hf:OWNER/NAME:Q4_K_M, or --file."
    return LlmopsError("nobody_to_ask", message, hint, ExitCode.USAGE)


def _human(plan: Plan, found: FetchedRecord) -> str:
    lines = [f"{plan.name} is registered: {found['path']}"]
    if not plan.vouched:
        lines += [f"sha256 {digest}  {file}" for file, digest in found["files"].items()]
    return "\n".join(lines)


def _size(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
