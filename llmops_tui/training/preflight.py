"""What can be known of a run before it starts: its data, its template, memory, time and disk; each finding with a level."""

from __future__ import annotations

import re
import shutil
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

from llmops_tui.datasets.tokens import ModelText, TokenView
from llmops_tui.errors import InputRefusedError, sentences
from llmops_tui.foreign_text import parse_json
from llmops_tui.hardware import memory as devices
from llmops_tui.inference.loading import ledger
from llmops_tui.models.registry import Model
from llmops_tui.models.safetensors import ModelFolder, read_folder
from llmops_tui.regular_files import read_regular
from llmops_tui.training import turns
from llmops_tui.training.examples import Examples, Report, sources
from llmops_tui.training.finish.serving import serving_model
from llmops_tui.training.memory import (
    Fit,
    Shape,
    TrainingMemory,
    estimate,
    nearest_that_fits,
    shape_of,
    trainable_parameters,
)
from llmops_tui.training.recipe import Recipe
from llmops_tui.training.records import DataFacts, Difference, FindingRecord

if TYPE_CHECKING:
    from llmops_tui.datasets.store import DatasetStore
    from llmops_tui.training.runs import RunStore

_MANY = 0.3
_SHOWN_TOKENS = 400
_COMPARED = 50
# Marks of a template that must be tokens of their own.
_MARK = re.compile(r"<\|[A-Za-z0-9_ ]+\|>|\[/?INST\]|<(?:start|end)_of_turn>")


@dataclass(frozen=True)
class Finding:
    """Something to know before a run: an error stops it, a warning asks, an information is only told."""

    level: str
    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True)
class Parity:
    """Whether the trainer and the serving engine see the same tokens.

    Attributes:
        compared: conversations that were compared.
        different: how many of them are not the same.
        first: the first difference: both texts around it, and both tokens.
    """

    serving: str
    compared: int
    different: int
    first: Difference | None


def look_at_data(recipe: Recipe, examples: Examples) -> list[Finding]:
    """What is to be said about the data."""
    report, found = examples.report, []
    rows = sum(report.rows.values()) or 1
    if report.without_target:
        level = "error" if report.without_target > _MANY * rows else "warn"
        found.append(
            Finding(
                level,
                "without_target",
                f"{report.without_target} of {rows} rows have nothing to learn from and are left out",
                "Look at them in the datasets screen; raise batch.max_length if their answers are cut.",
            )
        )
    if report.cut:
        found.append(
            Finding(
                "warn",
                "cut",
                f"{report.cut} of {rows} rows are longer than {recipe.batch.max_length} tokens and are cut",
                f"The longest has {report.longest}; batch.max_length decides.",
            )
        )
    for problem, (count, where) in report.problems.items():
        level = "error" if "stands twice" in problem else "warn"
        found.append(
            Finding(level, "row_problem", f"{count} of {rows} rows: {problem}", f"Such as {', '.join(where)}.")
        )
    if not examples.held_out:
        found.append(
            Finding("info", "no_evaluation", "no evaluation loss is measured", "evaluation.share keeps rows apart.")
        )
    steps = recipe.steps(len(examples.train))
    if steps < 20 and not recipe.max_steps:
        found.append(Finding("warn", "few_steps", f"the run has {steps} steps", "More epochs, or a smaller batch."))
    return found


def look_at_settings(recipe: Recipe, folder: ModelFolder, shape: Shape, vocabulary: Iterable[str]) -> list[Finding]:
    """What is to be said about the settings and the tokenizer."""
    found = []
    end, pad = folder.special("eos_token"), folder.special("pad_token")
    if not end:
        found.append(
            Finding(
                "error",
                "no_end",
                "the tokenizer names no end token: the model could not learn to stop",
                "Set eos_token in tokenizer_config.json.",
            )
        )
    if not pad or pad == end:
        found.append(
            Finding(
                "info",
                "pad_is_end",
                f"the tokenizer pads with {'its end token ' + end if pad else 'nothing'}",
                "Padding is masked by its place here, so the end token is learned all the same.",
            )
        )
    known = set(vocabulary)
    strange = sorted(set(_MARK.findall(recipe.chat_template or folder.chat_template or "")) - known) if known else []
    if strange:
        found.append(
            Finding(
                "error",
                "template_tokens",
                f"the template writes {', '.join(strange[:4])}: no tokens of this tokenizer",
                "Choose the template that the model was made with.",
            )
        )
    if not (recipe.chat_template or folder.chat_template):
        found.append(
            Finding(
                "warn",
                "no_template",
                "the base has no chat template; a plain one is used",
                "Set chat_template in the recipe.",
            )
        )
    if recipe.optimizer.learning_rate > 1e-2:
        found.append(
            Finding(
                "warn",
                "learning_rate",
                f"a learning rate of {recipe.optimizer.learning_rate:g} mostly diverges",
                "2e-4 is usual for LoRA.",
            )
        )
    if recipe.method in {"dpo", "orpo", "kto"} and recipe.optimizer.learning_rate > 1e-4:
        found.append(
            Finding(
                "warn",
                "learning_rate",
                f"{recipe.method} mostly ruins a model at a learning rate of {recipe.optimizer.learning_rate:g}",
                "5e-6 to 5e-5 is usual.",
            )
        )
    names = {name for name, _ in shape.widths}
    if recipe.lora.targets != ["all-linear"] and not set(recipe.lora.targets) & names:
        found.append(
            Finding(
                "error",
                "no_targets",
                f"the base has no module {', '.join(recipe.lora.targets)}",
                f"It has {', '.join(sorted(names))}.",
            )
        )
    return found


