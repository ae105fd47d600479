"""The processes of this machine: CPU, memory and GPU use, and their owner."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from llmops_tui.hardware.gpus import Gpu

# A full look at a machine with thousands of processes takes long: it is then done so much less often.
_SHARE_OF_A_CORE = 0.002
_LEAST_SECONDS = 3.0
# The first look knows only what processes took since they began; what they take now is known with the second.
_SECOND_LOOK_SECONDS = 1.0


_INTERPRETERS = re.compile(r"(python|pypy|node|ruby|perl|bash|sh|zsh|dash)[\d.]*$")
_SHELL = frozenset({"bash", "sh", "zsh", "dash"})
# Letters of options that leave the next word alone, and of those that take it, or the rest of their own word. What comes after
# any other is not known to be a file: it may be a program's text, or an argument of one.
_LETTERS = {
    "python": ("bBdEiIOPqRsSuvx", "WX"), "node": ("ci", "rC"), "ruby": ("wvdnpalsS", "IrC"), "perl": ("wWtTnpal", "I"),
    "shell": ("abefhiklmnpruvxBCEHPT", "oO"),
}  # fmt: skip
_TEXT_OPTIONS = frozenset({"--eval", "--print"})
_FILE, _MODULE = re.compile(r"[\w.+@-]{1,64}"), re.compile(r"[\w.]{0,128}")


@dataclass(frozen=True)
class ProcessLoad:
    """One process; memory in bytes, that on GPUs summed over them.

    ``cpu`` is in percent of one core, since the look before; where there was none, since the process began, as ``ps`` tells it.

    ``name`` is ours where we know it (a run, a server, a job), and ``role`` says which; else the program's.
    """

    pid: int
    started: float
    name: str
    role: str = ""
    cpu: float | None = None
    memory: int | None = None
    gpu_memory: int | None = None
    gpu_share: float | None = None
    command: str = ""


@dataclass(frozen=True)
class Ours:
    """A process of this workspace: its name, and its role: ``run``, ``server`` or ``job``."""

    name: str
    role: str


class ProcessSampler:
    """Looks at all processes, as often as a small share of a core allows."""

    def __init__(self) -> None:
        import psutil

        self._psutil = psutil
        self._times: dict[tuple[int, float], tuple[float, float]] = {}
        # What interpreters run: a process keeps that.
        self._names: dict[tuple[int, float], str] = {}
        self._due = 0.0
        self._found: tuple[ProcessLoad, ...] = ()

    def inspect(self, gpus: Iterable[Gpu], ours: dict[int, Ours]) -> tuple[ProcessLoad, ...]:
        """The processes, those of ours named with all that descend from them; the same again until a look is due."""
        now = time.monotonic()
        if now < self._due:
            return self._found
        is_first = not self._times
        self._found = tuple(self._inspect(list(gpus), ours))
        spent = time.monotonic() - now
        self._due = now + (_SECOND_LOOK_SECONDS if is_first else max(_LEAST_SECONDS, spent / _SHARE_OF_A_CORE))
        return self._found

    def _inspect(self, gpus: list[Gpu], ours: dict[int, Ours]) -> list[ProcessLoad]:
        memory: dict[int, int] = {}
        shares: dict[int, float] = {}
        on_gpu = set()
        for one in (p for gpu in gpus for p in gpu.processes):
            on_gpu.add(one.pid)
            if one.memory is not None:
                memory[one.pid] = memory.get(one.pid, 0) + one.memory
            if one.share is not None:
                shares[one.pid] = max(shares.get(one.pid, 0.0), one.share)
        rows, times, parents = [], {}, {}
        fields = ["pid", "ppid", "name", "cpu_times", "memory_info", "create_time"]
        for process in self._psutil.process_iter(fields):
            info: dict[str, Any] = process.info
            if info["cpu_times"] is None or info["memory_info"] is None:
                continue
            pid = int(info["pid"])
            parents[pid] = int(info["ppid"] or 0)
            key = (pid, float(info["create_time"] or 0))
            spent, at = float(info["cpu_times"].user + info["cpu_times"].system), time.monotonic()
            before = self._times.get(key)
            times[key] = (at, spent)
            known_for, taken = (at - before[0], spent - before[1]) if before else (time.time() - key[1], spent)
            # A clock that was set back tells nothing of when it began.
            cpu = max(0.0, taken) / known_for * 100 if key[1] and known_for > 0 else None
            rows.append(
                (pid, key[1], self._name(process, key, str(info["name"] or "?")), cpu, int(info["memory_info"].rss))
            )
        self._times = times
        self._names = {key: name for key, name in self._names.items() if key in times}
        found = []
        for pid, started, name, cpu, resident in rows:
            known = _ours(pid, parents, ours)
            found.append(
                ProcessLoad(
                    pid=pid,
                    started=started,
                    name=known.name if known else name,
                    role=known.role if known else "",
                    cpu=cpu,
                    memory=resident,
                    gpu_memory=memory.get(pid),
                    gpu_share=shares.get(pid),
                    command=name,
                )
            )
        seen = {row.pid for row in found}
        # In a container the driver tells pids that are not to be seen from inside.
        found += [
            ProcessLoad(pid, 0.0, f"pid {pid}", "elsewhere", gpu_memory=memory.get(pid), gpu_share=shares.get(pid))
            for pid in sorted(on_gpu - seen)
        ]
        return found

    def _name(self, process: Any, key: tuple[int, float], name: str) -> str:
        if not _INTERPRETERS.match(name):
            return name
        if key not in self._names:
            try:
                self._names[key] = program_of(name, process.cmdline())
            except (self._psutil.Error, OSError):
                # Somebody else's, or gone meanwhile.
                return name
        return self._names[key]


def program_of(name: str, words: Sequence[str]) -> str:
    """What an interpreter runs, by its command line: ``python -m pytest``, ``python train.py``; else its name alone.

    It is told where each option before it is known. Nothing else is taken from the command line, where secrets may stand.
    """
    found = _INTERPRETERS.match(name)
    if found is None:
        return name
    kind = "shell" if found[1] in _SHELL else "python" if found[1] == "pypy" else found[1]
    rest = iter(words[1:])
    for word in rest:
        if not word.startswith(("-", "+") if kind == "shell" else "-"):
            file = word.rstrip("/").rpartition("/")[2]
            return f"{name} {file}" if _FILE.fullmatch(file) else name
        if word.startswith("--"):
            if "=" not in word or word.partition("=")[0] in _TEXT_OPTIONS:
                return name
        elif (ending := _ending(kind, word[1:], rest)) is not None:
            return f"{name} {ending}".rstrip()
    return name


def _ending(kind: str, letters: str, rest: Iterator[str]) -> str | None:
    """What is told after the name, nothing or a module, where an option's letters end the options; none where they do not."""
    flags, with_word = _LETTERS[kind]
    if not letters:
        # The program comes from the standard input, and the words that follow are its arguments.
        return ""
    for place, letter in enumerate(letters, 1):
        joined = letters[place:]
        if letter in with_word:
            if kind == "shell" or not joined:
                next(rest, None)
            if kind != "shell":
                return None
        elif kind == "python" and letter == "m":
            module = joined or next(rest, "")
            return f"-m {module}" if _MODULE.fullmatch(module) else ""
        elif letter not in flags:
            return ""
    return None


def _ours(pid: int, parents: dict[int, int], ours: dict[int, Ours]) -> Ours | None:
    for _ in range(20):
        if pid in ours:
            return ours[pid]
        if pid <= 1 or pid not in parents:
            return None
        pid = parents[pid]
    return None
