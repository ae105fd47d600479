"""Typed destinations in the app, navigation to them, and the history of places."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App

from screens.widgets.screen_below import LayeredScreen

if TYPE_CHECKING:
    from llmops_tui.prompts.compare.columns import Column

_MOST_PLACES = 100


@dataclass(frozen=True)
class Destination:
    """A thing on a screen. ``mode`` is the screen that shows such things."""

    mode: ClassVar[str] = ""

    @property
    def screen(self) -> str:
        """The screen it is on."""
        return self.mode


@dataclass(frozen=True)
class ScreenPlace(Destination):
    """A screen as it stands."""

    name: str

    @property
    def screen(self) -> str:
        """The screen."""
        return self.name


@dataclass(frozen=True)
class PromptPlace(Destination):
    """A prompt in the playground, with a model to answer it and the cursor on a version where they are named."""

    mode = "playground"
    prompt: str
    model: str = ""
    version: int | None = None


@dataclass(frozen=True)
class ModelInPlayground(Destination):
    """The playground, with this model to answer."""

    mode = "playground"
    model: str


@dataclass(frozen=True)
class ComparePlace(Destination):
    """A comparison: a board by name, and what the playground brings to it, as ``column`` with its ``variables``.

    With ``others`` these columns are the whole comparison; else ``column`` comes to those of its prompt.
    """

    mode = "compare"
    board: str = ""
    column: Column | None = None
    others: tuple[Column, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class ChatPlace(Destination):
    """A chat by name; without one that which was changed last."""

    mode = "chat"
    chat: str = ""


@dataclass(frozen=True)
class TracePlace(Destination):
    """A trace."""

    mode = "traces"
    trace: str


@dataclass(frozen=True)
class TraceFilterPlace(Destination):
    """The traces that a filter finds; all with an empty one."""

    mode = "traces"
    said: str = ""


@dataclass(frozen=True)
class ImprovementsPlace(Destination):
    """The improvements of a prompt; of all prompts where none is named."""

    mode = "improvement"
    prompt: str = ""


@dataclass(frozen=True)
class DatasetPlace(Destination):
    """A version of a dataset, as ``NAME@NUMBER``; with ``checks`` what was found in it has the focus."""

    mode = "datasets"
    version: str
    checks: bool = False


@dataclass(frozen=True)
class JobPlace(Destination):
    """A job."""

    mode = "jobs"
    job: str


@dataclass(frozen=True)
class ModelPlace(Destination):
    """A registered model."""

    mode = "models"
    model: str


@dataclass(frozen=True)
class RunPlace(Destination):
    """A training run."""

    mode = "training"
    run: str


@dataclass(frozen=True)
class EvaluationPlace(Destination):
    """A run of an evaluation, and one of its cases where that is meant."""

    mode = "evaluation"
    run: str
    case: int | None = None


def kept_place(place: Destination) -> dict[str, object]:
    """A place, to be kept."""
    return {"kind": type(place).__name__, **asdict(place)}


def place_of(kept: object) -> Destination | None:
    """The place that was kept; none where it is no place that this version knows."""
    if not isinstance(kept, dict):
        return None
    kinds = {kind.__name__: kind for kind in Destination.__subclasses__()}
    kind = kinds.get(str(kept.get("kind")))
    names = {field.name for field in fields(kind)} if kind is not None else set()
    values = {name: value for name, value in kept.items() if name in names and isinstance(value, str | int | None)}
    try:
        return kind(**values) if kind is not None else None
    except TypeError:
        return None


# Before the screen is there that one goes to.
_ON_THE_WAY = ScreenPlace("")


class PlaceScreen(LayeredScreen[None]):
    """A screen that can show things, and say what it shows.

    Attributes:
        opens: the kinds of things it can be asked to show.
    """

    opens: ClassVar[tuple[type[Destination], ...]] = ()

    async def go_to(self, destination: Destination) -> None:
        """Show a thing; one of those in ``opens``."""

    def place(self) -> Destination | None:
        """What is shown now, so that one can come back to it; none where the screen alone says it."""
        return None


class Navigation:
    """Goes to places, and remembers them."""

    def __init__(self, app: App[Any]) -> None:
        self._app = app
        self._places: list[Destination] = []
        self._at = -1
        # Where one goes and may not be yet, since screens read what they show; and what its screen shows until then.
        self._going: Destination | None = None
        self._until_then: Destination = _ON_THE_WAY

    async def open(self, destination: Destination) -> None:
        """Go to a place; what was in front of the way back is forgotten, as in an editor."""
        self._note_here()
        if destination == ScreenPlace(self._places[self._at].screen):
            return  # one is there: a second place would be a step back to the same
        if self._places[self._at] != destination:
            del self._places[self._at + 1 :]
            self._places.append(destination)
            del self._places[:-_MOST_PLACES]
            self._at = len(self._places) - 1
        await self._show(destination)

    def here(self) -> Destination:
        """The place in front."""
        screen = self._in_front()
        found = screen.place() if screen is not None else None
        return found if found is not None else ScreenPlace(self._app.current_mode)

    async def back(self) -> bool:
        """Go to the place before; whether there was one."""
        return await self._step(-1)

    async def forward(self) -> bool:
        """Go again where one came back from; whether there was such a place."""
        return await self._step(1)

    async def _step(self, by: int) -> bool:
        self._note_here()
        if not 0 <= self._at + by < len(self._places):
            return False
        self._at += by
        await self._show(self._places[self._at])
        return True

    def _note_here(self) -> None:
        """The place one leaves is the one that is shown, wherever the cursor went since one came.

        Whoever goes on before a screen shows what it was asked to show leaves that.
        """
        here = self.here()
        if self._going is not None and self._going != here and self._until_then in {_ON_THE_WAY, here}:
            return
        self._going = None
        if not self._places:
            self._places, self._at = [here], 0
        elif self._places[self._at].screen == here.screen:
            self._places[self._at] = here
        else:
            # Somebody went to another screen without asking here.
            del self._places[self._at + 1 :]
            self._places.append(here)
            self._at += 1

    def _in_front(self) -> PlaceScreen | None:
        """The screen of the mode, also behind a dialog."""
        return next((screen for screen in reversed(self._app.screen_stack) if isinstance(screen, PlaceScreen)), None)

    async def _show(self, destination: Destination) -> None:
        self._going, self._until_then = destination, _ON_THE_WAY
        try:
            await self._app.switch_mode(destination.screen)
        except BaseException:
            self._going = None
            raise
        screen = self._in_front()
        if screen is None or not isinstance(destination, screen.opens):
            self._going = None
            return
        self._until_then = screen.place() or ScreenPlace(destination.screen)
        # Behind what the screen does when it comes to the front: its own look would take the place of this one.
        screen.call_later(screen.go_to, destination)
