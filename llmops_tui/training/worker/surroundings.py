"""The environment that the training libraries read when they are imported; the same for a run, its plan and a trial."""

from __future__ import annotations

import os
from collections.abc import Sequence

from llmops_tui.hardware.cuda_devices import cuda_devices, environment_for
from llmops_tui.training.device_queue import training_devices

_SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # Without it what is freed lies in pieces: a plan that measured so would tell another peak than its run has.
    "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
}


def prepare(devices: Sequence[int] = ()) -> None:
    """Set what the user has not set; to be called before torch and transformers are imported.

    A process sees the GPUs of its recipe alone: of two that it sees, transformers would use both, and double the batch.

    Raises:
        InputRefusedError: ``no_device``.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    cards = {device.name: device for device in cuda_devices()}
    # On the host there is none to choose.
    if chosen := [cards[name] for name in training_devices(devices) if name in cards]:
        os.environ.update(environment_for(chosen))
