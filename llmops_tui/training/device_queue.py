"""The queue of a device: one run at a time, freed when a run dies; model servers yield their memory."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from llmops_tui.errors import LlmopsError
from llmops_tui.hardware import memory
from llmops_tui.jobs.worker import JobContext
from llmops_tui.training.recipe import Recipe
from llmops_tui.workspace.files import make_private_folder
from llmops_tui.workspace.layout import Workspace, user_runtime_folder

if TYPE_CHECKING:
    from pathlib import Path

_POLL_SECONDS = 0.5


def training_device() -> str:
    """The device that runs train on: the first GPU, else the host."""
    return memory.devices()[0]


@contextlib.contextmanager
def turn(context: JobContext, recipe: Recipe, *, beside: bool) -> Iterator[None]:
    """Wait until no other run trains on the device, unless this one may train beside it."""
    device = training_device()
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
                    context.report(0, f"waits for {holder} on {device}")
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
