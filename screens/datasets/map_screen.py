"""The map of a version: a list of clusters by size, where their rows lie, and what the one under the cursor is about."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static

from llmops_tui.counts import counted
from llmops_tui.safe_text import safe_line
from screens.widgets.keys_line import KeysLine
from screens.widgets.line_list import Line, LineList, cell
from screens.widgets.modal import Modal
from screens.widgets.scatter import Scatter

if TYPE_CHECKING:
    from llmops_tui.datasets.meaning.topics import TopicMap, TopicRecord

# What is answered where the map is wanted with another number of clusters.
AGAIN = "again"
_NUMBER = 8
_MOST_LABELS = 4


class MapScreen(Modal[str | None]):
    """Walk through the clusters, mark some, and show their rows. Answers with their numbers, as ``3,5``."""

    CSS_PATH = ["../dialog.tcss", "screen.tcss"]  # noqa: RUF012  declared so by Textual
    BINDINGS = [  # noqa: RUF012  declared so by Textual
        Binding("escape,q", "close", "Close"),
        Binding("enter", "show", "Rows", priority=True),
        Binding("space,x", "mark", "Mark"),
        Binding("n,f6", "again", "Clusters"),
        Binding("left,h", "walk(-1, 0)", show=False, priority=True),
        Binding("right,l", "walk(1, 0)", show=False, priority=True),
        Binding("shift+up,K", "walk(0, 1)", show=False, priority=True),
        Binding("shift+down,J", "walk(0, -1)", show=False, priority=True),
    ]

    def __init__(self, topic_map: TopicMap) -> None:
        super().__init__()
        self._map = topic_map
        self._topics = topic_map.record["topics"]
        self._marked: set[int] = set()
        # Rows that were read, by cluster.
        self._examples: dict[int, list[str]] = {}

    def compose(self) -> ComposeResult:
        """The list beside the cloud, and the facts below."""
        record = self._map.record
        missing = record["rows"] - record["placed"]
        told = f"  {counted(missing, 'row')} without text" if missing else ""
        head = f"{record['version']} · {counted(len(self._topics), 'cluster')} by {record['model']}{told}"
        keys = (("space", "mark"), ("enter", "show rows"), ("←→ J K", "walk"), ("n", "other number"), ("esc", "close"))
        with Vertical(classes="dialog dialog-wide"):
            yield Static(Content(safe_line(head, 200)), classes="dialog-title")
            with Horizontal(id="map-body"):
                yield LineList(id="map-list")
                yield Scatter(self._map.points, self._map.clusters, id="map-cloud")
            yield Static("", id="map-facts")
            yield KeysLine(*keys)

    def on_mount(self) -> None:
        """The largest cluster first."""
        lines = self.query_one("#map-list", LineList)
        lines.show(len(self._topics), self._line)
        lines.focus()
        self._look()

    def _line(self, index: int, width: int) -> Line:
        topic = self._topics[index]
        mark = "●" if topic["cluster"] in self._marked else " "
        words = safe_line(" ".join(topic["words"]), 80)
        return [
            (mark, "warn"),
            (f"{topic['rows']:>{_NUMBER - 1},} ", "muted"),
            (cell(words, width - _NUMBER - 1), "plain"),
        ]

    @property
    def _topic(self) -> TopicRecord:
        return self._topics[self.query_one("#map-list", LineList).cursor]

    @on(LineList.Moved)
    def _moved(self, event: LineList.Moved) -> None:
        event.stop()
        self._look()

    def _look(self) -> None:
        """Light the cluster under the cursor and say what it is about."""
        topic = self._topic
        self.query_one(Scatter).light(topic["cluster"], frozenset(self._marked))
        share = topic["rows"] / max(1, self._map.record["placed"])
        parts: list[str | tuple[str, str]] = [
            (f"cluster {topic['cluster']}", "bold"),
            f" · {counted(topic['rows'], 'row')}, {share:.1%} · ",
            (safe_line(" ".join(topic["words"]) or "no words of its own", 120), "$accent"),
        ]
        if topic["labels"]:
            named = [f"{one['label']} {one['rows'] / topic['rows']:.0%}" for one in topic["labels"][:_MOST_LABELS]]
            parts.append(f"\n{safe_line(self._map.record['label'], 30)}: {safe_line(', '.join(named), 200)}")
        examples = self._examples.get(topic["cluster"])
        parts += [(f"\n  {safe_line(text, 200)}", "$muted") for text in examples or ()]
        self.query_one("#map-facts", Static).update(Content.assemble(*parts))
        if examples is None:
            # Of several that are passed over in a hurry only the last is read.
            self.run_worker(self._read_examples(topic), group="examples", exclusive=True)

    async def _read_examples(self, topic: TopicRecord) -> None:
        """Read rows of a cluster beside the thread that draws, and show them where the cursor is still there."""
        index = self._map.index
        rows = await asyncio.to_thread(index.version.rows_at, topic["examples"][:2])
        self._examples[topic["cluster"]] = [" ".join(index.text.text(row).split()) for row in rows]
        if self.is_mounted and self._topic["cluster"] == topic["cluster"]:
            self._look()

    def action_walk(self, across: int, up: int) -> None:
        """Go to the nearest cluster on that side."""
        here = self._topic
        places = np.array([[t["x"], t["y"]] for t in self._topics]) - [here["x"], here["y"]]
        along = places @ np.array([across, up])
        aside = np.abs(places @ np.array([up, across]))
        ahead = np.flatnonzero((along > 1e-6) & (aside <= 2 * along))
        if len(ahead):
            nearest = ahead[np.argmin(along[ahead] + aside[ahead])]
            self.query_one("#map-list", LineList).move_to(int(nearest))

    def action_mark(self) -> None:
        """Mark the cluster, or take the mark away."""
        self._marked ^= {self._topic["cluster"]}
        self.query_one("#map-list", LineList).refresh()
        self._look()

    def action_show(self) -> None:
        """Show the rows of the marked clusters, or of the one under the cursor."""
        chosen = sorted(self._marked) or [self._topic["cluster"]]
        self.dismiss(",".join(map(str, chosen)))

    def action_again(self) -> None:
        """Make the map with another number of clusters."""
        self.dismiss(AGAIN)

    def action_close(self) -> None:
        """Close."""
        self.dismiss(None)
