"""Several processes that train one model together, each on its share of every batch (data parallel).

The worker of the run is rank 0: it alone records, is asked to stop, and keeps what is made. The others are its children.
They train from the files it wrote for them, do at each step what it decides, and end with it. If one of them ends before
its time, the run ends as a whole, and goes on from its last checkpoint when it is resumed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypedDict

import torch
import torch.distributed as dist
from accelerate.state import AcceleratorState, GradientState, PartialState  # type: ignore[import-untyped]
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from llmops_tui.child_python import module_command
from llmops_tui.errors import LlmopsError
from llmops_tui.foreign_text import JsonObject
from llmops_tui.training.examples import Examples
from llmops_tui.training.recipe import Recipe
from llmops_tui.workspace.files import make_folder_within, write_atomic

FOLDER = "ranks"
OUT_OF_MEMORY = 77
"""How a rank ends that had not enough memory."""
_SPEC, _TRAIN, _HELD_OUT, _STORE = "spec.json", "train.jsonl", "held-out.jsonl", "meeting"
# Ranks of one machine meet on it alone.
_INTERFACE = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
# Rank 0 may write samples and checkpoints for as long as it takes; a rank that dies is noticed at once.
_PATIENCE = timedelta(days=2)
_DEATH_SECONDS, _POLL_SECONDS = 10.0, 0.1
_NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", *_INTERFACE)


class RankSpec(TypedDict):
    """What a rank needs to know; the examples lie beside it."""

    recipe: JsonObject
    base: str
    checkpoint: str | None


class InStep(TrainerCallback):
    """Every rank does what rank 0 decided: evaluates, writes a checkpoint, and ends when it does."""

    def __init__(self, memory: Any) -> None:
        self._memory = memory
        self._peaks: list[int] = []
        # NCCL speaks of tensors on cards alone.
        self._group = dist.new_group(backend="gloo", timeout=_PATIENCE)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Agree on what comes after the step, and on the memory that all of them took so far."""
        peak = torch.tensor([int(self._memory())], dtype=torch.int64)
        peaks = [torch.zeros_like(peak) for _ in range(dist.get_world_size())]
        dist.all_gather(peaks, peak, group=self._group)
        self._peaks = [int(one.item()) for one in peaks]
        return self._agree(control)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Agree on whether it goes on after an evaluation."""
        return self._agree(control)

    def _agree(self, control: TrainerControl) -> TrainerControl:
        said = torch.tensor(
            [control.should_save, control.should_evaluate, control.should_training_stop], dtype=torch.uint8
        )
        dist.broadcast(said, src=0, group=self._group)
        control.should_save, control.should_evaluate, control.should_training_stop = (
            bool(one) for one in said.tolist()
        )
        return control

    def wait(self) -> None:
        """Until all ranks are here."""
        dist.barrier(group=self._group)

    def memory_bytes(self) -> int:
        """The most that was held so far: of a host by all ranks together, of cards on the one that held the most."""
        peaks = self._peaks or [int(self._memory())]
        return max(peaks) if torch.cuda.is_available() else sum(peaks)


class Ranks:
    """The other ranks of a run, as rank 0 sees them."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._logs = [folder / f"rank-{number}.log" for number in range(1, count)]
        self._processes: list[subprocess.Popen[bytes]] = []
        self._count = count

    def start(self) -> None:
        """Start them, and meet them."""
        for number, log in enumerate(self._logs, 1):
            with log.open("wb") as out:
                self._processes.append(
                    subprocess.Popen(
                        module_command(
                            "llmops_tui.training.worker.rank", str(self._folder), str(number), str(os.getpid())
                        ),
                        env=os.environ | environment(number, self._count),
                        stdin=subprocess.DEVNULL,
                        stdout=out,
                        stderr=subprocess.STDOUT,
                        close_fds=True,
                    )
                )
        os.environ.update(environment(0, self._count))
        meet(self._folder, 0, self._count)

    def failure(self, error: Exception) -> Exception:
        """What an error of rank 0 really was, where it is because another rank ended; else the error itself."""
        deadline = time.monotonic() + _DEATH_SECONDS
        while time.monotonic() < deadline:
            for number, (process, log) in enumerate(zip(self._processes, self._logs, strict=False), 1):
                code = process.poll()
                if code == OUT_OF_MEMORY:
                    return torch.cuda.OutOfMemoryError(_last_line(log))
                if code:
                    how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
                    said = _last_line(log) if code > 0 else ""
                    return LlmopsError(
                        "rank_failed",
                        f"process {number + 1} of {self._count} of the run {how}" + (f": {said}" if said else ""),
                        "llmops train resume continues from the last checkpoint.",
                    )
            time.sleep(_POLL_SECONDS)
        return error

    def end(self) -> None:
        """End those that are still there: what they have is nobody's, rank 0 keeps everything."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
        for process in self._processes:
            process.wait()


@contextlib.contextmanager
def beside(
    recipe: Recipe, base: Path, examples: Examples, folder: Path, checkpoint: Path | None
) -> Iterator[Ranks | None]:
    """The other ranks of a run while it trains; none where it trains alone.

    Raises:
        LlmopsError: ``rank_failed``: one of them ended before its time.
        torch.cuda.OutOfMemoryError: one of them had too little memory.
    """
    if recipe.ranks == 1:
        yield None
        return
    place = folder / FOLDER
    shutil.rmtree(place, ignore_errors=True)
    make_folder_within(place)
    for name, rows in ((_TRAIN, examples.train), (_HELD_OUT, examples.held_out)):
        with (place / name).open("x", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    spec: RankSpec = {
        "recipe": recipe.model_dump(),
        "base": str(base),
        "checkpoint": None if checkpoint is None else str(checkpoint),
    }
    write_atomic(place / _SPEC, json.dumps(spec))
    before = {name: os.environ.get(name) for name in _NAMES}
    threads = torch.get_num_threads()
    ranks = Ranks(place, recipe.ranks)
    try:
        try:
            ranks.start()
            yield ranks
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:
            # A rank that is gone is, for those that wait for it, a connection that was closed.
            raise ranks.failure(error) from error
    finally:
        ranks.end()
        leave()
        torch.set_num_threads(threads)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        shutil.rmtree(place, ignore_errors=True)


def environment(rank: int, count: int) -> dict[str, str]:
    """What tells torch and accelerate which rank a process is."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        **_INTERFACE,
    }


