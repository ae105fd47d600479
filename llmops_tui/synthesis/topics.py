"""Topics to write rows about: a tree that a model proposes and a person edits, as YAML, before any row is made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

import yaml

from llmops_tui.errors import InputRefusedError
from llmops_tui.foreign_text import JsonObject, parse_yaml

_FIELDS = ("topic", "rows", "topics")
_MOST_LEAVES = 10_000
_LONGEST = 300
_MOST_ROWS = 1_000_000


@dataclass(frozen=True)
class Topic:
    """A topic with those below it; ``rows`` is how often it, or each of those below, is written about, relative to others."""

    name: str
    rows: int = 1
    topics: tuple[Topic, ...] = field(default=())

    def leaves(self, above: tuple[str, ...] = (), weight: int = 1) -> Iterator[tuple[str, int]]:
        """The path of each topic that has none below it, such as ``Cards > Lost card``, with its weight."""
        path, weight = (*above, self.name), weight * self.rows
        if not self.topics:
            yield " > ".join(path), weight
        for below in self.topics:
            yield from below.leaves(path, weight)

    def as_dict(self) -> JsonObject:
        """The topic as its file has it, without what is as by default."""
        body: JsonObject = {"topic": self.name}
        if self.rows != 1:
            body["rows"] = self.rows
        if self.topics:
            body["topics"] = [_short(below) for below in self.topics]
        return body


def _short(topic: Topic) -> str | JsonObject:
    """A topic as a text where it is nothing but its name."""
    return topic.name if topic.rows == 1 and not topic.topics else topic.as_dict()


def leaves_of(topics: tuple[Topic, ...]) -> list[tuple[str, int]]:
    """All leaves of a tree in their order, each with its weight."""
    return [leaf for topic in topics for leaf in topic.leaves()]


def without(topics: tuple[Topic, ...], place: tuple[int, ...]) -> tuple[Topic, ...]:
    """A tree without the topic at a place, and without those below it; ``place`` has a number for each level."""
    first, *rest = place
    if not rest:
        return topics[:first] + topics[first + 1 :]
    changed = replace(topics[first], topics=without(topics[first].topics, tuple(rest)))
    return (*topics[:first], changed, *topics[first + 1 :])


def topics_text(topics: tuple[Topic, ...], subject: str = "") -> str:
    """A tree as YAML to edit."""
    head = f"# Topics of: {subject}\n" if subject else ""
    about = "# One line a topic; 'topics' are below it, and 'rows: 3' writes three times as many of each leaf.\n"
    body = yaml.safe_dump([_short(t) for t in topics], allow_unicode=True, sort_keys=False, width=110)
    return " ".join(head.splitlines()) + "\n" * bool(head) + about + body


def parse_topics(text: str) -> tuple[Topic, ...]:
    """A tree from YAML: a list of names, or of mappings with ``topic``, ``rows`` and ``topics``.

    Raises:
        InputRefusedError: ``bad_topics``: what is wrong, and where.
    """
    try:
        body = parse_yaml(text)
    except yaml.YAMLError as error:
        raise InputRefusedError("bad_topics", f"the topics are not valid YAML: {error}") from error
    topics = read_topics(body)
    if not topics:
        raise InputRefusedError("bad_topics", "there are no topics", "Write one a line, each behind '- '.")
    return topics


def read_topics(body: Any) -> tuple[Topic, ...]:
    """A tree from what its YAML or JSON says.

    Raises:
        InputRefusedError: ``bad_topics``.
    """
    topics = tuple(_topics(body, "topics"))
    if len(leaves_of(topics)) > _MOST_LEAVES:
        raise InputRefusedError("bad_topics", f"there are more than {_MOST_LEAVES:,} topics", "Make fewer.")
    return topics


def _topics(body: Any, where: str) -> Iterator[Topic]:
    if not isinstance(body, list):
        raise InputRefusedError("bad_topics", f"{where} is no list", "Write one topic a line, each behind '- '.")
    seen: set[str] = set()
    for number, entry in enumerate(body):
        place = f"{where}[{number}]"
        topic = _topic(entry, place)
        if topic.name in seen:
            raise InputRefusedError("bad_topics", f"{place}: {topic.name!r} is there already")
        seen.add(topic.name)
        yield topic


def _topic(entry: Any, place: str) -> Topic:
    if isinstance(entry, str | int | float) and not isinstance(entry, bool):
        entry = {"topic": str(entry)}
    if not isinstance(entry, dict):
        raise InputRefusedError("bad_topics", f"{place} is neither a text nor a mapping")
    for name in entry:
        if name not in _FIELDS:
            close = get_close_matches(str(name), _FIELDS, 1)
            raise InputRefusedError(
                "bad_topics",
                f"{place}: {str(name)[:60]!r} is no field of a topic",
                f"Did you mean {close[0]}?" if close else f"Those are {', '.join(_FIELDS)}.",
            )
    name = " ".join(str(entry.get("topic") or "").split())
    if not name or len(name) > _LONGEST:
        raise InputRefusedError("bad_topics", f"{place}: a topic has from 1 to {_LONGEST} characters")
    rows = entry.get("rows", 1)
    if not isinstance(rows, int) or isinstance(rows, bool) or not 1 <= rows <= _MOST_ROWS:
        raise InputRefusedError("bad_topics", f"{place}.rows: {rows!r} is no whole number from 1 to {_MOST_ROWS:,}")
    return Topic(name, rows, tuple(_topics(entry.get("topics") or [], f"{place}.topics")))
