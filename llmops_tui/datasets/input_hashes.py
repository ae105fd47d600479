"""SHA-256 of what is imported, taken in a thread of its own while it is read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from llmops_tui.workspace.files import sha256_file, sha256_text


def digest_of(path: Path, progress: Callable[[float], None] | None = None) -> str:
    """SHA-256 of a file, or of the names and hashes of all files in a folder; ``progress`` is told shares of each."""
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        return sha256_text("\n".join(f"{p.relative_to(path)} {sha256_file(p, progress)}" for p in files))
    return sha256_file(path, progress)


class InputHashes:
    """Hashes of files and folders; :meth:`all` waits for them, and leaving the context ends what is not done."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._ended = threading.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="hashes")
        self._made = {path: self._pool.submit(digest_of, path, self._go_on) for path in dict.fromkeys(paths)}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._pool.shutdown(cancel_futures=True)

    def all(self) -> list[tuple[str, str]]:
        """Each path with its hash.

        Raises:
            OSError: a file can be read no more.
        """
        return [(str(path), hashed.result()) for path, hashed in self._made.items()]

    def _go_on(self, _share: float) -> None:
        if self._ended.is_set():
            raise InterruptedError
