"""Traffic of a window beside the time before, with vectors of words."""

from __future__ import annotations

import random

import numpy as np
import pytest

from llmops_tui.drift.checking import of_vectors
from llmops_tui.drift.new_topics import grown_topics
from llmops_tui.drift.samples import Said, Sample, thinned
from llmops_tui.drift.traffic import FEWEST_UNITS, compare
from tests.word_embedder import SPEC, vector

OLD = ("where is my card", "my card was charged twice", "when does the transfer arrive", "change the pin of my card")
NEW = ("the kettle leaks water at its bottom", "kettle bottom is wet after boiling water")


def sample(count: int, seed: int, topics: tuple[str, ...] = OLD, share: float = 1.0) -> Sample:
    dice = random.Random(seed)
    rows = []
    for number in range(count):
        words = dice.choice(topics if dice.random() < share else OLD).split()
        words += dice.sample(["please", "today", "again", "now", "thanks", "hello", "quickly"], 2)
        dice.shuffle(words)
        rows.append(Said(f"r{seed}-{number}", float(number), f"u{seed}-{number}", " ".join(words)))
    return Sample(tuple(rows))


def vectors(*samples: Sample) -> np.ndarray:
    return np.stack([vector(text) for one in samples for text in one.texts]).astype(np.float64)


def test_a_new_topic_is_told_named_and_its_rows_are_those() -> None:
    before, now = sample(160, 1), sample(120, 2, NEW, 0.25)
    found = of_vectors(before, now, vectors(before, now), SPEC)
    assert found.traffic.changed is True
    meaning = found.traffic.looks[0]
    assert meaning.name == "meaning"
    assert meaning.low <= meaning.effect <= meaning.high
    planted = {number for number, text in enumerate(now.texts) if "kettle" in text}
    assert planted <= set(found.traffic.new)
    assert len(found.traffic.new) <= len(planted) + 8
    assert {"kettle", "water"} & set(found.topics[0].words)
    topic = found.topics[0]
    assert topic.before < 0.01
    assert topic.now > 0.08
    assert topic.p <= 0.01
    assert planted <= set(found.new)


def test_traffic_as_before_is_no_change_and_says_what_it_could_have_seen() -> None:
    before, now = sample(160, 13), sample(120, 14)
    found = compare(before, now, (vectors(before), vectors(now)), permutations=199)
    assert found.changed is False
    assert grown_topics((before, now), (vectors(before), vectors(now))) == []
    assert found.smallest is not None
    assert 0.02 <= found.smallest <= 0.5


def test_a_few_conversations_say_nothing_however_many_turns_they_have() -> None:
    one = sample(200, 5)
    few = Sample(tuple(Said(row.request, row.at, f"u{number % 10}", row.text) for number, row in enumerate(one.rows)))
    found = compare(one, few, (vectors(one), vectors(few)))
    assert found.changed is None
    assert found.units == (200, 10)
    assert found.units[1] < FEWEST_UNITS
    assert found.p == 1.0


def test_longer_questions_are_seen_as_longer() -> None:
    before, now = sample(120, 6), sample(120, 7)
    longer = Sample(tuple(Said(r.request, r.at, r.unit, f"{r.text} {r.text} {r.text}") for r in now.rows))
    length = compare(before, longer, (vectors(before), vectors(longer)), permutations=199).looks[1]
    assert length.p <= 0.01
    assert length.low <= 3.0 <= length.high + 0.3
    assert length.effect == pytest.approx(3.0, rel=0.1)


def test_the_same_rows_stand_for_all_whenever_it_is_asked() -> None:
    one = sample(100, 8)
    assert thinned(one, 30) == thinned(one, 30)
    assert len(thinned(one, 30).rows) == 30
    assert thinned(one, 200) is one
    with pytest.raises(ValueError, match="vectors of"):
        compare(one, one, (vectors(one), vectors(one)[:3]))
