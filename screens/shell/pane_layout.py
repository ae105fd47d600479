"""Panes that are made larger, smaller, and folded, by key; and how they were left."""

from __future__ import annotations

from collections.abc import Iterable

from textual.css.scalar import Unit
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widget import Widget

from screens.widgets.panel import Panel

# A step, and the least that is left of a pane: cells across and down.
_STEP = (6, 3)
_LEAST = (12, 4)
_ACROSS, _DOWN = 0, 1
FOLDED = "-folded"
# What is kept: the shares of panes across and down by their ids, and those that are folded.
Kept = dict[str, list[int]]


def resize(panel: Panel, direction: int) -> bool:
    """Make a pane larger or smaller at the cost of those beside it, or to their gain; whether there are any."""
    changed = False
    for axis in (_ACROSS, _DOWN):
        inner = _sharing(panel, axis)
        if inner is None:
            continue
        siblings = _siblings(inner)
        sizes = [
            widget.size.width + _edge(widget) if axis == _ACROSS else widget.outer_size.height for widget in siblings
        ]
        at = siblings.index(inner)
        others = sum(sizes) - sizes[at]
        step = direction * _STEP[axis]
        wanted = max(_LEAST[axis], min(sizes[at] + step, sum(sizes) - _LEAST[axis] * (len(siblings) - 1)))
        if wanted == sizes[at] or others <= 0:
            continue
        for number, widget in enumerate(siblings):
            share = wanted if number == at else max(1, round(sizes[number] * (sum(sizes) - wanted) / others))
            _give(widget, axis, share)
        changed = True
    return changed


def _edge(widget: Widget) -> int:
    return widget.outer_size.width - widget.size.width


def _sharing(panel: Widget, axis: int) -> Widget | None:
    """The pane, or what it stands in, that shares this axis with others."""
    node: DOMNode | None = panel
    while isinstance(node, Widget) and not isinstance(node, Screen):
        siblings = _siblings(node)
        if len(siblings) > 1:
            first, second = siblings[0].region, siblings[1].region
            if (first.y == second.y) == (axis == _ACROSS):
                return node
        node = node.parent
    return None


def _siblings(widget: Widget) -> list[Widget]:
    """The panes and columns beside one that are seen and not folded, itself among them."""
    parent = widget.parent
    if not isinstance(parent, Widget) or not _is_pane(widget):
        return []
    return [child for child in parent.children if _is_pane(child) and child.region.area and not child.has_class(FOLDED)]


def _is_pane(widget: Widget) -> bool:
    return isinstance(widget, Panel) or widget.has_class("column")


def _give(widget: Widget, axis: int, share: int) -> None:
    if axis == _ACROSS:
        widget.styles.width, widget.styles.min_width = f"{share}fr", 1
    else:
        widget.styles.height, widget.styles.min_height, widget.styles.max_height = f"{share}fr", 3, None


def fold(panel: Panel) -> bool:
    """Fold a pane to its title; whether another is left to look at."""
    others = [
        other
        for other in panel.screen.query(Panel)
        if other is not panel and other.region.area and not other.has_class(FOLDED)
    ]
    if not others:
        return False
    panel.add_class(FOLDED)
    next((other for other in others if other.focus_inside()), None)
    return True


def unfold(panel: Panel) -> None:
    """Show a folded pane again."""
    panel.remove_class(FOLDED)


def layout_of(body: Widget) -> Kept:
    """How the panes in the body of a screen are, for as far as somebody changed it."""
    kept: Kept = {}
    for widget in _all(body):
        assert widget.id is not None
        found = [_given(widget, "width"), _given(widget, "height"), int(widget.has_class(FOLDED))]
        if any(found):
            kept[widget.id] = found
    return kept


def restore(body: Widget, kept: object) -> None:
    """Lay the panes out as they were kept; what is not known, or no layout, is left out."""
    found = kept if isinstance(kept, dict) else {}
    for widget in _all(body):
        entry = found.get(widget.id)
        if not (isinstance(entry, list) and len(entry) == 3 and all(isinstance(value, int) for value in entry)):
            entry = [0, 0, 0]
        _reset(widget)
        for axis in (_ACROSS, _DOWN):
            if entry[axis] > 0:
                _give(widget, axis, entry[axis])
        widget.set_class(bool(entry[2]), FOLDED)
    panels = list(body.query(Panel))
    if panels and all(panel.has_class(FOLDED) for panel in panels):
        unfold(panels[0])


def set_height(widget: Widget, rows: int | None, *, most: bool = False) -> None:
    """So many rows, or with ``most`` no more than that, none for what its sheet says; who was given a share keeps it."""
    rule = "max_height" if most else "height"
    known = getattr(widget.styles.inline, rule) if widget.styles.inline.has_rule(rule) else None
    if not _given(widget, "height") and (known.value if known is not None else None) != rows:
        setattr(widget.styles, rule, rows)


def _given(widget: Widget, rule: str) -> int:
    """The share that was given here; 0 where a pane has its size from its sheet, or from what it shows."""
    inline = widget.styles.inline
    size = getattr(inline, rule) if inline.has_rule(rule) else None
    return round(size.value) if size is not None and size.unit is Unit.FRACTION else 0


def _reset(widget: Widget) -> None:
    for rule, others in (("width", ("min_width",)), ("height", ("min_height", "max_height"))):
        if _given(widget, rule):
            for name in (rule, *others):
                widget.styles.inline.clear_rule(name)
            widget.refresh(layout=True)


def _all(body: Widget) -> Iterable[Widget]:
    return [widget for widget in body.query("*") if _is_pane(widget) and widget.id]