def meet(folder: Path, rank: int, count: int) -> None:
    """Join the group, through a file that only this user can open; each rank computes with its share of the processors."""
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(rank)
    else:
        torch.set_num_threads(max(1, torch.get_num_threads() // count))
    dist.init_process_group(
        "nccl" if on_gpu else "gloo",
        init_method=f"file://{folder / _STORE}",
        rank=rank,
        world_size=count,
        timeout=_PATIENCE,
    )


def leave() -> None:
    """Leave the group, and forget that there was one: a run may go on with other batches in this process."""
    if dist.is_initialized():
        with contextlib.suppress(RuntimeError):
            dist.destroy_process_group()
    AcceleratorState._reset_state(reset_partial_state=True)
    PartialState._reset_state()
    GradientState._reset_state()


def read_spec(folder: Path) -> RankSpec:
    """What rank 0 wrote for the others."""
    found: RankSpec = json.loads((folder / _SPEC).read_text(encoding="utf-8"))
    return found


def read_examples(folder: Path) -> tuple[list[Any], list[Any]]:
    """The rows to train on, and those to measure on."""

    def rows(name: str) -> list[Any]:
        with (folder / name).open(encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    return rows(_TRAIN), rows(_HELD_OUT)


def _last_line(log: Path) -> str:
    with contextlib.suppress(OSError):
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else ""
    return ""
