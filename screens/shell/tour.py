"""The tour: two minutes on the real app, a step at a time, each of which is done by doing it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from textual.content import Content
from textual.widgets import Static

from screens.shell.base import BaseScreen
from screens.shell.help import HelpScreen
from screens.shell.palette import Palette
from screens.shell.shell import Shell
from screens.widgets.table import Table

_SECONDS = 0.3
_ID = "tour"


@dataclass(frozen=True)
class Step:
    """What is to be done, the keys for it, and how one sees that it was done; ``before`` is the answer there was."""

    text: str
    keys: str
    done: Callable[[Shell, str], bool]


def _on(screen: str) -> Callable[[Shell, str], bool]:
    return lambda app, _before: app.current_mode == screen and app.screen.is_mounted


def _answered(app: Shell, before: str) -> bool:
    """Whether the playground has an answer that was not there before, and is not being written any more."""
    return app.current_mode == "playground" and not app.unfinished and _answer(app) not in {"", before}


def _answer(app: Shell) -> str:
    """What the playground shows; nothing on other screens, which may not even be composed yet."""
    screen = app.screen
    if not isinstance(screen, BaseScreen) or screen.scope != "playground" or not screen.is_mounted:
        return ""
    return dict(screen.copy_choices()).get("answer", "")


def _sorted(app: Shell, _before: str) -> bool:
    return (
        any(table.order or table.arrangement.said for table in app.screen.query(Table)) and app.current_mode == "traces"
    )


_TEXTS = (
    "The playground: a prompt at the left, its answer at the right. The model is named above it. Run it.",
    "Each answer is kept as a trace, with its times and tokens. The tabs above have digits: go to the traces.",
    "Every list is a table: > and < sort by a column, / filters, space selects. Put the slowest first.",
    "Datasets have versions, checks with one-key fixes, and diffs. Look at one.",
    "Evaluation tells whether a change is better, by how much, and with what certainty.",
    "The palette finds any action, prompt, dataset, run or trace by what you type. esc leaves it.",
    "Help is about exactly where you are. esc closes it, and most else.",
    "Now yours: go back to the playground, write a question into User, and run it.",
)
_DONE: tuple[tuple[str, Callable[[Shell, str], bool]], ...] = (
    ("F5", _answered),
    ("F9 7", _on("traces")),
    ("s", _sorted),
    ("2", _on("datasets")),
    ("4", _on("evaluation")),
    ("ctrl+p", lambda app, _before: isinstance(app.screen, Palette)),
    ("F1", lambda app, _before: isinstance(app.screen, HelpScreen)),
    ("1, then F5", _answered),
)
_NO_MODEL = " There is no model yet: F9 5 and then a adds one; or skip the step."
STEPS = tuple(Step(text, keys, done) for text, (keys, done) in zip(_TEXTS, _DONE, strict=True))


class Tour:
    """Where one is in the tour; drawn at the foot of whichever screen is in front."""

    def __init__(self, app: Shell) -> None:
        self._app = app
        self._at = 0
        # When the last step was taken, by the monotonic clock.
        self.ended = float("-inf")
        self._before = _answer(app)
        # The screen, the step, and the model there was.
        self._drawn: tuple[object, int, str | None] = (None, -1, "")
        self._timer = app.set_interval(_SECONDS, self._look)
        # On the screen that comes to the front with its first frame, where it is composed by then.
        app.screen_change_signal.subscribe(app, lambda _screen: self._draw(), immediate=True)
        self._draw()

    @property
    def over(self) -> bool:
        """Whether all steps were taken, or it was left."""
        return self._at >= len(STEPS)

    def next(self) -> None:
        """The next step, whether this one was done or not."""
        self._at += 1
        self._before = _answer(self._app) or self._before
        if self.over:
            self.ended = time.monotonic()
            self.end("That was the tour. F1 tells more of each screen; ctrl+p and “docs” have all pages.")
        else:
            self._draw()

    def end(self, told: str = "The tour is over; llmops tour begins it again.") -> None:
        """Leave it."""
        self._at = len(STEPS)
        self._timer.stop()
        self._app.screen_change_signal.unsubscribe(self._app)
        self._wipe()
        self._app.say(told, seconds=10)

    def _wipe(self) -> None:
        """Take it from the screen it was drawn on last: on those that are behind, it is on none."""
        if isinstance(screen := self._drawn[0], BaseScreen) and screen.is_attached:
            screen.query(f"#{_ID}").remove()
            screen.remove_class("-touring")

    def _look(self) -> None:
        if not self.over and STEPS[self._at].done(self._app, self._before):
            self.next()
        elif not self.over:
            self._draw()

    def _draw(self) -> None:
        screen = next((s for s in reversed(self._app.screen_stack) if isinstance(s, BaseScreen)), None)
        if self.over or screen is None or not screen.query("#body"):
            return
        shown = (screen, self._at, self._app.status.model)
        if self._drawn == shown and screen.query(f"#{_ID}"):
            return
        if self._drawn[0] is not screen:
            self._wipe()
        self._drawn = shown
        step = STEPS[self._at]
        parts: list[tuple[str, str] | str] = [(f"Tour {self._at + 1} of {len(STEPS)}  ", "$accent bold"), step.text]
        if step.done is _answered and not self._app.status.model:
            parts += [(_NO_MODEL, "$warning")]
        parts += [("\nPress ", "$muted"), (step.keys, "$accent bold")]
        last = self._at + 1 == len(STEPS)
        skips = "ctrl+n or alt+q ends the tour" if last else "ctrl+n skips the step, alt+q ends the tour"
        waits = "it goes on when the answer has ended   ·   " if step.done is _answered else ""
        content = Content.assemble(*parts, (f"   ·   {waits}{skips}", "$muted"))
        found = screen.query(f"#{_ID}")
        screen.add_class("-touring")
        if not found:
            screen.mount(Static(content, id=_ID, markup=False), after="#body")
        else:
            found.first(Static).update(content)


# Seconds in which one more press of the key that ended the tour does not begin it again.
_ONE_TOO_MANY = 3.0
_tours: WeakKeyDictionary[Shell, Tour] = WeakKeyDictionary()


def begin_or_go_on(app: Shell) -> None:
    """Begin the tour, or go on to its next step."""
    tour = _tours.get(app)
    if tour is not None and tour.over and time.monotonic() - tour.ended < _ONE_TOO_MANY:
        return
    if tour is None or tour.over:
        _tours[app] = Tour(app)
    else:
        tour.next()


def leave(app: Shell) -> None:
    """Leave the tour, where there is one."""
    tour = _tours.get(app)
    if tour is not None and not tour.over:
        tour.end()
