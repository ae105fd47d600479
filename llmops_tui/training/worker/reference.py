"""The reference of export verification: transformers with the adapter on its unquantized base."""

from __future__ import annotations

import gc
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from llmops_tui.training.export.proof import Answers, Case
from llmops_tui.training.worker.base_model import check_folder, pretrained

_LIMIT = 64


def ask(
    base: Path, adapter: Path | None, cases: list[Case], end_ids: Collection[int], told: Any = lambda _share: None
) -> Answers:
    """Ask the model in transformers: in 32 bits on a processor, in the weights' own 16 on a GPU."""
    check_folder(base)
    on_gpu = torch.cuda.is_available()
    model = pretrained(base, dtype=torch.bfloat16 if on_gpu else torch.float32)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter, is_trainable=False)
    model.eval()
    greedy, logprobs = [], []
    with torch.no_grad():
        for number, case in enumerate(cases):
            greedy.append(_greedy(model, case.prompt, end_ids))
            logprobs.append(_logprobs(model, case))
            told((number + 1) / len(cases))
    del model
    gc.collect()
    return Answers([case.prompt for case in cases], greedy, logprobs)


def _greedy(model: Any, prompt: list[int], ends: Collection[int]) -> list[int]:
    ids = torch.tensor([prompt], device=model.device)
    made: list[int] = []
    cache = None
    while len(made) < _LIMIT:
        out = model(input_ids=ids, past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        token = int(out.logits[0, -1].argmax())
        made.append(token)
        if token in ends:
            break
        ids = torch.tensor([[token]], device=model.device)
    return made


def _logprobs(model: Any, case: Case) -> Any:
    if not case.answer:
        return None
    ids = torch.tensor([case.prompt + case.answer[:-1]], device=model.device)
    logits = model(input_ids=ids, use_cache=False).logits[0, len(case.prompt) - 1 :].float()
    return torch.log_softmax(logits, dim=-1).cpu().numpy()
