"""What an improvement comes to: verdict with the front, the change against the seed, or the sealed rows behind it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from llmops_tui.errors import LlmopsError
from llmops_tui.safe_text import safe_line, safe_text
from screens.shell.pane import Pane
from screens.widgets.diff_text import diff_parts
from screens.widgets.motions import TextScroll

if TYPE_CHECKING:
    from llmops_tui.improvement.records import CandidateRecord, ImprovedRecord, SealedRowRecord
    from llmops_tui.improvement.store import Improvement
    from llmops_tui.prompts.store import PromptVersion
    from screens.improvement.list_pane import Listed
    from screens.services import Services

_VIEWS = ("Verdict", "Change", "Sealed rows")
_EMPTY = "n begins an improvement. Its verdict, its candidates by score and length, and the change are shown here."
_HELP = (
    "w goes through the verdict with candidates drawn by score and length, the change of the candidate under the cursor against "
    "the seed, and the sealed rows: those that got worse first."
)
_MOST_ROWS = 200

Parts = list["tuple[str, str] | str"]


class DetailPane(Pane):
    """One text."""

    def __init__(self) -> None:
        super().__init__(title="Verdict", jump_key="d", id="improvement-detail", help_text=_HELP)
        self.told = ""
        self._view = 0
        # What was read for what is drawn.
        self._read: tuple[int, str, int, str] | None = None
        self._shown: tuple[Listed | None, ImprovedRecord | None, CandidateRecord | None] = (None, None, None)

    def compose(self) -> ComposeResult:
        """The text."""
        with TextScroll(id="improvement-scroll"):
            yield Static(Content.styled(_EMPTY, "$muted"), id="improvement-text", markup=False)

    def action_view(self) -> None:
        """The next of the three views."""
        self._view = (self._view + 1) % len(_VIEWS)
        self.act("view", self.show, *self._shown)

    def forget(self) -> None:
        """Read again what is drawn, at the next look."""
        self._read = None

    async def show(
        self, listed: Listed | None, found: ImprovedRecord | None, candidate: CandidateRecord | None
    ) -> None:
        """What there is of the view that is open; what cannot have changed since is not read again each second."""
        self._shown = (listed, found, candidate)
        view = self._view
        number = candidate["version"] if candidate is not None else 0
        if listed is None or found is None:
            self._draw(view, [(_EMPTY if listed is None else "It has found nothing yet.", "$muted")])
            return
        key = (view, listed.improvement.id, number if view == 1 else 0, found["step"])
        if view == 0:
            self._draw(view, _verdict(found, max(30, self.size.width - 14)))
        elif key != self._read:
            read = partial(_change, self.services, found, number or found["seed"])
            parts = await asyncio.to_thread(read if view == 1 else partial(_rows, self.services, listed.improvement))
            if view != self._view:
                return
            self._draw(view, parts)
        self._read = key

    def _draw(self, view: int, parts: Parts) -> None:
        self._read = None
        self.set_title(_VIEWS[view])
        content = Content.assemble(*parts)
        self.told = content.plain
        self.query_one("#improvement-text", Static).update(content)


def _verdict(found: ImprovedRecord, width: int) -> Parts:
    from llmops_tui.improvement.front import front_lines

    sealed = found["sealed"]
    colour = (
        "$muted" if sealed is None else {"better": "$success", "worse": "$error"}.get(sealed["verdict"], "$warning")
    )
    parts: Parts = [(safe_text(found["verdict"] or f"At work: {found['step']}."), f"bold {colour}"), "\n\n"]
    if sealed is not None:
        parts.append(
            f"sealed rows {sealed['n']:,}: {sealed['wins']} better, {sealed['ties']} alike, {sealed['losses']} worse; "
            f"seed {sealed['seed']:.3f}, candidate {sealed['candidate']:.3f}, p {sealed['p']:.3g} ({sealed['method']})\n\n"
        )
    elif found["p_select"] is not None:
        parts.append(
            f"corrected p on the select part {found['p_select']:.2g}; up to {found['opened_at']:g} opens the sealed rows\n\n"
        )
    if drawing := front_lines(found["candidates"], found["better"], width=min(width, 70)):
        parts += [
            (f"{safe_line(found['metric'])} on the select part, by length\n", "$accent"),
            "\n".join(drawing),
            "\n\n",
        ]
    rows = ", ".join(f"{count:,} {name}" for name, count in found["rows"].items())
    taken = found["taken"]
    energy = "energy not measured" if taken["joules"] is None else f"{taken['joules'] / 3600:.2g} Wh"
    parts.append(
        safe_text(
            f"{found['data']}: {rows}\n{found['model']}, proposals by {found['reflector']}\n"
            f"{taken['calls']:,} calls, {taken['cached']:,} known before, {taken['reflections']:,} reflections, "
            f"{taken['seconds'] / 60:.1f} min, {energy}\n"
        )
    )
    if found["stopped"]:
        parts.append((safe_text(f"ended early by its budget: {found['stopped']}\n"), "$warning"))
    parts += [(safe_text(f"{line}\n"), "$muted") for line in found["told"]]
    if found["refused"]:
        parts.append(("\nproposals that are no candidates\n", "$accent"))
        parts += [safe_text(f"turn {one['turn'] + 1}: {one['why']}\n") for one in found["refused"]]
    return parts


def _change(services: Services, found: ImprovedRecord, number: int) -> Parts:
    from llmops_tui.text_diff import diff_words

    seed: PromptVersion = services.prompts.get(f"{found['prompt']}@{found['seed']}")
    other: PromptVersion = services.prompts.get(f"{found['prompt']}@{number}")
    if seed.number == other.number:
        return [(safe_text(f"{seed.ref} is the seed; a candidate under the cursor is shown against it.\n\n"), "$muted"),
                safe_text(f"{seed.system}\n{seed.template}".strip())]  # fmt: skip
    mark = "  candidate" if other.candidate_of else ""
    parts: Parts = [(safe_text(f"{seed.ref} → {other.ref}{mark}\n"), "bold")]
    for name, before, after in (("system", seed.system, other.system), ("user", seed.template, other.template)):
        if before or after:
            parts.append((f"\n── {name} ──\n", "$accent"))
            parts += diff_parts(diff_words(before, after))
    return parts


def _rows(services: Services, improvement: Improvement) -> Parts:
    from llmops_tui.improvement.sealed_rows import sealed_rows

    try:
        behind = sealed_rows(services.catalog, improvement)
    except LlmopsError as error:
        # It is what there is to say here, each second anew.
        return [(safe_text(error.told), "$warning")]
    if not behind:
        return [("Nobody looked at the sealed rows yet.", "$muted")]
    parts: Parts = []
    for row in behind[:_MOST_ROWS]:
        parts += _row(row)
    if len(behind) > _MOST_ROWS:
        parts.append(
            (f"{len(behind) - _MOST_ROWS:,} more: llmops prompt improvement {improvement.id} --rows", "$muted")
        )
    return parts


def _row(row: SealedRowRecord) -> Parts:
    before, after = row["seed_score"] or 0.0, row["candidate_score"] or 0.0
    word, colour = ("alike", "$muted") if before == after else ("changed", "$accent")
    return [
        (f"row {row['row']}  {word}  {before:g} → {after:g}\n", colour),
        safe_text(f"{row['asked']}\n"),
        (safe_text(f"expected   {row['expected']}\n"), "$muted"),
        safe_text(f"seed       {row['seed']}\ncandidate  {row['candidate']}\n\n"),
    ]
