"""Alerts: rules on values, with hysteresis, so that a value near its limit raises one alert.

What is not known is a state of its own: an alert whose series says nothing any more, or whose rule is gone, ends and
says so, and a rule may ask to be told of the silence itself.
"""

from __future__ import annotations

import fnmatch
import math
import os
import shlex
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from llmops_tui.monitoring.records import AlertRecord
from llmops_tui.monitoring.rules import Rule
from llmops_tui.monitoring.series import counts_events, why_silent
from llmops_tui.monitoring.series_words import named, state_told, value_told

_COMMAND_SECONDS = 20
# A series is silent when it had no value for so long, or for its rule's own time where that is longer.
SILENT_SECONDS = 30.0


@dataclass
class Alert:
    """One alert: a rule that a series broke. Times in seconds since 1970.

    Attributes:
        worst: the furthest value it reached; none where it was raised for want of any.
        note: what the series stood for when it was last told: which job failed, how the engine ended.
        ended: why it is over although the value did not come back; empty where it did.
        lasted: seconds from its beginning to its end by a clock that nobody sets; none while it is raised, or where
            it outlived its recorder.
        silent_since: since when its series has no value, while it is raised.
    """

    rule: Rule
    series: str
    raised_at: float
    worst: float | None
    cleared_at: float | None = None
    id: int | None = None
    note: str = ""
    ended: str = ""
    lasted: float | None = None
    silent_since: float | None = None

    @property
    def state(self) -> str:
        """``raised``; ``no data`` while it is raised and nothing is known; ``cleared``; ``ended`` for another reason."""
        if self.cleared_at is not None:
            return "ended" if self.ended else "cleared"
        return "no data" if self.worst is None or self.silent_since is not None else "raised"

    @property
    def seconds(self) -> float:
        """How long it lasted, or has lasted by now."""
        if self.lasted is not None:
            return self.lasted
        return max(0.0, (time.time() if self.cleared_at is None else self.cleared_at) - self.raised_at)

    @property
    def text(self) -> str:
        """One line for a person."""
        if self.worst is None:
            told = f"{named(self.series)}: no data"
        elif (self.rule.below is not None) != self.series.endswith(".up") or not (told := state_told(self.series)):
            side, limit = ("above", self.rule.above) if self.rule.above is not None else ("below", self.rule.below)
            worst = value_told(self.series, self.worst)
            told = f"{named(self.series)} {side} {value_told(self.series, limit or 0.0)}, worst {worst}"
        # What it is about comes first: on a small screen the end is not seen.
        return f"{self.rule.name}: {self.note} ({told})" if self.note else f"{self.rule.name}: {told}"

    @property
    def outcome(self) -> str:
        """What became of it, in words; empty while it is raised and its series speaks."""
        return {"no data": "no data now", "ended": f"ended: {self.ended}"}.get(self.state, "")

    def as_dict(self) -> AlertRecord:
        """For JSON."""
        return {
            "alert": self.id,
            "rule": self.rule.name,
            "series": self.series,
            "severity": self.rule.severity,
            "state": self.state,
            "raised_at": self.raised_at,
            "cleared_at": self.cleared_at,
            "ended": self.ended,
            "lasted_s": self.seconds,
            "silent_since": self.silent_since,
            "worst": self.worst,
            "note": self.note,
            "text": self.text,
        }


@dataclass(frozen=True)
class _Now:
    """A moment: ``ticks`` by a clock that only goes on, by which waits are counted, and ``at`` by that of the wall."""

    ticks: float
    at: float

    def wall(self, ticks: float) -> float:
        """An earlier moment, as the clock on the wall would have it now."""
        return self.at - (self.ticks - ticks)


