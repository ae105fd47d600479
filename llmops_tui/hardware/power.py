"""The power limit of a card, where its driver tells it."""

from __future__ import annotations

import contextlib


def power_limit_watts(device: str) -> float | None:
    """Watts a GPU (``gpu0``) may draw; none for the host, and where nothing tells."""
    if not device.startswith("gpu"):
        return None
    with contextlib.suppress(Exception):
        import pynvml

        pynvml.nvmlInit()
        return (
            float(pynvml.nvmlDeviceGetPowerManagementLimit(pynvml.nvmlDeviceGetHandleByIndex(int(device[3:])))) / 1000
        )
    return None
