"""The reflector: a model is shown an instruction with what went wrong and right, and writes another one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from llmops_tui.inference.sampling import SamplingParameters
from llmops_tui.inference.wire import ChatMessage
from llmops_tui.models.registry import Model

SMALL = 3e9
"""Models with fewer parameters write instructions that are no better as a rule, and often copy what they were shown."""
PARAMETERS = SamplingParameters(temperature=1.0, top_p=0.95, max_tokens=700)
_MOST_CHARACTERS = 600
_TAGGED = re.compile(r"<instruction>(.*?)(?:</instruction>|\Z)", re.DOTALL | re.IGNORECASE)
_FENCED = re.compile(r"```[a-z]*\n(.*?)(?:```|\Z)", re.DOTALL)
_ASKED = """You improve the instruction of a prompt. Another model gets the instruction and an input, and its answer is scored.

The instruction now:
<instruction>
{instruction}
</instruction>

{shown}
Write a better instruction. Say what is generally to be done and in what form the answer has to be, so that inputs that you have \
not seen are answered right, too. Do not copy inputs or answers from above, nor list them as examples. Use at most {words} \
words. Answer with the new instruction alone, between <instruction> and </instruction>."""


@dataclass(frozen=True)
class Shown:
    """A row as the reflector sees it: what was asked, answered and expected, and why the score is what it is."""

    asked: str
    answer: str
    expected: str
    why: str


def messages_for(instruction: str, wrong: Sequence[Shown], right: Sequence[Shown], words: int) -> list[ChatMessage]:
    """What the reflector is asked."""
    parts = [_block(f"Wrong, {n}", one) for n, one in enumerate(wrong, 1)]
    parts += [_block(f"Right, {n}", one) for n, one in enumerate(right, 1)]
    text = _ASKED.format(instruction=instruction or "(there is none)", shown="\n".join(parts), words=words)
    return [ChatMessage(role="user", content=text)]


def _block(title: str, one: Shown) -> str:
    lines = [f"[{title}]", f"input: {_short(one.asked)}", f"answer: {_short(one.answer)}"]
    if one.expected:
        lines.append(f"expected: {_short(one.expected)}")
    if one.why:
        lines.append(f"why: {_short(one.why)}")
    return "\n".join(lines) + "\n"


def _short(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…"


def read_instruction(text: str) -> str:
    """The instruction in an answer: what stands between the marks, else in a fence, else all of it."""
    for pattern in (_TAGGED, _FENCED):
        if found := pattern.search(text):
            return found.group(1).strip()
    return text.strip()


def warning_of(model: Model) -> str:
    """What is to be told of a reflector; empty where there is nothing."""
    size = model.base.header.get("parameters")
    if model.kind == "remote" or not isinstance(size, int | float) or size >= SMALL:
        return ""
    shown = f"{size / 1e9:.1f} billion" if size >= 1e9 else f"{size / 1e6:.0f} million"
    return (
        f"{model.name} has {shown} parameters: models under 3 billion reflect badly, and their proposals are rarely better; "
        "give a larger or a remote one with --reflector"
    )
