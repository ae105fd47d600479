"""The NVIDIA GPUs that a process of ours may use: NVML's list in PCI order, as CUDA_VISIBLE_DEVICES narrows it.

CUDA counts GPUs by speed where nothing else is said, NVML and nvidia-smi by their place on the bus. A process is
therefore told which GPUs to use by their UUIDs, and a user's own numbers are taken as those of nvidia-smi.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmops_tui.hardware.gpu_source import ask

VISIBLE = "CUDA_VISIBLE_DEVICES"
ORDER = "CUDA_DEVICE_ORDER"
_MIG_ON = 1


@dataclass(frozen=True)
class CudaDevice:
    """A GPU, ``gpu0``, or a MIG instance of one, ``gpu0.1``; of instances a process can use but one, and alone.

    ``number`` is what nvidia-smi calls the GPU; ``answers`` is whether NVML could read its memory.
    """

    name: str
    number: int
    uuid: str
    handle: Any
    instance: bool = False
    answers: bool = True


def open_nvml() -> Any:
    """NVML, where there is a driver; it is made ready once and stays so."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # noqa: BLE001  NVML's errors share no useful base; without a driver there are no GPUs
        return None
    return pynvml


def cuda_devices(nvml: Any = None, environment: Mapping[str, str] | None = None) -> list[CudaDevice]:
    """The GPUs that may be used, in the order in which a process sees them. One that does not answer hides no other."""
    nvml = nvml or open_nvml()
    if nvml is None:
        return []
    found: list[CudaDevice] = []
    for number in range(int(ask(nvml.nvmlDeviceGetCount) or 0)):
        handle = ask(nvml.nvmlDeviceGetHandleByIndex, number)
        uuid = "" if handle is None else _text(ask(nvml.nvmlDeviceGetUUID, handle))
        mode = None if handle is None else ask(nvml.nvmlDeviceGetMigMode, handle)
        if mode is not None and int(mode[0]) == _MIG_ON:
            found += _instances(nvml, number, handle)
        else:
            answers = handle is not None and ask(nvml.nvmlDeviceGetMemoryInfo, handle) is not None
            found.append(CudaDevice(f"gpu{number}", number, uuid, handle, answers=answers))
    asked = (os.environ if environment is None else environment).get(VISIBLE)
    chosen = found if asked is None else _chosen(found, asked)
    return [device for device in chosen if device.answers]


def environment_for(devices: list[CudaDevice]) -> dict[str, str]:
    """What makes a process see just these GPUs, in this order; none at all where the list is empty."""
    return {ORDER: "PCI_BUS_ID", VISIBLE: ",".join(device.uuid or str(device.number) for device in devices)}


def _instances(nvml: Any, number: int, parent: Any) -> list[CudaDevice]:
    found = []
    for place in range(int(ask(nvml.nvmlDeviceGetMaxMigDeviceCount, parent) or 0)):
        handle = ask(nvml.nvmlDeviceGetMigDeviceHandleByIndex, parent, place)
        if handle is not None:
            uuid = _text(ask(nvml.nvmlDeviceGetUUID, handle))
            answers = ask(nvml.nvmlDeviceGetMemoryInfo, handle) is not None
            found.append(CudaDevice(f"gpu{number}.{place}", number, uuid, handle, instance=True, answers=answers))
    return found


def _chosen(found: list[CudaDevice], asked: str) -> list[CudaDevice]:
    """Those that CUDA_VISIBLE_DEVICES names, by number or by a unique beginning of their UUID, up to the first unknown."""
    chosen: list[CudaDevice] = []
    for word in (part.strip() for part in asked.split(",")):
        if word.isdecimal():
            matching = [d for d in found if d.number == int(word)][:1]
        else:
            matching = [d for d in found if word and d.uuid.startswith(word)]
        if len(matching) != 1:
            break
        if matching[0] in chosen:
            # CUDA shows none at all where one is named twice.
            return []
        chosen += matching
    return chosen


def _text(value: Any) -> str:
    return bytes(value).decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
