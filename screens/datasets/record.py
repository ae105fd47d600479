"""Rendering of a record: as a conversation, as JSON, or token by token with the loss mask."""

from __future__ import annotations

import json
from typing import Any, Literal

from textual.content import Content

from llmops_tui.counts import counted
from llmops_tui.datasets.records import Row, as_messages, content_text, whole_text
from llmops_tui.datasets.tokens import TokenView
from llmops_tui.safe_text import safe_line, safe_text
from llmops_tui.text_diff import diff_words
from screens.widgets.diff_text import diff_parts

Shape = Literal["conversation", "tokens", "json", "template"]
SHAPES: tuple[Shape, ...] = ("conversation", "tokens", "template", "json")
_SHOWN = 20_000
_ROLE_STYLES = {"user": "bold $accent", "assistant": "bold $success", "system": "bold $muted", "tool": "bold $warning"}

Part = str | tuple[str, str]


def record_content(kind: str, row: Row, shape: Shape, tokens: TokenView | None, problem: str) -> Content:
    """A record as it is to be shown."""
    if shape == "json":
        return Content(safe_text(json.dumps(row, ensure_ascii=False, indent=2)[:_SHOWN]))
    if shape == "conversation":
        return Content.assemble(*_conversation(kind, row))
    if problem:
        return Content.styled(safe_text(problem), "$warning")
    if tokens is None:
        return Content.styled("reading the tokens …", "$muted")
    if shape == "template":
        return Content(safe_text(tokens.rendered[:_SHOWN]))
    return Content.assemble(*_tokens(tokens))


def _conversation(kind: str, row: Row) -> list[Part]:
    parts: list[Part] = []
    content: set[str] = set()
    if kind == "messages":
        content = {"messages"}
        parts += _turns(as_messages(row.get("messages"), "user"))
    elif kind in {"prompt-completion", "kto", "preference"}:
        answers = ("chosen", "rejected") if kind == "preference" else ("completion",)
        content = {"prompt", *answers}
        parts += _turns(as_messages(row.get("prompt"), "user"))
        for name in answers:
            style = "bold $error" if name == "rejected" else "bold $success"
            parts += [(f"── {name} ──\n", style), *_turns(as_messages(row.get(name), "assistant"))]
    elif kind == "text":
        content = {"text"}
        parts += [safe_text(str(row.get("text", ""))[:_SHOWN]), "\n"]
    for name, value in row.items():
        if name not in content:
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            long = len(shown) > 60 or "\n" in shown
            parts += [(f"{safe_line(name)}", "$muted"), "\n" if long else "  ", safe_text(shown[:_SHOWN]), "\n"]
    return parts


def differing(kind: str, number: int, original: Row, row: Row) -> list[Part]:
    """What differs in a row from one that it repeats, which has that number."""
    before, after = whole_text(kind, original), whole_text(kind, row)
    if before == after:
        return [(f"row {number:,} says the same\n\n", "$warning")]
    told = diff_parts(diff_words(before[:_SHOWN], after[:_SHOWN]))
    return [(f"differs from row {number:,} in\n", "$warning"), *told, "\n\n"]


def _turns(turns: list[dict[str, Any]]) -> list[Part]:
    parts: list[Part] = []
    for turn in turns:
        role = str(turn.get("role"))
        weight = "  not trained" if turn.get("weight") == 0 else ""
        parts += [(safe_line(role), _ROLE_STYLES.get(role, "bold")), (weight, "$muted"), "\n"]
        text = content_text(turn.get("content"))
        if text:
            parts += [safe_text(text[:_SHOWN]), "\n"]
        for item in turn["content"] if isinstance(turn.get("content"), list) else []:
            if isinstance(item, dict) and item.get("type") not in {"text", None}:
                parts += [(f"▣ {safe_line(json.dumps(item), 120)}\n", "$muted")]
        for call in turn.get("tool_calls") or []:
            function = call.get("function", {}) if isinstance(call, dict) else {}
            said = f"→ {function.get('name')}({json.dumps(function.get('arguments'), ensure_ascii=False)})"
            parts += [(safe_text(said[:2000]), "$warning"), "\n"]
        parts.append("\n")
    return parts


def _tokens(view: TokenView) -> list[Part]:
    """The tokens in two alternating shades, so that each can be told from the next, coloured by what becomes of them."""
    styles = {
        "trained": ("$success on $success 15%", "$success on $success 30%"),
        "masked": ("$muted", "$foreground"),
        "cut": ("$error strike", "$error strike"),
    }
    parts: list[Part] = []
    for index, token in enumerate(view.tokens[:4000]):
        text = safe_text(token.text).replace("\n", "⏎\n")
        parts.append((text, styles[token.state][index % 2]))
    return parts


def token_summary(view: TokenView | None, problem: str) -> str:
    """How many tokens are trained, and what is wrong, in one line."""
    if problem:
        return ""
    if view is None:
        return "…"
    cut = sum(t.state == "cut" for t in view.tokens)
    said = f"trained {view.trained} of {counted(len(view.tokens), 'token')}" + (f", {cut} cut" if cut else "")
    return f"{said} · {view.problems[0]}" if view.problems else f"{said} ✓"
