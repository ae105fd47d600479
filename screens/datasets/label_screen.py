"""Labelling with one key per row: each key sets a label and shows the next row."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from textual import events, getters
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from llmops_tui.counts import counted
from llmops_tui.datasets.reports import AgreementRecord
from llmops_tui.errors import LlmopsError
from llmops_tui.safe_text import safe_line
from screens.datasets.record import record_content
from screens.shell import external_editor
from screens.shell.shell import Shell
from screens.widgets.modal import Modal
from screens.widgets.motions import TextScroll

if TYPE_CHECKING:
    from llmops_tui.datasets.assisted_labelling import Helped, LabelAssistant
    from llmops_tui.datasets.labelling import Labelling
    from llmops_tui.datasets.meaning.active_learning import Proposal
    from llmops_tui.datasets.records import Row

_KEYS = "123456789abcdefghijklmnopqrstuvwxyz"
# Letters that mean something else here.
_TAKEN = {"q", "z", "s"}
_LETTERS = {"accept": "a", "reject": "r", "correct": "c", "first": "1", "second": "2", "tie": "t"}


class LabelScreen(Modal[str | None]):
    """One row at a time. Gives the reference of the version that was made, or nothing; what was said is kept anyway."""

    app = getters.app(Shell)
    CSS_PATH = "../dialog.tcss"
    BINDINGS = [  # noqa: RUF012  declared so by Textual
        Binding("escape,q", "close", "Close"),
        Binding("z,ctrl+z", "undo", "Undo"),
        Binding("s,f2,ctrl+s", "finish", "Make a version"),
        Binding("space", "skip", "Skip"),
        Binding("enter", "accept", "Take what is proposed", priority=True),
        Binding("f6,full_stop", "curve", "Learning curve"),
    ]

    def __init__(self, work: Labelling, assistant: LabelAssistant | None = None) -> None:
        super().__init__()
        self._work = work
        self._assistant = assistant
        self._proposal: Proposal | None = None
        free = [k for k in _KEYS if k not in _TAKEN]
        values = work.task.values
        self._by_key = (
            dict(zip(free, values, strict=False)) if work.task.kind == "classify" else {_LETTERS[v]: v for v in values}
        )
        self._queue = work.queue()
        self._row: Row | None = None
        self._lock = asyncio.Lock()

    def compose(self) -> ComposeResult:
        """Progress, the row, the keys."""
        with Vertical(classes="dialog dialog-wide"):
            yield Static("", id="label-head", markup=False)
            with TextScroll(id="label-scroll", can_focus=True):
                yield Static("", id="label-text", markup=False)
            yield Static("", id="label-keys", markup=False)

    def on_mount(self) -> None:
        """The first row."""
        self.query_one("#label-scroll").focus()
        self.run_worker(self._show(), group="label", exit_on_error=False)

    async def _show(self) -> None:
        done, total = self._work.progress
        filled = round(40 * done / max(1, total))
        parts: list[str | tuple[str, str]] = [
            (safe_line(self._work.task.name), "bold $accent"),
            f"  by {safe_line(self._work.annotator)}   ",
            ("█" * filled, "$success"),
            ("·" * (40 - filled), "$line"),
            f" {done:,} of {total:,}",
        ]
        if not self._queue:
            self.query_one("#label-text", Static).update(
                Content.styled("Every row is labelled. s makes a version.", "$success")
            )
            self._row = None
        else:
            if self._assistant is not None:
                self._queue = await asyncio.to_thread(self._assistant.order, self._queue)
            number, turn = self._queue[0]
            self._proposal = None
            if self._assistant is not None and turn == 0:
                self._proposal = await asyncio.to_thread(self._assistant.propose, number)
            self._row = (await asyncio.to_thread(self._work.version.rows_at, [number]))[0]
            parts.append((f"   row {number:,}", "$muted"))
            self.query_one("#label-text", Static).update(self._content(number, self._row))
            self.query_one("#label-scroll").scroll_home(animate=False)
        agreement = await asyncio.to_thread(self._work.agreement)
        parts.append("\n")
        parts += _agreement_parts(agreement)
        if self._assistant is not None:
            parts += _help_parts(await asyncio.to_thread(self._assistant.helped))
        self.query_one("#label-head", Static).update(Content.assemble(*parts))
        keys: list[str | tuple[str, str]] = []
        if self._proposal is not None and self._queue:
            proposed = f" {safe_line(self._proposal.label, 30)} is proposed, {self._proposal.probability:.0%}   "
            keys += [("enter", "$accent bold"), (proposed, "$warning")]
        for key, value in self._by_key.items():
            keys += [(key, "$accent bold"), f" {safe_line(value, 30)}   "]
        keys += [
            ("space", "$accent"),
            " skip   ",
            ("z", "$accent"),
            " undo   ",
            ("s", "$accent"),
            " make a version   ",
            ("esc", "$accent"),
            " close",
        ]
        self.query_one("#label-keys", Static).update(Content.assemble(*keys))

    def _content(self, number: int, row: Row) -> Content:
        if self._work.task.kind != "prefer":
            return record_content(self._work.version.kind, row, "conversation", None, "")
        pair = ("rejected", "chosen") if self._work.swapped(number) else ("chosen", "rejected")
        shown: Row = {"prompt": row.get("prompt"), "completion": row[pair[0]]}
        other: Row = {"prompt": [], "completion": row[pair[1]]}
        return Content.assemble(
            ("── 1 ──\n", "bold $accent"),
            record_content("prompt-completion", shown, "conversation", None, ""),
            ("── 2 ──\n", "bold $accent"),
            record_content("prompt-completion", other, "conversation", None, ""),
        )

    async def on_key(self, event: events.Key) -> None:
        """A key that says something."""
        value = self._by_key.get(event.key)
        if value is not None and self._row is not None:
            event.stop()
            await self._say(value)

    async def _say(self, value: str) -> None:
        async with self._lock:
            if not self._queue or self._row is None:
                return
            number, turn = self._queue[0]
            corrected = None
            if value == "correct":
                corrected = self._correct(number, self._row)
                if corrected is None:
                    return
            try:
                proposed = self._proposal.label if self._proposal is not None and turn == 0 else ""
                await asyncio.to_thread(self._work.say, number, value, turn, corrected, proposed)
            except LlmopsError as error:
                self.app.report(error)
                return
            self._queue.pop(0)
            await self._show()

    def _correct(self, number: int, row: Row) -> dict[str, Any] | None:
        text = json.dumps(row, ensure_ascii=False, indent=2)
        changed = external_editor.edit_outside(self.app, text, f"row-{number}.json")
        if changed is None:
            return None
        try:
            value = json.loads(changed)
        except ValueError as error:
            self.app.say(f"This is not JSON: {error}. Nothing was saved.", severity="warning")
            return None
        return value if isinstance(value, dict) else None

    async def action_accept(self) -> None:
        """Say what is proposed."""
        if self._proposal is not None and self._proposal.label in self._work.task.values:
            await self._say(self._proposal.label)

    def action_curve(self) -> None:
        """How right a classifier is by the number of labels, as cross-validation tells."""
        if self._assistant is not None:
            self.run_worker(self._tell_curve(self._assistant), group="curve", exclusive=True, exit_on_error=False)

    async def _tell_curve(self, assistant: LabelAssistant) -> None:
        helped = await asyncio.to_thread(assistant.helped, curve=True)
        if not helped.curve:
            self.app.say("The curve begins at 20 labels.", severity="warning")
            return
        told = "  ".join(f"{count:,}: {share:.0%}" for count, share in helped.curve)
        stop = " The last 200 labels changed little: more of them may not be worth it." if helped.may_stop else ""
        self.app.say(f"Right by number of labels, five-fold: {told}.{stop}", seconds=20)

    def action_skip(self) -> None:
        """The row comes again at the end."""
        if self._queue:
            self._queue.append(self._queue.pop(0))
            self.run_worker(self._show(), group="label", exclusive=True, exit_on_error=False)

    async def action_undo(self) -> None:
        """Take the last word back and show its row again."""
        async with self._lock:
            last = await asyncio.to_thread(self._work.undo)
            if last is None:
                self.app.say("There is nothing to undo.", severity="warning")
                return
            self._queue.insert(0, (last.row, last.turn))
            await self._show()

    async def action_finish(self) -> None:
        """Make a version of what was said."""
        try:
            version = await asyncio.to_thread(self._work.finish)
        except LlmopsError as error:
            self.app.report(error)
            return
        self.app.say(f"{version.ref}: {version.note}. z undoes it.")
        self.dismiss(version.ref)

    def action_close(self) -> None:
        """Close; what was said is kept."""
        self.dismiss(None)


def _agreement_parts(agreement: AgreementRecord) -> list[str | tuple[str, str]]:
    parts: list[str | tuple[str, str]] = []
    alpha = agreement["krippendorff_alpha"]
    several = agreement["rows_with_several"]
    if several:
        parts.append((f"Krippendorff's alpha {_number(alpha)}, {counted(several, 'row')} by several   ", "$muted"))
    parts += [
        (f"κ {safe_line(k)} {_number(v['kappa'])} n={v['rows']}   ", "$muted")
        for k, v in agreement["cohen_kappa"].items()
    ]
    parts += [
        (f"{safe_line(k)} with oneself {v['agreed']} of {v['rows']}, κ {_number(v['kappa'])}   ", "$muted")
        for k, v in agreement["with_oneself"].items()
    ]
    return parts or [("agreement: shown once two people, or one person twice, labelled the same row", "$muted")]


def _help_parts(helped: Helped) -> list[str | tuple[str, str]]:
    told = (
        f"\nproposals: κ with you {_number(helped.kappa)}, n={helped.compared}"
        if helped.compared
        else "\nproposals: none yet"
    )
    if helped.random_rows:
        told += f" · right in {helped.random_right} of {counted(helped.random_rows, 'row')} drawn at random"
    return [(told, "$muted")]


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.2f}"
