"""Changes that no one records: settings, alert rules, loaded models; noticed by the recorder.

What is in the catalog — versions, labels, models that were added — has its own time there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmops_tui.errors import LlmopsError
from llmops_tui.monitoring.engines import EngineLoad
from llmops_tui.monitoring.rules import load_rules
from llmops_tui.settings import load_settings
from llmops_tui.user_files import settings_path

_LONGEST = 60


@dataclass(frozen=True)
class Change:
    """One change: when, in seconds since 1970, of what kind (``settings``, ``rules``, ``model``), in words, and by whom."""

    at: float
    kind: str
    text: str
    who: str = ""


class ChangeWatch:
    """Compares what there is with what there was. ``known`` is what was kept of that, by kind."""

    def __init__(self, rules: Path, known: dict[str, str]) -> None:
        self._files: tuple[tuple[str, Path, Callable[[Path], dict[str, Any]]], ...] = (
            ("settings", settings_path(), _settings),
            ("rules", rules, _rules),
        )
        self._known = dict(known)
        self._stamps: dict[str, tuple[float, int] | None] = {}
        self._engines: dict[str, EngineLoad] | None = None

    def inspect(self, now: float, engines: Iterable[EngineLoad]) -> tuple[list[Change], dict[str, str]]:
        """What changed since the last look, and what is to be kept of how things are now."""
        changes = self._of_engines(now, {engine.model: engine for engine in engines})
        kept: dict[str, str] = {}
        for kind, path, read in self._files:
            stamp = _stamp(path)
            if kind in self._stamps and self._stamps[kind] == stamp:
                continue
            self._stamps[kind] = stamp
            try:
                value = read(path)
            except LlmopsError:
                # What cannot be read has changed nothing yet: what was used before goes on.
                continue
            text = json.dumps(value, sort_keys=True)
            before = self._known.get(kind)
            if text != before:
                self._known[kind] = kept[kind] = text
                if before is not None:
                    at = now if stamp is None else min(now, stamp[0])
                    changes += [
                        Change(at, kind, told, _owner(path)) for told in _differences(json.loads(before), value)
                    ]
        return changes, kept

    def _of_engines(self, now: float, engines: dict[str, EngineLoad]) -> list[Change]:
        before, self._engines = self._engines, engines
        if before is None:
            return []
        found = []
        for model, engine in engines.items():
            old = before.get(model)
            if old is None or (old.process != engine.process and engine.state != "dead"):
                found.append(Change(now, "model", f"{model} was loaded"))
            elif engine.state == "dead" and old.state != "dead":
                found.append(Change(now, "model", f"{model}: {engine.why_down}"))
            elif None not in (old.engine, engine.engine) and old.engine != engine.engine:
                found.append(
                    Change(now, "model", f"{model}: its engine was started again: {engine.failure or 'it ended'}")
                )
        return found + [Change(now, "model", f"{model} was unloaded") for model in before if model not in engines]


def _settings(path: Path) -> dict[str, Any]:
    return dict(load_settings(path)[0].model_dump(mode="json"))


def _rules(path: Path) -> dict[str, Any]:
    return {rule.name: rule.model_dump(mode="json", exclude_defaults=True) for rule in load_rules(path)}


def _differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What is different between two mappings, name by name."""
    found = []
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            found.append(f"{name} was removed")
        elif name not in before:
            found.append(f"{name} was added" if isinstance(after[name], dict) else f"{name} {_short(after[name])}")
        elif isinstance(before[name], dict) and isinstance(after[name], dict) and before[name] != after[name]:
            found.append(f"{name}: {', '.join(_differences(before[name], after[name]))}")
        elif before[name] != after[name]:
            found.append(f"{name} {_short(before[name])} → {_short(after[name])}")
    return found


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value or "(empty)"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _stamp(path: Path) -> tuple[float, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime, found.st_size


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except (OSError, KeyError):
        return ""
