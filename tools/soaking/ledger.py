"""What was acknowledged to whom, kept on disk as it comes; and what went wrong."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

# A failure that says "busy, try again" and changes nothing is an answer; any other is a finding.
BUSY = {"workspace_locked", "keeping_busy", "workspace_in_use", "model_busy"}
_TOLD_AT_MOST = 200


class Ledger:
    """Thread-safe: each fact is a line of ``acknowledged.jsonl``, each finding one of ``findings.jsonl``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._facts: list[dict[str, Any]] = []
        self._files = {name: _appended(folder / f"{name}.jsonl") for name in ("acknowledged", "findings", "commands")}
        self.findings: list[str] = []
        self.counts: Counter[str] = Counter()

    def acknowledge(self, kind: str, **facts: Any) -> None:
        """Note what somebody was told is done."""
        fact = {"kind": kind, **facts}
        with self._lock:
            self._facts.append(fact)
            self.counts[kind] += 1
            self._write("acknowledged", fact)

    def command(self, **facts: Any) -> None:
        """Note one command with its answer."""
        with self._lock:
            self.counts[f"command {facts['code']}"] += 1
            self._write("commands", facts)

    def find(self, text: str) -> None:
        """Note something that must not be; the run fails by it at its end."""
        with self._lock:
            self._write("findings", {"finding": text})
            if len(self.findings) < _TOLD_AT_MOST:
                self.findings.append(text)

    def count(self, what: str, by: int = 1) -> None:
        """Count something."""
        with self._lock:
            self.counts[what] += by

    def facts(self, kind: str) -> Iterator[dict[str, Any]]:
        """What was acknowledged so far of one kind."""
        with self._lock:
            found = [fact for fact in self._facts if fact["kind"] == kind]
        yield from found

    def _write(self, name: str, value: dict[str, Any]) -> None:
        self._files[name].write(json.dumps({"at": round(time.time(), 3), **value}) + "\n")
        self._files[name].flush()


def _appended(path: Path) -> TextIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w")
