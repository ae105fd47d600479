"""Whether a training run fits: the device memory and the disk space that it needs, and what is free."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmops_tui.hardware import memory as devices
from llmops_tui.inference.memory_reservation import ledger
from llmops_tui.training import device_queue
from llmops_tui.training.memory import (
    Calibration,
    Fit,
    TrainingMemory,
    estimate,
    nearest_that_fits,
    trainable_parameters,
)
from llmops_tui.training.preflight_findings import Finding
from llmops_tui.training.recipe import Recipe
from llmops_tui.training.shape import Shape

QUEUE = "queue"


@dataclass(frozen=True)
class Place:
    """A device that a run may train on: its name, its memory in bytes, and of another machine the free bytes of its disk."""

    name: str
    total: int
    free: int
    gpu: bool
    disk: int | None = None


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
    gpu: bool = False

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
    places: Sequence[Place] | None = None,
) -> Room:
    """How much memory a run needs beside what there is; ``beside`` is what something else of the run takes, by device.

    ``calibration`` tells what was measured of a shape, by its key, on a device: on another it was another. ``places`` are
    the devices where they are those of other machines.
    """
    if places is None:
        names = device_queue.training_devices(recipe.devices)
        places = [Place(name, *ledger().inspect(name)[:2], gpu=name != devices.HOST) for name in names]
    # Each card holds the same, and any node may be the one; the fullest decides.
    free = {place.name: max(0, place.free - beside.get(place.name, 0)) for place in places}
    fullest = min(places, key=lambda place: (free[place.name], place.name))
    device, available, total, gpu = fullest.name, free[fullest.name], fullest.total, fullest.gpu
    measured = calibration(shape.key, device)
    factor = measured.factor
    needed = estimate(shape, recipe, longest, gpu=gpu, factor=factor)
    nearest = (
        None
        if needed.total <= available
        else nearest_that_fits(shape, recipe, longest, available, gpu=gpu, factor=factor)
    )
    return Room(device, tuple(place.name for place in places), needed, available, total, nearest, measured, gpu)


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


def disk_findings(needed: int, folder: Path, places: Sequence[Place] | None = None, shipped: int = 0) -> list[Finding]:
    """What is to be said about the disk here, and on other machines, where the base takes ``shipped`` bytes more."""
    spaces = [(needed, shutil.disk_usage(folder).free, f"in {folder}")]
    spaces += [(needed + shipped, place.disk, f"on {place.name}") for place in places or () if place.disk is not None]
    return [
        Finding(
            "error",
            "disk",
            f"checkpoints need about {wanted / 1e9:.1f} GB and {free / 1e9:.1f} GB are free {where}",
            "Free some space, or lower checkpoints.keep.",
        )
        for wanted, free, where in spaces
        if wanted >= free
    ]
