"""Alerts: rules over any series, with hysteresis, so that a value that dances around its limit raises one alert."""

from __future__ import annotations

import fnmatch
import math
import shlex
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import yaml

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import parse_yaml, text_of
from llmops_tui.user_files import approved_rules_path
from llmops_tui.workspace.files import sha256_text, write_atomic

_COMMAND_SECONDS = 20
_APPROVED = 200


class Rule(pydantic.BaseModel):
    """One rule. ``series`` may hold ``*``: each series that matches raises an alert of its own."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, pydantic.Field(min_length=1, max_length=80)]
    series: Annotated[str, pydantic.Field(min_length=1, max_length=200)]
    above: float | None = None
    below: float | None = None
    # How long the value must be beyond the limit before the alert is raised, and back before it is cleared.
    for_seconds: Annotated[float, pydantic.Field(ge=0, le=86_400)] = 30.0
    # The value must come back to this before the alert is cleared; without it, to the limit itself.
    clear: float | None = None
    severity: Literal["warning", "error"] = "warning"
    # A program and its arguments, run without a shell when the alert is raised and when it is cleared.
    command: Annotated[str, pydantic.Field(max_length=1000)] = ""

    @pydantic.model_validator(mode="after")
    def _one_limit(self) -> Rule:
        if (self.above is None) == (self.below is None):
            raise ValueError("give either above or below")
        if self.clear is not None and (
            (self.above is not None and self.clear > self.above) or (self.below is not None and self.clear < self.below)
        ):
            raise ValueError("clear must lie on the good side of the limit")
        return self

    def beyond(self, value: float) -> bool:
        """Whether a value is past the limit."""
        return value > self.above if self.above is not None else value < (self.below or 0.0)

    def back(self, value: float) -> bool:
        """Whether a value has come back far enough."""
        if self.above is not None:
            return value <= (self.above if self.clear is None else self.clear)
        assert self.below is not None
        return value >= (self.below if self.clear is None else self.clear)

    def worse(self, one: float, other: float) -> float:
        """The worse of two values."""
        return max(one, other) if self.above is not None else min(one, other)


DEFAULT_RULES = (
    Rule(name="slow answers", series="latency.*.first.p95", above=5000, clear=4000, for_seconds=60),
    Rule(name="failing requests", series="errors.*", above=0.05, clear=0.02, for_seconds=30, severity="error"),
    Rule(name="hot GPU", series="gpu*.temperature", above=87, clear=82, for_seconds=30),
    Rule(name="full GPU memory", series="gpu*.memory", above=97, clear=93, for_seconds=60),
    Rule(name="full memory", series="host.memory", above=95, clear=90, for_seconds=60),
    Rule(name="full disk", series="host.disk", above=95, clear=93, for_seconds=30, severity="error"),
)


@dataclass
class Alert:
    """One alert: a rule that a series broke. ``worst`` is the furthest value it reached; times in seconds since 1970."""

    rule: Rule
    series: str
    raised_at: float
    worst: float
    cleared_at: float | None = None
    id: int | None = None

    @property
    def text(self) -> str:
        """One line for a person."""
        limit = f"above {self.rule.above:g}" if self.rule.above is not None else f"below {self.rule.below:g}"
        return f"{self.rule.name}: {self.series} {limit}, worst {self.worst:.4g}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "rule": self.rule.name, "series": self.series, "severity": self.rule.severity, "raised_at": self.raised_at,
            "cleared_at": self.cleared_at, "worst": self.worst, "text": self.text,
        }  # fmt: skip


@dataclass
class _Watch:
    """How one series stands to one rule: since when it is on the other side, and the alert that is raised."""

    since: float | None = None
    worst: float = math.nan
    alert: Alert | None = None


@dataclass
class AlertEngine:
    """Holds values to rules. Time is what the caller says it is, so that the past can be played through."""

    rules: tuple[Rule, ...]
    _watches: dict[tuple[str, str], _Watch] = field(default_factory=dict)

    @property
    def active(self) -> list[Alert]:
        """The alerts that are raised now, the newest first."""
        found = [w.alert for w in self._watches.values() if w.alert is not None]
        return sorted(found, key=lambda a: -a.raised_at)

    def take_over(self, alerts: Iterable[Alert]) -> None:
        """Alerts that were raised before this engine was made go on."""
        for alert in alerts:
            self._watches[alert.rule.name, alert.series] = _Watch(worst=alert.worst, alert=alert)

    def step(self, now: float, values: dict[str, float | None]) -> list[Alert]:
        """Take in the values of a moment; returns the alerts that were raised or cleared by them.

        A value that is missing changes nothing: what is not known neither raises nor clears.
        """
        changed = []
        for rule in self.rules:
            for series in fnmatch.filter(values, rule.series):
                value = values[series]
                if value is None or not math.isfinite(value):
                    continue
                alert = self._hold(rule, series, value, now)
                if alert is not None:
                    changed.append(alert)
        return changed

    def _hold(self, rule: Rule, series: str, value: float, now: float) -> Alert | None:
        watch = self._watches.setdefault((rule.name, series), _Watch())
        if watch.alert is None:
            if not rule.beyond(value):
                watch.since = None
                return None
            watch.worst = value if watch.since is None else rule.worse(watch.worst, value)
            watch.since = now if watch.since is None else watch.since
            if now - watch.since < rule.for_seconds:
                return None
            watch.alert = Alert(rule, series, watch.since, watch.worst)
            watch.since = None
            return watch.alert
        alert = watch.alert
        alert.worst = rule.worse(alert.worst, value)
        if not rule.back(value):
            watch.since = None
            return None
        watch.since = now if watch.since is None else watch.since
        if now - watch.since < rule.for_seconds:
            return None
        alert.cleared_at = watch.since
        self._watches[rule.name, series] = _Watch()
        return alert


def load_rules(path: Path) -> tuple[Rule, ...]:
    """The workspace's rules; the default ones where it has none of its own.

    Raises:
        InputRefusedError: ``bad_alerts``: the file is damaged; the message has the place.
    """
    if not path.exists():
        return DEFAULT_RULES
    try:
        return parse_rules(text_of(path), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputRefusedError("bad_alerts", f"{path}: {error}", "Mend or delete it.") from error


def parse_rules(text: str, where: str) -> tuple[Rule, ...]:
    """Rules from YAML: a list of mappings.

    Raises:
        InputRefusedError: ``bad_alerts``.
    """
    try:
        raw = parse_yaml(text)
        rules = tuple(Rule.model_validate(item) for item in raw or [])
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}, line {mark.line + 1}" if mark is not None else where
        raise InputRefusedError("bad_alerts", f"{place}: it is no YAML", "Mend it.") from error
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "rule"
        told = "each rule is a mapping" if first["type"] == "model_type" else first["msg"]
        raise InputRefusedError(
            "bad_alerts", f"{where}: {place}: {told}", "llmops monitor alerts --rules shows rules that work."
        ) from error
    except TypeError as error:
        raise InputRefusedError(
            "bad_alerts", f"{where}: a list of rules is expected", "Begin each with '- '."
        ) from error
    names = [rule.name for rule in rules]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputRefusedError("bad_alerts", f"{where}: two rules are named {twice!r}", "Give each its own name.")
    return rules


def dump_rules(rules: Iterable[Rule]) -> str:
    """Rules as the YAML they are read from."""
    return yaml.safe_dump(
        [rule.model_dump(exclude_defaults=True) for rule in rules], sort_keys=False, allow_unicode=True
    )


def save_rules(path: Path, text: str) -> tuple[Rule, ...]:
    """Check rules, then keep them."""
    rules = parse_rules(text, path.name)
    write_atomic(path, text)
    if any(rule.command for rule in rules):
        _approve(text)
    return rules


def may_run(path: Path) -> bool:
    """Whether this user kept these very rules: commands of a workspace that came from elsewhere are not run."""
    try:
        digest = sha256_text(path.read_text(encoding="utf-8"))
        return digest in approved_rules_path().read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        return False


def _approve(text: str) -> None:
    path = approved_rules_path()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    known = path.read_text(encoding="utf-8").split() if path.exists() else []
    digest = sha256_text(text)
    write_atomic(path, "\n".join([*(d for d in known if d != digest), digest][-_APPROVED:]) + "\n")


def run_command(alert: Alert) -> str:
    """Run the rule's command with what happened in its environment; returns what went wrong, if anything."""
    import os

    told = {
        "LLMOPS_ALERT": alert.rule.name, "LLMOPS_SERIES": alert.series, "LLMOPS_VALUE": f"{alert.worst:g}",
        "LLMOPS_STATE": "raised" if alert.cleared_at is None else "cleared", "LLMOPS_TEXT": alert.text,
    }  # fmt: skip
    try:
        done = subprocess.run(
            shlex.split(alert.rule.command), env={**os.environ, **told}, stdin=subprocess.DEVNULL, capture_output=True,
            timeout=_COMMAND_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return f"the command of {alert.rule.name!r} failed: {error}"
    return "" if done.returncode == 0 else f"the command of {alert.rule.name!r} ended with {done.returncode}"
