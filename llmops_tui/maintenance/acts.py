"""Acts that can be taken back, as the history of a workspace keeps them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypedDict

from llmops_tui.errors import InputRefusedError
from llmops_tui.maintenance.archiving import DEFINITION_TABLES, Archivable, Kept
from llmops_tui.user_entries import KEYS, MACRO, SNIPPET

_YEAR_3000 = 32_503_680_000.0
# Where acts on these are seen, and what is of these kinds.
_SCREENS = {
    "label": "playground", "prompt": "playground", "model": "models", "recipe": "training", "training": "training",
    "suite": "evaluation", "evaluation": "evaluation", "chat": "chat", "chain": "chains",
    "registered": "models", "snippet": "settings", "macro": "settings", "keys": "settings",
}  # fmt: skip
CHAT = "chat"
# A version of a suite, a view of a dataset, a model that was registered, and entries of the user's own files.
SUITE, VIEW, REGISTERED = "suite", "view", "registered"
ENTRIES = (SNIPPET, MACRO, KEYS)
STALE = "undo_stale"
_MOST = 200
# What can get another name, and what can be copied.
RENAMED = {*(kind.value for kind in Kept), Archivable.MODEL.value, CHAT}
_COPIED = {*(kind.value for kind in Kept), Archivable.MODEL.value, *(kind.value for kind in DEFINITION_TABLES)}


class ActRecord(TypedDict):
    """An act as it is kept; its fields are those of :class:`Act`."""

    at: float
    kind: str
    subject: str
    name: str
    before: int | None
    after: int | None
    undone: bool
    forced: bool
    beside: int
    id: str


class HistoryRecord(TypedDict, total=False):
    """The history as it is kept, the oldest act first; ``jobs``: when the last job ended whose work is in it."""

    acts: list[ActRecord]
    jobs: float


@dataclass(frozen=True)
class Act:
    """Something that was done.

    Attributes:
        at: seconds since 1970.
        kind: ``label`` of a prompt, ``tag`` of a dataset, ``rows`` of a dataset, another name of a ``prompt``, ``dataset``,
            ``model`` or ``chat``, ``archive``, ``copy``, ``deleted`` of a suite or a recipe, a version of a ``suite``, a
            ``view`` of a dataset, a model that was ``registered``, or a ``snippet``, a ``macro`` or the ``keys`` of an
            action.
        subject: the prompt, the dataset or the suite; what was put away, taken back or deleted; the copy; the model; the
            snippet, the macro, or the id of the action.
        name: the label or the tag; of rows and suites what was done, such as the note of the version; the name that it got;
            the kind of what was put away or deleted; the kind and the version that was copied, with a blank between them;
            the name of the view; where the model is; of keys those that it has now.
        before: the number of the version before; none where there was no label or tag, where the rows are the first of their
            dataset, and where it got another name; 1 where it was put away, or was there.
        after: the number of the version after; as ``before``.
        undone: whether it is taken back; those are the newest, and redo does them again.
        forced: whether it got its name although something names it as it was called before; doing it again is meant so, too.
        beside: how many more were done at the same moment, such as the other parts of a split: they go back and forth with it.
        id: of a chat, by which it is known whatever it is called; empty of all else.
    """

    at: float
    kind: str
    subject: str
    name: str
    before: int | None
    after: int | None
    undone: bool = False
    forced: bool = False
    beside: int = 0
    id: str = ""

    @property
    def told(self) -> str:
        """The title, with what was done at once with it and what became of it, for a list of acts."""
        return f"{self._whole_title} ({self._became})" if self._became else self._whole_title

    @property
    def holds(self) -> str:
        """What is so after the last step, taken back or done again, as a short sentence without its full stop."""
        number = self.before if self.undone else self.after
        more, are = (f" and {self.beside} more", "are") if self.beside else ("", "is")
        if self.kind in RENAMED:
            return f"the {self.kind} is called {self.called} again"
        if self.kind in {"label", "tag", SUITE} and number:
            held = f"{self.name} is {self.subject}@{number}"
            return f"suite {self.subject} is as in @{number} again" if self.kind == SUITE else f"{held} again"
        if self.kind in {"label", "tag"}:
            return f"{self.name} is on no version of {self.subject}"
        if self.kind == "rows" and self.before is not None:
            return f"{self.subject}{more} {'have' if more else 'has'} the rows of {'before' if more else f'@{number}'} again"
        if self.kind in {"rows", "archive"}:
            thing = self.subject if self.kind == "rows" else f"{self.name} {self.subject}"
            put_away = (number is None) is (self.kind == "rows")
            return f"{thing}{more} {are} {'archived, not deleted' if put_away else 'in the lists again'}"
        was_there = self.before is not None and self.after is not None
        step = "as before" if self.undone else "changed again"
        return f"{self._thing}{more} {are} {step if was_there else 'there again' if number else 'gone'}"

    @property
    def _thing(self) -> str:
        """What it is about, with its kind."""
        if self.kind == "copy":
            return f"the copy {self.subject}"
        if self.kind == "deleted":
            return f"{self.name} {self.subject}"
        if self.kind == VIEW:
            return f"view {self.name} of {self.subject}"
        if self.kind == KEYS:
            return f"the key of {self.subject}"
        return f"{'model' if self.kind == REGISTERED else self.kind} {self.subject}"

    @property
    def _whole_title(self) -> str:
        return f"{self.title}, and {self.beside} more at once" if self.beside else self.title

    @property
    def _became(self) -> str:
        return "archived, not deleted" if self.undone and self.kind == "rows" and self.before is None else ""

    @property
    def title(self) -> str:
        """What was done, in a line."""
        if self.kind in RENAMED:
            return f"{self.kind} {self.subject} is called {self.name}"
        if self.kind == "archive":
            return f"{self.name} {self.subject} is {'archived' if self.after else 'no longer archived'}"
        if self.kind == "copy":
            return f"{self.subject} is a copy of {self.name}"
        if self.kind == "deleted":
            return f"{self.name} {self.subject} is deleted"
        became = "kept" if self.before is None else "changed" if self.after is not None else "removed"
        others = {
            VIEW: f"view {self.name} of {self.subject} is {became}",
            REGISTERED: f"model {self.subject} is registered: {self.name}",
            KEYS: f"keys of {self.subject}: {self.name}",
            **{kind: f"{kind} {self.subject} is {became}" for kind in (SNIPPET, MACRO)},
        }
        return others.get(self.kind) or self._version_title

    @property
    def _version_title(self) -> str:
        way = f"{version_text(self.before)} → {version_text(self.after)}"
        subject = f"suite {self.subject}" if self.kind == SUITE else self.subject
        if self.kind in {"rows", SUITE} and self.before is None:
            return f"{subject}@{self.after} is new: {self.name}".removesuffix(": ")
        if self.kind in {"rows", SUITE}:
            return f"{subject} {way}: {self.name}" if self.name else f"{subject} {way}"
        return f"{self.kind} {self.name} of {self.subject}: {way}"

    def made(self, dataset: str, number: int, at: float) -> bool:
        """Whether it made a version of a dataset, at that time or later; a first one that was archived is made anew."""
        here = self.kind == "rows" and (self.subject, self.after) == (dataset, number) and self.at >= at
        return here and not (self.undone and self.before is None)

    @property
    def called(self) -> str:
        """What something is called now that got another name."""
        return self.subject if self.undone else self.name

    @property
    def screen(self) -> str:
        """The screen that shows it."""
        named = self.kind in {"archive", "deleted", "copy"}
        return _SCREENS.get(self.name.partition(" ")[0] if named else self.kind, "datasets")


def version_text(number: int | None) -> str:
    """A version as it is told."""
    return "none" if number is None else f"@{number}"


def called(act: Act, kind: str, name: str, new_name: str) -> Act:
    """An act on something of a kind that has another name now."""
    kinds = (
        {Kept.PROMPT: {"label"}, Kept.DATASET: {"tag", "rows", VIEW}}.get(Kept(kind), set())
        if kind in set(Kept)
        else {REGISTERED}
        if kind == Archivable.MODEL
        else set()
    )
    about = act.kind in kinds or (act.kind, act.name.partition(" ")[0]) in {
        ("archive", kind),
        ("copy", kind),
    }
    return replace(act, subject=new_name) if about and act.subject == name else act


def newest(acts: list[Act]) -> list[Act]:
    """The acts that are remembered: those of the newest moments, since what was done at once is taken back at once."""
    moments = sorted({act.at for act in acts})[-_MOST:]
    return [act for act in acts if act.at >= moments[0]] if moments else []


def stale(
    act: Act, why: str, hint: str = "Nothing was changed. The next undo takes back the act before it."
) -> InputRefusedError:
    """Why an act can never be taken back, or done again, any more."""
    return InputRefusedError(STALE, f"{act.title}: {why}", hint)


def same(act: Act) -> tuple[float, str, str]:
    """What tells an act from all others, whatever became of it."""
    return act.at, act.subject, act.name


def read_acts(body: HistoryRecord | None) -> list[Act]:
    """The acts of a record, the oldest first; what cannot be read is left out."""
    found: list[Act] = []
    items: object = body.get("acts") if body is not None else None
    for item in items if isinstance(items, list) else []:
        # A workspace may come from elsewhere, and this with it.
        with suppress(TypeError):
            act = Act(**item)
            if _is_act(act):
                found.append(act)
    return found


def _is_act(act: Act) -> bool:
    return (
        isinstance(act.subject, str)
        and isinstance(act.name, str)
        and (
            act.kind in {"label", "tag", "rows", VIEW, REGISTERED, *ENTRIES, *RENAMED}
            or (act.kind == SUITE and isinstance(act.after, int))
            or (act.kind == "archive" and act.name in set(Archivable))
            or (act.kind == "deleted" and act.name in set(DEFINITION_TABLES))
            or (act.kind == "copy" and act.name.partition(" ")[0] in _COPIED)
        )
        and isinstance(act.at, float)
        and 0 <= act.at < _YEAR_3000
        and all(isinstance(number, int | None) for number in (act.before, act.after))
        and isinstance(act.undone, bool)
        and isinstance(act.forced, bool)
        and isinstance(act.beside, int)
        and isinstance(act.id, str)
    )
