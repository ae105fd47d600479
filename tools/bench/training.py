"""The launcher beside a bare TRL script, and estimates of memory beside measured peaks; on a GPU also at 8B's size."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from llmops_tui.datasets.importing import import_now
from llmops_tui.datasets.tokens import ModelText
from llmops_tui.sample import fill
from llmops_tui.sample_files import sample_folder
from llmops_tui.training.examples import build
from llmops_tui.training.history import FILE
from llmops_tui.training.recipe import Recipe, check
from llmops_tui.training.runs import RunStore
from llmops_tui.workspace.layout import Workspace
from llmops_tui.workspace.marker import make_workspace

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "benchmarks"
# Hidden, inner, layers, heads, key heads, vocabulary.
SHAPES = {
    "25m": (384, 1024, 8, 6, 2, 8192), "60m": (512, 1536, 10, 8, 2, 16_000), "120m": (768, 2048, 12, 12, 4, 32_000),
    "1b": (2048, 8192, 16, 32, 8, 128_256), "8b": (4096, 14_336, 32, 32, 8, 128_256),
}  # fmt: skip


def make_base(shape: str, folder: Path) -> Path:
    """Random weights of a Llama of this shape, with the sample's tokenizer."""
    hidden, inner, layers, heads, key_heads, vocabulary = SHAPES[shape]
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        max_position_embeddings=32_768,
        eos_token_id=2,
        pad_token_id=0,
        bos_token_id=None,
        tie_word_embeddings=shape != "8b",
    )
    torch.manual_seed(1)
    with torch.device("cuda:0" if torch.cuda.is_available() else "cpu"):
        torch.set_default_dtype(torch.bfloat16)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder, max_shard_size="4GB")
        torch.set_default_dtype(torch.float32)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).write_bytes((sample_folder() / "models" / "support-base" / name).read_bytes())
    return folder


