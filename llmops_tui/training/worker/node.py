"""A run's place on a node of a cluster: takes what is shipped, starts the process that trains, and gives what it makes.

Every method may be asked once more where the answer was lost on its way. Ray calls them; nothing here knows of Ray.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from llmops_tui.child_python import module_command
from llmops_tui.foreign_text import JsonObject
from llmops_tui.training import checkpoints, control
from llmops_tui.training.history import FILE
from llmops_tui.training.worker.blobs import Blobs, place_within, within
from llmops_tui.training.worker.node_facts import NodeFacts, node_facts
from llmops_tui.workspace.files import make_private_folder, write_atomic

SPEC, PROGRESS, OUTCOME, LOG = "spec.json", "progress.json", "outcome.json", "trainer.log"
_LOCK = "lock"
_NEWS_BYTES = 4_000_000
_LOG_BYTES = 2000
_FRESH_SECONDS = 60


class News(TypedDict):
    """What a run came to since it was asked: bytes of its record, its progress, its checkpoints, and how its process ended."""

    lines: bytes
    progress: tuple[float, str] | None
    checkpoints: list[int]
    code: int | None
    log: str


def node_folder() -> Path:
    """Where runs of clusters keep their files on a machine."""
    from platformdirs import user_cache_path

    return make_private_folder(make_private_folder(user_cache_path("llmops")) / "ray")


class Node:
    """One attempt of a run on one node."""

    def __init__(self, attempt: str) -> None:
        root = node_folder()
        self._blobs = Blobs(root / "files")
        self._blobs.forget_unused()
        runs = make_private_folder(root / "runs")
        _remove_abandoned(runs)
        self._attempt = attempt
        self.folder = make_private_folder(within(runs, attempt))
        # The process that trains ends with this one: what nobody holds is of a run that is gone.
        self._lock = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._process: subprocess.Popen[bytes] | None = None

    def facts(self) -> NodeFacts:
        """What this node is."""
        return node_facts(self.folder)

    # ── what is shipped ──

    def missing(self, sizes: Mapping[str, int]) -> list[str]:
        """Which files are not here yet, by hash."""
        return self._blobs.missing(sizes)

    def take(self, digest: str, offset: int, data: bytes) -> None:
        """Write a piece of a file."""
        self._blobs.take(self._attempt, digest, offset, data)

    def keep(self, digest: str) -> bool:
        """Keep a file whose pieces are all here; false where it is not what its hash says."""
        return self._blobs.keep(self._attempt, digest)

    def lay(self, files: Mapping[str, str]) -> None:
        """Put files into the run's folder, by name with their hashes."""
        self._blobs.lay(self.folder, files)

    def write(self, name: str, offset: int, data: bytes) -> None:
        """Write a piece of a file that is of this run alone, such as its rows: nothing of it stays when the run ends."""
        path = place_within(self.folder, name)
        with path.open("r+b" if path.exists() and offset else "wb") as file:
            path.chmod(0o600)
            file.seek(offset)
            file.write(data)

    # ── the process that trains ──

    def begin(self, spec: JsonObject) -> None:
        """Start it."""
        if self._process is not None:
            return
        write_atomic(self.folder / SPEC, json.dumps(spec))
        with (self.folder / LOG).open("wb") as log:
            self._process = subprocess.Popen(
                module_command("llmops_tui.training.worker.node_process", str(self.folder), str(os.getpid())),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={**os.environ, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
            )

    def news(self, offset: int) -> News:
        """What there is behind ``offset`` bytes of its record, in whole lines."""
        # Whether it ended is looked at first: what it wrote before is then read.
        code = None if self._process is None else self._process.poll()
        raw = b""
        with contextlib.suppress(FileNotFoundError), (self.folder / FILE).open("rb") as file:
            file.seek(offset)
            raw = file.read(_NEWS_BYTES)
        progress: tuple[float, str] | None = None
        with contextlib.suppress(OSError, ValueError):
            share, told = json.loads((self.folder / PROGRESS).read_text(encoding="utf-8"))
            progress = float(share), str(told)
        whole = raw[: raw.rfind(b"\n") + 1]
        kept = [one.step for one in checkpoints.complete(self.folder / "checkpoints")]
        more = len(raw) == _NEWS_BYTES
        return {
            "lines": whole, "progress": progress, "checkpoints": kept, "code": None if more else code,
            "log": "" if code in {None, 0} else self._log(),
        }  # fmt: skip

    def _log(self) -> str:
        raw = (self.folder / LOG).read_bytes()[-_LOG_BYTES:]
        lines = raw.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""

    def ask(self, what: str) -> None:
        """Pass on what was asked of the run."""
        control.ask(self.folder, what)

    # ── what it makes ──

    def listing(self, name: str) -> dict[str, int]:
        """The files in a folder of the run with their sizes; empty where it is not there."""
        folder = within(self.folder, name)
        found = {}
        for path in sorted(folder.rglob("*")):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file() and not path.is_symlink():
                    found[str(path.relative_to(folder))] = path.stat().st_size
        return found

    def read(self, name: str, offset: int, size: int) -> bytes | None:
        """A piece of a file of the run; none where the file is not there any more."""
        try:
            with within(self.folder, name).open("rb") as file:
                file.seek(offset)
                return file.read(size)
        except FileNotFoundError:
            return None

    def end(self) -> None:
        """End the process where it is there, and remove the run's folder."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _remove_abandoned(runs: Path) -> None:
    """Remove the folders of runs that are gone: nobody holds their locks."""
    for folder in runs.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime < _FRESH_SECONDS:
                # Somebody may be about to lock it.
                continue
            lock = os.open(folder / _LOCK, os.O_RDWR)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
