"""Safer ways to run llama.cpp where its build does not fit this processor or driver, and which one worked here.

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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmops_tui.models.support import library_files
from llmops_tui.user_files import state_folder
from llmops_tui.workspace.files import make_private_folder, write_atomic

_REBUILD = 'CMAKE_ARGS="{}" pip install --force-reinstall --no-cache-dir --no-binary llama-cpp-python llama-cpp-python'
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
    options: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


_PLAIN = {"extra_buffers": False}
# Values that are packed into blocks can be read by flash attention alone.
_NO_FLASH = _PLAIN | {"flash_attention": "off", "cache_type_v": "f16"}
RUNGS = (
    Rung("full"),
    Rung(
        "no-extra-buffers",
        "without weights repacked for this processor (AMX and the like)",
        f"Build llama.cpp again, with gcc 13 or newer or without AMX: {_REBUILD.format(NO_AMX)}",
        _PLAIN,
    ),
    Rung(
        "no-flash-attention",
        "without repacked weights and without flash attention",
        f"Build llama.cpp again on this machine: {_REBUILD.format('-DGGML_NATIVE=on')}",
        _NO_FLASH,
    ),
    Rung(
        "no-gpu",
        "on the processor alone, without the GPU",
        f"Build llama.cpp again for this GPU and its driver: {_REBUILD.format('-DGGML_CUDA=on')}",
        _NO_FLASH | {"gpu_layers": 0, "split_mode": "none", "main_gpu": -1, "tensor_split": []},
        # Without a device in sight nothing of the driver is touched, not even for the large products of a prompt.
        {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": "", "GGML_VK_VISIBLE_DEVICES": ""},
    ),
)


def is_crash(returncode: int) -> bool:
    """Whether a process ended as native code does that cannot go on; a kill from outside is none."""
    return -returncode in {int(number) for number in _CRASHES}


def rungs_from(options: dict[str, Any]) -> list[Rung]:
    """The ways to try in turn for these engine options, from the one that is known to work here.

    A rung that changes nothing of what is asked for is left out: with nothing on the GPU, there is none to leave out.
    """
    known = remembered()
    start = next((at for at, rung in enumerate(RUNGS) if known is not None and rung.name == known.rung), 0)
    found = [RUNGS[start]]
    for rung in RUNGS[start + 1 :]:
        if rung.name == "no-gpu" and not options.get("gpu_layers"):
            continue
        if rung.name == "no-flash-attention" and (
            options.get("precision") == "exact" or options.get("flash_attention") == "off"
        ):
            continue
        found.append(rung)
    return found


@dataclass(frozen=True)
class Remembered:
    """What is known of this build on this machine: the rung that worked, and why the ones before it did not."""

    rung: str
    cause: str

    @property
    def found(self) -> Rung:
        """The rung itself."""
        return next(rung for rung in RUNGS if rung.name == self.rung)


def remembered() -> Remembered | None:
    """What worked here before, if anything less than everything had to do; unreadable records are none."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        entry = json.loads(_path().read_text(encoding="utf-8"))[_machine()]
        # What a driver cannot do today it often can after the next boot.
        if entry["rung"] in {r.name for r in RUNGS[1:]} and entry.get("boot") in {None, _boot()}:
            return Remembered(str(entry["rung"]), str(entry["cause"]))
    return None


def remember(rung: Rung, cause: str) -> bool:
    """Keep the rung that worked after others crashed; returns whether that is news. A full disk is no reason to fail."""
    if rung.name == "full" or ((known := remembered()) is not None and known.rung == rung.name):
        return False
    entries: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        entries = dict(json.loads(_path().read_text(encoding="utf-8")))
    entries[_machine()] = {"rung": rung.name, "cause": cause, "boot": _boot() if rung.name == "no-gpu" else None}
    with contextlib.suppress(OSError):
        make_private_folder(_path().parent)
        write_atomic(_path(), json.dumps(entries, indent=1))
    return True


def forget() -> str:
    """Try everything again from the top at the next start; returns what was known of this machine, in words."""
    known = remembered()
    _path().unlink(missing_ok=True)
    return f"models ran {known.found.told}, since: {known.cause}" if known is not None else ""


def _path() -> Path:
    return state_folder() / "engine.json"


def _machine() -> str:
    """This build of llama.cpp, this processor and this driver, as one hash."""
    facts = [_build(), _processor()]
    for driver in ("/proc/driver/nvidia/version", "/sys/module/amdgpu/version"):
        with contextlib.suppress(OSError):
            facts.append(Path(driver).read_text(encoding="utf-8", errors="replace"))
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:32]


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
