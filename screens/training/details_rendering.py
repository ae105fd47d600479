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
from llmops_tui.training.recipe_words import settings_of, technique_told
from screens.training.rendering import duration
from screens.widgets import units
from screens.widgets.chart import short_number
from screens.widgets.text_wrap import hanging, join_parts

if TYPE_CHECKING:
    from llmops_tui.training.recipe import Recipe
    from llmops_tui.training.records import MemoryFacts
    from screens.training.model import Shown

# Cells of the names of settings, and of the parts of a preflight; the share of a sum from which a difference is seen.
_LABEL, _NAME, _SEEN = 24, 10, 0.005
_TOKEN_STYLES = {"trained": "$success", "masked": "$muted", "cut": "$error strike"}


def happened(run: Shown) -> Content:
    """Events, the newest first."""
    styles = {"error": "$error", "warn": "$warning", "info": "$muted"}
    parts: list[Any] = []
    if run.trouble:
        parts += [(safe_line(run.trouble) + "\n", "$error")]
    if run.own is not None and run.own.cause:
        parts += [(safe_line(run.own.cause) + "\n", "$error")]
    at_work = run.own is not None and run.state in {"running", "queued", "starting"}
    # From the first step on the figures below the chart tell the same, and newer.
    if at_work and run.own is not None and run.own.job is not None and not run.history.step:
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


def result(run: Shown, width: int) -> Content:
    """What the run came to, and of what; where it lies and its hashes last."""
    own = run.own
    facts: list[tuple[str, str]] = []
    if own is not None:
        found = (own.run.result or {}).items()
        # What the record of the run tells, too, stands there, with a name for each part.
        facts += [(_named(name), figure(value, name)) for name, value in found if name not in run.history.facts]
        facts += [("base", own.run.recipe.base), ("data", ", ".join(ref for ref, _ in own.run.data))]
    facts += [(_named(name), figure(value, name)) for name, value in run.history.facts.items()]
    facts.append(("folder", str(run.folder)))
    column = max(len(name) for name, _ in facts) + 2
    parts: list[Any] = _next_steps(run)
    # What one reads stands above what one copies.
    for name, text in sorted(facts, key=lambda fact: (fact[0].endswith("sha256"), fact[1].startswith("/"))):
        parts += [(f"{name:{column}}", "$muted"), hanging(safe_line(text), width, column) + "\n"]
    return Content.assemble(*parts)


def _next_steps(run: Shown) -> list[Any]:
    """What to do with a run that is done, by key."""
    if run.own is None or run.state != "done":
        return []
    keys = (("u", "try it in the playground"), ("E", "export it"), ("4", "evaluate it"))
    parts: list[Any] = []
    for key, does in keys:
        parts += [(key, "$accent bold"), (f" {does}   ", "$muted")]
    return [*parts, "\n\n"]


def _named(name: str) -> str:
    """The name of a figure; the unit stands beside the figure then."""
    return name.replace("_", " ").removesuffix(" bytes")


def settings(recipe: Recipe, width: int) -> Content:
    """A recipe in groups: what every recipe is asked for and what differs from the default, then the rest in a line."""
    parts: list[Any] = [(safe_line(technique_told(recipe), 200) + "\n", "bold")]
    for name, fields in settings_of(recipe):
        parts.append((f"\n{name}\n", "$accent"))
        for one in (one for one in fields if one.main):
            value = hanging(safe_line(one.value, 400), width, _LABEL)
            parts += [(f"  {one.label:{_LABEL - 2}}", "$muted"), (f"{value}\n", "bold" if one.changed else "")]
        rest = [f"{one.label}: {safe_line(one.value, 100)}" for one in fields if not one.main]
        parts += [(f"  {line}\n", "$muted") for line in join_parts(rest, width - 2)]
    return Content.assemble(*parts)


