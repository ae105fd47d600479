"""A bare Unsloth script, as its documentation has it: ``BASE ROWS.json SETTINGS.json``; prints a JSON line of its figures.

It is run by the Python of an environment that has Unsloth, which is no part of ours: it wants other versions of transformers,
TRL and datasets. Settings, rows and figures are those of ``bare_trl.py``. ``checkpointing`` may also be ``"unsloth"``, which
keeps activations on the host.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "UNSLOTH_DISABLE_STATISTICS": "1", "TOKENIZERS_PARALLELISM": "false"}

from unsloth import FastLanguageModel  # noqa: I001  it changes what is imported after it
import torch
from datasets import Dataset
from transformers import DataCollatorForSeq2Seq, TrainerCallback, set_seed
from trl import SFTConfig, SFTTrainer


class Times(TrainerCallback):
    """When each step ended."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.at.append(time.time())


def held_on_the_gpu() -> int:
    """Bytes that this process holds of the first GPU now, as the driver tells it."""
    import pynvml

    pynvml.nvmlInit()
    found = pynvml.nvmlDeviceGetComputeRunningProcesses(pynvml.nvmlDeviceGetHandleByIndex(0))
    return sum(int(process.usedGpuMemory or 0) for process in found if process.pid == os.getpid())


def main() -> None:
    base, rows, given = (
        sys.argv[1],
        json.loads(Path(sys.argv[2]).read_text()),
        json.loads(Path(sys.argv[3]).read_text()),
    )
    set_seed(1)
    model, tokenizer = FastLanguageModel.from_pretrained(
        model_name=base,
        max_seq_length=max(len(row["input_ids"]) for row in rows),
        dtype=torch.bfloat16,
        load_in_4bit=given["quantization"] == "nf4",
        local_files_only=True,
    )
    model = FastLanguageModel.get_peft_model(
        model,
        r=given["rank"],
        lora_alpha=2 * given["rank"],
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        lora_dropout=0,
        bias="none",
        use_gradient_checkpointing=given["checkpointing"],
        random_state=1,
    )
    times = Times()
    with tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(
            output_dir=folder,
            max_steps=given["steps"],
            per_device_train_batch_size=given["batch"],
            gradient_accumulation_steps=given["accumulation"],
            learning_rate=given.get("learning_rate", 2e-4),
            lr_scheduler_type="cosine",
            warmup_steps=given["warmup"],
            optim="paged_adamw_8bit",
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            bf16=True,
            seed=1,
            remove_unused_columns=False,
            dataset_kwargs={"skip_prepare_dataset": True},
        )
        trainer = SFTTrainer(
            model=model,
            args=config,
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=-100),
            callbacks=[times],
        )
        trainer.train()
    import unsloth

    peak = torch.cuda.max_memory_reserved() + held_on_the_gpu() - torch.cuda.memory_reserved()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    told = {"at": times.at, "loss": losses, "peak_bytes": peak, "unsloth": unsloth.__version__}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
