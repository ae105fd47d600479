"""All checks: those that are built in, and those from plugins."""

from __future__ import annotations

from llmops_tui.datasets.checks.answers import BrokenCalls, Loops, MissingMedia, OpenThinking, SamePairs
from llmops_tui.datasets.checks.base import EVERYTHING, Check
from llmops_tui.datasets.checks.conversations import (
    BrokenTurns,
    Phrases,
    Refusals,
    RoleOrder,
    SystemPrompts,
    Unanswered,
)
from llmops_tui.datasets.checks.meaning import Outliers, SemanticDuplicates
from llmops_tui.datasets.checks.sets import ConflictingLabels, ExactDuplicates, NearDuplicates, SkewedLabels, TooLong
from llmops_tui.datasets.checks.texts import (
    ControlCharacters,
    Injections,
    Mojibake,
    Offensive,
    PersonalData,
    TemplateMarks,
)
from llmops_tui.errors import InputRefusedError
from llmops_tui.plugins import Plugins, subclass_of

# A new one is a class in a module beside this one, and a name here.
CHECKS: tuple[type[Check], ...] = (
    BrokenTurns, RoleOrder, Unanswered, SystemPrompts, ExactDuplicates, NearDuplicates, ConflictingLabels, SkewedLabels,
    TooLong, SamePairs, BrokenCalls, OpenThinking, Loops, MissingMedia, Refusals, Phrases, TemplateMarks, Mojibake,
    ControlCharacters, Offensive, Injections, PersonalData, SemanticDuplicates, Outliers,
)  # fmt: skip
_BUILT_IN = {check.id: check for check in CHECKS}


def _accept(name: str, given: object) -> type[Check]:
    check = subclass_of(Check)(name, given)
    if check.id != name:
        raise ValueError(f"its id is {check.id!r}, which has to be the name of its entry point")
    if not (check.title and check.why):
        raise ValueError("it has no title, or no reason why it matters")
    if unknown := set(check.kinds) - EVERYTHING:
        raise ValueError(
            f"{', '.join(sorted(unknown))} is not a kind of dataset; the kinds are {', '.join(sorted(EVERYTHING))}"
        )
    return check


PLUGINS: Plugins[type[Check]] = Plugins("checks", _accept, lambda: _BUILT_IN)


def all_checks() -> list[type[Check]]:
    """All checks that work, those of packages last."""
    return [*CHECKS, *PLUGINS.all().values()]


def find_check(name: str) -> type[Check]:
    """A check by its id.

    Raises:
        InputRefusedError: ``unknown_check``, with what is wrong with it where a package brings it.
    """
    found = _BUILT_IN.get(name) or PLUGINS.get(name)
    if found is None:
        problem = PLUGINS.problem(name) or f"there is no check {name!r}"
        raise InputRefusedError("unknown_check", problem, ", ".join(c.id for c in all_checks()))
    return found


def is_plugin(check: type[Check]) -> bool:
    """Whether a check's code is that of an installed package."""
    return check.id not in _BUILT_IN