def preflight(plan: dict[str, Any], width: int) -> Content:
    """A preflight: findings, bars of memory, figures, and examples with their tokens coloured."""
    parts: list[Any] = []
    marks = {"error": ("✗ ", "$error"), "warn": ("⚠ ", "$warning"), "info": ("· ", "$muted")}
    for problem in plan["problems"]:
        parts += [marks[problem["level"]], hanging(safe_line(problem["message"]), width, 2) + "\n"]
        hint = hanging(safe_line(problem["hint"]), width, 2) if problem["hint"] else ""
        parts += [(f"  {hint}\n", "$muted")] if hint else []
    if not plan["problems"]:
        parts.append(("✓ no problems found\n", "$success"))

    def line(name: str, text: str) -> list[Any]:
        return [(f"{name:{_NAME}}", "$muted"), hanging(safe_line(text, 400), width, _NAME) + "\n"]

    data, timing = plan["data"], plan["time"]
    tokens, bars = data["tokens"], _bars(data["histogram"])
    parts += line(
        "data",
        f"{examples_told(data)}, {data['held_out']} held out; {counted(data['trained_tokens'], 'token')} in the loss",
    )
    parts += [(f"{'lengths':{_NAME}}", "$muted"), (f"{bars}  ", "$accent")]
    # Lengths of examples, each of which is a row with all that the template puts around it.
    ends = f"p50 {tokens['p50']:.0f}, p95 {tokens['p95']:.0f}, most {counted(round(tokens['max']), 'token')}"
    parts.append(hanging(ends, width, _NAME + len(bars) + 2) + "\n")
    for told in mixture_lines(data):
        parts += line("mixture", told)
    parts += _memory(plan["memory"])
    seconds = timing["seconds"]
    known = (
        f"about {duration(seconds)} at {short_number(timing['tokens_per_s'])} tok/s"
        if seconds
        else "the time is known after a measured step"
    )
    parts += line("time", f"{counted(timing['steps'], 'step')}, {known}")
    for told in saving_lines(plan.get("savings", [])):
        parts += line("saves", told)
    parity = plan.get("parity")
    if parity:
        same = (
            ("the same tokens ✓", "$success")
            if not parity["different"]
            else (f"{parity['different']} {agree(parity['different'], 'differs', 'differ')}", "$error")
        )
        parts += [
            (f"{'template':{_NAME}}", "$muted"),
            f"{counted(parity['compared'], 'conversation')}, training and {safe_line(parity['serving'])}: ",
            same,
            "\n",
        ]
    examples = plan["examples"][:3]
    if examples:
        parts.append((f"\n{'examples':{_NAME}}", "$muted"))
        parts += [("in the loss ", "$success"), ("only read ", "$muted"), ("cut\n", "$error")]
    for number, example in enumerate(examples, 1):
        parts.append((f"\n{number}  ", "$accent"))
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
        (f"{'memory':{_NAME}}", "$muted"),
        f"{memory['total'] / 1e9:.2f} GB of {memory['available'] / 1e9:.1f} GB free on {devices_told(memory)}",
        ("  fits\n", "$success") if memory["fits"] else ("  does not fit\n", "$error"),
    ]
    largest = max(shares.values()) or 1
    for name, share in shares.items():
        parts += [
            (f"  {name:12}", "$muted"),
            (f"{'▇' * round(20 * share / largest):20}", "$accent"),
            f" {units.size(share):>9}\n",
        ]
    # Measured runs correct the sum, not its parts.
    correction = memory["total"] - sum(shares.values())
    if abs(correction) >= _SEEN * memory["total"]:
        sign = "+" if correction > 0 else "−"
        parts += [(f"  {'correction':32}", "$muted"), f" {sign + units.size(abs(correction)):>9}"]
        parts.append(("  as measured runs came to\n", "$muted"))
    return parts


def _bars(counts: list[int]) -> str:
    most = max(counts) or 1
    return "".join(" ▁▂▃▄▅▆▇█"[round(8 * count / most)] if count else " " for count in counts)
