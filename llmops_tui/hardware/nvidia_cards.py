"""The NVIDIA GPUs of the machine, identified by UUID, so that a lost one moves no other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmops_tui.hardware.gpu_source import ask, believed
from llmops_tui.hardware.gpus import Gpu, GpuInstance

_REBOOT = "Load the driver again (sudo nvidia-smi -r), or restart the machine."
# By the name of NVML's error: state, cause, remedy. The names are those of nvidia-ml-py's exceptions.
STATES = {
    "LibraryNotFound": ("none", "No NVIDIA driver is installed", "Install the driver where there is an NVIDIA GPU."),
    "DriverNotLoaded": ("driver not loaded", "The NVIDIA driver is installed but not loaded", "sudo modprobe nvidia"),
    "LibRmVersionMismatch": (
        "driver mismatch", "The driver was updated under the running kernel module",
        "Restart the machine, or unload and load the module: sudo rmmod nvidia && sudo modprobe nvidia.",
    ),
    "GpuIsLost": ("gpu lost", "The GPU fell off the bus", "Check dmesg for an Xid; restart; check power and seat."),
    "ResetRequired": ("reset required", "The GPU must be reset before it can be used again", "sudo nvidia-smi --gpu-reset"),
    "NoPermission": ("no permission", "This user has no permission to query the driver", "Join the group video or render."),
    "InsufficientPower": ("no power", "A power cable of the GPU is not connected", "Shut down and check the power cables."),
    "IrqIssue": ("interrupt trouble", "The kernel found an interrupt issue with the GPU", _REBOOT),
    "OperatingSystem": ("blocked", "The system or the container blocks the GPU", "Start it with --gpus all."),
    "CorruptedInforom": ("damaged inforom", "The GPU's info ROM is damaged", "Reset the GPU, or replace it."),
    "GpuNotFound": ("none", "No NVIDIA GPU was found", "Check that it is seated, powered and visible in lspci."),
    "Timeout": ("no answer", "The driver did not answer in time", "The GPU may hang: check dmesg. The query is retried."),
    "InUse": ("in use", "Another process has exclusive use of the GPU", "The query is retried when that process ends."),
    "Memory": ("out of memory", "The driver had no memory to answer", "Free host memory. The query is retried."),
    "Uninitialized": ("not ready", "The driver's library was not ready", "It is initialized again."),
    "FunctionNotFound": ("old driver", "The driver is older than this library and lacks a function", "Update the driver."),
}  # fmt: skip
# Of the driver as a whole: no GPU can be asked.
_OF_ALL = {"LibraryNotFound", "DriverNotLoaded", "LibRmVersionMismatch", "Uninitialized"}
# Of a card that is counted and given to others: on a shared machine, or in a container that has some of them.
_NOT_OURS = {"NoPermission", "InUse", "GpuNotFound"}
_GONE = ("gone", "It was listed before and is not listed any more: check dmesg, power and seat.")
_MIG_ON = 1
# Drivers before 510 do not know the question that leaves out what the driver keeps.
_OLD = {"FunctionNotFound", "ArgumentVersionMismatch", "InvalidArgument", "NotSupported"}
_MOST_BYTES = 2.0**50


@dataclass(frozen=True)
class Card:
    """A GPU: its number with the driver now, and a handle to ask for it, or else what is wrong with it.

    ``foreign``: it never answered, and what it says is that it is not given to this process.
    """

    number: int
    name: str = "GPU"
    uuid: str = ""
    handle: Any = None
    bandwidth: float | None = None
    trouble: str = ""
    remedy: str = ""
    foreign: bool = False

    def silent(self, index: int) -> Gpu:
        """It as one that cannot be asked."""
        return Gpu(index, self.name, self.uuid, trouble=self.trouble, remedy=self.remedy, foreign=self.foreign)


def kind_of(error: Exception) -> str:
    """The name of an error of NVML."""
    return type(error).__name__.removeprefix("NVMLError_")


def error_of(error: Exception) -> tuple[str, str, str]:
    """State, cause and remedy of an error."""
    return STATES.get(kind_of(error), ("trouble", f"NVML failed: {error}", "The query is retried."))


def find_cards(nvml: Any, before: Sequence[Card]) -> list[Card]:
    """All GPUs, in the places they had before; one that cannot be asked has its place, and those after it theirs.

    Raises:
        Exception: an error of NVML's: the driver as a whole cannot be asked, or not one GPU.
    """
    found: list[Card] = []
    first: Exception | None = None
    for number in range(int(nvml.nvmlDeviceGetCount())):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(number)
        except Exception as error:
            if kind_of(error) in _OF_ALL:
                raise
            first = first or error
            state, _, remedy = error_of(error)
            found.append(Card(number, trouble=state, remedy=remedy, foreign=kind_of(error) in _NOT_OURS))
        else:
            name, uuid = _text(ask(nvml.nvmlDeviceGetName, handle)), _text(ask(nvml.nvmlDeviceGetUUID, handle))
            found.append(Card(number, name or "GPU", uuid, handle, _bandwidth(nvml, handle)))
    if first is not None and all(card.trouble for card in found):
        raise first
    return _placed(before, found)


def _placed(before: Sequence[Card], found: Sequence[Card]) -> list[Card]:
    """What was found, each where it was before; what was not found again stays, and is said to be gone."""
    places: list[Card | None] = [None] * len(before)
    place_of = {card.uuid: place for place, card in enumerate(before) if card.uuid}
    rest = []
    for card in found:
        place = place_of.get(card.uuid)
        if place is None:
            rest.append(card)
        else:
            places[place] = card
    for card in rest:
        # One that says not even who it is can only be one that is missing; one never seen may be the one that said nothing.
        free = [
            place for place, there in enumerate(places) if there is None and (not card.uuid or not before[place].uuid)
        ]
        place = next((place for place in free if before[place].number == card.number), next(iter(free), None))
        if place is None:
            places.append(card)
        elif card.uuid:
            places[place] = card
        else:
            known = before[place]
            places[place] = replace(card, name=known.name, uuid=known.uuid, foreign=card.foreign and not known.uuid)
    gone = [replace(card, handle=None, trouble=_GONE[0], remedy=_GONE[1]) for card in before]
    return [card if card is not None else gone[place] for place, card in enumerate(places)]


def instances_of(nvml: Any, handle: Any) -> tuple[GpuInstance, ...]:
    """The parts of a GPU that is divided; none of one that is whole."""
    mode = ask(nvml.nvmlDeviceGetMigMode, handle)
    if mode is None or int(mode[0]) != _MIG_ON:
        return ()
    found = []
    for place in range(int(ask(nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0)):
        part = ask(nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, place)
        if part is not None:
            used, total = memory_of(ask(ask_memory, nvml, part))
            name = _text(ask(nvml.nvmlDeviceGetName, part)).rpartition("MIG ")[2]
            found.append(GpuInstance(place, name or "MIG", _text(ask(nvml.nvmlDeviceGetUUID, part)), used, total))
    return tuple(found)


def ask_memory(nvml: Any, handle: Any) -> Any:
    """A GPU's memory as nvidia-smi tells it: what the driver keeps for itself is in use by nobody.

    NVML's first question counts that as used: 0.6 GB on an H200 on which nothing runs.

    Raises:
        Exception: an error of NVML's.
    """
    version = getattr(nvml, "nvmlMemory_v2", None)
    if version is not None:
        try:
            return nvml.nvmlDeviceGetMemoryInfo(handle, version)
        except Exception as error:
            if kind_of(error) not in _OLD:
                raise
    return nvml.nvmlDeviceGetMemoryInfo(handle)


def memory_of(info: Any) -> tuple[int | None, int | None]:
    """Memory in use and memory there is, in bytes, as far as the driver tells what can be."""
    total = believed(getattr(info, "total", None), 1, _MOST_BYTES)
    used = believed(getattr(info, "used", None), 0, _MOST_BYTES if total is None else total)
    return None if used is None else int(used), None if total is None else int(total)


def _bandwidth(nvml: Any, handle: Any) -> float | None:
    clock = believed(ask(nvml.nvmlDeviceGetMaxClockInfo, handle, 2), 1, 1e5)
    width = believed(ask(nvml.nvmlDeviceGetMemoryBusWidth, handle), 1, 1e5)
    # Two transfers a clock; the clock is in MHz, the width in bits.
    return None if clock is None or width is None else clock * 1e6 * 2 * width / 8


def _text(value: Any) -> str:
    return bytes(value).decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