def make_rows(store: RunStore, name: str, tokens: int, count: int) -> str:
    """Conversations of about so many tokens each."""
    words = "the shop sells lamps and kettles to people who ask for them every day of the week "
    answer = (words * (tokens // 14 + 1))[: tokens * 4]
    rows = [
        {"messages": [{"role": "user", "content": f"Tell me {n}."}, {"role": "assistant", "content": answer}]}
        for n in range(count)
    ]
    file = store.workspace.root / f"{name}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    import_now(store.datasets, [file], name, "messages")
    return name


def recipe_of(base: str, data: str, **changes: Any) -> Recipe:
    body: dict[str, Any] = {
        "name": "bench",
        "base": base,
        "data": [data],
        "epochs": 1,
        "trackers": [],
        "evaluation": {"share": 0.0, "samples": 0},
        "lora": {"rank": 32, "alpha": 64},
        "optimizer": {"learning_rate": 2e-4, "warmup": 0.01},
    }
    return check(body | changes)


def launcher_times(store: RunStore, recipe: Recipe) -> dict[str, Any]:
    """Run the recipe as a user would; when each step ended, and the peak of memory."""
    run = store.start(recipe, beside=True)
    # Looked at by the file alone: reading the book twice a second would take from the trainer what is measured.
    while not (run.folder / FILE).exists() or b'"kind": "end"' not in (run.folder / FILE).read_bytes()[-300:]:
        time.sleep(1)
    time.sleep(3)
    state = store.state(store.get(run.name))
    if state.state != "done":
        raise RuntimeError(f"{run.name}: {state.state} {state.job.cause if state.job else ''}")
    records = [json.loads(line) for line in (run.folder / FILE).read_text().splitlines()]
    steps = [r for r in records if r["kind"] == "step"]
    return {
        "at": [r["at"] for r in steps],
        "loss": [r["loss"] for r in steps],
        "peak_bytes": max(r["memory_bytes"] for r in steps),
    }


def bare_times(store: RunStore, recipe: Recipe, scratch: Path) -> dict[str, Any]:
    """The same by a bare script."""
    base = store.base_of(recipe)
    with ModelText(base) as text:
        rows = build(recipe, store.datasets, text).train
    (scratch / "rows.json").write_text(json.dumps(rows))
    given = {
        "steps": recipe.max_steps,
        "batch": recipe.batch.size,
        "accumulation": recipe.batch.accumulation,
        "rank": recipe.lora.rank,
        "checkpointing": recipe.gradient_checkpointing,
        "save": recipe.checkpoints.every,
        "quantization": recipe.quantization.type,
        "warmup": int(recipe.optimizer.warmup * recipe.max_steps),
    }
    (scratch / "settings.json").write_text(json.dumps(given))
    script = Path(__file__).with_name("bare_trl.py")
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, str(script), str(base.path), str(scratch / "rows.json"), str(scratch / "settings.json")]
    out = subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout
    return dict(json.loads(out.strip().splitlines()[-1]))


def rate(times: list[float]) -> float:
    """Steps a second between the end of the second step and that of the last; checkpoints in between count."""
    return (len(times) - 2) / (times[-1] - times[1])


def overhead(store: RunStore, recipe: Recipe, scratch: Path, rounds: int, tokens: int) -> dict[str, Any]:
    """Launcher and bare script in turns; the ratio of their steps a second, median of the rounds."""
    found = []
    for number in range(rounds):
        pair = {}
        for name in ("bare", "launcher") if number % 2 == 0 else ("launcher", "bare"):
            pair[name] = bare_times(store, recipe, scratch) if name == "bare" else launcher_times(store, recipe)
        found.append(pair)
        print(rate(pair["launcher"]["at"]), rate(pair["bare"]["at"]), file=sys.stderr)
    steps = {name: statistics.median(rate(pair[name]["at"]) for pair in found) for name in ("launcher", "bare")}
    peaks = {name: statistics.median(pair[name]["peak_bytes"] for pair in found) for name in ("launcher", "bare")}
    apart = max(
        abs(a - b) for pair in found for a, b in zip(pair["launcher"]["loss"], pair["bare"]["loss"], strict=False)
    )
    per_step = recipe.effective_batch * tokens
    return {
        "steps_per_s": steps,
        "ratio": statistics.median(rate(p["launcher"]["at"]) / rate(p["bare"]["at"]) for p in found),
        "tokens_per_s": {name: value * per_step for name, value in steps.items()},
        "peak_bytes": peaks,
        "losses_apart": apart,
        "rounds": rounds,
        "batch": recipe.batch.size,
        "accumulation": recipe.batch.accumulation,
        "length": tokens,
        "gradient_checkpointing": recipe.gradient_checkpointing,
    }


def memory(store: RunStore, recipe: Recipe) -> dict[str, Any]:
    """What a dry run of two steps takes beside the uncorrected estimate."""
    from llmops_tui.jobs.launcher import JobLauncher
    from llmops_tui.training.worker import PLAN_ENTRY

    launcher = JobLauncher(store.workspace)
    job = launcher.start(
        kind="plan", title="plan", entry=PLAN_ENTRY, arguments={"recipe": recipe.model_dump(), "dry_run": True}
    )
    while not job.state.final:
        time.sleep(0.5)
        job = launcher.store.get(job.id)
    if job.result is None or not job.result["dry_run"]:
        raise RuntimeError(f"{job.cause} {job.result and job.result['problems']}")
    dry = job.result["dry_run"]
    parts = ("weights", "adapter", "optimizer", "activations", "logits", "overhead")
    return {
        "estimated_bytes": dry["estimated_bytes"],
        "peak_bytes": dry["peak_bytes"],
        "error": dry["estimated_bytes"] / dry["peak_bytes"] - 1,
        "parts": {name: job.result["memory"][name] for name in parts},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    gpu = torch.cuda.is_available()
    with tempfile.TemporaryDirectory(prefix="llmops-bench-") as name:
        scratch = Path(name)
        workspace = make_workspace(Workspace(scratch / "ws"))
        fill(workspace)
        store = RunStore(workspace)
        result: dict[str, Any] = {"date": dt.datetime.now(tz=dt.UTC).date().isoformat(), "memory": {}, "overhead": {}}
        result["device"] = torch.cuda.get_device_name(0) if gpu else f"{os.cpu_count()} cores"
        plans = (
            [("1b", 1024, 8), ("8b", 2048, 4), ("1b", 16_384, 1)]
            if gpu
            else [("25m", 512, 4), ("120m", 256, 4), ("25m", 4096, 1), ("60m", 384, 6)]
        )
        for shape, length, batch in plans:
            if not (scratch / shape).exists():
                make_base(shape, scratch / shape)
            data = make_rows(store, f"rows{length}", length, 64)
            for saving in (True, False) if length < 4096 else (True,):
                recipe = recipe_of(
                    str(scratch / shape),
                    data,
                    batch={"size": batch, "accumulation": 1, "max_length": length},
                    gradient_checkpointing=saving,
                )
                key = f"{shape} {batch} × {length}{', checkpointing' if saving else ''}"
                result["memory"][key] = memory(store, recipe)
                print(key, result["memory"][key], file=sys.stderr)
        if gpu:
            for batch, accumulation, saving in ((1, 16, True), (4, 4, True), (4, 4, False)):
                recipe = recipe_of(
                    str(scratch / "8b"),
                    "rows2048",
                    max_steps=12,
                    gradient_checkpointing=saving,
                    checkpoints={"every": 1000},
                    batch={"size": batch, "accumulation": accumulation, "max_length": 2048},
                )
                result["overhead"][f"8b {batch} × {accumulation}"] = overhead(store, recipe, scratch, 1, 2048)
        else:
            recipe = recipe_of(
                "support-base-hf",
                "triage",
                max_steps=60,
                gradient_checkpointing=False,
                checkpoints={"every": 30},
                batch={"size": 16, "accumulation": 1, "max_length": 512},
            )
            result["overhead"]["sample 16 × 1"] = overhead(store, recipe, scratch, arguments.rounds, 70)
    FOLDER.mkdir(parents=True, exist_ok=True)
    where = "gpu" if gpu else f"{os.cpu_count()}-cores"
    (FOLDER / f"{result['date']}-training-{where}.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
