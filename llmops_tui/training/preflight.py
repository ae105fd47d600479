"""The preflight of a run: its data, template, memory, time and disk; each finding with a level."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmops_tui.counts import agree, counted
from llmops_tui.datasets.tokens import ModelText, TokenView
from llmops_tui.foreign_text import parse_json
from llmops_tui.models.registry import Model
from llmops_tui.models.safetensors import ModelFolder, read_folder
from llmops_tui.regular_files import read_regular
from llmops_tui.training import device_queue
from llmops_tui.training.examples import Examples, Report, sources
from llmops_tui.training.export.serving_model import serving_model
from llmops_tui.training.memory import (
    Shape,
    shape_of,
)
from llmops_tui.training.preflight_findings import Finding
from llmops_tui.training.preflight_memory import Room, check_memory, disk_findings, disk_needed, room_findings
from llmops_tui.training.recipe import Recipe
from llmops_tui.training.records import DataFacts, Difference

if TYPE_CHECKING:
    from llmops_tui.datasets.store import DatasetStore
    from llmops_tui.training.runs import RunStore

_MANY = 0.3
_SHOWN_TOKENS = 400
_COMPARED = 50
# Marks of a template that must be tokens of their own.
_MARK = re.compile(r"<\|[A-Za-z0-9_ ]+\|>|\[/?INST\]|<(?:start|end)_of_turn>")


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


def check_data(recipe: Recipe, examples: Examples) -> list[Finding]:
    """What is to be said about the data."""
    report, found = examples.report, []
    rows = sum(report.rows.values()) or 1
    if report.without_target:
        level = "error" if report.without_target > _MANY * rows else "warn"
        found.append(
            Finding(
                level,
                "without_target",
                f"{report.without_target} of {counted(rows, 'row')} skipped: no tokens in the loss",
                "Inspect them on the datasets screen; raise batch.max_length if their answers are cut.",
            )
        )
    if report.cut:
        found.append(
            Finding(
                "warn",
                "cut",
                f"{report.cut} of {counted(rows, 'row')} cut: longer than {recipe.batch.max_length} tokens",
                f"The longest has {report.longest}; batch.max_length decides.",
            )
        )
    for problem, (count, where) in report.problems.items():
        level = "error" if "stands twice" in problem else "warn"
        found.append(
            Finding(
                level, "row_problem", f"{count} of {counted(rows, 'row')}: {problem}", f"Such as {', '.join(where)}."
            )
        )
    if not examples.held_out:
        found.append(
            Finding("info", "no_evaluation", "no evaluation loss is measured", "evaluation.share holds rows out.")
        )
    steps = recipe.steps(len(examples.train))
    if steps < 20 and not recipe.max_steps:
        found.append(
            Finding(
                "warn", "few_steps", f"the run has {counted(steps, 'step')}", "Use more epochs, or a smaller batch."
            )
        )
    return found


def check_settings(recipe: Recipe, folder: ModelFolder, shape: Shape, vocabulary: Iterable[str]) -> list[Finding]:
    """What is to be said about the settings and the tokenizer."""
    found = []
    end, pad = folder.special("eos_token"), folder.special("pad_token")
    if not end:
        found.append(
            Finding(
                "error",
                "no_end",
                "the tokenizer has no end token: the model cannot learn to stop",
                "Set eos_token in tokenizer_config.json.",
            )
        )
    if not pad or pad == end:
        found.append(
            Finding(
                "info",
                "pad_is_end",
                f"the tokenizer pads with {'its end token ' + end if pad else 'nothing'}",
                "Padding is masked by position, so the end token is still learned.",
            )
        )
    known = set(vocabulary)
    strange = sorted(set(_MARK.findall(recipe.chat_template or folder.chat_template or "")) - known) if known else []
    if strange:
        found.append(
            Finding(
                "error",
                "template_tokens",
                f"the template writes {', '.join(strange[:4])}, which are not tokens of this tokenizer",
                "Use the template that the model was trained with.",
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
                f"a learning rate of {recipe.optimizer.learning_rate:g} usually diverges",
                "2e-4 is usual for LoRA.",
            )
        )
    if not recipe.facts.packs and recipe.optimizer.learning_rate > 1e-4:
        found.append(
            Finding(
                "warn",
                "learning_rate",
                f"{recipe.method} usually ruins a model at a learning rate of {recipe.optimizer.learning_rate:g}",
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


def check_parity(parity: Parity | None) -> list[Finding]:
    """What is to be said about training and serving."""
    if parity is None:
        return [
            Finding(
                "info",
                "no_serving",
                "no GGUF model of this base is registered: serving is not compared",
                "The export creates one.",
            )
        ]
    if not parity.different:
        return []
    return [
        Finding(
            "error",
            "parity",
            f"{parity.different} of {counted(parity.compared, 'conversation')} "
            f"{agree(parity.different, 'has', 'have')} different tokens in {parity.serving} than in training",
            "Serving would differ from training: use the same template and tokenizer in both.",
        )
    ]


@dataclass(frozen=True)
class Inspection:
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


def inspect(recipe: Recipe, store: RunStore, base: Model, examples: Examples, text: ModelText) -> Inspection:
    """Look at a recipe from all sides but that of a real step."""
    folder = read_folder(base.path)
    shape = shape_of(folder)
    serving = serving_model(store, recipe.serving, base)
    parity = (
        compare_with_serving(recipe, text, serving, _some_rows(recipe, store.datasets)) if serving is not None else None
    )
    factor, tokens_per_s, measured = store.calibration(shape.key, device_queue.training_device())
    room = check_memory(recipe, shape, max(examples.report.lengths), (factor, measured))
    steps = recipe.steps(len(examples.train))
    disk = disk_needed(recipe, shape, steps)
    findings = [
        *check_data(recipe, examples),
        *check_settings(recipe, folder, shape, _vocabulary(folder)),
        *check_parity(parity),
        *room_findings(room),
        *disk_findings(disk, store.workspace.runs),
    ]
    return Inspection(shape, tokens_per_s, findings, parity, room, steps, disk)


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
