"""A process that has everything imported, forks writers, and kills them; and the one that asks it to.

A writer is killed at its N-th line of our code, or after a time, in which it may be inside of DuckDB or the system.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).parents[3]
_LONGEST = 120.0
# Those beside the one that is killed write a few times a second at the most, and rest longer than they work.
_PACE = 0.3
_RESTS = 3.0


@dataclass(frozen=True)
class Order:
    """What a forked process does: write one kind until it is killed, for so many ``lines`` or ``seconds``, or so often.

    ``lines`` of -1 counts them. ``config`` is the folder of the user's own files. ``beside`` is a file that one which is not
    killed tells into, until its input ends.
    """

    kind: str
    root: str
    folder: str
    config: str
    label: str
    seed: int
    lines: int = 0
    seconds: float = 0.0
    limit: int = -1
    beside: str = ""


class KillServer:
    """The way to that process."""

    def __init__(self) -> None:
        code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.maintenance.kills.server import main; main()"
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )

    def ask(self, order: Order) -> dict[str, Any]:
        """Have it done: ``status`` is the signal or the exit code, ``told`` what was told, ``lines`` and ``seconds``."""
        return self._ask(asdict(order))

    def end_beside(self) -> list[int]:
        """End those that work beside; returns their exit codes."""
        return list(self._ask({"end": True})["codes"])

    def close(self) -> None:
        self._process.communicate()

    def _ask(self, what: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the server of writers died"
        return dict(json.loads(answer))


def main() -> None:
    """Serve until the input ends."""
    from tests.maintenance.kills import writers  # everything is imported before the first fork

    kinds = writers.all_kinds(stand_in=True)
    answers = os.dup(1)
    os.dup2(2, 1)
    beside: list[tuple[int, int]] = []
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        if "end" in asked:
            for _, stop in beside:
                os.close(stop)
            answer: dict[str, Any] = {"codes": [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid, _ in beside]}
            beside.clear()
        elif asked["beside"]:
            reader, writer = os.pipe()
            pid = os.fork()
            if not pid:
                for _, stop in beside:
                    os.close(stop)
                os.close(writer)
                _work_beside(kinds, Order(**asked), reader)
            os.close(reader)
            beside.append((pid, writer))
            answer = {}
        else:
            answer = _killed(kinds, Order(**asked), [stop for _, stop in beside])
        os.write(answers, json.dumps(answer).encode() + b"\n")


def _work_beside(kinds: dict[str, Any], order: Order, stop: int) -> None:
    from tests.maintenance.kills.ledger import Enough, Ledger, Place

    os.environ["XDG_CONFIG_HOME"] = order.config
    target = os.open(order.beside, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    code, ended = 0, time.monotonic()

    class Paced(Ledger):
        def doing(self, what: str, **facts: Any) -> Any:
            nonlocal ended
            with selectors.DefaultSelector() as selector:
                selector.register(stop, selectors.EVENT_READ)
                if selector.select(max(_PACE, _RESTS * (time.monotonic() - ended))):
                    raise Enough
            ended = time.monotonic()
            return super().doing(what, **facts)

    ledger = Paced(target, order.label)
    try:
        kinds[order.kind].write(Place(Path(order.root), Path(order.folder)), ledger, Random(order.seed))
    except Enough:
        pass
    except Exception:  # noqa: BLE001  whatever it is, it is told to whoever asked
        ledger.failed()
        code = 1
    os._exit(code)


def _killed(kinds: dict[str, Any], order: Order, others: list[int]) -> dict[str, Any]:
    reader, writer = os.pipe()
    counts, counter = os.pipe()
    began = time.monotonic()
    pid = os.fork()
    if not pid:
        for stop in others:
            os.close(stop)
        os.close(reader)
        _write(kinds, order, writer, counter)
    os.close(writer)
    os.close(counter)
    told = _read(pid, reader, began + (order.seconds or _LONGEST))
    _, status = os.waitpid(pid, 0)
    counted = os.read(counts, 100)
    os.close(counts)
    os.close(reader)
    return {
        "status": os.waitstatus_to_exitcode(status),
        "told": told.decode(),
        "seconds": time.monotonic() - began,
        "lines": int(counted or 0),
    }


def _read(pid: int, reader: int, until: float) -> bytes:
    """What a writer tells until it ends; at the given moment it is killed."""
    told = b""
    with selectors.DefaultSelector() as selector:
        selector.register(reader, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, until - time.monotonic())):
                os.kill(pid, signal.SIGKILL)
                until = time.monotonic() + _LONGEST
            elif piece := os.read(reader, 1 << 16):
                told += piece
            else:
                return told


def _write(kinds: dict[str, Any], order: Order, target: int, counter: int) -> None:
    from tests.maintenance.kills.ledger import Enough, Ledger, Place

    os.environ["XDG_CONFIG_HOME"] = order.config
    ledger, seen, code = Ledger(target, order.label, order.limit), [0], 0
    if order.lines:
        sys.settrace(_traced(order.lines, seen))
    try:
        kinds[order.kind].write(Place(Path(order.root), Path(order.folder)), ledger, Random(order.seed))
    except Enough:
        pass
    except Exception:  # noqa: BLE001  whatever it is, it is told to whoever asked
        ledger.failed()
        code = 1
    sys.settrace(None)
    os.write(counter, str(seen[0]).encode())
    os._exit(code)


def _traced(limit: int, seen: list[int]) -> Any:
    """A tracer that kills its process at a line of our code."""

    def inspect(frame: Any, event: str, _argument: Any) -> Any:
        if "llmops_tui" not in frame.f_code.co_filename:
            return None
        if event == "line":
            seen[0] += 1
            if seen[0] == limit:
                os.kill(os.getpid(), signal.SIGKILL)
        return inspect

    return inspect
