"""What installed packages add: entry points by kind, imported when their kind is asked for, each failing by itself."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypedDict, TypeVar

from llmops_tui.errors import InputRefusedError, LlmopsError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")
PREFIX = "llmops_tui."
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")
_LONGEST_REASON = 300


class PluginRecord(TypedDict):
    """A plugin as ``--json`` has it; ``problem`` is empty where it works."""

    kind: str
    name: str
    package: str
    version: str
    problem: str


@dataclass(frozen=True)
class Plugin:
    """One entry point of an installed package.

    Attributes:
        kind: what it adds, such as ``metrics``.
        name: what it is called in suites, options and settings.
        package: the package that brings it, and ``version`` that package's version.
        problem: why it is not used; empty where it works.
    """

    kind: str
    name: str
    package: str
    version: str
    problem: str = ""

    @property
    def told(self) -> str:
        """It, its package and what is wrong with it, in one line."""
        return f"{self.kind} plugin {self.name!r} of {self.package} {self.version}: {self.problem or 'works'}"

    def as_dict(self) -> PluginRecord:
        """The plugin as JSON."""
        return {
            "kind": self.kind,
            "name": self.name,
            "package": self.package,
            "version": self.version,
            "problem": self.problem,
        }


class Plugins(Generic[T]):
    """The plugins of one kind, which are the entry points of the group ``llmops_tui.KIND``.

    They are found and imported once in a process, when something first asks for them. One that cannot be imported, is not
    what its kind asks for, or has a name that is built in or taken twice is kept with the reason and not used; the others
    are not touched by it. Only packages that are installed where Python looks for modules have entry points: no file of a
    workspace, a suite or a dataset names code.

    Args:
        kind: the last part of the group's name.
        accept: makes of what an entry point names what is used; a TypeError or ValueError of it says what is wrong.
        built_in: the names that are taken by what is built in.
    """

    def __init__(self, kind: str, accept: Callable[[str, object], T], built_in: Callable[[], Collection[str]]) -> None:
        self.kind = kind
        self._accept = accept
        self._built_in = built_in
        # A plugin may ask what plugins there are while it is imported.
        self._lock = threading.RLock()
        self._known: tuple[list[Plugin], dict[str, T]] | None = None

    def all(self) -> dict[str, T]:
        """Those that work, by name."""
        return self._load()[1]

    def listed(self) -> list[Plugin]:
        """All that are installed, also those that do not work."""
        return self._load()[0]

    def get(self, name: str) -> T | None:
        """One by its name; none where there is none that works."""
        return self.all().get(name)

    def find(self, name: str) -> Plugin | None:
        """What is known of a plugin; none where no package has one of this name."""
        return next((plugin for plugin in self.listed() if plugin.name == name), None)

    def problem(self, name: str) -> str:
        """Why a plugin cannot be used, in one line; empty where it can, or where there is none of this name."""
        found = [plugin.told for plugin in self.listed() if plugin.name == name and plugin.problem]
        return "; ".join(found)

    @contextlib.contextmanager
    def at_work(self, name: str, *passing: type[Exception]) -> Iterator[None]:
        """Call a plugin's code: what it raises, but for errors of ours and those in ``passing``, names it and its package.

        Raises:
            LlmopsError: ``plugin_failed``.
        """
        try:
            yield
        except Exception as error:
            if isinstance(error, (LlmopsError, *passing)):
                raise
            plugin = self.find(name) or Plugin(self.kind, name, "an unknown package", "")
            told = replace(plugin, problem=_reason(error)).told
            raise LlmopsError("plugin_failed", told, "Report it to the author, or uninstall the package.") from error

    def _load(self) -> tuple[list[Plugin], dict[str, T]]:
        with self._lock:
            if self._known is None:
                self._known = self._found()
            return self._known

    def _found(self) -> tuple[list[Plugin], dict[str, T]]:
        points = _entry_points(PREFIX + self.kind)
        names = [point.name for point in points]
        listed: list[Plugin] = []
        working: dict[str, T] = {}
        for point in points:
            plugin = self._described(point)
            if plugin.problem:
                listed.append(plugin)
                continue
            others = [_package(p)[0] for p in points if p.name == point.name and p is not point]
            try:
                if names.count(point.name) > 1:
                    raise ValueError(f"{' and '.join(others)} also has a plugin of this name; neither is used")
                with contextlib.redirect_stdout(sys.stderr):  # what an import prints is no data of ours
                    working[point.name] = self._accept(point.name, point.load())
            except (Exception, SystemExit) as error:  # noqa: BLE001  foreign code may raise anything, also on import
                plugin = replace(plugin, problem=_reason(error))
            listed.append(plugin)
        return listed, working

    def _described(self, point: EntryPoint) -> Plugin:
        package, version = _package(point)
        plugin = Plugin(self.kind, point.name, package, version)
        if not _NAME.fullmatch(point.name):
            return replace(plugin, problem="a plugin name has letters, digits and . _ - (at most 60)")
        if point.name in self._built_in():
            return replace(plugin, problem="this name is built in; the built-in one is used")
        return plugin


def _entry_points(group: str) -> list[EntryPoint]:
    """The entry points of a group, in an order that does not depend on where packages lie."""
    from importlib.metadata import entry_points

    return sorted(entry_points(group=group), key=lambda point: (point.name, _package(point)))


def _package(point: EntryPoint) -> tuple[str, str]:
    """Name and version of the package an entry point belongs to."""
    return (point.dist.name, point.dist.version) if point.dist is not None else ("an unknown package", "")


def _reason(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST_REASON]


def subclass_of(base: type[T]) -> Callable[[str, object], type[T]]:
    """For kinds whose plugins are classes: takes a subclass of ``base`` and refuses anything else."""

    def accept(_name: str, given: object) -> type[T]:
        if not (isinstance(given, type) and issubclass(given, base)):
            raise TypeError(f"it is not a subclass of {base.__module__}.{base.__qualname__}")
        return given

    return accept


def made_of(base: type[T]) -> Callable[[str, object], T]:
    """For kinds whose plugins are classes without arguments: an object of a subclass of ``base``."""
    accept = subclass_of(base)

    def make(name: str, given: object) -> T:
        return accept(name, given)()

    return make


def only_one(found: list[str], what: str) -> str | None:
    """The one plugin that is meant where it is chosen by something else than its name; none where there is none.

    Raises:
        InputRefusedError: ``ambiguous_plugin``: there are several.
    """
    if len(found) > 1:
        raise InputRefusedError(
            "ambiguous_plugin",
            f"{what}: the plugins {', '.join(sorted(found))} all handle it",
            "Choose one, or uninstall the others; llmops plugin list shows their packages.",
        )
    return found[0] if found else None