def compare_with_serving(recipe: Recipe, training: ModelText, serving: Model, rows: list[tuple[str, Any]]) -> Parity:
    """Compare the tokens of rows, as (kind, row), in training with those of the engine that will serve the result."""
    different, first = 0, None
    with ModelText(serving, recipe.chat_template or None) as engine:
        for kind, row in rows[:_COMPARED]:
            ours = training.view(kind, row)
            theirs = engine.view(kind, row)
            if [t.id for t in ours.tokens] == [t.id for t in theirs.tokens]:
                continue
            different += 1
            first = first or _first_difference(ours, theirs)
    return Parity(serving.name, min(len(rows), _COMPARED), different, first)


def _first_difference(ours: TokenView, theirs: TokenView) -> Difference:
    pairs = zip(ours.tokens, theirs.tokens, strict=False)
    at = next((i for i, (a, b) in enumerate(pairs) if a.id != b.id), min(len(ours.tokens), len(theirs.tokens)))
    return {
        "token": at,
        "training": "".join(t.text for t in ours.tokens[max(0, at - 5) : at + 5]),
        "serving": "".join(t.text for t in theirs.tokens[max(0, at - 5) : at + 5]),
        "training_ids": [t.id for t in ours.tokens[at : at + 5]],
        "serving_ids": [t.id for t in theirs.tokens[at : at + 5]],
    }


def look_at_parity(parity: Parity | None) -> list[Finding]:
    """What is to be said about training and serving."""
    if parity is None:
        return [
            Finding(
                "info",
                "no_serving",
                "no GGUF model of this base is registered: serving is not compared",
                "The export makes one.",
            )
        ]
    if not parity.different:
        return []
    return [
        Finding(
            "error",
            "parity",
            f"{parity.different} of {parity.compared} conversations are other tokens in {parity.serving} than in training",
            "The answer would be asked for in another way than it was learned: use the same template and tokenizer in both.",
        )
    ]


@dataclass(frozen=True)
class Room:
    """The device and whether a run fits there now."""

    device: str
    needed: TrainingMemory
    available: int
    total: int
    nearest: Fit | None
    measured_runs: int

    @property
    def fits(self) -> bool:
        """Whether it does."""
        return self.needed.total <= self.available


def look_at_room(recipe: Recipe, shape: Shape, longest: int, calibration: tuple[float, int]) -> Room:
    """How much memory a run needs beside what there is."""
    device = turns.training_device()
    gpu = device != devices.HOST
    factor, runs = calibration
    total, available, _ = ledger().look(device)
    needed = estimate(shape, recipe, longest, gpu=gpu, factor=factor)
    nearest = (
        None
        if needed.total <= available
        else nearest_that_fits(shape, recipe, longest, available, gpu=gpu, factor=factor)
    )
    return Room(device, needed, available, total, nearest, runs)


def room_findings(room: Room) -> list[Finding]:
    """What is to be said about memory, and who has the device."""
    found = []
    if not room.fits:
        hint = "No change of batch, length or quantization is enough: choose a smaller base."
        if room.nearest is not None:
            changes = ", ".join(f"{k}: {v}" for k, v in room.nearest.changes.items())
            hint = f"This would fit, with {room.nearest.memory.total / 1e9:.1f} GB: {changes}."
        found.append(
            Finding(
                "error",
                "memory",
                f"it needs about {room.needed.total / 1e9:.1f} GB of {room.device} memory and "
                f"{room.available / 1e9:.1f} GB are free",
                hint,
            )
        )
    holder = turns.holder_of(room.device)
    if holder:
        found.append(
            Finding(
                "info",
                "queue",
                f"{holder} trains on {room.device} now; this run would wait for it",
                "--beside does not wait.",
            )
        )
    return found


@dataclass(frozen=True)
class Looked:
    """All that was looked at without training a step.

    ``tokens_per_s`` is what runs of this shape were measured to do on the device; none where there were none.
    """

    shape: Shape
    tokens_per_s: float | None
    findings: list[Finding]
    parity: Parity | None
    room: Room
    steps: int
    disk: int


