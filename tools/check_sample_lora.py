"""Check that a short plain LoRA run teaches the sample model the triage task; prints time and exact-match accuracy."""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = Path(__file__).resolve().parent.parent / "sample_data"


def read(path: Path) -> list[list[dict[str, str]]]:
    """The conversations of a JSONL file; broken lines are left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line)["messages"])
        except (json.JSONDecodeError, KeyError):
            continue
    return rows


def exact(model: Any, tokenizer: Any, rows: list[list[dict[str, str]]]) -> float:
    """Share of rows whose greedy answer equals the expected text."""
    right = 0
    tokenizer.padding_side = "left"
    for start in range(0, len(rows), 50):
        part = rows[start : start + 50]
        prompts = [tokenizer.apply_chat_template(m[:-1], tokenize=False, add_generation_prompt=True) for m in part]
        batch = tokenizer(prompts, return_tensors="pt", padding=True)
        with torch.no_grad():
            out = model.generate(**batch, max_new_tokens=40, do_sample=False)
        answers = tokenizer.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
        right += sum(a.strip() == m[-1]["content"] for a, m in zip(answers, part, strict=True))
    return right / len(rows)


def main() -> None:
    """Train the adapter and print the figures before and after."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "support-base")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--lr", type=float, default=3e-3)
    arguments = parser.parse_args()
    torch.manual_seed(1)
    torch.set_num_threads(2)
    rng = random.Random(1)
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32)
    train = read(ROOT / "datasets" / "triage-train.jsonl")
    test = read(ROOT / "datasets" / "triage-test.jsonl")
    before = exact(model, tokenizer, test)
    model = get_peft_model(model, LoraConfig(r=32, lora_alpha=64, target_modules="all-linear", task_type="CAUSAL_LM"))
    examples = []
    for messages in train:
        prompt = tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
        source = tokenizer(prompt)["input_ids"]
        target = tokenizer(messages[-1]["content"] + "<|im_end|>")["input_ids"]
        examples.append((source + target, [-100] * len(source) + target))
    batch_size = 16
    steps = arguments.epochs * len(examples) // batch_size
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=arguments.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, arguments.lr, total_steps=steps, pct_start=0.05)
    started = time.monotonic()
    order: list[int] = []
    for step in range(steps):
        if len(order) < batch_size:
            order = rng.sample(range(len(examples)), len(examples))
        part = [examples[order.pop()] for _ in range(batch_size)]
        longest = max(len(ids) for ids, _ in part)
        ids = torch.tensor([i + [0] * (longest - len(i)) for i, _ in part])
        labels = torch.tensor([y + [-100] * (longest - len(y)) for _, y in part])
        mask = torch.tensor([[1] * len(i) + [0] * (longest - len(i)) for i, _ in part])
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 50 == 0:
            print(f"step {step}/{steps} loss {loss.item():.4f} {time.monotonic() - started:.0f} s", flush=True)
    seconds = time.monotonic() - started
    model.eval()
    after = exact(model, tokenizer, test)
    print(
        json.dumps({"exact_before": before, "exact_after": after, "train_seconds": round(seconds, 1), "n": len(test)})
    )


if __name__ == "__main__":
    main()
