"""The launcher beside a bare TRL script, and estimates of memory beside measured peaks; on a GPU also at 8B's size."""

from __future__ import annotations

import argparse
import datetime as dt
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.tokens import ModelText
from llmops_tui.models.safetensors import read_folder
from llmops_tui.sample import fill
from llmops_tui.sample_files import sample_folder
from llmops_tui.training.examples import build
from llmops_tui.training.history import FILE
from llmops_tui.training.memory import estimate
from llmops_tui.training.recipe import Recipe, changed, check
from llmops_tui.training.runs import RunStore
from llmops_tui.training.shape import shape_of
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


def launcher_times(store: RunStore, recipe: Recipe, limit: float = 3600) -> dict[str, Any]:
    """Run the recipe as a user would; when each step ended, the peak of memory, and what was said beside the steps."""
    began = time.monotonic()
    run = store.start(recipe, beside=True)
    # Read from the file alone: reading the catalog twice a second would take from the trainer what is measured.
    while not (run.folder / FILE).exists() or b'"kind": "end"' not in (run.folder / FILE).read_bytes()[-300:]:
        if time.monotonic() - began > limit:
            raise RuntimeError(f"{run.name} took longer than {limit:.0f} s: {said(store, run.name)}")
        time.sleep(1)
    took = time.monotonic() - began
    while not (state := store.state(store.get(run.name))).job or not state.job.state.final:
        time.sleep(0.5)
    if state.state != "done":
        raise RuntimeError(f"{run.name}: {state.state} {said(store, run.name)}")
    records = [json.loads(line) for line in (run.folder / FILE).read_text().splitlines()]
    steps = [r for r in records if r["kind"] == "step"]
    return {
        "at": [r["at"] for r in steps],
        "loss": [r["loss"] for r in steps],
        "seconds": [r["seconds"] for r in steps],
        "tokens": [r["tokens_per_s"] * r["seconds"] for r in steps],
        "peak_bytes": max(r["memory_bytes"] for r in steps),
        "whole_s": took,
        "events": [r for r in records if r["kind"] == "event"],
    }


def said(store: RunStore, name: str) -> str:
    """Why a run ended, and the last lines of its log."""
    state = store.state(store.get(name))
    if state.job is None:
        return ""
    log = state.run.folder / "log"
    logs = [log] if log.is_file() else sorted(state.run.folder.glob("*.log"))
    lines = [line for file in logs for line in file.read_text(errors="replace").splitlines()[-40:]]
    return "\n".join([str(state.job.cause), str(state.job.message), *lines])


def bare_times(
    store: RunStore, recipe: Recipe, scratch: Path, script: str = "bare_trl.py", python: str = sys.executable
) -> dict[str, Any]:
    """The same by a bare script, which a Python of another environment may run."""
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
        "warmup": recipe.optimizer.warmup_steps(recipe.max_steps),
    }
    (scratch / "settings.json").write_text(json.dumps(given))
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    files = [str(base.path.absolute()), str(scratch / "rows.json"), str(scratch / "settings.json")]
    # Unsloth writes what it compiles to the folder that it runs in.
    command = [str(Path(python).absolute()), str(Path(__file__).resolve().with_name(script)), *files]
    out = subprocess.run(command, check=True, capture_output=True, text=True, env=env, cwd=scratch).stdout
    return dict(json.loads(out.strip().splitlines()[-1]))


def rate(times: list[float]) -> float:
    """Steps a second between the end of the second step and that of the last; checkpoints in between count."""
    return (len(times) - 2) / (times[-1] - times[1])


# What a recipe can be trained with on a GPU to be faster or smaller; each is measured beside the first.
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "liger": {"kernels": "liger"},
    "compiled": {"kernels": "compiled"},
    "flex": {"attention": "flex"},
    "flash_attention_2": {"attention": "flash_attention_2"},
}


def variants(store: RunStore, recipe: Recipe, names: Sequence[str], limit: float = 3600) -> dict[str, Any]:
    """A recipe with each of the variants: seconds of a step at the median, its tokens, memory, and how its losses part."""
    found: dict[str, Any] = {}
    shape = shape_of(read_folder(Path(recipe.base)))
    for name in names:
        chosen = changed(recipe, VARIANTS[name])
        try:
            times = launcher_times(store, chosen, limit)
        except RuntimeError as error:
            # What is not installed, or does not work on this card, is told beside what does.
            found[name] = {"failed": str(error)[-3000:]}
            continue
        steps = [after - before for before, after in itertools.pairwise(times["at"])]
        # The first ones compile.
        step = statistics.median(steps[len(steps) // 2 :])
        found[name] = {
            "step_s": step,
            "steps_s": steps,
            "tokens_per_s": statistics.median(times["tokens"]) / step,
            "first_step_s": times["seconds"][0],
            "estimated_bytes": estimate(shape, chosen, recipe.batch.max_length, gpu=torch.cuda.is_available()).total,
            **{key: times[key] for key in ("loss", "peak_bytes", "whole_s", "events")},
        }
        if "loss" in found[names[0]]:
            pairs = zip(found[name]["loss"], found[names[0]]["loss"], strict=True)
            found[name]["losses_apart"] = max(abs(one - other) for one, other in pairs)
        print(name, found[name], file=sys.stderr)
    return found


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
    parser.add_argument("--unsloth", metavar="PYTHON", help="The Python of an environment with Unsloth, on a GPU.")
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
            recipe = recipe_of(
                str(scratch / "8b"),
                "rows2048",
                max_steps=12,
                checkpoints={"every": 1000},
                batch={"size": 4, "accumulation": 1, "max_length": 2048},
            )
            result["variants"] = variants(store, recipe, list(VARIANTS))
            if arguments.unsloth:
                result["unsloth"] = bare_times(store, recipe, scratch, "bare_unsloth.py", arguments.unsloth)
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
