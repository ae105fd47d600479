"""The preflight of a run: its data, template, memory, time and disk; each finding with a level."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llmops_tui.counts import counted
from llmops_tui.datasets.reports import OverlapRecord
from llmops_tui.datasets.tokens import TWICE, ModelText, TokenView
from llmops_tui.datasets.training_fields import UNSEEN
from llmops_tui.foreign_text import parse_json
from llmops_tui.models.registry import Model
from llmops_tui.models.safetensors import ModelFolder, read_folder
from llmops_tui.regular_files import read_regular
from llmops_tui.training.bases import unregistered
from llmops_tui.training.examples import Examples, Report, sources
from llmops_tui.training.export.serving_model import serving_model
from llmops_tui.training.mixture import mixture_findings, mixture_of, overlaps_of, passes_of
from llmops_tui.training.parity import Parity, check_parity, compare_with_serving, some_rows
from llmops_tui.training.preflight_base import check_base
from llmops_tui.training.preflight_data import evaluation_findings, held_out_findings
from llmops_tui.training.preflight_ends import check_ends
from llmops_tui.training.preflight_findings import Finding
from llmops_tui.training.preflight_generator import look_at_generator
from llmops_tui.training.preflight_memory import Place, Room, check_memory, disk_findings, disk_needed, room_findings
from llmops_tui.training.preflight_ranks import check_ranks
from llmops_tui.training.preflight_rewards import check_rewards
from llmops_tui.training.preflight_template import check_template
from llmops_tui.training.recipe import Recipe
from llmops_tui.training.records import DataFacts
from llmops_tui.training.shape import Shape, shape_of
from llmops_tui.workspace.files import bytes_in

if TYPE_CHECKING:
    from llmops_tui.training.runs import RunStore

_MANY = 0.3
_SHOWN_TOKENS = 400


def check_data(recipe: Recipe, examples: Examples) -> list[Finding]:
    """What is to be said about the data."""
    report, found = examples.report, []
    asked = recipe.facts.examples == "prompts"
    rows = sum(report.rows.values()) or 1
    if report.without_target:
        level = "error" if report.without_target > _MANY * rows else "warn"
        silent = report.without_target - sum(report.skipped.values())
        why = "they cannot be answered" if asked else "no tokens in the loss"
        longer = f"raise batch.max_length {'if their prompts are long' if asked else 'if their answers are cut'}."
        causes = {why: (silent, f"Inspect them on the datasets screen; {longer}")} if silent else {}
        causes |= {
            problem: (count, f"Inspect them on the datasets screen. Such as {', '.join(report.problems[problem][1])}.")
            for problem, count in report.skipped.items()
        }
        found += [
            Finding(level, "without_target", f"{count} of {counted(rows, 'row')} skipped: {cause}", hint)
            for cause, (count, hint) in causes.items()
        ]
    if report.cut:
        found.append(
            Finding(
                "warn",
                "cut",
                f"{report.cut} of {counted(rows, 'row')} cut: longer than {recipe.batch.max_length} tokens",
                f"The longest has {report.longest}; batch.max_length decides. Such as {', '.join(report.cut_rows)}.",
            )
        )
    for problem, (count, where) in report.problems.items():
        if count == report.skipped.get(problem):
            continue  # it was named as why they are
        level = "error" if TWICE in problem or UNSEEN in problem else "warn"
        found.append(
            Finding(
                level, "row_problem", f"{count} of {counted(rows, 'row')}: {problem}", f"Such as {', '.join(where)}."
            )
        )
    found += held_out_findings(recipe, examples)
    steps = recipe.steps(len(examples.train))
    found += evaluation_findings(recipe, steps, measured=bool(examples.held_out))
    if steps < 20 and not recipe.max_steps:
        found.append(
            Finding(
                "warn", "few_steps", f"the run has {counted(steps, 'step')}", "Use more epochs, or a smaller batch."
            )
        )
    return found


def check_settings(recipe: Recipe, folder: ModelFolder) -> list[Finding]:
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
    if recipe.optimizer.learning_rate > 1e-2:
        found.append(
            Finding(
                "warn",
                "learning_rate",
                f"a learning rate of {recipe.optimizer.learning_rate:g} usually diverges",
                "2e-4 is usual for LoRA.",
            )
        )
    if recipe.tuning == "full" and recipe.optimizer.learning_rate > 1e-4:
        found.append(
            Finding(
                "warn",
                "learning_rate",
                f"a learning rate of {recipe.optimizer.learning_rate:g} is usual for an adapter, and ruins most models whose "
                "weights are all trained",
                "1e-5 to 5e-5 is usual.",
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
    return found


@dataclass(frozen=True)
class Inspection:
    """All that was looked at without training a step."""

    shape: Shape
    findings: list[Finding]
    parity: Parity | None
    room: Room
    steps: int
    disk: int
    overlaps: list[OverlapRecord] | None


def inspect(
    recipe: Recipe,
    store: RunStore,
    base: Model,
    weights: Path,
    examples: Examples,
    text: ModelText,
    places: Sequence[Place] | None = None,
) -> Inspection:
    """Look at a recipe from all sides but that of a real step.

    ``weights`` is the folder that is trained on, ``places`` the devices where they are those of other machines.
    """
    folder = read_folder(weights)
    shape = shape_of(folder)
    # With new tokens the result serves by itself: no file has them yet.
    serving = None if recipe.tokens else serving_model(store, recipe.serving, base)
    template = recipe.template(folder.chat_template)
    rows = some_rows(recipe, store.datasets)
    parity = None
    if base.kind == "gguf" and not recipe.tokens:
        # The trainer has llama.cpp's tokens; the tokenizer that goes with the adapter has to make the same ones.
        with ModelText(unregistered(base, folder), template) as ours:
            parity = compare_with_serving(ours, serving or base, template, rows)
    elif serving is not None:
        parity = compare_with_serving(text, serving, template, rows)
    generator = look_at_generator(recipe, store.workspace, serving, examples)
    room = check_memory(recipe, shape, max(examples.report.lengths), store.calibration, generator.sizes, places)
    steps = recipe.steps(len(examples.train))
    disk = disk_needed(recipe, shape, steps)
    overlaps = overlaps_of([version for version, _ in sources(recipe, store.datasets)])
    findings = [
        *check_data(recipe, examples),
        *mixture_findings(overlaps),
        *check_ranks(recipe, len(examples.train)),
        *check_settings(recipe, folder),
        *check_ends(recipe, folder),
        *check_base(recipe, base, folder),
        *check_template(recipe, folder.chat_template, text.format_read, _vocabulary(folder)),
        *check_parity(parity),
        *check_rewards(recipe, store.workspace, examples, _context(folder)),
        *generator.findings,
        *room_findings(room),
        *disk_findings(disk, store.workspace.runs, places, bytes_in(weights) if places else 0),
    ]
    return Inspection(shape, findings, parity, room, steps, disk, overlaps)


def _context(folder: ModelFolder) -> int | None:
    """The tokens that a model was made for; none where its configuration does not say it."""
    config = folder.config.get("text_config") or folder.config
    found = config.get("max_position_embeddings")
    return found if isinstance(found, int) and found > 0 else None


def _vocabulary(folder: ModelFolder) -> set[str]:
    file = folder.path / "tokenizer.json"
    if not file.is_file():
        return set()
    data = parse_json(read_regular(file))
    vocabulary = data["model"].get("vocab") or {}
    tokens = vocabulary if isinstance(vocabulary, dict) else [token for token, _ in vocabulary]
    return set(tokens) | {token["content"] for token in data.get("added_tokens", [])}


def data_facts(recipe: Recipe, report: Report, examples: Examples, overlaps: list[OverlapRecord] | None) -> DataFacts:
    """The figures of the data, for JSON and the screen."""
    lengths = sorted(report.lengths)
    # These are all lengths that there are: no percentile is beyond the longest.
    quantiles = statistics.quantiles(lengths, n=20, method="inclusive") if len(lengths) > 1 else lengths * 19
    return {
        "rows": report.rows,
        "examples": len(examples.train),
        "packed": report.packed,
        "held_out": len(examples.held_out),
        "tokens": {"p50": statistics.median(lengths), "p95": quantiles[-1], "max": lengths[-1], "total": sum(lengths)},
        "trained_tokens": report.trained,
        "cut": report.cut,
        "without_target": report.without_target,
        "problems": {problem: {"rows": count, "such_as": where} for problem, (count, where) in report.problems.items()},
        "histogram": _histogram(lengths),
        "mixture": mixture_of(report.sources, passes_of(recipe, len(examples.train))),
        "overlaps": overlaps,
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
