"""What an answer from inside is drawn as."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.content import Content

from llmops_tui.counts import counted
from llmops_tui.prompts.inside import PromptPart, TokenSeen, why_it_ended
from llmops_tui.safe_text import safe_line, safe_text
from screens.widgets.sparkline import sparkline
from screens.widgets.token_map import TokenCell

if TYPE_CHECKING:
    from llmops_tui.inference.client import StreamEnd
    from llmops_tui.prompts.json_tree import Tree

# From which probability on a token is as good as certain, likely, one of several; below it is unlikely.
_LEVELS = (0.9, 0.5, 0.2)
_BAR = 20


def cell_of(token: TokenSeen) -> TokenCell:
    """A token as the map draws it."""
    level = next((n for n, least in enumerate(_LEVELS) if token.probability >= least), len(_LEVELS))
    return TokenCell(token.text, level)


def summary_content(
    model: str, tokens: Sequence[TokenSeen], cursor: int, end: StreamEnd | None, width: int, *, utf8: bool
) -> Content:
    """The figures of the answer, what the shades mean, and the entropy along it."""
    parts: list[tuple[str, str] | str] = [(safe_line(model), "bold $accent"), f"  {counted(len(tokens), 'token')}"]
    if end is not None:
        told = end.timings
        if thought := told.get("reasoning_tokens"):
            parts.append(f", {thought:,} thinking")
        parts.append((f" · {why_it_ended(end)}", "$muted"))
    parts += [
        "\n", ("p ≥ 90 %", ""), "  ", ("≥ 50 %", "$accent"), "  ", ("≥ 20 %", "$warning"), "  ", ("less", "$error underline"),
    ]  # fmt: skip
    if tokens:
        entropies = [token.entropy for token in tokens]
        mean = sum(entropies) / len(entropies)
        parts += [
            "\n",
            ("entropy ", "$muted"),
            (sparkline(entropies, max(10, width - 40), utf8=utf8, from_zero=True)[0], "$accent"),
        ]
        here = entropies[min(cursor, len(entropies) - 1)]
        parts.append((f" {here:.2f} bits here, {mean:.2f} on average", "$muted"))
    return Content.assemble(*parts)


def alternatives_content(token: TokenSeen | None, chosen: int, waits: str) -> Content:
    """The token under the cursor, and what might have stood in its place."""
    if token is None:
        return Content.styled(waits, "$muted")
    number = f"  id {token.id}" if token.id is not None else ""
    parts: list[tuple[str, str] | str] = [
        (_quoted(token.text), "bold"), f"  {token.probability:.1%}", (number, "$muted"),
    ]  # fmt: skip
    for n, other in enumerate(token.top):
        here = "▸" if n == chosen else " "
        same = "  chosen" if other.raw == token.raw and other.id == token.id else ""
        bar = "█" * round(other.probability * _BAR)
        style = "bold" if n == chosen else ""
        parts += [
            "\n",
            (f"{here} {other.probability:6.1%} ", "$accent"),
            (f"{bar:<{_BAR}} ", "$accent"),
            (_quoted(other.text), style),
        ]
        parts.append((same, "$success"))
    return Content.assemble(*parts)


def prompt_content(parts: Sequence[PromptPart], end: StreamEnd | None) -> Content:
    """The rendered prompt by message, with tokens, and what of the context is left."""
    total = sum(part.tokens for part in parts)
    written = sum(part.tokens for part in parts if not part.role)
    head: list[tuple[str, str] | str] = [
        (f"{counted(total, 'token')}", "bold"),
        (f", {written:,} of the template", "$muted"),
    ]
    told = end.timings if end is not None else {}
    if reused := told.get("reused_tokens"):
        head.append(f" · {reused:,} reused from the cache")
    context = told.get("context")
    if isinstance(context, int):
        made = told.get("completion_tokens") or 0
        head.append(f" · {max(0, context - total - made):,} of {context:,} left")
    for part in parts:
        if part.role:
            head += [
                "\n",
                (f"── {safe_line(part.role)} · {counted(part.tokens, 'token')} ──\n", "bold $accent"),
                safe_text(part.text),
            ]
        else:
            head += [
                "\n",
                (f"── template · {counted(part.tokens, 'token')} ──\n", "$muted"),
                (safe_text(part.text), "$muted"),
            ]
    return Content.assemble(*head)


def tree_content(tree: Tree, *, held: bool) -> Content:
    """A tree of JSON, with what breaks the schema below each value."""
    if tree.broken:
        return Content.assemble(("This is no JSON: ", "$error"), safe_text(tree.broken))
    broken = sum(len(line.problems) for line in tree.lines) + len(tree.elsewhere)
    if not held:
        head = ("No schema: S holds the answer to one.", "$muted")
    elif broken:
        head = (f"✗ {counted(broken, 'problem')}", "$error bold")
    else:
        head = ("✓ as the schema says", "$success")
    parts: list[tuple[str, str] | str] = [head]
    for line in tree.lines:
        name = f"{safe_line(line.name)}: " if line.name else ""
        style = "$error" if line.problems else ""
        parts += ["\n", "  " * line.depth, (name, "$accent"), (safe_line(line.value, 200), style)]
        for problem in line.problems:
            parts += ["\n", "  " * (line.depth + 1), (f"✗ {safe_line(problem, 200)}", "$error")]
    for problem in tree.elsewhere:
        parts += ["\n", (f"✗ {safe_line(problem, 200)}", "$error")]
    return Content.assemble(*parts)


def _quoted(text: str) -> str:
    return safe_line(repr(text), 40)
