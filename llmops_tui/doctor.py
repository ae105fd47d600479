"""Diagnosis of this machine for local LLM work: each check with a remedy."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from llmops_tui import __version__
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.workspace.layout import Workspace

_TRAINING = ("torch", "transformers", "peft", "bitsandbytes", "trl")
_ENGINE = ("textual", "duckdb", "llama-cpp-python", "sqlite-utils")
_FOR_GPU = "-DGGML_CUDA=on"
_FEW_BYTES = 5_000_000_000
# File systems on which SQLite's WAL mode is known to lose or corrupt data.
_NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "gpfs", "lustre", "afs", "9p"}


class CheckRecord(TypedDict):
    """A finding as ``--json`` has it."""

    name: str
    state: str
    finding: str
    remedy: str


@dataclass(frozen=True)
class Check:
    """One finding. ``state`` is ok, warn or fail."""

    name: str
    state: str
    finding: str
    remedy: str = ""

    def as_dict(self) -> CheckRecord:
        """The finding as JSON."""
        return {"name": self.name, "state": self.state, "finding": self.finding, "remedy": self.remedy}


def diagnose(workspace: Workspace) -> list[Check]:
    """Look at everything; no check can make another fail."""
    checks: tuple[Callable[[Workspace], list[Check]], ...] = (
        _versions,
        _llama,
        _gpu,
        _settings,
        _disk,
        _file_system,
        _terminal,
        _clipboard,
        _plugins,
        _catalog,
        _notices,
    )
    found: list[Check] = []
    for check in checks:
        try:
            found += check(workspace)
        except (OSError, LlmopsError) as error:
            found.append(Check(check.__name__.strip("_"), "fail", str(error)))
    return found


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _versions(_workspace: Workspace) -> list[Check]:
    engine = ", ".join(f"{n} {_version(n)}" for n in _ENGINE if n != "llama-cpp-python")
    found = [
        Check("llmops", "ok", f"{__version__} on Python {platform.python_version()}, {platform.system()}"),
        Check("packages", "ok", engine),
    ]
    training = {name: _version(name) for name in _TRAINING}
    missing = [name for name, version in training.items() if version is None]
    if missing:
        remedy = 'pip install "llmops-tui[train]"'
        return [*found, Check("training", "warn", f"not installed: {', '.join(missing)}", remedy)]
    return [*found, Check("training", "ok", ", ".join(f"{n} {v}" for n, v in training.items()))]


def _llama(_workspace: Workspace) -> list[Check]:
    from llmops_tui.inference.fallback import rebuild_command
    from llmops_tui.inference.probe import probe

    facts = probe()
    if "error" in facts:
        flags = _FOR_GPU if _has_gpu() else ""
        return [Check("llama.cpp", "fail", facts["error"], f"Build it again: {rebuild_command(flags)}")]
    build = "GPU build" if facts["gpu"] else "CPU build"
    found = Check("llama.cpp", "ok", f"{facts['version']}, {build}: {facts['flags']}")
    if not facts["gpu"] and _has_gpu():
        remedy = rebuild_command(_FOR_GPU)
        found = Check("llama.cpp", "warn", f"{facts['version']}, {build}, although this machine has a GPU", remedy)
    return [found, _engine(gpu=bool(facts["gpu"]))]


def _engine(*, gpu: bool) -> Check:
    """A library that loads may still crash at its first token: it is made to evaluate some."""
    from llmops_tui.inference.selfcheck import check_engine

    tried = check_engine(gpu=gpu)
    if not tried.works:
        return Check("engine", "fail", tried.cause, tried.remedy)
    if tried.told:
        return Check(
            "engine", "warn", f"llama.cpp evaluates tokens, but only {tried.told}: {tried.cause}", tried.remedy
        )
    return Check("engine", "ok", "llama.cpp evaluates tokens of a quantized model")


def _has_gpu() -> bool:
    from llmops_tui.hardware.gpu_sampler import GpuSampler

    return bool(GpuSampler().inspect().gpus)


def _gpu(_workspace: Workspace) -> list[Check]:
    from llmops_tui.hardware.gpu_sampler import GpuSampler

    view = GpuSampler().inspect()
    found = [
        Check("gpu", "fail", f"{g.index}: {g.name}: {g.trouble}", g.remedy)
        if g.trouble
        else Check(
            "gpu", "ok", f"{g.index}: {g.name}, {(g.memory_total or 0) / 1e9:.0f} GB, {g.utilisation or 0:.0f} % busy"
        )
        for g in view.gpus
    ]
    if view.state == "none":
        found.append(Check("gpu", "ok", f"none in use: {view.cause}; models run on the CPU"))
    elif view.state != "ok" and not view.gpus:
        found.append(Check("gpu", "fail", f"{view.state}: {view.cause}", view.remedy))
    return found


def _settings(_workspace: Workspace) -> list[Check]:
    from llmops_tui.settings import load_settings
    from llmops_tui.user_files import settings_path

    path = settings_path()
    if problems := load_settings(path)[1]:
        return [
            Check("settings", "warn", problem, f"Fix it in {path}, or on the settings screen.") for problem in problems
        ]
    return [Check("settings", "ok", str(path) if path.exists() else "the defaults")]


def _existing(workspace: Workspace) -> Path:
    """The workspace's folder, or the nearest above it where it is not made yet."""
    return next(p for p in (workspace.root, *workspace.root.parents) if p.is_dir())


