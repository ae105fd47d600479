"""Writes docs/chat-templates.md: what this project reads back from the renderings of the field's chat templates.

    python tools/template_table.py FOLDER [docs/chat-templates.md]

FOLDER has templates as files that end in .jinja, such as vendor/llama.cpp/models/templates of llama-cpp-python's source.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from llmops_tui.inference.template_renderer import TemplateRenderer
from tests.chat_format.table import COLUMNS, READ, row

_HEAD = """# Chat templates

This page shows what llmops reads of the chat templates of published models; it is for everyone who serves or trains one.

Every model has a format of its own, which its chat template defines. llmops reads the format off the template, by
rendering it with conversations of known words, and never goes by the model's name. The tables below are a test with
{total} templates. Each was read in this way. Then conversations were rendered with it; the last turn of the assistant was
read back as an answer, whole and cut at every place, with the same result; and every turn of the assistant was found in
the complete text.

What a run learns of a turn is its answer with its end, and nothing else. This is tested on random conversations for all
{total} templates, character by character against TRL's masks for the templates that TRL trains with, and against
answers written by hand for 22 other families, each with several turns, thinking, and tools.

✓: read back, word for word. –: the template has no such thing. ✗: refused. A number refers to a note below, which would
also say what is wrong.

"""


def main(folder: Path, target: Path) -> None:
    """Read all templates of a folder and write the page."""
    renderer = TemplateRenderer()
    rows = {path.stem: row(path.read_text(encoding="utf-8"), renderer) for path in sorted(folder.glob("*.jinja"))}
    renderer.close()
    target.write_text(page_of(rows), encoding="utf-8")
    print("\n".join(_sums(rows)))


def page_of(rows: dict[str, dict[str, str]]) -> str:
    """The page of what was read back of each template."""
    notes: dict[str, int] = {}
    lines = [f"| Template | {' | '.join(COLUMNS)} |", f"|---|{'---|' * len(COLUMNS)}"]
    for name, cells in rows.items():
        lines.append(f"| {name} | {' | '.join(_shown(cells[column], notes) for column in COLUMNS)} |")
    told = [f"{number}. " + note.replace("|", "\\|") for note, number in notes.items()]
    page = [_HEAD.format(total=len(rows)), *_sums(rows), "", *lines, "", "## Notes", "", *told, ""]
    return "\n".join(page).replace("\n\n\n", "\n\n")


def _sums(rows: dict[str, dict[str, str]]) -> list[str]:
    sums = ["| Column | read back | no such thing | refused by the template | wrong |", "|---|---|---|---|---|"]
    for column in COLUMNS:
        cells = [row_[column] for row_ in rows.values()]
        read = sum(cell.startswith(READ) for cell in cells)
        absent = sum(cell.startswith("–") for cell in cells)
        wrong = sum(cell.startswith("wrong") for cell in cells)
        sums.append(f"| {column} | {read} | {absent} | {len(cells) - read - absent - wrong} | {wrong} |")
    return sums


def _shown(cell: str, notes: dict[str, int]) -> str:
    sign, _, note = cell.partition(" ")
    if cell == READ:
        return "✓"
    if not note:
        return cell
    number = notes.setdefault(note if sign in {READ, "–"} else cell, len(notes) + 1)
    return f"{'✓' if sign == READ else '–' if sign == '–' else '✗'} {number}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "docs/chat-templates.md"))
