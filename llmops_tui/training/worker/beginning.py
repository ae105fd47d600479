"""What a run begins with: the base, a new adapter on it or that of another run, and what a start took out of the base."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file

from llmops_tui.models.safetensors import read_folder
from llmops_tui.training.families import tied
from llmops_tui.training.recipe import Recipe
from llmops_tui.training.worker.base_model import adapter_config, load_base
from llmops_tui.training.worker.quantization_loss import make_up
from llmops_tui.workspace.files import sync_file, sync_folder

_ADAPTER = "default"
# The folder of an adapter as it was made, in that of its run.
TAKEN = "taken"


@dataclass(frozen=True)
class Beginning:
    """Where a run begins.

    Attributes:
        base: the folder that is trained on.
        start: the folder of what another run learned; none where it begins anew.
        taken: the run's folder of an adapter as it was made, of whose product the base was relieved.
    """

    recipe: Recipe
    base: Path
    start: Path | None
    taken: Path

    def model(self) -> Any:
        """The model whose weights are loaded: the base, or all weights of the run that is gone on from."""
        whole = self.start if self.recipe.tuning == "full" else None
        return load_base(self.recipe, whole or self.base)

    def reference(self) -> Any:
        """The same once more, as it stays."""
        return self.model()

    def with_adapter(self, model: Any) -> tuple[Any, LoraConfig | None]:
        """The model, and the adapter that TRL has to put on it; none where it is on it already, or where all is trained."""
        if self.recipe.tuning == "full":
            return model, None
        if self.start is not None:
            return PeftModel.from_pretrained(model, self.start, is_trainable=True), None
        folder = read_folder(self.base)
        apart = not tied(folder.family, folder.config)
        config = adapter_config(self.recipe, str(model.config.model_type), apart=apart)
        if self.recipe.lora.init == "default":
            return model, config
        known = self.taken / "adapter_model.safetensors"
        if known.is_file():
            # The same numbers once more: what a start computes may be other ones the next time.
            config.init_lora_weights = True
            made = get_peft_model(model, config)
            set_peft_model_state_dict(made, load_file(known))
            if self.recipe.lora.init != "loftq":
                _take_out(made)
            return made, None
        made = get_peft_model(model, config)
        if self.recipe.lora.init == "loftq":
            make_up(made, folder)
        # As PEFT asks: loaded again, it is not to take anything out of the base once more.
        begun: Any = made.peft_config[_ADAPTER]
        begun.init_lora_weights = True
        self._keep(made)
        return made, None

    def _keep(self, made: Any) -> None:
        """Keep an adapter as it was made, whole or not at all: without it a run that was killed could not go on."""
        scratch = self.taken.with_name(f".{self.taken.name}.part")
        shutil.rmtree(scratch, ignore_errors=True)
        made.save_pretrained(str(scratch), save_embedding_layers=False)
        for file in scratch.iterdir():
            sync_file(file)
        shutil.rmtree(self.taken, ignore_errors=True)
        scratch.rename(self.taken)
        sync_folder(self.taken.parent)


def _take_out(model: Any) -> None:
    """Take an adapter's product out of the weights that it stands beside, as PEFT's starts do."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, LoraLayer) and _ADAPTER in module.lora_A:
                weight = module.get_base_layer().weight
                left, right = module.lora_B[_ADAPTER].weight, module.lora_A[_ADAPTER].weight
                rest = weight.data.float() - module.scaling[_ADAPTER] * left.float() @ right.float()
                weight.data = rest.to(weight.dtype)