def _disk(workspace: Workspace) -> list[Check]:
    place = _existing(workspace)
    free = shutil.disk_usage(place).free
    state = "ok" if free > _FEW_BYTES else "warn"
    return [Check("disk", state, f"{free / 1e9:.1f} GB free at {place}", "" if state == "ok" else "Free some.")]


def _file_system(workspace: Workspace) -> list[Check]:
    import psutil

    root = str(_existing(workspace))
    mounts = [p for p in psutil.disk_partitions(all=True) if root.startswith(p.mountpoint.rstrip("/") + "/")]
    kind = max(mounts, key=lambda p: len(p.mountpoint)).fstype if mounts else "unknown"
    if kind in _NETWORK_FILE_SYSTEMS:
        return [Check("file system", "warn", f"{kind} is a network file system", "Keep the workspace on a local disk.")]
    return [Check("file system", "ok", kind)]


def _terminal(_workspace: Workspace) -> list[Check]:
    term = os.environ.get("TERM", "")
    if not sys.stdout.isatty():
        return [Check("terminal", "warn", "standard output is not a terminal", "Start the app in a terminal.")]
    color = "24-bit colour" if os.environ.get("COLORTERM") in {"truecolor", "24bit"} else "256 colours or fewer"
    encoding = (sys.stdout.encoding or "").lower()
    unicode_ = "Unicode" if "utf" in encoding else f"{encoding}: charts fall back to ASCII"
    where = [n for n, v in (("tmux", "TMUX"), ("SSH", "SSH_CONNECTION"), ("screen", "STY")) if os.environ.get(v)]
    size = shutil.get_terminal_size()
    text = f"{term or 'TERM is not set'}, {color}, {unicode_}, {size.columns}×{size.lines}"
    text += f", inside {' and '.join(where)}" if where else ""
    if term in {"", "dumb"}:
        return [Check("terminal", "fail", text, "Set TERM, for example to xterm-256color.")]
    if size.columns < 60 or size.lines < 16:
        return [Check("terminal", "warn", text, "The app needs 60×16.")]
    return [Check("terminal", "ok", text)]


def _clipboard(_workspace: Workspace) -> list[Check]:
    from llmops_tui.clipboard import local_tool, tmux_hands_on

    tool = local_tool()
    more = f", and {tool[0]}" if tool else ""
    if not os.environ.get("TMUX"):
        return [Check("clipboard", "ok", f"OSC 52 through the terminal{more}")]
    hands_on = tmux_hands_on()
    if hands_on is None:
        remedy = "Start the app where the command tmux works, or set -g allow-passthrough on in tmux's configuration."
        return [Check("clipboard", "warn", f"tmux does not answer; OSC 52 is sent through it{more}", remedy)]
    if not hands_on:
        remedy = "set -s set-clipboard external in tmux's configuration gives copies to the terminal too."
        return [Check("clipboard", "ok", f"tmux's buffer alone{more}", remedy)]
    return [Check("clipboard", "ok", f"tmux's buffer, handed on to the terminal{more}")]


def _plugins(_workspace: Workspace) -> list[Check]:
    """Each that does not work by itself, and how many do."""
    from llmops_tui.plugin_kinds import installed

    found = installed()
    remedy = "Update or uninstall the package; what is built in works without it."
    broken = [Check("plugin", "warn", plugin.told, remedy) for plugin in found if plugin.problem]
    works = [f"{plugin.kind} {plugin.name} of {plugin.package}" for plugin in found if not plugin.problem]
    return [*broken, Check("plugins", "ok", ", ".join(works) or "none works" if found else "none installed")]


def _catalog(workspace: Workspace) -> list[Check]:
    from llmops_tui.workspace.catalog import Catalog
    from llmops_tui.workspace.trust import HOW, untrusted_reason

    try:
        Catalog(workspace).read(lambda connection: connection.execute("SELECT 1").fetchone())
    except InputRefusedError as error:
        if error.code == "no_workspace":
            return [Check("workspace", "ok", f"none yet at {workspace.root}; llmops init makes one")]
        return [Check("workspace", "fail", error.message, error.hint)]
    if why := untrusted_reason(workspace):
        told = f"{workspace.root} is not trusted: {why}. Its remote models, keys and commands are disabled"
        return [Check("workspace", "warn", told, HOW)]
    return [Check("workspace", "ok", str(workspace.root))]


def _notices(workspace: Workspace) -> list[Check]:
    """Banners that wait; told here they have been seen, and are cleared."""
    from llmops_tui.workspace.notices import read_notices

    found = []
    for path, text in read_notices(workspace):
        found.append(Check("notice", "warn", text, "This notice is now cleared."))
        path.unlink(missing_ok=True)
    return found