def look(recipe: Recipe, store: RunStore, base: Model, examples: Examples, text: ModelText) -> Looked:
    """Look at a recipe from all sides but that of a real step."""
    folder = read_folder(base.path)
    shape = shape_of(folder)
    serving = serving_model(store, recipe.serving, base)
    parity = (
        compare_with_serving(recipe, text, serving, _some_rows(recipe, store.datasets)) if serving is not None else None
    )
    factor, tokens_per_s, measured = store.calibration(shape.key, turns.training_device())
    room = look_at_room(recipe, shape, max(examples.report.lengths), (factor, measured))
    steps = recipe.steps(len(examples.train))
    disk = disk_needed(recipe, shape, steps)
    findings = [
        *look_at_data(recipe, examples),
        *look_at_settings(recipe, folder, shape, _vocabulary(folder)),
        *look_at_parity(parity),
        *room_findings(room),
        *disk_findings(disk, store.workspace.runs),
    ]
    return Looked(shape, tokens_per_s, findings, parity, room, steps, disk)


def _some_rows(recipe: Recipe, datasets: DatasetStore) -> list[tuple[str, Any]]:
    """Rows of each dataset, from its beginning, its middle and its end."""
    found: list[tuple[str, Any]] = []
    for version, _ in sources(recipe, datasets):
        step = max(1, version.rows // 50)
        kind = "prompt-completion" if version.kind == "preference" else version.kind
        rows = version.rows_at(list(range(0, version.rows, step))[:50])
        chosen = [row | {"completion": row.get("chosen")} if version.kind == "preference" else row for row in rows]
        found += [(kind, row) for row in chosen]
    return found


def _vocabulary(folder: ModelFolder) -> set[str]:
    file = folder.path / "tokenizer.json"
    if not file.is_file():
        return set()
    data = parse_json(read_regular(file))
    vocabulary = data["model"].get("vocab") or {}
    tokens = vocabulary if isinstance(vocabulary, dict) else [token for token, _ in vocabulary]
    return set(tokens) | {token["content"] for token in data.get("added_tokens", [])}


def disk_needed(recipe: Recipe, shape: Shape, steps: int) -> int:
    """Bytes that a run writes at the most: checkpoints with adapter and optimizer, and the adapter at the end."""
    trainable = trainable_parameters(shape, recipe)
    # The adapter in 32 bits, and AdamW's two moments.
    checkpoint = trainable * 4 * 3 + 20_000_000
    kept = min(recipe.checkpoints.keep + 2, max(1, steps))
    return kept * checkpoint + trainable * 8


def disk_findings(needed: int, folder: Any) -> list[Finding]:
    """What is to be said about the disk."""
    free = shutil.disk_usage(folder).free
    if needed < free:
        return []
    return [
        Finding(
            "error",
            "disk",
            f"checkpoints need about {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free in {folder}",
            "Free some, or lower checkpoints.keep.",
        )
    ]


def data_facts(report: Report, examples: Examples) -> DataFacts:
    """The figures of the data, for JSON and the screen."""
    lengths = sorted(report.lengths)
    quantiles = statistics.quantiles(lengths, n=20) if len(lengths) > 1 else lengths * 19
    return {
        "rows": report.rows,
        "examples": len(examples.train),
        "held_out": len(examples.held_out),
        "tokens": {"p50": statistics.median(lengths), "p95": quantiles[-1], "max": lengths[-1], "total": sum(lengths)},
        "trained_tokens": report.trained,
        "cut": report.cut,
        "without_target": report.without_target,
        "problems": {problem: {"rows": count, "such_as": where} for problem, (count, where) in report.problems.items()},
        "histogram": _histogram(lengths),
    }


def _histogram(lengths: list[int], bins: int = 24) -> list[int]:
    width = max(1, -(-lengths[-1] // bins))
    counts = [0] * bins
    for length in lengths:
        counts[min(bins - 1, length // width)] += 1
    return counts


def shown_tokens(views: list[TokenView]) -> list[list[tuple[str, str]]]:
    """A few examples as (text, state) pairs, neighbours of one state joined."""
    shown = []
    for view in views:
        parts: list[tuple[str, str]] = []
        for token in view.tokens[:_SHOWN_TOKENS]:
            if parts and parts[-1][1] == token.state:
                parts[-1] = (parts[-1][0] + token.text, token.state)
            else:
                parts.append((token.text, token.state))
        shown.append(parts)
    return shown


def refuse(findings: list[Finding]) -> None:
    """Stop where something is an error.

    Raises:
        InputRefusedError: ``preflight``, with all errors.
    """
    errors = [finding for finding in findings if finding.level == "error"]
    if errors:
        raise InputRefusedError("preflight", "; ".join(e.message for e in errors), sentences(*(e.hint for e in errors)))


def as_dicts(findings: list[Finding]) -> list[FindingRecord]:
    """Findings for JSON, errors first."""
    order = {"error": 0, "warn": 1, "info": 2}
    return [cast("FindingRecord", asdict(f)) for f in sorted(findings, key=lambda f: order[f.level])]
