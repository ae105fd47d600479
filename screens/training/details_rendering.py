"""Rendering of details of runs and recipes: events, samples, settings, preflight, sweep, verification."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.content import Content

from llmops_tui.counts import agree, counted
from llmops_tui.figures import figure
from llmops_tui.safe_text import safe_line, safe_text
from llmops_tui.training.example import examples_told
from llmops_tui.training.memory import devices_told
from llmops_tui.training.mixture import mixture_lines
from llmops_tui.training.preflight_speed import saving_lines
from llmops_tui.training.recipe import fields, value_at
from screens.training.rendering import duration
from screens.widgets.chart import short_number

if TYPE_CHECKING:
    from llmops_tui.training.recipe import Recipe
    from llmops_tui.training.records import MemoryFacts
    from screens.training.model import Shown

_TOKEN_STYLES = {"trained": "$success", "masked": "$muted", "cut": "$error strike"}


def happened(run: Shown) -> Content:
    """Events, the newest first."""
    styles = {"error": "$error", "warn": "$warning", "info": "$muted"}
    parts: list[Any] = []
    if run.trouble:
        parts += [(safe_line(run.trouble) + "\n", "$error")]
    if run.own is not None and run.own.cause:
        parts += [(safe_line(run.own.cause) + "\n", "$error")]
    if run.own is not None and run.state in {"running", "queued", "starting"} and run.own.job is not None:
        parts += [(safe_line(run.own.job.message) + "\n", "$accent")]
    for event in reversed(run.history.events):
        parts += [(f"step {event.step:>5}  ", "$muted"), (safe_line(event.message), styles.get(event.level, ""))]
        parts += [(f"\n            {safe_line(event.hint)}", "$muted")] if event.hint else []
        parts.append("\n")
    return Content.assemble(*parts) if parts else Content.styled("No unusual events.", "$muted")


def samples(run: Shown) -> Content:
    """Answers generated at evaluations, the newest first."""
    parts: list[Any] = []
    for sample in reversed(run.history.samples[-12:]):
        right = sample.text.strip() == sample.expected.strip()
        parts += [
            (f"step {sample.step:>5}  ", "$muted"),
            (safe_text(sample.text.strip()) or "(empty)", "$success" if right else ""),
            (f"\n  expected  {safe_text(sample.expected.strip())}\n", "$muted"),
        ]
    return (
        Content.assemble(*parts)
        if parts
        else Content.styled("No sample answers yet: each evaluation generates some.", "$muted")
    )


def result(run: Shown) -> Content:
    """What the run came to, and of what."""
    own = run.own
    facts: list[tuple[str, str]] = [("folder", str(run.folder))]
    if own is not None:
        facts += [("base", own.run.recipe.base), ("data", ", ".join(ref for ref, _ in own.run.data))]
        for name, value in (own.run.result or {}).items():
            facts.append((_named(name), figure(value, name)))
    facts += [(_named(name), figure(value, name)) for name, value in run.history.facts.items()]
    parts: list[Any] = []
    for name, text in facts:
        parts += [(f"{name:14}", "$muted"), safe_line(text) + "\n"]
    return Content.assemble(*parts)


def _named(name: str) -> str:
    """The name of a figure; the unit stands beside the figure then."""
    return name.replace("_", " ").removesuffix(" bytes")


def settings(recipe: Recipe) -> Content:
    """All fields of a recipe; what differs from the default stands out."""
    parts: list[Any] = [
        ("data".ljust(30), "$muted"),
        (", ".join(f"{s.dataset}" + (f" × {s.weight:g}" if s.weight != 1 else "") for s in recipe.data) + "\n", "bold"),
    ]
    for path, info in fields():
        if path == "data":
            continue
        value = value_at(recipe, path)
        own = info.is_required() or value != info.get_default()
        text = figure(value, path)
        parts += [(f"{path:30}", "$muted"), (safe_line(text[:60]) + "\n", "bold" if own else "$muted")]
    return Content.assemble(*parts)


def preflight(plan: dict[str, Any]) -> Content:
    """A plan: findings, bars of memory, figures, and examples with their tokens coloured."""
    parts: list[Any] = []
    marks = {"error": ("✗ ", "$error"), "warn": ("⚠ ", "$warning"), "info": ("· ", "$muted")}
    for problem in plan["problems"]:
        parts += [marks[problem["level"]], safe_line(problem["message"]) + "\n"]
        parts += [(f"  {safe_line(problem['hint'])}\n", "$muted")] if problem["hint"] else []
    if not plan["problems"]:
        parts.append(("✓ no problems found\n", "$success"))
    data, memory, timing = plan["data"], plan["memory"], plan["time"]
    tokens = data["tokens"]
    parts += [
        ("data      ", "$muted"),
        f"{examples_told(data)}, {data['held_out']} held out; ",
        f"{counted(data['trained_tokens'], 'token')} in the loss\n",
        ("lengths   ", "$muted"),
        (_bars(data["histogram"]), "$accent"),
        f"  p50 {tokens['p50']:.0f} p95 {tokens['p95']:.0f} max {tokens['max']}\n",
    ]
    parts += [part for line in mixture_lines(data) for part in (("mixture   ", "$muted"), safe_line(line, 200) + "\n")]
    parts += _memory(memory)
    seconds = timing["seconds"]
    known = (
        f"about {duration(seconds)} at {short_number(timing['tokens_per_s'])} tok/s"
        if seconds
        else "the time is known after a measured step"
    )
    parts += [("time      ", "$muted"), f"{counted(timing['steps'], 'step')}, {known}\n"]
    parts += [
        part for line in saving_lines(plan.get("savings", [])) for part in (("saves     ", "$muted"), line + "\n")
    ]
    parity = plan.get("parity")
    if parity:
        same = (
            ("the same tokens ✓", "$success")
            if not parity["different"]
            else (f"{parity['different']} {agree(parity['different'], 'differs', 'differ')}", "$error")
        )
        parts += [
            ("template  ", "$muted"),
            f"{counted(parity['compared'], 'conversation')}, training and {safe_line(parity['serving'])}: ",
            same,
            "\n",
        ]
    parts.append(("\ntokens    ", "$muted"))
    parts += [("in the loss ", "$success"), ("only read ", "$muted"), ("cut\n", "$error")]
    for example in plan["examples"][:3]:
        parts += [(safe_text(text).replace("\n", "⏎"), _TOKEN_STYLES[state]) for text, state in example]
        parts.append("\n")
    return Content.assemble(*parts)


def _memory(memory: MemoryFacts) -> list[Any]:
    shares = {
        "weights": memory["weights"],
        "adapter": memory["adapter"],
        "optimizer": memory["optimizer"],
        "activations": memory["activations"],
        "logits": memory["logits"],
        "overhead": memory["overhead"],
    }
    parts: list[Any] = [
        ("memory    ", "$muted"),
        f"{memory['total'] / 1e9:.2f} GB of {memory['available'] / 1e9:.1f} GB free on {devices_told(memory)}",
        ("  fits\n", "$success") if memory["fits"] else ("  does not fit\n", "$error"),
    ]
    largest = max(shares.values()) or 1
    for name, share in shares.items():
        parts += [
            (f"  {name:12}", "$muted"),
            (f"{'▇' * round(20 * share / largest):20}", "$accent"),
            f" {share / 1e9:.2f}\n",
        ]
    return parts


def _bars(counts: list[int]) -> str:
    most = max(counts) or 1
    return "".join(" ▁▂▃▄▅▆▇█"[round(8 * count / most)] if count else " " for count in counts)
