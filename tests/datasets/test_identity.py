"""What makes two rows the same: rows that differ are never taken for one."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.datasets.checks.runner import run_checks
from llmops_tui.datasets.identity import row_key
from llmops_tui.datasets.near_duplicates import Sketches
from llmops_tui.datasets.operations.base import apply
from llmops_tui.datasets.operations.splits import split_into
from llmops_tui.datasets.overlap import find_overlap
from llmops_tui.datasets.progress import no_report
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError
from tests.datasets.conftest import Fill, chat, rows_of
from tests.datasets.row_strategies import KINDS, rows_of_kind
from tests.representatives import representatives

QUESTION = "What do you see in this picture of the old town by the river, and what is the weather like there?"


def call(arguments: str) -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": arguments}}],
    }


# Pairs of rows that say the same and are not: by kind.
DIFFERENT: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("messages", chat(QUESTION, images=["a.png"]), chat(QUESTION, images=["b.png"])),
    ("messages", chat(QUESTION, tools=[{"name": "f"}]), chat(QUESTION, tools=[{"name": "g"}])),
    ("messages", {"messages": [*chat(QUESTION, None)["messages"], call('{"n": 1}')]}, {"messages": [*chat(QUESTION, None)["messages"], call('{"n": 2}')]}),
    ("messages", {"messages": [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": "x", "reasoning_content": "so"}]}, {"messages": [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": "x", "reasoning_content": "else"}]}),
    ("messages", {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": QUESTION}]}, {"messages": [{"role": "system", "content": "x"}, {"role": "user", "content": QUESTION}]}),
    ("kto", {"prompt": QUESTION, "completion": "so it is", "label": True}, {"prompt": QUESTION, "completion": "so it is", "label": False}),
    ("preference", {"prompt": QUESTION, "chosen": "yes", "rejected": "no, by no means at all"}, {"prompt": QUESTION, "chosen": "yes", "rejected": "perhaps, who knows such things"}),
]  # fmt: skip


@pytest.mark.parametrize("number", representatives(range(len(DIFFERENT)), 0, 3))
def test_rows_that_differ_in_anything_are_no_duplicates(store: DatasetStore, fill: Fill, number: int) -> None:
    kind, left, right = DIFFERENT[number]
    version = fill([left, right, left], "data", kind)
    found = run_checks(version, only=("duplicate", "near-duplicate"))
    assert found["duplicate"].rows == [2]
    assert found["near-duplicate"].rows == []
    for parameters in ({"method": "exact"}, {"method": "near"}, {"same": "row"}):
        made = apply(store, "dedup", [version.ref], dict(parameters))
        assert rows_of(made) == rows_of(version)[:2]


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(inner for key, item in items for inner in _paths(item, (*path, key)))]


def _changed(value: Any, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    if not path:
        return change(value)
    made = dict(value) if isinstance(value, dict) else list(value)
    made[path[0]] = _changed(made[path[0]], path[1:], change)
    return made


def _turned(value: Any) -> Any:
    """The same with the keys of all objects in another order."""
    if isinstance(value, dict):
        return {key: _turned(value[key]) for key in reversed(value)}
    return [_turned(item) for item in value] if isinstance(value, list) else value


@given(st.sampled_from(KINDS).flatmap(lambda kind: st.tuples(st.just(kind), rows_of_kind(kind, most=1))), st.data())
def test_any_change_of_a_row_makes_another_and_the_order_of_keys_does_not(given_: Any, data: st.DataObject) -> None:
    """Images, tools, arguments, thinking, roles, labels, answers, types and further columns, at any depth."""
    kind, (row, *_) = given_
    path = data.draw(st.sampled_from(_paths(row)[1:]))
    value = reduce(lambda at, key: at[key], path, row)
    ways: list[Callable[[Any], Any]] = [lambda one: [one]]
    if isinstance(value, str):
        ways += [lambda text: text + "x", lambda text: {"x": text}]
    elif isinstance(value, bool):
        ways += [lambda flag: not flag, str]
    elif isinstance(value, int):
        ways += [lambda number: number + 1, str]
    changed = _changed(row, path, data.draw(st.sampled_from(ways)))
    assert row_key(kind, changed) != row_key(kind, row)
    assert row_key(kind, _turned(row)) == row_key(kind, row)


def test_images_in_parts_of_a_message_are_compared(store: DatasetStore, fill: Fill) -> None:
    def shown(url: str) -> dict[str, Any]:
        parts = [{"type": "text", "text": QUESTION}, {"type": "image_url", "image_url": {"url": url}}]
        return {"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": "fine"}]}

    version = fill([shown(f"{n}.png") for n in range(10)], "pictures", "messages")
    found = run_checks(version, only=("duplicate", "near-duplicate", "conflict"))
    assert not any(finding.rows for finding in found.values())
    # One question about ten images are ten questions: they need not all go to one side.
    train, held_out = split_into(store, version.ref, {"train": 0.5, "test": 0.5}, no_report)
    assert (train.rows, held_out.rows) == (5, 5)
    assert find_overlap(train, held_out).exact == []
    assert len(find_overlap(train, version).exact) == 5


def test_the_choice_of_what_is_compared_is_told(store: DatasetStore, fill: Fill) -> None:
    rows = [chat("Polish it", id=1), chat("Polish it", id=2), chat("polish  it", id=3)]
    version = fill(rows, "data", "messages")
    finding = run_checks(version, only=("duplicate",))["duplicate"]
    assert finding.rows == [1]
    assert finding.note.endswith("not compared: id")
    left = {same: apply(store, "dedup", [version.ref], {"same": same}).rows for same in ("row", "content", "text")}
    assert left == {"row": 3, "content": 2, "text": 1}
    assert "without case" in apply(store, "dedup", [version.ref], {"same": "text"}).note
    with pytest.raises(InputRefusedError, match="'meaning' is not a choice"):
        apply(store, "dedup", [version.ref], {"same": "meaning"})
    # The order of a row's columns and of an object's keys is none of its content.
    assert row_key("tabular", {"a": 1, "b": {"c": 1, "d": 2}}) == row_key("tabular", {"b": {"d": 2, "c": 1}, "a": 1})
    assert row_key("tabular", {"a": {"b": 1}}) != row_key("tabular", {"a": '{"b":1}'})


def test_a_kto_answer_that_is_good_and_bad_is_no_conflict(fill: Fill) -> None:
    rows = [
        {"prompt": "Is it open?", "completion": text, "label": label} for text, label in (("Yes", True), ("No", False))
    ]
    assert "conflict" not in run_checks(fill(rows, "data", "kto"))


NOT_NEAR = [
    ("What is 5 + 0?", "What is 5 − 0?", "What is −5 + 0?", "What is 5 * 0?"),
    ("is a<b here", "is a>b here", "is a==b here"),
    ("Write it in C++ please", "Write it in C# please", "Write it in C please"),
    ("I am 😀 today", "I am 😡 today"),
]
NEAR = [
    ("北京是中华人民共和国的首都，是全国的政治中心、文化中心，是世界著名古都和现代化国际城市。", "北京是中华人民共和国的首都，是全国的政治中心、文化中心，是世界著名古都和现代化国际城市"),
    ("東京は日本の首都であり、世界最大の都市圏を形成している国際都市です。", "東京は日本の首都であり、世界最大の都市圏を形成している国際都市だ。"),
    ("กรุงเทพมหานครเป็นเมืองหลวงและนครที่มีประชากรมากที่สุดของประเทศไทย", "กรุงเทพมหานครเป็นเมืองหลวงและนครที่มีประชากรมากที่สุดของประเทศไทยค่ะ"),
    ("The quick brown fox, well-known to all, jumps over the lazy dog in the park.", "the quick brown fox well-known to all jumps over the lazy dog in the park"),
]  # fmt: skip


def pairs(texts: tuple[str, ...]) -> int:
    sketches = Sketches()
    sketches.add(texts)
    return len(list(sketches.pairs(0.8)))


def test_signs_make_other_texts_and_every_script_has_near_duplicates() -> None:
    assert [pairs(texts) for texts in NOT_NEAR] == [0] * len(NOT_NEAR)
    assert [pairs(texts) for texts in NEAR] == [1] * len(NEAR)


# Sentences of each kind, which are long enough that a word more leaves them near.
MADE: dict[str, tuple[str, str]] = {
    "english": ("The order {n} of the kettle with the blue lid was sent to the old town by the river on Monday and has not come yet, so please tell us what became of it and when it will be here", " today"),
    "german": ("Die Bestellung {n} des Wasserkochers mit dem blauen Deckel ging am Montag in die alte Stadt am Fluss und ist noch nicht da, bitte sagen Sie uns, wo sie geblieben ist und wann sie kommt", " denn"),
    "russian": ("Заказ {n} чайника с синей крышкой отправили в понедельник в старый город у реки, но он ещё не пришёл, поэтому скажите нам, пожалуйста, что с ним стало и когда он будет здесь", " теперь"),
    "chinese": ("第{n}号订单的蓝色水壶在星期一已经寄往河边的老城，但是到现在还没有收到，请告诉我们它怎么了，什么时候可以送到这里。", "吗"),
    "japanese": ("注文{n}番の青い蓋のやかんは月曜日に川のほとりの古い町へ送られましたが、まだ届いていませんので、どうなったのかお知らせください。", "ね"),
    "thai": ("คำสั่งซื้อที่ {n} กาต้มน้ำฝาสีน้ำเงินถูกส่งไปยังเมืองเก่าริมแม่น้ำเมื่อวันจันทร์และยังไม่มาถึงกรุณาแจ้งให้เราทราบด้วยว่าเกิดอะไรขึ้น", "ค่ะ"),
    "code": ("def total_{n}(rows, rate): return sum(row.price * rate + row.fee - row.discount for row in rows if row.price > 0 and row.kind == 'lamp') / max(1, len(rows)) # of all lamps", " now"),
}  # fmt: skip
# What is told apart by one sign: of sums, comparisons, names of languages, money and emoji.
SIGNED: dict[str, tuple[str, str, str]] = {
    "sums": ("What is {n} {s} 5?", "+", "−"), "products": ("Compute {n} {s} 7", "*", "/"), "comparisons": ("Is {n} {s} x here?", "<", ">"),
    "languages": ("Write task {n} in C{s} please", "++", "#"), "money": ("It costs {n} {s}", "€", "$"), "emoji": ("Day {n} was {s}", "😀", "😡"),
    "numbers": ("Order {n} has {s} lamps", "12", "13"), "negation": ("Step {n} is{s} done", "", " not"),
}  # fmt: skip


def test_near_duplicates_of_a_made_set_are_found_by_kind_and_what_a_sign_tells_apart_is_not() -> None:
    numbers = [(37 * n + 101) % 997 for n in range(12)]
    for kind, (text, more) in MADE.items():
        found = sum(pairs((text.format(n=n), text.format(n=n) + more)) for n in numbers)
        assert found >= 0.95 * len(numbers), (kind, found)
    for kind, (text, one, other) in SIGNED.items():
        found = sum(pairs((text.format(n=n, s=one), text.format(n=n, s=other))) for n in numbers)
        assert found == 0, (kind, found)


def test_a_split_never_makes_an_empty_part_without_a_word(store: DatasetStore, fill: Fill) -> None:
    few = fill([chat(f"question {n}") for n in range(3)], "few", "messages")
    with pytest.raises(InputRefusedError, match=r"the part 'test' would have no rows: 3 rows are 3 groups"):
        split_into(store, few.ref, {"train": 0.9, "test": 0.1}, no_report)
    linked = fill([chat(f"question {n}", who="one") for n in range(50)], "linked", "messages")
    with pytest.raises(InputRefusedError, match=r"50 rows are 1 group .* the same .who. or ask the same"):
        split_into(store, linked.ref, {"train": 0.9, "test": 0.1}, no_report, group="who")
    assert sorted(store.logs()) == ["few", "linked"]


@pytest.mark.parametrize("odd", [10**30, "\ud83d"])
def test_the_order_of_keys_is_nothing_beside_what_only_the_slow_parser_knows(odd: Any) -> None:
    row = {"a": odd, "b": {"x": 1, "y": 2}}
    assert (
        row_key("tabular", row)
        == row_key("tabular", _turned(row))
        != row_key("tabular", {**row, "b": {"x": 2, "y": 1}})
    )
