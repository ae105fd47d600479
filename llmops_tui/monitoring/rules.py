"""Alert rules: schema, reading and saving, and whose commands may run."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import pydantic
import yaml

from llmops_tui.decisions.change_alarm import USUAL_THRESHOLD
from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import parse_yaml, text_of
from llmops_tui.user_files import approved_rules_path
from llmops_tui.workspace.approved_digests import approve, is_approved
from llmops_tui.workspace.files import reason, sha256_text
from llmops_tui.workspace.written import write_noted


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
    # What it means that the series has no value for a while: the alert ends, one is raised, or all stays as it is.
    no_data: Literal["end", "raise", "keep"] = "end"
    # A program and its arguments, run without a shell when the alert is raised and when it is over.
    command: Annotated[str, pydantic.Field(max_length=1000)] = ""

    @pydantic.model_validator(mode="after")
    def _one_limit(self) -> Rule:
        if (self.above is None) == (self.below is None):
            raise ValueError("give either above or below")
        if self.clear is not None and (
            (self.above is not None and self.clear > self.above) or (self.below is not None and self.clear < self.below)
        ):
            raise ValueError("clear must be on the normal side of the limit")
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
    Rule(name="no space left", series="host.disk_free", below=1e9, clear=2e9, for_seconds=0, severity="error"),
    Rule(name="engine down", series="engine.*.up", below=1, for_seconds=5, severity="error"),
    Rule(name="failed job", series="job.*.failed", above=0, for_seconds=0, severity="error"),
    Rule(name="stopped canary", series="experiment.*.rolled_back", above=0, for_seconds=0, severity="error"),
    Rule(name="changed traffic", series="drift.*.evidence", above=USUAL_THRESHOLD - 1, for_seconds=0),
    Rule(name="lost GPU", series="gpu*.lost", above=0, for_seconds=5, severity="error"),
    Rule(name="GPU fault", series="gpu*.xid", above=0, for_seconds=0, severity="error"),
    Rule(name="damaged GPU memory", series="gpu*.ecc_uncorrected", above=0, for_seconds=0, severity="error"),
    Rule(name="throttled GPU", series="gpu*.throttled", above=0, for_seconds=60),
)


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
        raise InputRefusedError("bad_alerts", f"{path} cannot be read: {reason(error)}", "Fix or delete it.") from error


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
        raise InputRefusedError("bad_alerts", f"{place}: it is not valid YAML", "Fix it.") from error
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


def kept_rule(text: str, series: str) -> Rule:
    """The rule of an alert as it was kept; what another version wrote into it beside is left out.

    One that cannot be read is a name and nothing more: its alert is shown, and ends when it is checked against today's rules.
    """
    try:
        raw = json.loads(text)
        return Rule.model_validate({name: value for name, value in raw.items() if name in Rule.model_fields})
    except (ValueError, AttributeError):
        return Rule(name="(a rule that cannot be read)", series=series[:200] or "-", above=0)


def dump_rules(rules: Iterable[Rule]) -> str:
    """Rules as the YAML they are read from."""
    return yaml.safe_dump(
        [rule.model_dump(exclude_defaults=True) for rule in rules], sort_keys=False, allow_unicode=True
    )


def save_rules(path: Path, text: str) -> tuple[Rule, ...]:
    """Check rules, then keep them."""
    rules = parse_rules(text, path.name)
    write_noted(path, text)
    if any(rule.command for rule in rules):
        _approve(text)
    return rules


def unseen(rules: Iterable[Rule], recorded: Iterable[str]) -> list[str]:
    """Of rules whose series was never recorded, a sentence each: it may come, or be a slip. None where nothing was yet."""
    names = list(recorded)
    return [
        f"{rule.name}: no series {rule.series} was recorded yet"
        for rule in rules
        if names and not fnmatch.filter(names, rule.series)
    ]


def may_run(path: Path) -> bool:
    """Whether this user kept these very rules: commands of a workspace that came from elsewhere are not run."""
    try:
        digest = sha256_text(text_of(path))
    except (OSError, UnicodeDecodeError, InputRefusedError):
        return False
    return is_approved(approved_rules_path(), digest)


def approve_rules(path: Path) -> None:
    """Let the commands of these rules run, as they are now.

    Raises:
        OSError: the rules cannot be read, or the user's own files cannot be written.
    """
    _approve(text_of(path))


def _approve(text: str) -> None:
    approve(approved_rules_path(), sha256_text(text))
