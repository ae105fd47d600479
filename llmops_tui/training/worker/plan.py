"""The planning job: everything of the preflight, and a few real steps where that is asked for."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from llmops_tui.datasets.tokens import ModelText
from llmops_tui.hardware.memory import HOST
from llmops_tui.jobs.worker import JobContext
from llmops_tui.models.safetensors import read_folder
from llmops_tui.training import device_queue, duration, preflight
from llmops_tui.training.bases import as_computed, tokenized_by
from llmops_tui.training.duration import Speed
from llmops_tui.training.example import length_of
from llmops_tui.training.examples import Examples, build
from llmops_tui.training.history import Recorder, read_history
from llmops_tui.training.memory import estimate
from llmops_tui.training.mixture import passes_of
from llmops_tui.training.preflight_findings import Finding, as_dicts
from llmops_tui.training.preflight_speed import savings
from llmops_tui.training.recipe import Recipe, changed, check
from llmops_tui.training.records import DryRun, ParityRecord, PlanRecord
from llmops_tui.training.runs import RunStore
from llmops_tui.training.shape import Shape
from llmops_tui.training.starts import start_of
from llmops_tui.training.worker import surroundings
from llmops_tui.training.worker.cluster_look import places_of

if TYPE_CHECKING:
    from llmops_tui.training.worker.callbacks import RunCallback

_DRY_STEPS = 2


def plan(context: JobContext, recipe: dict[str, Any], *, dry_run: bool = False) -> PlanRecord:
    """Look at a recipe from all sides; returns the plan."""
    began = time.monotonic()
    wanted = as_computed(check(recipe))
    surroundings.prepare(wanted.devices)
    from llmops_tui.training.worker.attention import attention_findings
    from llmops_tui.training.worker.kernels import kernel_findings
    from llmops_tui.training.worker.unpack import weights_of

    store = RunStore(context.workspace)
    base = store.base_of(wanted)
    start = start_of(wanted, store, base)
    weights = weights_of(context.workspace, base, wanted, lambda share, told: context.report(0.2 * share, told))
    with ModelText(tokenized_by(wanted, base, weights), wanted.template(base.header.get("chat_template"))) as text:
        examples = build(
            wanted, store.datasets, text, lambda share: context.report(0.2 + 0.4 * share, f"tokenizing {share:.0%}")
        )
        context.report(0.6, "comparing with serving")
        places, cluster_told = places_of(wanted)
        inspected = preflight.inspect(wanted, store, base, weights, examples, text, places)
        answers = [len(text.tokenizer.tokens(one.expected)) + 1 for one in examples.generated]
    room, steps, disk, shape = inspected.room, inspected.steps, inspected.disk, inspected.shape

    def looks_at(one: Recipe) -> list[Finding]:
        return [*attention_findings(one, shape.family), *kernel_findings(one, shape.family)]

    findings = [*looks_at(wanted), *inspected.findings, *cluster_told]
    longest, device = max(examples.report.lengths), room.device
    tokens_per_s, measured = room.measured.tokens_per_s, room.measured.runs
    # What is measured is one process; cards work at the same time, and processes of one host share its processors.
    alone, together = changed(wanted, {"devices": wanted.devices[:1], "fsdp": False}), len(room.devices)
    dry, speed = None, None
    if tokens_per_s:
        # As it was measured before, of rows that were as long as they were.
        speed = Speed(tokens_per_s * together)
        tokens_per_s *= duration.plain_share(wanted, shape, examples.report.lengths)
    if dry_run and wanted.target:
        findings.append(Finding("info", "target", f"two real steps were not taken: {wanted.target} is another machine"))
    elif dry_run and wanted.fsdp:
        findings.append(
            Finding(
                "info", "fsdp_steps", "two real steps were not taken: one process would have to hold all of the base"
            )
        )
    elif dry_run and not any(f.level == "error" for f in findings):
        context.report(0.7, "real steps on the longest rows and on usual ones")
        before = time.monotonic() - began
        dry = _dry_run(alone, shape, weights, examples, context, None if start is None else start.folder)
        # The first of several trains them, which need not be the fullest.
        tried = device_queue.training_devices(alone.devices)[0]
        dry["estimated_bytes"] = estimate(shape, alone, longest, gpu=tried != HOST).total
        tokens_per_s = dry["tokens_per_s"]
        speed = Speed(dry["plain_per_s"] * together, dry["answer_token_s"], before + dry["begin_s"])
        findings += [Finding(**one) for one in dry.pop("findings", [])]
        store.measured(shape.key, tried, dry["estimated_bytes"], dry["peak_bytes"], dry["step_s"], dry["plain_per_s"])
        measured += 1
    tokens = int(sum(examples.report.lengths) * passes_of(wanted, len(examples.train)))
    if wanted.facts.examples == "prompts":
        # Answers as long as they may get: how long they are is known when they are there.
        tokens = (
            steps
            * wanted.effective_batch
            * (sum(examples.report.lengths) // len(examples.train) + wanted.reinforcement.max_tokens)
        )
    tokens_per_s = tokens_per_s * together if tokens_per_s else None
    read = duration.Lengths(
        examples.report.lengths, len(examples.train), [length_of(row) for row in examples.held_out], answers
    )
    seconds = None if speed is None else duration.seconds(wanted, shape, read, speed)
    if dry is not None and wanted.facts.examples == "prompts":
        # Generation included, with answers as long as they were.
        seconds = steps * dry["step_s"]
    return {
        "recipe": wanted.model_dump(),
        "base": base.name,
        "serving": inspected.parity.serving if inspected.parity else None,
        "problems": as_dicts(findings),
        "data": preflight.data_facts(wanted, examples.report, examples, inspected.overlaps),
        "examples": preflight.shown_tokens(examples.report.shown),
        "parity": None if inspected.parity is None else cast("ParityRecord", dataclasses.asdict(inspected.parity)),
        "memory": {
            **room.needed.as_dict(),
            "device": room.device,
            "devices": list(room.devices),
            "available": room.available,
            "device_total": room.total,
            "fits": room.fits,
            "measured_runs": measured,
            "nearest": None if room.nearest is None else room.nearest.changes,
        },
        "time": {"steps": steps, "tokens": tokens, "seconds": seconds, "tokens_per_s": tokens_per_s},
        "disk": {"needed": disk, "free": shutil.disk_usage(context.workspace.runs).free},
        "energy_kwh": _energy(device, seconds),
        "dry_run": dry,
        "savings": savings(
            wanted,
            shape,
            longest,
            examples.report.lengths,
            gpu=room.gpu,
            absent=lambda other: next((one.message for one in looks_at(other)), ""),
        ),
        "ok": not any(f.level == "error" for f in findings),
    }


def _energy(device: str, seconds: float | None) -> float | None:
    """Kilowatt hours at the card's power limit; none where it is not known."""
    from llmops_tui.hardware.power import power_limit_watts

    watts = power_limit_watts(device)
    return None if watts is None or seconds is None else watts * seconds / 3.6e6


