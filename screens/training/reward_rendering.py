"""Rendering of runs by rewards: what was learned, and answers with their rewards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.content import Content

from llmops_tui.safe_text import safe_line, safe_text
from llmops_tui.training.reward_figures import learned_told

if TYPE_CHECKING:
    from llmops_tui.training.history import Answer
    from screens.training.model import Shown

_STEPS = 12


def answers(run: Shown) -> Content:
    """What was learned so far, and of each of the newest steps the best and the worst answer to its first prompt."""
    parts: list[Any] = []
    for name, told in learned_told(run.history):
        parts += [(f"{safe_line(name):14}", "$muted"), f"{told}\n"]
    shown = run.history.answers[-2 * _STEPS :]
    asked = ""
    for answer in reversed(shown):
        if answer.prompt != asked:
            asked = answer.prompt
            parts += [(f"\nstep {answer.step:>5}  ", "$muted"), (f"{safe_line(_end(asked))}\n", "$muted")]
        parts += _answer(answer)
    return Content.assemble(*parts) if parts else Content.styled("No answers yet.", "$muted")


def _answer(answer: Answer) -> list[Any]:
    style = "$success" if answer.advantage > 0 else "$error" if answer.advantage < 0 else "$muted"
    own = "  ".join(f"{safe_line(name)} {value:.3g}" for name, value in answer.rewards.items())
    found: list[Any] = [(f"{answer.reward:>9.3f}  ", style), safe_text(answer.text.strip()) or "(empty)", "\n"]
    found.append((f"           {own}", "$muted"))
    found.append((f"  {safe_line(answer.why)}\n" if answer.why else "\n", "$muted"))
    return found


def _end(prompt: str, most: int = 100) -> str:
    """The end of a prompt in a line, which is what differs from others."""
    line = " ".join(prompt.split())
    return line if len(line) <= most else "…" + line[-most:]