@dataclass
class _Watch:
    """How one series stands to one rule: since when it is on the other side, or silent, and the alert that is raised.

    ``last`` is the value it had last; of an alert that was taken over its worst.
    """

    since: float | None = None
    silent: float | None = None
    worst: float = math.nan
    last: float = math.nan
    alert: Alert | None = None
    raised: float | None = None


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

    def take_over(self, alerts: Iterable[Alert]) -> list[Alert]:
        """Alerts that were raised before this engine was made go on; returns those that were there twice, ended."""
        twice = []
        for alert in alerts:
            watch = self._watches.setdefault((alert.rule.name, alert.series), _Watch())
            if watch.alert is not None:
                alert.cleared_at, alert.ended = alert.raised_at, "it was raised twice"
                twice.append(alert)
                continue
            watch.alert = alert
            watch.last = math.nan if alert.worst is None else alert.worst
        return twice

    def step(
        self,
        now: float,
        values: Mapping[str, float | None],
        *,
        at: float | None = None,
        notes: Mapping[str, str] | None = None,
    ) -> list[Alert]:
        """Take in the values of a moment; returns the alerts that were raised, or are over, by it.

        One that is raised is returned again where its series counts what happens and one more happened.

        ``now`` counts waits and must only go on; ``at`` is what the clock on the wall shows, the same where it is not
        given. ``notes`` says of series what they stand for. A value that is missing for a moment changes nothing.
        """
        moment = _Now(now, now if at is None else at)
        changed = self._follow_rules(moment)
        for rule in self.rules:
            known = {
                s: v for s in fnmatch.filter(values, rule.series) if (v := values[s]) is not None and math.isfinite(v)
            }
            silent = {series for name, series in self._watches if name == rule.name} - known.keys()
            if rule.no_data == "raise" and not known and not silent:
                # Nothing has ever spoken: that is told under the name that was asked for.
                self._watches[rule.name, rule.series] = _Watch()
                silent = {rule.series}
            told = [
                self._hold(rule, series, value, moment, (notes or {}).get(series, ""))
                for series, value in known.items()
            ]
            told += [self._miss(rule, series, moment, spoken=bool(known)) for series in silent]
            changed += [alert for alert in told if alert is not None]
        return changed

    def _follow_rules(self, now: _Now) -> list[Alert]:
        """Hold what is watched to the rules as they are now; an alert without its rule is over."""
        rules, ended = {rule.name: rule for rule in self.rules}, []
        for (name, series), watch in list(self._watches.items()):
            rule = rules.get(name)
            if rule is None or not (series == rule.series or fnmatch.fnmatch(series, rule.series)):
                del self._watches[name, series]
                if watch.alert is not None:
                    why = "its rule was deleted" if rule is None else "its rule does not include it any more"
                    ended.append(_over(watch, now, now.ticks, why))
            elif watch.alert is not None:
                # What is told and run is what the rules say today, not what they said when it was raised.
                watch.alert.rule = rule
        return ended

    def _hold(self, rule: Rule, series: str, value: float, now: _Now, note: str) -> Alert | None:
        watch = self._watches.setdefault((rule.name, series), _Watch())
        watch.silent = None
        grew = value > watch.last
        watch.last = value
        if watch.alert is None:
            if not rule.beyond(value):
                watch.since = None
                return None
            watch.worst = value if watch.since is None else rule.worse(watch.worst, value)
            watch.since = now.ticks if watch.since is None else watch.since
            if now.ticks - watch.since < rule.for_seconds:
                return None
            return _raise(watch, rule, series, now, watch.worst, note)
        alert = watch.alert
        alert.silent_since = None
        if alert.worst is not None:
            alert.worst = rule.worse(alert.worst, value)
        elif rule.beyond(value):
            alert.worst = value
        if not rule.back(value):
            watch.since = None
            if not (grew and rule.beyond(value) and counts_events(series)):
                return None
            alert.note = note or alert.note
            return alert
        watch.since = now.ticks if watch.since is None else watch.since
        if now.ticks - watch.since < rule.for_seconds:
            return None
        self._watches[rule.name, series] = _Watch()
        return _over(watch, now, watch.since)

    def _miss(self, rule: Rule, series: str, now: _Now, *, spoken: bool) -> Alert | None:
        """A watched series has no value now; ``spoken``: another one that the rule names has."""
        watch = self._watches[rule.name, series]
        stands_for_all = series == rule.series and "*" in series
        if stands_for_all and spoken:
            del self._watches[rule.name, series]
            return None if watch.alert is None else _over(watch, now, now.ticks)
        watch.silent = now.ticks if watch.silent is None else watch.silent
        if now.ticks - watch.silent < max(rule.for_seconds, SILENT_SECONDS):
            return None
        watch.since = None
        if watch.alert is not None:
            watch.alert.silent_since = now.wall(watch.silent)
            if rule.no_data != "end":
                return None
            del self._watches[rule.name, series]
            return _over(watch, now, watch.silent, why_silent(series))
        if rule.no_data == "raise":
            watch.since = watch.silent
            return _raise(watch, rule, series, now, None, "")
        del self._watches[rule.name, series]
        return None


def _raise(watch: _Watch, rule: Rule, series: str, now: _Now, worst: float | None, note: str) -> Alert:
    assert watch.since is not None
    watch.alert = Alert(rule, series, now.wall(watch.since), worst, note=note)
    watch.raised, watch.since = watch.since, None
    return watch.alert


def _over(watch: _Watch, now: _Now, since: float, why: str = "") -> Alert:
    """The alert of a watch is over since a moment in ticks."""
    alert = watch.alert
    assert alert is not None
    alert.cleared_at, alert.ended, alert.silent_since = now.wall(since), why, None
    alert.lasted = None if watch.raised is None else max(0.0, since - watch.raised)
    return alert


def run_command(alert: Alert) -> str:
    """Run the rule's command with what happened in its environment; returns what went wrong, if anything."""
    told = {
        "LLMOPS_ALERT": alert.rule.name,
        "LLMOPS_SERIES": alert.series,
        "LLMOPS_TEXT": alert.text,
        "LLMOPS_VALUE": "" if alert.worst is None else f"{alert.worst:g}",
        "LLMOPS_STATE": alert.state,
        "LLMOPS_WHY": alert.ended or alert.note,
    }
    try:
        done = subprocess.run(
            shlex.split(alert.rule.command),
            env={**os.environ, **told},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return f"the command of {alert.rule.name!r} failed: {error}"
    return "" if done.returncode == 0 else f"the command of {alert.rule.name!r} ended with {done.returncode}"
