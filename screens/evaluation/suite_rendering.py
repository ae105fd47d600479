"""A suite in words: what it asks, of what, how answers are measured, and what holds for its runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.content import Content

from llmops_tui.counts import counted
from llmops_tui.figures import figure
from llmops_tui.safe_text import safe_line, safe_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from screens.evaluation.model import KeptSuite

_EXAMPLES = 3
_LABEL = 16
# Cells of a line whose width is not known yet, and the fewest of a text beside its name.
_WIDE, _READABLE = 120, 24
# Fields that have a line of their own before the others.
_TOLD = {"name", "description", "cases", "limit", "seed", "prompt", "chain", "metrics", "rules"}


def suite_content(kept: KeptSuite, width: int = _WIDE) -> Content:
    """The suite under the cursor in lines of so many cells; the key that shows it as its file stands below."""
    suite = kept.suite
    given = suite.model_dump(exclude_defaults=True)
    parts: list[Any] = [f"{safe_text(suite.description.strip())}\n"] if suite.description.strip() else []
    parts += _line("cases", _cases(kept), width)
    parts += _line("asks", _asks(kept), width)
    metrics = [m if isinstance(m, str) else _metric(m) for m in suite.metrics]
    own = (
        "" if metrics else "those that each case names" if not isinstance(suite.cases, str) else "only time and tokens"
    )
    parts += _lines("metrics", metrics or [own], width)
    parts += _lines("rules", suite.rules or ["none: t has nothing to hold a run to"], width)
    for name, value in given.items():
        if name not in _TOLD:
            parts += _line(name.replace("_", " "), figure(value, name), width)
    if not isinstance(suite.cases, str):
        shown = [_example(case) for case in suite.cases[:_EXAMPLES]]
        parts += _lines("first cases", shown, width)
    parts.append(("\nw shows it as its file; F5 runs it.\n", "$muted"))
    return Content.assemble(*parts)


def case_count(kept: KeptSuite) -> int | None:
    """How many cases a run has; none where that is only known when its data is read."""
    suite = kept.suite
    count = len(suite.cases) if not isinstance(suite.cases, str) else kept.rows
    return min(count, suite.limit) if count is not None and suite.limit is not None else count


def source(kept: KeptSuite) -> str:
    """Where its cases are from."""
    return kept.suite.cases if isinstance(kept.suite.cases, str) else "its file" if kept.kept else "bundled"


def _cases(kept: KeptSuite) -> str:
    count, suite = case_count(kept), kept.suite
    said = counted(count, "case") if count is not None else "all of its cases" if suite.limit is None else ""
    drawn = f"{suite.limit:,} drawn with seed {suite.seed}" if suite.limit is not None else ""
    written = "written in the suite" if not isinstance(suite.cases, str) else f"from {suite.cases}"
    return ", ".join(text for text in (f"{said} {written}".strip(), drawn) if text)


def _asks(kept: KeptSuite) -> str:
    suite = kept.suite
    if suite.chain:
        return " → ".join(step.prompt for step in suite.chain)
    named = ", ".join(prompt for prompt in suite.prompts() if prompt)
    return f"prompt {named}" if named else "the conversation or text of each case, without a prompt of its own"


def _example(case: Mapping[str, Any]) -> str:
    """A case that is written in the suite: what is said in it and by whom, each in a line, then its other fields."""
    said = [m for m in case.get("messages") or () if isinstance(m, dict)]
    rest = {name: value for name, value in case.items() if name != "messages" or not said}
    return "\n".join([*(safe_line(f"{m.get('role')}: {m.get('content')}", 400) for m in said), figure(rest)])


def _metric(given: dict[str, Any]) -> str:
    name = str(given.get("name") or given.get("type"))
    rest = {key: value for key, value in given.items() if key != "name" and not (key == "type" and value == name)}
    return f"{name}: {figure(rest)}" if rest else name


def _line(label: str, text: str, width: int) -> list[Any]:
    """A name, and a text beside it: none of its lines begins below the name."""
    shown = Content("\n".join(safe_line(line, 400) for line in text.split("\n")))
    lines = shown.wrap(max(_READABLE, width - _LABEL))
    return [(f"{safe_line(label):{_LABEL}}", "$muted"), Content(f"\n{' ' * _LABEL}").join(lines), "\n"]


def _lines(label: str, texts: list[str], width: int) -> list[Any]:
    parts: list[Any] = []
    for place, text in enumerate(texts):
        parts += _line(label if place == 0 else "", text, width)
    return parts