def _dry_run(
    recipe: Recipe, shape: Shape, base: Path, examples: Examples, context: JobContext, start: Path | None
) -> DryRun:
    """Two optimizer steps on the longest rows, for the peak of memory, and two on usual ones, for the time of a step.

    Packed rows are as long as all others; prompts, and rows that carry the answers of their neighbours, come in no order that
    could be chosen: of those the second step tells the time.
    """
    from llmops_tui.training.worker import trainers
    from llmops_tui.training.worker.base_model import load_tokenizer
    from llmops_tui.training.worker.beginning import TAKEN, Beginning
    from llmops_tui.training.worker.callbacks import RunCallback, memory_bytes
    from llmops_tui.training.worker.reward_run import rewarded

    count = recipe.effective_batch * _DRY_STEPS
    entered = time.monotonic()
    order = sorted(range(len(examples.train)), key=lambda i: -examples.report.lengths[i])
    taken = (order * -(-count // len(order)))[:count]
    ordered = not recipe.batch.packing and recipe.facts.examples not in {"prompts", "thumbs"}
    usual = duration.usual(recipe, shape, examples.report.lengths, _DRY_STEPS) if ordered else []
    steps = _DRY_STEPS * (2 if ordered else 1)
    rows = [examples.train[i] for i in (*taken, *usual)]
    short = changed(
        recipe,
        {
            "epochs": steps,
            "max_steps": steps,
            "evaluation.patience": 0,
            "trackers": [],
            "checkpoints.every": 1000,
        },
    )
    with (
        device_queue.turn(context, recipe, beside=False),
        tempfile.TemporaryDirectory(prefix="plan-", dir=context.folder) as scratch,
    ):
        recorder = Recorder(Path(scratch))
        callback = RunCallback(short, context, recorder, [])
        tokenizer = load_tokenizer(base, recipe.template(read_folder(base).chat_template))
        callback.tokenizer = tokenizer
        few = Examples(rows, [], [], examples.report)
        begin = Beginning(short, base, start, Path(scratch) / TAKEN)
        trainer = trainers.make(short, begin.model(), tokenizer, few, Path(scratch), [callback], begin)
        # Nothing of these steps is kept.
        trainer.args.save_strategy = "no"
        if ordered:
            trainer.args.train_sampling_strategy, trainer.lengths = "sequential", None
        with rewarded(trainer, short, base, few, context, recorder, folder=Path(scratch), force=True) as found:
            began = time.monotonic()
            trainer.train()
        answer_token_s = _answer_token_seconds(callback, trainer.model, examples) if examples.held_out else 0.0
        recorder.close()
        history = read_history(Path(scratch))
    counted = [of for _, of in sorted(history.series.get("seconds", {}).items())][-(_DRY_STEPS if ordered else 1) :]
    seconds = sum(counted) / len(counted) if counted else (time.monotonic() - began) / steps
    # Without an order both steps have the same rows, by chance.
    lengths = [examples.report.lengths[i] for i in usual or taken]
    each = [lengths[at : at + recipe.effective_batch] for at in range(0, len(lengths), recipe.effective_batch)]
    tokens = sum(lengths) // _DRY_STEPS
    if recipe.facts.examples == "prompts":
        tokens = int((history.last("tokens_per_s") or 0) * seconds) or tokens
    work = sum(duration.work(recipe, shape, step) for step in each) / _DRY_STEPS
    if recipe.facts.examples == "prompts":
        # Answers are longer than what they are asked with.
        work = tokens
    return {
        "steps": steps,
        "step_s": seconds,
        "tokens_per_s": tokens / seconds,
        "padded_per_s": sum(duration.padded(recipe, step) for step in each) / _DRY_STEPS / seconds,
        "plain_per_s": work / seconds,
        "answer_token_s": answer_token_s,
        "begin_s": began - entered,
        "peak_bytes": memory_bytes(),
        "findings": as_dicts(found),
    }


def _answer_token_seconds(callback: RunCallback, model: Any, examples: Examples) -> float:
    """What a token of a sample answer takes, its prompt included; 0 where none is asked for."""
    if not examples.generated:
        return 0.0
    began = time.monotonic()
    made = callback.generate(model, examples.generated[0])
    return (time.monotonic() - began) / max(1, len(made))
