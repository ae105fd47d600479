"""Long contexts on a card: what is estimated of memory beside what a run holds, and how long a step takes.

``BASE PART OUT.jsonl``, where ``BASE`` is a folder of safetensors, such as ``training.make_base`` writes: one of 8B, and for
the part ``small`` one of 1B. The parts are in ``long_contexts.json``. A case says what is trained, on rows of which lengths,
and how many seconds it may need::

    {"name": "8k", "lengths": [8192], "steps": 3, "needs_s": 10, "recipe": {"batch": {"size": 1, "max_length": 8192}}}

Rows are random tokens, all of which are learned from. The base is loaded once for all cases with the same kernels, and each
case is trained as a run trains it. ``where`` has also what memory was held for at its peak, by the line that asked for it.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import random
import tempfile
import threading
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any, Self

from llmops_tui.training.worker import surroundings

surroundings.prepare()

import torch  # noqa: E402

from llmops_tui.models.safetensors import read_folder  # noqa: E402
from llmops_tui.training.examples import Examples, Report  # noqa: E402
from llmops_tui.training.history import Recorder, read_history  # noqa: E402
from llmops_tui.training.memory import estimate  # noqa: E402
from llmops_tui.training.packing import pack  # noqa: E402
from llmops_tui.training.recipe import Recipe, changed, check  # noqa: E402
from llmops_tui.training.shape import shape_of  # noqa: E402
from llmops_tui.training.worker import beginning, trainers  # noqa: E402
from llmops_tui.training.worker.base_model import load_tokenizer  # noqa: E402
from llmops_tui.training.worker.callbacks import RunCallback, memory_bytes  # noqa: E402

_SHOWN = 14
_NAMES = {"sdpa": "sdpa", "auto": "sdpa", "flex": "flex_attention", "eager": "eager"}


class Context:
    """What a run needs of a job."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def check(self) -> None:
        """Nobody cancels."""

    def report(self, _share: float, _message: str = "") -> None:
        """Nobody watches."""


class Held:
    """The most memory of the first GPU that the driver tells of this process, looked at five times a second."""

    def __init__(self) -> None:
        self.most = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        import pynvml

        pynvml.nvmlInit()
        card = pynvml.nvmlDeviceGetHandleByIndex(0)
        while not self._ended.wait(0.2):
            for process in pynvml.nvmlDeviceGetComputeRunningProcesses(card):
                if process.pid == os.getpid():
                    self.most = max(self.most, int(process.usedGpuMemory or 0))

    def __enter__(self) -> Self:
        if torch.cuda.is_available():
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()


def recipe_of(base: Path, case: dict[str, Any]) -> Recipe:
    """The recipe of a case: an adapter of rank 32 on all linear modules of a base in NF4, unless it says otherwise."""
    body: dict[str, Any] = {
        "name": "bench",
        "base": str(base),
        "data": ["d"],
        "trackers": [],
        "max_steps": case["steps"],
        "epochs": 1000,
        "evaluation": {"share": 0.0, "samples": 0},
        "checkpoints": {"every": 1000},
        "lora": {"rank": 32, "alpha": 64},
        "optimizer": {"learning_rate": 2e-4, "warmup": 0},
    }
    return check(body | case["recipe"])


def rows_of(recipe: Recipe, lengths: list[int], vocabulary: int) -> list[Any]:
    """As many rows as the run takes, of these lengths one after the other; of a pair both answers have half of it."""
    chance = random.Random(1)
    count = max(recipe.effective_batch * recipe.max_steps, len(lengths))
    made: list[Any] = []
    for length in itertools.islice(itertools.cycle(lengths), count):
        ids = [chance.randrange(5, vocabulary) for _ in range(length)]
        if recipe.facts.examples == "pairs":
            half = length // 2
            made.append({"prompt_ids": ids[:half], "chosen_ids": ids[half:], "rejected_ids": ids[: length - half]})
        else:
            made.append({"input_ids": ids, "labels": ids})
    return pack(made, recipe.batch.max_length) if recipe.batch.packing else made


def allocations(events: list[dict[str, Any]]) -> dict[str, int]:
    """Of what was held at the peak: bytes by the innermost line that is not torch's own, the largest first."""
    alive: dict[int, dict[str, Any]] = {}
    now = most = 0
    peak: list[dict[str, Any]] = []
    for pass_ in range(2):
        alive.clear()
        now = 0
        for event in events:
            if event["action"] == "alloc":
                alive[event["addr"]] = event
                now += event["size"]
            elif event["action"] == "free_completed" and event["addr"] in alive:
                now -= alive.pop(event["addr"])["size"]
            if pass_ == 0:
                most = max(most, now)
            elif now == most:
                peak = list(alive.values())
                break
    found: Counter[str] = Counter()
    for event in peak:
        found[_line(event.get("frames") or [])] += event["size"]
    return {"all": most, **dict(found.most_common(_SHOWN))}


def _line(frames: list[dict[str, Any]]) -> str:
    for frame in frames:
        file = str(frame.get("filename", ""))
        if file.endswith(".py") and "/torch/" not in file:
            return f"{'/'.join(file.split('/')[-3:])}:{frame.get('line')} {frame.get('name')}"
    return "torch, in the backward pass"


