"""The queue of a device: one run at a time, freed when a run dies; model servers yield their memory."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.hardware import memory
from llmops_tui.jobs.worker import JobContext
from llmops_tui.training.control import waits_for
from llmops_tui.training.recipe import Recipe
from llmops_tui.workspace.files import make_private_folder
from llmops_tui.workspace.layout import Workspace, user_runtime_folder

if TYPE_CHECKING:
    from pathlib import Path

_POLL_SECONDS = 0.5


def training_device() -> str:
    """The device that runs train on where they name none: the first GPU, else the host."""
    return memory.devices()[0]


def training_devices(numbers: Sequence[int]) -> list[str]:
    """The devices that a recipe names by number, as nvidia-smi counts; by default the first; the host where there is no GPU.

    Raises:
        InputRefusedError: ``no_device``: one of them is not there, or may not be used.
    """
    usable = [name for name in memory.devices() if name != memory.HOST]
    if not usable or not numbers:
        return [training_device()]
    wanted = [f"gpu{number}" for number in numbers]
    missing = [name for name in wanted if name not in usable]
    if missing:
        raise InputRefusedError(
            "no_device",
            f"devices names {', '.join(missing)}; this process can use {', '.join(usable)}",
            "llmops doctor lists the GPUs; CUDA_VISIBLE_DEVICES narrows them.",
        )
    return wanted


@contextlib.contextmanager
def turn(context: JobContext, recipe: Recipe, *, beside: bool) -> Iterator[None]:
    """Wait until no other run trains on the recipe's devices, unless this one may train beside it."""
    with contextlib.ExitStack() as held:
        if recipe.target:
            # A cluster has a queue of its own.
            yield
            return
        # Always in one order: of two runs none waits for what the other holds.
        for device in sorted(set(training_devices(recipe.devices))):
            held.enter_context(_turn(context, recipe, device, beside=beside))
        yield


@contextlib.contextmanager
def _turn(context: JobContext, recipe: Recipe, device: str, *, beside: bool) -> Iterator[None]:
    folder = make_private_folder(make_private_folder(user_runtime_folder()) / "training")
    with (folder / f"{device}.lock").open("a+") as file:
        told = ""
        while not beside:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                file.seek(0)
                holder = file.read(200).strip() or "another run"
                # Each report is synced to disk.
                if holder != told:
                    context.report(0, waits_for(f"{holder} on {device}"))
                told = holder
                context.check()
                time.sleep(_POLL_SECONDS)
        if not beside:
            file.seek(0)
            file.truncate()
            file.write(f"{recipe.name} (pid {os.getpid()})")
            file.flush()
        # The lock ends with the process, however that ends.
        yield


def holder_of(device: str) -> str:
    """Which run trains on a device now; nothing where none does."""
    path: Path = user_runtime_folder() / "training" / f"{device}.lock"
    try:
        with path.open("r") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return file.read(200).strip() or "another run"
    except OSError:
        pass
    return ""


def stop_servers(workspace: Workspace) -> list[str]:
    """Stop this workspace's model servers, so that a run has the memory; returns their models."""
    from llmops_tui.inference.supervisor import ServerSupervisor

    supervisor = ServerSupervisor(workspace)
    return [handle.model for handle in supervisor.running() if supervisor.stop(handle.model)]


def start_servers(workspace: Workspace, models: list[str]) -> None:
    """Start the servers again that were stopped; one that cannot be started does not fail the run."""
    from llmops_tui.inference.options import options_from
    from llmops_tui.inference.supervisor import ServerSupervisor
    from llmops_tui.models.registry import ModelRegistry
    from llmops_tui.settings import load_settings
    from llmops_tui.workspace.catalog import Catalog

    supervisor, registry = ServerSupervisor(workspace), ModelRegistry(Catalog(workspace))
    options = options_from(load_settings()[0])
    for model in models:
        with contextlib.suppress(LlmopsError):
            supervisor.ensure(registry.get(model), options)
