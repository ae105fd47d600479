"""A model that lies in parts on all processes of a run (FSDP), for bases that no single card can hold.

Each process keeps its part of every matrix; a layer is put together for as long as it is computed, by torch's ``fully_shard``.
What is learned is gathered where it is written, so checkpoints and results are those of any other run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from llmops_tui.training.recipe_parts import WEIGHTS_OF

_OPTIMIZER, _SCHEDULER = "optimizer.pt", "scheduler.pt"
_ADAPTER = "default"
# The optimizer's state, whole, on rank 0; and from there to all.
_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
_SPREAD = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)


def divided(kind: type) -> type:
    """A trainer of a model that is divided by :func:`divide` once it is made."""
    return type(f"Divided{kind.__name__}", (_Divided, kind), {})


def divide(trainer: Any, count: int) -> None:
    """Divide a trainer's model among the ranks, by layers; from then on each holds its part, on its device.

    What stands beside the layers, such as the embedding, is one part: it stays whole while a step is computed.
    """
    model = trainer.model
    mesh = init_device_mesh("cuda" if torch.cuda.is_available() else "cpu", (count,))
    layers = set(getattr(model.get_base_model(), "_no_split_modules", None) or ())
    for module in model.modules():
        if type(module).__name__ in layers:
            fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)
    # accelerate would put it into DistributedDataParallel, which keeps all of it everywhere.
    model._is_accelerate_prepared = True  # noqa: SLF001 - there is no other way to say so


class _Divided:
    """Loads and saves what is learned of a divided model: each of these is called on all ranks, and written on the first."""

    model: Any
    args: Any
    optimizer: Any
    lr_scheduler: Any

    def _move_model_to_device(self, model: Any, device: Any) -> None:
        """It is moved part by part: whole it may have no room there."""

    def _save(self, output_dir: str | None = None, **_options: Any) -> None:
        super()._save(output_dir, state_dict=_learned(self.model))  # type: ignore[misc]

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        state = get_optimizer_state_dict(self.model, self._bare_optimizer(), options=_WHOLE)
        if self.args.should_save:
            torch.save(state, Path(output_dir) / _OPTIMIZER)
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / _SCHEDULER)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, *_model: Any) -> None:
        state = load_file(Path(resume_from_checkpoint) / WEIGHTS_OF["lora"])
        parts = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, tensor in state.items():
                part = parts[_within_model(name)]
                if isinstance(part, DTensor):
                    tensor = distribute_tensor(tensor.to(part.device), part.device_mesh, part.placements)  # noqa: PLW2901
                part.copy_(tensor)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        place = Path(checkpoint)
        state = torch.load(place / _OPTIMIZER, weights_only=True) if self.args.process_index == 0 else {}
        set_optimizer_state_dict(self.model, self._bare_optimizer(), state, options=_SPREAD)
        self.lr_scheduler.load_state_dict(torch.load(place / _SCHEDULER, weights_only=True))

    def _bare_optimizer(self) -> Any:
        """The one of torch itself, which accelerate wraps."""
        return getattr(self.optimizer, "optimizer", self.optimizer)


def _learned(model: Any) -> dict[str, torch.Tensor]:
    """What is trained, whole; all ranks ask at once."""
    return {
        name: (part.full_tensor() if isinstance(part, DTensor) else part).detach().cpu()
        for name, part in model.named_parameters()
        if part.requires_grad
    }


def _within_model(name: str) -> str:
    """The name of an adapter's weight in the model, which PEFT leaves the adapter's own out of in files."""
    before, _, leaf = name.rpartition(".")
    return f"{before}.{_ADAPTER}.{leaf}"
