"""What Textual keeps of widgets that are gone."""

from __future__ import annotations

import gc
import weakref

from textual._styles_cache import StylesCache
from textual.color import Color
from textual.style import Style

from screens.textual_caches import keep_no_widgets


def test_the_lines_of_a_widget_go_with_it() -> None:
    """Each dialog that was ever shown stayed with all its lines until a thousand others had come."""
    for _ in range(2):
        keep_no_widgets()
    base, own = Color(10, 20, 30), Color(200, 100, 0, 0.5)
    drawn = StylesCache()
    inner, outer = drawn.get_inner_outer(base, own)
    assert (inner, outer) == (Style(background=base + own), Style(background=base))
    gone = weakref.ref(drawn)
    del drawn
    gc.collect()
    assert gone() is None
    # And the colours are still kept, for all widgets.
    assert StylesCache().get_inner_outer(base, own)[0] is inner
