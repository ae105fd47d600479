"""What the screen of chains reads: versions, runs, and what a text says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmops_tui.chains.definition import ChainRefusedError, Problem
from llmops_tui.chains.drawing import DrawnLine, draw_chain
from llmops_tui.chains.reading import parse_chain
from llmops_tui.chains.resolution import Resolved, problems_in
from llmops_tui.chains.runs import ChainRunRecord, all_runs
from llmops_tui.chains.store import ChainStore, ChainVersion
from llmops_tui.chains.tools import ChainTools

if TYPE_CHECKING:
    from screens.services import Services

_MOST_RUNS = 300


@dataclass(frozen=True)
class Checked:
    """A text with what is wrong with it; drawn where that is nothing."""

    text: str
    problems: tuple[Problem, ...] = ()
    drawn: tuple[DrawnLine, ...] = ()
    resolved: Resolved | None = None


def read_versions(services: Services) -> list[ChainVersion]:
    """All versions of all chains: the chain that was changed last first, of each the newest version."""
    store = ChainStore(services.catalog)
    return [version for one in store.summaries() for version in store.versions(one["chain"])]


def read_runs(services: Services, chain: str) -> list[ChainRunRecord]:
    """The runs of a chain, the newest first."""
    return all_runs(services.jobs.store, chain, _MOST_RUNS)


def check_text(tools: ChainTools, text: str, *, utf8: bool) -> Checked:
    """What is wrong with a text; else the chain drawn."""
    try:
        chain = parse_chain(text)
    except ChainRefusedError as error:
        return Checked(text, tuple(error.problems))
    resolved, problems = problems_in(chain, tools)
    if resolved is None:
        return Checked(text, tuple(problems))
    return Checked(text, (), tuple(draw_chain(resolved, utf8=utf8)), resolved)
