"""What a node of a cluster is: its versions, its memory and its disk."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import platform
import shutil
import socket
from pathlib import Path
from typing import TypedDict

import llmops_tui
from llmops_tui.hardware import memory

# What decides a run's figures, and what has to be there for it.
PACKAGES = ("torch", "transformers", "peft", "trl", "accelerate", "bitsandbytes")


class NodeFacts(TypedDict):
    """A node as a run sees it: bytes, and versions by package; the device is its freest GPU, else the host."""

    host: str
    device: str
    card: str
    total: int
    free: int
    disk: int
    code: str
    versions: dict[str, str]


@functools.cache
def code_sha256() -> str:
    """A hash of this program's own code."""
    found = hashlib.sha256()
    root = Path(llmops_tui.__file__).parent
    for path in sorted(root.rglob("*.py")):
        found.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


def versions() -> dict[str, str]:
    """The versions of what trains; empty where a package is not there."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = ""
    return found


def node_facts(folder: Path) -> NodeFacts:
    """The facts of the machine that this runs on; ``folder`` is where runs write there."""
    from llmops_tui.hardware.cuda_devices import cuda_devices
    from llmops_tui.hardware.gpu_source import ask

    names = memory.devices()
    # Of several cards that one which nobody uses: Ray lends each to one run.
    found = max(map(memory.measure, names[:-1] or names), key=lambda one: one.free)
    device = found.device
    card = ""
    if device != memory.HOST:
        import pynvml

        handle = next(one.handle for one in cuda_devices() if one.name == device)
        name = ask(pynvml.nvmlDeviceGetName, handle)
        card = name.decode() if isinstance(name, bytes) else str(name or "")
    return {
        "host": socket.gethostname(), "device": device, "card": card, "total": found.total, "free": found.free,
        "disk": shutil.disk_usage(folder).free, "code": code_sha256(), "versions": versions(),
    }  # fmt: skip
