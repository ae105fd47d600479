"""A chain drawn in text: boxes for steps, from top to bottom, arrows for what they need, steps inside of others indented."""

from __future__ import annotations

from dataclasses import dataclass

from llmops_tui.chains.definition import (
    Body,
    BranchStep,
    CallStep,
    MapStep,
    ParseStep,
    PromptStep,
    RepeatStep,
    RetrieveStep,
    Step,
)
from llmops_tui.chains.resolution import Resolved
from llmops_tui.chains.yaml_lines import Place

_WIDEST = 60


@dataclass(frozen=True)
class DrawnLine:
    """A line of a drawing; ``place`` is the step that it belongs to, none of an arrow."""

    text: str
    place: Place | None = None


@dataclass(frozen=True)
class _Signs:
    corners: tuple[str, str, str, str]
    level: str
    upright: str
    arrow: str


_LINES = _Signs(("┌", "┐", "└", "┘"), "─", "│", "▼")
_PLAIN = _Signs(("+", "+", "+", "+"), "-", "|", "v")


def draw_chain(resolved: Resolved, *, utf8: bool = True) -> list[DrawnLine]:
    """The chain as lines: inputs, each level of steps, the output."""
    signs = _LINES if utf8 else _PLAIN
    chain = resolved.chain
    inputs = ", ".join(f"{one.name}: {one.type}" for one in chain.inputs.values()) or "(none)"
    lines = [DrawnLine(f"inputs  {inputs}")]
    lines += _body(resolved, chain.body, 0, signs)
    lines += [DrawnLine(f"  {signs.arrow}"), DrawnLine(f"output  {chain.body.output}")]
    return lines


def _body(resolved: Resolved, body: Body, depth: int, signs: _Signs) -> list[DrawnLine]:
    lines: list[DrawnLine] = []
    indent = "    " * depth
    for names in resolved.orders[body.place]:
        for name in names:
            step = body.steps[name]
            needed = _needed(resolved, step, body)
            lines.append(DrawnLine(f"{indent}  {signs.arrow}{'  ' + ', '.join(needed) if needed else ''}"))
            lines += _box(step, indent, signs)
            for part, inner in step.bodies.items():
                lines.append(DrawnLine(f"{indent}    {signs.upright} {_part_told(step, part)}", step.place))
                lines += _body(resolved, inner, depth + 1, signs)
    return lines


def _needed(resolved: Resolved, step: Step, body: Body) -> list[str]:
    """What a step is given by inputs and by steps beside it."""
    known = resolved.steps[step.place]
    texts = [*known.values.values(), *step.fields.expressions().values()]
    names = {name for text in texts for name in resolved.names.get(text, ())}
    return [name for name in (*resolved.chain.inputs, *body.steps) if name in names and name != step.name]


def _box(step: Step, indent: str, signs: _Signs) -> list[DrawnLine]:
    text = f"{step.name}: {told_of(step)}"[:_WIDEST]
    left, right, low_left, low_right = signs.corners
    edge = signs.level * (len(text) + 2)
    return [
        DrawnLine(f"{indent}{left}{edge}{right}", step.place),
        DrawnLine(f"{indent}{signs.upright} {text} {signs.upright}", step.place),
        DrawnLine(f"{indent}{low_left}{edge}{low_right}", step.place),
    ]


def _part_told(step: Step, part: str) -> str:
    if isinstance(step.fields, MapStep):
        return f"for each {step.fields.as_}"
    if isinstance(step.fields, RepeatStep):
        return "each round"
    return part


def told_of(step: Step) -> str:
    """What a step does, in short."""
    fields = step.fields
    if isinstance(fields, PromptStep):
        return f"prompt {fields.prompt}" + (f" · {fields.model}" if fields.model else "")
    if isinstance(fields, RetrieveStep):
        return f"retrieve {fields.k} of {fields.retrieve}"
    if isinstance(fields, ParseStep):
        return f"parse {fields.parse}"
    if isinstance(fields, BranchStep):
        return f"branch {fields.branch}"
    if isinstance(fields, MapStep):
        return f"map {fields.map or fields.dataset}"
    if isinstance(fields, CallStep):
        return f"call {fields.call}"
    return f"repeat {fields.repeat}×" + (f" until {fields.until}" if fields.until else "")
