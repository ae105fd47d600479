"""Runs of other programs, read from their folders: Hugging Face's Trainer, LLaMA-Factory, axolotl, unsloth, TensorBoard."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.foreign_text import JsonObject, parse_json
from llmops_tui.training.history import History
from llmops_tui.user_files import with_home
from llmops_tui.workspace.event_log import EventLog

_KEY = "training:foreign"
_MAX_BYTES = 256 * 1024 * 1024
# Their names of what we call otherwise.
_NAMES = {
    "lr": "learning_rate", "throughput": "tokens_per_s", "train_loss": "loss", "eval/loss": "eval_loss",
    "train/loss": "loss", "train/learning_rate": "learning_rate", "train/grad_norm": "grad_norm", "current_steps": "step",
    "tokens_per_second_per_gpu": "tokens_per_s", "train/tokens_per_second_per_gpu": "tokens_per_s",
    "train/num_tokens": "num_tokens", "train/epoch": "epoch",
}  # fmt: skip


def read_foreign(folder: Path) -> History:
    """The record of a run of another program.

    Raises:
        InputRefusedError: ``no_run``: nothing in the folder is a run's record.
    """
    for reader in (_factory_log, _trainer_state, _tensorboard):
        history = reader(folder)
        if history is not None:
            return history
    raise InputRefusedError(
        "no_run",
        f"{folder} has no training log",
        "A run's folder has trainer_log.jsonl, trainer_state.json (there or in its checkpoints), or TensorBoard's event files.",
    )


def stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """What tells whether the record of a run has changed: its files with their times and sizes."""
    patterns = (
        "trainer_log.jsonl",
        "trainer_state.json",
        "checkpoint-*/trainer_state.json",
        "**/events.out.tfevents.*",
    )
    found = []
    for path in sorted(path for pattern in patterns for path in folder.glob(pattern)):
        with contextlib.suppress(OSError):
            facts = path.stat()
            found.append((str(path), facts.st_mtime_ns, facts.st_size))
    return tuple(found)


def _factory_log(folder: Path) -> History | None:
    path = folder / "trainer_log.jsonl"
    if not path.is_file():
        return None
    history = History()
    for entry in _lines(path):
        history.total = int(entry.get("total_steps") or history.total)
        _add(history, entry, int(entry.get("current_steps") or 0))
        if entry.get("percentage") == 100.0:
            history.ended = "done"
    history.facts["program"] = "LLaMA-Factory"
    return history


def _trainer_state(folder: Path) -> History | None:
    def step_of(path: Path) -> int:
        digits = path.parent.name.rpartition("-")[2]
        return int(digits) if digits.isdigit() else 0

    # The one at the top is written when the run ends; before that the newest checkpoint's knows most.
    candidates = [
        folder / "trainer_state.json",
        *sorted(folder.glob("checkpoint-*/trainer_state.json"), key=step_of, reverse=True),
    ]
    path = next((p for p in candidates if p.is_file()), None)
    if path is None:
        return None
    state = _json(path)
    history = History(total=int(state.get("max_steps") or 0))
    for entry in state.get("log_history") or []:
        if isinstance(entry, dict):
            _add(history, entry, int(entry.get("step") or 0))
    history.ended = "done" if path.parent == folder else ""
    history.facts["program"] = "Hugging Face Trainer"
    return history


def _tensorboard(folder: Path) -> History | None:
    files = sorted(folder.rglob("events.out.tfevents.*"))
    if not files:
        return None
    try:
        from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
    except ImportError as error:
        raise LlmopsError(
            "no_tensorboard", "TensorBoard's files need the training libraries", "pip install 'llmops-tui[train]'"
        ) from error
    history = History()
    for file in files:
        # A file that is being written ends in the middle of a record.
        with contextlib.suppress(Exception):
            for event in LegacyEventFileLoader(str(file)).Load():
                for value in event.summary.value:
                    if value.HasField("simple_value"):
                        _add(history, {value.tag: value.simple_value}, int(event.step))
    history.facts["program"] = "TensorBoard"
    return history


def _add(history: History, entry: JsonObject, step: int) -> None:
    history.step = max(history.step, step)
    for name, value in entry.items():
        known = _NAMES.get(name, name)
        if known in {"step", "total_steps"} or isinstance(value, bool):
            continue
        with contextlib.suppress(TypeError, ValueError):
            history.series.setdefault(known, {})[step] = float(value)


def _lines(path: Path) -> Iterator[JsonObject]:
    with path.open("rb") as file:
        for line in file:
            with contextlib.suppress(ValueError):
                entry = parse_json(line)
                if isinstance(entry, dict):
                    yield entry


def _json(path: Path) -> JsonObject:
    if path.stat().st_size > _MAX_BYTES:
        raise InputRefusedError("no_run", f"{path} is larger than {_MAX_BYTES // 1_000_000} MB")
    try:
        value = parse_json(path.read_text(encoding="utf-8", errors="replace"))
    except ValueError as error:
        raise InputRefusedError("no_run", f"{path} is not JSON: {error}") from error
    return value if isinstance(value, dict) else {}


def watched(event_log: EventLog) -> list[Path]:
    """The folders that are watched in this workspace."""
    return [Path(p) for p in (event_log.load_draft(_KEY) or {}).get("folders", [])]


def watch(event_log: EventLog, folder: Path) -> None:
    """Watch a folder from now on.

    Raises:
        InputRefusedError: it has no training log.
    """
    folder = with_home(folder).resolve()
    read_foreign(folder)
    event_log.save_draft(_KEY, {"folders": [str(p) for p in dict.fromkeys([*watched(event_log), folder])]})


def forget(event_log: EventLog, folder: Path) -> None:
    """Watch a folder no more; its files stay."""
    event_log.save_draft(_KEY, {"folders": [str(p) for p in watched(event_log) if p != folder]})
