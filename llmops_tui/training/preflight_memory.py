"""Whether a training run fits: the device memory and the disk space that it needs, and what is free."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from llmops_tui.hardware import memory as devices
from llmops_tui.inference.memory_reservation import ledger
from llmops_tui.training import device_queue
from llmops_tui.training.memory import (
    Calibration,
    Fit,
    Shape,
    TrainingMemory,
    estimate,
    nearest_that_fits,
    trainable_parameters,
)
from llmops_tui.training.preflight_findings import Finding
from llmops_tui.training.recipe import Recipe

QUEUE = "queue"


@dataclass(frozen=True)
class Room:
    """The device, of several the fullest, and whether a run fits there now."""

    device: str
    devices: tuple[str, ...]
    needed: TrainingMemory
    available: int
    total: int
    nearest: Fit | None
    measured: Calibration

    @property
    def fits(self) -> bool:
        """Whether it does."""
        return self.needed.total <= self.available


def check_memory(
    recipe: Recipe,
    shape: Shape,
    longest: int,
    calibration: Callable[[str, str], Calibration],
    beside: Mapping[str, int],
) -> Room:
    """How much memory a run needs beside what there is; ``beside`` is what something else of the run takes, by device.

    ``calibration`` tells what was measured of a shape, by its key, on a device: on another it was another.
    """
    names = device_queue.training_devices(recipe.devices)
    # Each card holds the same; the fullest decides.
    total, available, device = min(
        (
            (total, max(0, free - beside.get(name, 0)), name)
            for name in names
            for total, free in [ledger().inspect(name)[:2]]
        ),
        key=lambda found: (found[1], found[2]),
    )
    gpu = device != devices.HOST
    measured = calibration(shape.key, device)
    factor = measured.factor
    needed = estimate(shape, recipe, longest, gpu=gpu, factor=factor)
    nearest = (
        None
        if needed.total <= available
        else nearest_that_fits(shape, recipe, longest, available, gpu=gpu, factor=factor)
    )
    return Room(device, tuple(names), needed, available, total, nearest, measured)


def room_findings(room: Room) -> list[Finding]:
    """What is to be said about memory, and who has the device."""
    found = []
    if not room.fits:
        hint = "No change of batch, length or quantization makes it fit: choose a smaller base."
        if room.nearest is not None:
            changes = ", ".join(f"{k}: {v}" for k, v in room.nearest.changes.items())
            hint = f"This would fit, with {room.nearest.memory.total / 1e9:.1f} GB: {changes}."
        found.append(
            Finding(
                "error",
                "memory",
                f"the run needs about {room.needed.total / 1e9:.1f} GB of {room.device} memory and "
                f"{room.available / 1e9:.1f} GB are free",
                hint,
            )
        )
    return found + [
        Finding(
            "warn", QUEUE, f"{holder} trains on {device} now; this run would wait for it", "--beside does not wait."
        )
        for device in room.devices
        if (holder := device_queue.holder_of(device))
    ]


def disk_needed(recipe: Recipe, shape: Shape, steps: int) -> int:
    """Bytes that a run writes at the most: checkpoints with what is trained and its optimizer, and the result at the end."""
    trainable = trainable_parameters(shape, recipe)
    # The adapter in 32 bits, and AdamW's two moments.
    checkpoint = trainable * 4 * 3 + 20_000_000
    kept = min(recipe.checkpoints.keep + 2, max(1, steps))
    # A whole model is written in 16 bits, of all weights in 32 once more, and of new tokens by way of a folder in 32.
    whole = (
        (shape.linear + shape.other) * (6 if recipe.tokens or recipe.tuning == "full" else 2)
        if recipe.ends_whole
        else 0
    )
    return kept * checkpoint + trainable * 8 + whole


def disk_findings(needed: int, folder: Any) -> list[Finding]:
    """What is to be said about the disk."""
    free = shutil.disk_usage(folder).free
    if needed < free:
        return []
    return [
        Finding(
            "error",
            "disk",
            f"checkpoints need about {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free in {folder}",
            "Free some space, or lower checkpoints.keep.",
        )
    ]
