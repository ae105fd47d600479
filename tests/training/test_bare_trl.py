"""A bare script of TRL beside the launcher: the same rows and settings, and the same losses to five digits."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.training.examples import Examples, Report
from llmops_tui.training.recipe import check
from tests.later import Later
from tests.training.models import make_model

trainers, beginning = Later("llmops_tui.training.worker.trainers"), Later("llmops_tui.training.worker.beginning")
base_model = Later("llmops_tui.training.worker.base_model")
STEPS, RANK, RATE = 10, 8, 1e-3
SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "bench" / "bare_trl.py"


def ours(wanted: dict[str, Any], base: Path, folder: Path, rows: Any) -> list[float]:
    from transformers import set_seed

    recipe = check(
        {
            "name": "r", "base": "b", "data": ["d"], "max_steps": STEPS, "epochs": 100, "gradient_checkpointing": False,
            "quantization": {"type": "none", "compute": "float32"}, "lora": {"rank": RANK, "alpha": 2 * RANK},
            "batch": {"size": 2, "accumulation": 1}, "evaluation": {"share": 0.0}, "trackers": [],
            "optimizer": {"learning_rate": RATE, "warmup": 0, "name": "adamw_torch"}, "seed": 1,
        }
        | wanted
    )  # fmt: skip
    set_seed(1)
    begin = beginning.Beginning(recipe, base, None, folder / "taken")
    tokenizer = base_model.load_tokenizer(base)
    trainer = trainers.make(recipe, begin.model(), tokenizer, Examples(rows, [], [], Report()), folder, [], begin)
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def bare(wanted: dict[str, Any], base: Path, folder: Path, rows: Any) -> list[float]:
    settings = {
        "quantization": "none", "steps": STEPS, "batch": 2, "accumulation": 1, "warmup": 0, "checkpointing": False,
        "save": 1000, "rank": RANK, "dtype": "float32", "learning_rate": RATE,
    }  # fmt: skip
    (folder / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    (folder / "settings.json").write_text(json.dumps(settings | wanted), encoding="utf-8")
    arguments = [sys.executable, str(SCRIPT), str(base), str(folder / "rows.json"), str(folder / "settings.json")]
    found = subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=1800)
    losses: list[float] = json.loads(found.stdout.splitlines()[-1])["loss"]
    return losses


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "settings"),
    [
        ({}, {}),
        ({"tuning": "full"}, {"tuning": "full"}),
        (
            {"optimizer": {"learning_rate": RATE, "warmup": 0, "name": "adamw_torch", "lora_plus_ratio": 16}},
            {"lora_plus_ratio": 16},
        ),
    ],
    ids=["lora", "full", "lora+"],
)
def test_losses_are_those_of_bare_trl(recipe: dict[str, Any], settings: dict[str, Any], tmp_path: Path) -> None:
    base = make_model("llama", tmp_path / "base")
    rows = [{"input_ids": [n, *range(30, 40)], "labels": [-100, *range(30, 40)]} for n in range(4, 16)]
    want, found = bare(settings, base, tmp_path, rows), ours(recipe, base, tmp_path / "run", rows)
    assert len(want) == STEPS
    assert found == pytest.approx(want, rel=1e-5)


def as_texts(method: str) -> list[dict[str, Any]]:
    """Questions with a good and a bad answer, or with one of them and whether it is good."""
    pairs = [(f"Question {n}?", f" Answer {n}, in full.", f" No {n * n} at all") for n in range(12)]
    if method != "kto":
        return [{"prompt": prompt, "chosen": good, "rejected": bad} for prompt, good, bad in pairs]
    both = [(prompt, (good, bad)[n % 2], n % 2 == 0) for n, (prompt, good, bad) in enumerate(pairs)]
    return [{"prompt": prompt, "completion": answer, "label": label} for prompt, answer, label in both]


def as_ids(row: dict[str, Any], tokenizer: Any) -> dict[str, Any]:
    """The same as the launcher's examples have it: tokens of the prompt, and of each answer with its end."""
    start = tokenizer(row["prompt"])["input_ids"]
    found: dict[str, Any] = {"prompt_ids": start} | ({"label": row["label"]} if "label" in row else {})
    for name in ("chosen", "rejected", "completion"):
        if name in row:
            whole = tokenizer(row["prompt"] + row[name] + tokenizer.eos_token)["input_ids"]
            assert whole[: len(start)] == start
            found[f"{name}_ids"] = whole[len(start) :]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dpo", "orpo", "kto"])
def test_losses_of_preferences_are_those_of_bare_trl(method: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    base, texts = make_model("llama", tmp_path / "base"), as_texts(method)
    # Dropout of an adapter is none, and the embedding is no linear module: what differs is who tokenizes.
    recipe = {"method": method, "beta": 0.1, "batch": {"size": 4, "accumulation": 1, "max_length": 256}}
    tokenizer = AutoTokenizer.from_pretrained(base)
    found = ours(recipe, base, tmp_path / "run", [as_ids(row, tokenizer) for row in texts])
    if method == "kto":
        # Its answers to other prompts are of the neighbours, so TRL takes rows as they come, which the launcher shuffled.
        random.Random(1).shuffle(texts)
    want = bare({"method": method, "beta": 0.1, "batch": 4}, base, tmp_path, texts)
    assert len(want) == STEPS
    assert len(set(want)) > 1
    assert found == pytest.approx(want, rel=1e-5)
