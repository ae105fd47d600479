"""All kinds of plugins, for commands that list them; each kind is used in its own package."""

from __future__ import annotations

from typing import Any

from llmops_tui.plugins import Plugin, Plugins

# What each kind adds, as it is told.
KINDS = {
    "metrics": "metrics of evaluations",
    "formats": "formats of dataset rows",
    "checks": "checks of datasets",
    "judges": "judges between two answers",
    "exporters": "types of files that datasets are written to",
    "reports": "forms of reports of evaluation runs",
    "steps": "steps of chains",
    "themes": "colours of the app",
}


def installed() -> list[Plugin]:
    """Every plugin of every kind, each imported to see whether it works."""
    from llmops_tui import themes
    from llmops_tui.chains import calls as steps
    from llmops_tui.datasets import file_types
    from llmops_tui.datasets.checks import registry as checks
    from llmops_tui.datasets.formats import registry as formats
    from llmops_tui.evaluation import judges, reports
    from llmops_tui.evaluation.metrics import custom as metrics

    rooms = (metrics, formats, checks, judges, file_types, reports, steps, themes)
    kinds: list[Plugins[Any]] = [room.PLUGINS for room in rooms]
    assert [kind.kind for kind in kinds] == list(KINDS)
    return [plugin for kind in kinds for plugin in kind.listed()]
