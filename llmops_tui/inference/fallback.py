"""Fallback options for llama.cpp on a processor or driver that its build does not fit, and which one worked.

A native build may be one for another processor, may have been made by a compiler with a fault, or may lack the kernels
of this GPU; then it dies at its first steps. Each rung of :data:`RUNGS` leaves out one more of what such faults sit in.
The rung that worked is kept for just this build, processor and driver, so that the crash is met once.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import signal
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar, cast

from llmops_tui.foreign_text import JsonObject, parse_json
from llmops_tui.inference.engine_wire import EngineStart
from llmops_tui.models.engine_settings import EngineSettings
from llmops_tui.models.support import library_files
from llmops_tui.user_files import state_folder
from llmops_tui.workspace.files import make_private_folder, write_atomic

Settings = TypeVar("Settings", bound=EngineSettings)
# AMX needs these to be defined by the compiler; without them llama.cpp's other kernels are used.
NO_AMX = "-DCMAKE_C_FLAGS=-U__AMX_INT8__ -DCMAKE_CXX_FLAGS=-U__AMX_INT8__"
# How native code ends a process that it cannot go on with.
_CRASHES = {signal.SIGSEGV, signal.SIGILL, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGTRAP}


@dataclass(frozen=True)
class Rung:
    """One way to run the engine.

    Attributes:
        name: its stable name, as kept and told.
        told: what is left out, in words; empty for the first.
        remedy: what makes it unnecessary.
        options: engine options that replace those asked for.
        environment: variables of the engine's process.
    """

    name: str
    told: str = ""
    remedy: str = ""
    options: EngineStart = field(default_factory=EngineStart)
    environment: dict[str, str] = field(default_factory=dict)


def rebuild_command(flags: str = "") -> str:
    """What builds llama.cpp again from its source, on and for this machine."""
    given = f'CMAKE_ARGS="{flags}" ' if flags else ""
    return f"{given}pip install --force-reinstall --no-cache-dir --no-binary llama-cpp-python llama-cpp-python"


_PLAIN: EngineStart = {"extra_buffers": False}
# Values that are packed into blocks can be read by flash attention alone.
_NO_FLASH: EngineStart = _PLAIN | {"flash_attention": "off", "cache_type_v": "f16"}
_NO_GPU: EngineStart = {"gpu_layers": 0, "split_mode": "none", "main_gpu": -1, "tensor_split": ()}
# Without a device in sight nothing of the driver is touched, not even for the large products of a prompt.
NO_DEVICES = {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": "", "GGML_VK_VISIBLE_DEVICES": ""}
_FOR_THE_GPU = f"Build llama.cpp again for this GPU and its driver: {rebuild_command('-DGGML_CUDA=on')}"
RUNGS = (
    Rung("full"),
    Rung(
        "no-extra-buffers",
        "without weights repacked for this processor (AMX and the like)",
        f"Build llama.cpp again, with gcc 13 or newer or without AMX: {rebuild_command(NO_AMX)}",
        _PLAIN,
    ),
    Rung(
        "no-flash-attention",
        "without repacked weights and without flash attention",
        f"Build llama.cpp again on this machine: {rebuild_command('-DGGML_NATIVE=on')}",
        _NO_FLASH,
    ),
    Rung("no-gpu", "on the CPU alone, without the GPU", _FOR_THE_GPU, _NO_GPU, NO_DEVICES),
    Rung(
        "plain",
        "on the CPU alone, without the GPU, repacked weights and flash attention",
        _FOR_THE_GPU,
        _NO_FLASH | _NO_GPU,
        NO_DEVICES,
    ),
)


_BY_NAME = {rung.name: rung for rung in RUNGS}


def apply_known(settings: Settings, model: Path) -> tuple[Settings, Rung]:
    """The settings as they will be used here, with what llama.cpp is known to need left out; and the rung that leaves it."""
    known = remembered(model)
    if known is None:
        return settings, RUNGS[0]
    own = {field.name for field in fields(settings)}
    changes = {k: v for k, v in known.found.options.items() if k in own}
    return replace(settings, **cast("dict[str, Any]", changes)), known.found


def is_crash(returncode: int) -> bool:
    """Whether a process ended as native code does that cannot go on; a kill from outside is none."""
    return -returncode in {int(number) for number in _CRASHES}


@dataclass(frozen=True)
class Remembered:
    """What is known of this build on this machine: the rung that worked, and why the ones before it did not.

    ``told`` is whether a user was told.
    """

    rung: str
    cause: str
    told: bool = True

    @property
    def found(self) -> Rung:
        """The rung itself."""
        return _BY_NAME[self.rung]


class Descent:
    """The ways to try for one start of llama.cpp, from the one that is known to work here, and what is learnt of them.

    A rung that changes nothing of what is asked for is left out: with nothing on the GPU, there is none to leave out.

    Attributes:
        rungs: the ways, in the order to try them.
        failed: those that crashed this time.
        cause: why the first way of all did not work, now or when that was found out.
    """

    def __init__(self, options: EngineStart, model: Path) -> None:
        self._model = model
        known = remembered(model)
        start = RUNGS.index(known.found) if known is not None else 0
        self.rungs: list[Rung] = []
        seen = set()
        for rung in RUNGS[start:]:
            if (way := _way(options | rung.options)) not in seen:
                seen.add(way)
                self.rungs.append(rung)
        self.failed: list[Rung] = []
        self.cause = known.cause if known is not None else ""
        self.last_cause = ""

    def crashed(self, rung: Rung, cause: str) -> None:
        """A way crashed."""
        self.failed.append(rung)
        self.cause = self.cause or cause
        self.last_cause = cause

    def worked(self, rung: Rung, *, of_the_build: bool, told: bool) -> bool:
        """Keep the way that worked; returns whether the user is to be told, and by ``told`` will be.

        ``of_the_build`` is whether what crashed was llama.cpp as it is built, with any model, and not with this one alone.
        """
        return remember(rung, self.cause, None if of_the_build else self._model, told=told)


def _way(options: EngineStart) -> tuple[object, ...]:
    exact = options.get("precision") == "exact"
    return (
        bool(options.get("gpu_layers")),
        options.get("extra_buffers", True),
        not exact and options.get("flash_attention", "auto") == "auto",
    )


def remembered(model: Path | None = None) -> Remembered | None:
    """What worked here before, with this model or any, if anything less than everything had to do."""
    entries = _entries()
    found = [_read(entries.get(name)) for name in _names(model)]
    return max((f for f in found if f is not None), key=lambda f: RUNGS.index(f.found), default=None)


def remember(rung: Rung, cause: str, model: Path | None = None, *, told: bool = True) -> bool:
    """Keep the rung that worked after others crashed, for one model or for all; returns whether no user was told before.

    A full disk is no reason to fail.
    """
    if rung.name == "full":
        return False
    entries = _entries()
    for name in _names(model):
        known = _read(entries.get(name))
        if known is not None and known.rung == rung.name:
            if known.told or not told:
                return False
            cause = known.cause
            break
    boot = _boot() if rung.environment else None
    entries[name] = {"rung": rung.name, "cause": cause, "boot": boot, "told": told}
    with contextlib.suppress(OSError):
        make_private_folder(_path().parent)
        write_atomic(_path(), json.dumps(entries, indent=1))
    return told


def _entries() -> JsonObject:
    """All that was kept; an unreadable record is none."""
    with contextlib.suppress(OSError, ValueError):
        entries = parse_json(_path().read_text(encoding="utf-8"))
        return entries if isinstance(entries, dict) else {}
    return {}


def _read(entry: Any) -> Remembered | None:
    with contextlib.suppress(KeyError, TypeError):
        # What a driver cannot do today it often can after the next boot.
        if entry["rung"] in _BY_NAME and entry.get("boot") in {None, _boot()}:
            return Remembered(str(entry["rung"]), str(entry["cause"]), bool(entry.get("told", True)))
    return None


def forget() -> str:
    """Try everything again from the top at the next start; returns what was known of this machine, in words."""
    (here,) = _names(None)
    known = [_read(entry) for name, entry in _entries().items() if name.startswith(here)]
    _path().unlink(missing_ok=True)
    return "; ".join(f"models ran {k.found.told}, since llama.cpp was {k.cause}" for k in known if k is not None)


def _path() -> Path:
    return state_folder() / "engine.json"


def _names(model: Path | None) -> tuple[str, ...]:
    """What is known is kept by: this build of llama.cpp, processor and driver, as one hash; and that with a model's file."""
    facts = [_build(), _processor()]
    for driver in ("/proc/driver/nvidia/version", "/sys/module/amdgpu/version"):
        with contextlib.suppress(OSError):
            facts.append(Path(driver).read_text(encoding="utf-8", errors="replace"))
    name = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:32]
    if model is not None:
        with contextlib.suppress(OSError):
            status = model.stat()
            return name, f"{name} {model.name} {status.st_size} {status.st_mtime_ns}"
    return (name,)


def _build() -> str:
    """The installed library by version, names, sizes and times; it is not loaded for this."""
    parts = []
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        parts.append(importlib.metadata.version("llama-cpp-python"))
    for file in library_files():
        status = file.stat()
        parts.append(f"{file.name} {status.st_size} {status.st_mtime_ns}")
    return "\n".join([*parts, os.environ.get("LLAMA_CPP_LIB_PATH", "")])


def _processor() -> str:
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").partition("\n\n")[0].splitlines()
        return "\n".join(line for line in lines if line.startswith(("model", "cpu family", "flags", "Features", "CPU")))
    return os.uname().machine


def _boot() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""
