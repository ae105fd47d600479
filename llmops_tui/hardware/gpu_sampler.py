"""The GPUs of this machine, from every source of them there is."""

from __future__ import annotations

from dataclasses import replace

from llmops_tui.hardware.amd import AmdSource
from llmops_tui.hardware.gpu_source import GpuSource
from llmops_tui.hardware.gpus import GpuView
from llmops_tui.hardware.nvidia import NvidiaSource


class GpuSampler:
    """The GPUs of this machine, whoever made them. ``inspect_slowly`` may be called from another thread."""

    def __init__(self, sources: list[GpuSource] | None = None) -> None:
        self._sources: list[GpuSource] = [NvidiaSource(), AmdSource()] if sources is None else sources

    def inspect(self, *, processes: bool = False) -> GpuView:
        """All GPUs now, numbered through. Trouble of one vendor does not hide the GPUs of the other."""
        views = [source.inspect(processes=processes) for source in self._sources]
        gpus = tuple(gpu for view in views for gpu in view.gpus)
        gpus = tuple(gpu if gpu.index == n else replace(gpu, index=n) for n, gpu in enumerate(gpus))
        trouble = next((v for v in views if v.state not in {"ok", "none"}), None)
        if trouble is not None:
            return replace(trouble, gpus=gpus)
        return GpuView(gpus) if gpus else views[0]

    def inspect_slowly(self) -> None:
        """Ask for PCIe traffic, memory errors and critical errors."""
        for source in self._sources:
            source.inspect_slowly()

    def close(self) -> None:
        """Let go of the libraries."""
        for source in self._sources:
            source.close()