class Bench:
    """A base that is loaded once, and cases that are trained on it."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.shape = shape_of(read_folder(base))
        self._model: Any = None
        self._of: tuple[str, ...] = ()
        self.loaded_s = 0.0

    def loaded(self, recipe: Recipe) -> Any:
        key = (recipe.kernels, recipe.quantization.type)
        if self._model is None or self._of != key:
            self._model = None
            gc.collect()
            began = time.monotonic()
            self._model = beginning.Beginning(recipe, self.base, None, self.base).model()
            self._of, self.loaded_s = key, time.monotonic() - began
        self._model.set_attn_implementation(_NAMES[recipe.attention])
        # Which a trainer switches on, and none off.
        self._model.gradient_checkpointing_disable()
        return self._model

    def run(self, case: dict[str, Any]) -> dict[str, Any]:
        """Train a case, and what was estimated and measured."""
        recipe = recipe_of(self.base, case)
        gpu = torch.cuda.is_available()
        rows = rows_of(recipe, case["lengths"], self.shape.vocabulary)
        longest = recipe.batch.max_length if recipe.batch.packing else max(case["lengths"])
        told = estimate(self.shape, recipe, longest, gpu=gpu)
        model = self.loaded(recipe)
        with tempfile.TemporaryDirectory() as folder, Held() as held:
            try:
                found = self._train(recipe, model, rows, Path(folder))
                found["driver_bytes"] = held.most
                if case.get("where") and gpu:
                    try:
                        found["where"] = self._where(recipe, model, rows, Path(folder))
                    except Exception:  # noqa: BLE001  what was measured before is kept
                        found["where"] = {traceback.format_exc()[-1500:]: 0}
            finally:
                # Trainers put their own forward on a model.
                model.__dict__.pop("forward", None)
        found |= {
            "name": case["name"],
            "case": case,
            "estimated_bytes": told.total,
            "parts": told.as_dict(),
            "off": told.total / found["peak_bytes"] - 1,
        }
        return found

    def _trainer(self, recipe: Recipe, model: Any, rows: list[Any], folder: Path, recorder: Recorder) -> Any:
        context: Any = Context(folder)
        callback = RunCallback(recipe, context, recorder, [])
        tokenizer = callback.tokenizer = load_tokenizer(self.base)
        begin = beginning.Beginning(recipe, self.base, None, folder / "taken")
        trainer = trainers.make(recipe, model, tokenizer, Examples(rows, [], [], Report()), folder, [callback], begin)
        trainer.args.save_strategy = "no"
        return trainer

    def _train(self, recipe: Recipe, model: Any, rows: list[Any], folder: Path) -> dict[str, Any]:
        _clear()
        recorder = Recorder(folder)
        trainer = self._trainer(recipe, model, rows, folder, recorder)
        began = time.monotonic()
        try:
            trainer.train()
        finally:
            peak = memory_bytes()
            allocated = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
            trainer.model.unload()
            recorder.close()
        history = read_history(folder)
        return {
            "steps_s": [history.series["seconds"][step] for step in sorted(history.series["seconds"])],
            "loss": [history.series["loss"][step] for step in sorted(history.series["loss"])],
            "tokens_per_s": history.last("tokens_per_s"),
            "tokens": [
                round(rate * history.series["seconds"][step])
                for step, rate in sorted(history.series.get("tokens_per_s", {}).items())
            ],
            "all_s": time.monotonic() - began,
            "peak_bytes": peak,
            "allocated_bytes": allocated,
        }

    def _where(self, recipe: Recipe, model: Any, rows: list[Any], folder: Path) -> dict[str, int]:
        model.__dict__.pop("forward", None)
        _clear()
        once = changed(recipe, {"max_steps": 1})
        recorder = Recorder(folder)
        trainer = self._trainer(once, model, rows, folder, recorder)
        told: Any = torch.cuda.memory
        told._record_memory_history(context="alloc", stacks="python", max_entries=400_000)  # noqa: SLF001
        try:
            trainer.train()
            events = told._snapshot()["device_traces"][0]  # noqa: SLF001
        finally:
            told._record_memory_history(enabled=None)  # noqa: SLF001
            trainer.model.unload()
            recorder.close()
        return allocations(events)


def _clear() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", type=Path)
    parser.add_argument("part", help="A part of --cases.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--cases", type=Path, default=Path(__file__).with_suffix(".json"))
    parser.add_argument("--after", type=Path, help="Load the base, and begin once this file is there.")
    parser.add_argument(
        "--until", type=float, default=float("inf"), help="Begin no case after this time (Unix seconds)."
    )
    arguments = parser.parse_args()
    bench = Bench(arguments.base)
    cases = json.loads(arguments.cases.read_text())[arguments.part]
    if arguments.after is not None:
        bench.loaded(recipe_of(arguments.base, cases[0]))
        while not arguments.after.exists():
            time.sleep(0.1)
    with arguments.out.open("a") as out:
        for case in cases:
            began = time.time()
            if began + case.get("needs_s", 0) > arguments.until:
                found: dict[str, Any] = {"name": case["name"], "skipped": "no time left"}
            else:
                try:
                    found = bench.run(case)
                except Exception:  # noqa: BLE001  what one case fails of is told, and the others go on
                    found = {"name": case["name"], "failed": traceback.format_exc()[-3000:]}
            found |= {"took_s": time.time() - began, "loaded_s": bench.loaded_s}
            out.write(json.dumps(found) + "\n")
            out.flush()
            print(
                json.dumps({key: found[key] for key in found if key not in {"case", "where", "parts", "loss"}}),
                flush=True,
            )


if __name__ == "__main__":
    main()
