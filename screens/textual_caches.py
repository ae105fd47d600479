"""Two caches of Textual: one that would keep widgets which are long gone, and one that keeps too little.

``StylesCache.get_inner_outer`` is a method in an ``lru_cache`` of 1,024 entries: with the colours it keeps the styles cache of
whatever widget asked, and with that all lines which the widget had drawn. Each dialog and each notice that was ever shown
stays so until a thousand others came after it: tens of megabytes in an hour of work. The colours alone are enough.

``Stylesheet`` keeps 64 parsed sheets, and goes through all of them, in order, whenever there is a new one. The app has more,
one for each kind of widget; so none was found again, and each new kind of widget had all of them parsed, a fifth of a second.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

from textual._styles_cache import StylesCache
from textual.cache import LRUCache
from textual.css.stylesheet import Stylesheet

# More than there are sheets: a hundred of widgets, and thirty of screens and dialogs.
_SHEETS = 1024


def keep_no_widgets() -> None:
    """Have the cache keep colours only; does nothing where Textual does so itself."""
    known: Any = getattr(StylesCache, "get_inner_outer", None)
    original = getattr(known, "__wrapped__", None)
    if original is not None and not isinstance(StylesCache.__dict__.get("get_inner_outer"), classmethod | staticmethod):
        # It asks nothing of the object that it is called on.
        setattr(StylesCache, "get_inner_outer", staticmethod(lru_cache(1024)(partial(original, None))))  # noqa: B010


def keep_parsed(sheets: Stylesheet) -> None:
    """Have each sheet parsed once for a theme; does nothing where Textual has no such cache."""
    if isinstance(getattr(sheets, "_parse_cache", None), LRUCache):
        sheets._parse_cache = LRUCache(_SHEETS)  # noqa: SLF001  as its constructor does
