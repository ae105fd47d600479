"""A cache of Textual that would keep widgets which are long gone.

``StylesCache.get_inner_outer`` is a method in an ``lru_cache`` of 1,024 entries: with the colours it keeps the styles cache of
whatever widget asked, and with that all lines which the widget had drawn. Each dialog and each notice that was ever shown
stays so until a thousand others came after it: tens of megabytes in an hour of work. The colours alone are enough.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

from textual._styles_cache import StylesCache


def keep_no_widgets() -> None:
    """Have the cache keep colours only; does nothing where Textual does so itself."""
    known: Any = getattr(StylesCache, "get_inner_outer", None)
    original = getattr(known, "__wrapped__", None)
    if original is not None and not isinstance(StylesCache.__dict__.get("get_inner_outer"), classmethod | staticmethod):
        # It asks nothing of the object that it is called on.
        setattr(StylesCache, "get_inner_outer", staticmethod(lru_cache(1024)(partial(original, None))))  # noqa: B010
