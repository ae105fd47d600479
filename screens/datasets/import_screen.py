"""The import preview: raw file, detected format with evidence, resulting rows, and the choice."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from llmops_tui.counts import counted
from llmops_tui.names import RULE, as_name, is_name
from llmops_tui.safe_text import safe_line, safe_text
from screens.datasets.record import record_content
from screens.widgets.dialogs import Choice, ChoiceDialog, LineDialog
from screens.widgets.modal import Modal
from screens.widgets.motions import TextScroll

if TYPE_CHECKING:
    from llmops_tui.datasets.import_preview import Preview
    from llmops_tui.datasets.raw import RawFile

_SHOWN_ROWS = 12
_PAGE = 40


@dataclass(frozen=True)
class ImportChoice:
    """How files are to be read: into which dataset, in which format, with which column for which role."""

    name: str
    format: str
    mapping: dict[str, str]


class ImportScreen(Modal[ImportChoice | None]):
    """What files seem to hold. Gives how they are to be read, or nothing."""

    CSS_PATH = "../dialog.tcss"
    BINDINGS = [  # noqa: RUF012  declared so by Textual
        Binding("enter,y", "accept", "Import"),
        Binding("escape", "give_up", "Cancel"),
        Binding("f", "format", "Format"),
        Binding("m", "mapping", "Mapping"),
        Binding("n", "name", "Name"),
        Binding("r,tab", "raw", "Raw or as imported"),
        Binding("colon,percent_sign", "go", "Go to"),
        Binding("pagedown,right_square_bracket", "page(1)", "On", show=False),
        Binding("pageup,left_square_bracket", "page(-1)", "Back", show=False),
    ]

    def __init__(self, seen: Preview, paths: list[Path]) -> None:
        from llmops_tui.datasets.import_job import suggested_name

        super().__init__()
        self._seen = seen
        self._paths = paths
        self._format = seen.proposal.format
        self._mapping: dict[str, str] = {}
        self._dataset = suggested_name(paths[0])
        self._raw = False
        self._file: RawFile | None = None
        self._line = 0

    def compose(self) -> ComposeResult:
        """Evidence above, rows below, keys at the foot."""
        with Vertical(classes="dialog dialog-wide"):
            with Vertical(id="import-body"):
                yield Static("", id="import-evidence", markup=False)
                with TextScroll(id="import-rows"):
                    yield Static("", id="import-text", markup=False)
            yield Static("", id="import-keys", markup=False)

    def on_mount(self) -> None:
        """Show the rows as they would be imported."""
        self._draw()
        self.query_one("#import-rows").focus()

    def on_unmount(self) -> None:
        """Let the file go."""
        if self._file is not None:
            self._file.close()

    def _draw(self) -> None:
        from llmops_tui.datasets.formats.readers import kind_of

        proposal = self._seen.proposal
        kind = kind_of(self._format, self._mapping)
        source = self._seen.sources[0]
        more = f" and {len(self._seen.sources) - 1} more" if len(self._seen.sources) > 1 else ""
        looked = len(self._seen.rows)
        have = (
            f"fits {proposal.share:.0%} of the first {looked:,} rows"
            if self._format == proposal.format
            else "your choice"
        )
        parts: list[str | tuple[str, str]] = [
            (f"{safe_line(source.path.name, 80)}{more}", "bold"),
            (f"  {source.type}", "$muted"),
            "   as ",
            (self._dataset, "bold $accent"),
            "\nformat ",
            (self._format, "bold $accent"),
            f" → {kind}" if kind != self._format else "",
            (f"   {have}", "$muted"),
            "\n",
        ]
        parts += [(f"· {safe_line(line, 200)}\n", "") for line in proposal.evidence]
        parts += [(f"· {name} would fit {share:.0%}\n", "$muted") for name, share in proposal.others.items()]
        if self._mapping:
            parts.append(("· mapping " + ", ".join(f"{r} = {c}" for r, c in self._mapping.items()) + "\n", "$accent"))
        elif self._format == "tabular" and proposal.mapping:
            parts.append(("· m maps columns to a conversation\n", "$warning"))
        rejects = self._seen.rejects
        if rejects:
            first = rejects[0]
            of = f"{counted(len(rejects), 'row')} of the first {looked + len(rejects):,} cannot be read"
            parts.append((f"· {of}: line {first.line:,}: {safe_line(first.reason)}\n", "$warning"))
        self.query_one("#import-evidence", Static).update(Content.assemble(*parts))
        self.query_one("#import-text", Static).update(self._raw_content() if self._raw else self._row_content(kind))
        keys: list[str | tuple[str, str]] = []
        shown = (
            ("enter", "import"),
            ("f", "format"),
            ("m", "map"),
            ("n", "name"),
            ("r", "rows" if self._raw else "raw"),
            (":", "go to"),
            ("esc", "cancel"),
        )
        for key, what in shown:
            keys += [(key, "$accent"), f" {what}  "]
        self.query_one("#import-keys", Static).update(Content.assemble(*keys))

    def _row_content(self, kind: str) -> Content:
        parts: list[Content | str | tuple[str, str]] = []
        for number, row in enumerate(self._seen.canonical(self._format, self._mapping)[:_SHOWN_ROWS], 1):
            parts.append((f"── {number} ──\n", "$muted"))
            if isinstance(row, str):
                parts.append((f"rejected: {safe_text(row)}\n", "$warning"))
            else:
                parts.append(record_content(kind, row, "conversation", None, ""))
        return Content.assemble(*parts)

    def _raw_content(self) -> Content:
        from llmops_tui.datasets.sources.discovery import is_plain

        source = self._seen.sources[0]
        if not is_plain(source):
            rows = [json.dumps(row, ensure_ascii=False)[:2000] for row in self._seen.rows[:_SHOWN_ROWS]]
            return Content(safe_text("This file is not plain text; its first records:\n\n" + "\n".join(rows)))
        if self._file is None:
            from llmops_tui.datasets.raw import RawFile

            self._file = RawFile(source.path)
        parts: list[str | tuple[str, str]] = []
        for line in self._file.lines(self._line, _PAGE):
            parts += [
                (f"{line.number:>10,} ", "$muted" if not line.problem else "$error"),
                safe_line(line.text, 600),
                "\n",
            ]
            if line.problem:
                parts.append((f"{'':>10} ▲ {safe_line(line.problem)} (byte {line.offset:,})\n", "$error"))
        return Content.assemble(*parts) if parts else Content.styled("The file ends here.", "$muted")

    # ── keys ──

    def action_accept(self) -> None:
        """Import."""
        self.dismiss(ImportChoice(self._dataset, self._format, self._mapping))

    def action_give_up(self) -> None:
        """Import nothing."""
        self.dismiss(None)

    def action_raw(self) -> None:
        """The lines as they are, or the rows as they would be."""
        self._raw = not self._raw
        self._draw()

    def action_page(self, step: int) -> None:
        """Another page of raw lines."""
        if self._raw:
            self._line = max(0, self._line + step * _PAGE)
            self._draw()
            self.query_one("#import-rows").scroll_home(animate=False)

    def action_go(self) -> None:
        """Go to a line, or to a place in percent."""

        def answered(text: str | None) -> None:
            if text:
                self._raw = True
                self._go(text)
                self._draw()

        self.app.push_screen(LineDialog("Go to", "a line number, or a position such as 50%", check=_no_place), answered)

    def _go(self, text: str) -> None:
        if text.endswith("%"):
            self._raw_content()
            if self._file is not None:
                found = self._file.lines_at(int(self._file.size * float(text[:-1]) / 100), 1)
                self._line = found[0].number - 1 if found else 0
        else:
            self._line = max(0, int(text.replace(",", "")) - 1)

    def action_name(self) -> None:
        """Another name."""

        def answered(text: str | None) -> None:
            if text:
                self._dataset = as_name(text)
                self._draw()

        self.app.push_screen(
            LineDialog(
                "Name of the dataset",
                f"With the name of an existing dataset, the import is its next version. {RULE}",
                self._dataset,
                check=lambda text: "" if is_name(as_name(text)) else f"{text!r} is no name of a dataset.",
            ),
            answered,
        )

    def action_format(self) -> None:
        """Another format."""
        from llmops_tui.datasets.formats.registry import all_formats

        def chosen(name: str | None) -> None:
            if name is not None:
                self._format, self._mapping = name, {}
                self._draw()

        self.app.push_screen(ChoiceDialog("Read the rows as", [Choice(f.name, f.name) for f in all_formats()]), chosen)

    def action_mapping(self) -> None:
        """Map columns to roles."""
        from llmops_tui.datasets.formats.readers import MAPPING_ROLES

        known = self._mapping or self._seen.kept_mapping or self._seen.proposal.mapping
        value = " ".join(f"{role}={column}" for role, column in known.items())
        hint = f"ROLE=COLUMN with {', '.join(MAPPING_ROLES)}. Columns: {', '.join(self._seen.proposal.columns[:20])}"

        def answered(text: str | None) -> None:
            if text is None:
                return
            self._format, self._mapping = "tabular", dict(_pairs(text))
            self._draw()

        def problem(text: str) -> str:
            wrong = [
                pair
                for pair in _pairs(text)
                if pair[0] not in MAPPING_ROLES or pair[1] not in self._seen.proposal.columns
            ]
            return f"{'='.join(wrong[0])}: unknown role or column." if wrong else ""

        self.app.push_screen(LineDialog("Map columns", safe_line(hint), value, check=problem), answered)


def _pairs(text: str) -> list[tuple[str, str]]:
    """Roles with their columns, as they are typed."""
    return [(role, column) for role, _, column in (word.partition("=") for word in text.split())]


def _no_place(text: str) -> str:
    """Why a text names no place in a file, or nothing."""
    number = text.removesuffix("%").replace(",", "").replace(".", "", int(text.endswith("%")))
    return "" if number.isascii() and number.isdigit() else f"{text!r} is neither a line nor a percentage."
