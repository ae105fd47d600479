from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.datasets.formats.base import RowRefusedError
from llmops_tui.datasets.formats.detection import recognise
from llmops_tui.datasets.formats.readers import mapped_kind, reader
from llmops_tui.datasets.formats.registry import FORMATS
from llmops_tui.datasets.formats.writers import formats_for, writer
from tests.datasets.conftest import chat

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
calls = st.lists(
    st.fixed_dictionaries(
        {
            "id": texts,
            "type": st.just("function"),
            "function": st.fixed_dictionaries({"name": texts, "arguments": values}),
        }
    ),
    min_size=1,
    max_size=2,
)
parts = st.lists(
    st.fixed_dictionaries({"type": st.just("text"), "text": texts})
    | st.fixed_dictionaries({"type": st.just("image_url"), "image_url": st.fixed_dictionaries({"url": texts})}),
    min_size=1,
    max_size=3,
)
turns = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": texts | parts})
    | st.fixed_dictionaries({"role": st.just("assistant"), "content": st.none() | texts, "tool_calls": calls})
    | st.fixed_dictionaries({"role": st.just("tool"), "content": texts, "tool_call_id": texts})
    | st.fixed_dictionaries({"role": st.just("assistant"), "content": texts, "weight": st.sampled_from([0, 1])}),
    min_size=1,
    max_size=5,
)
extras = st.dictionaries(
    st.sampled_from(["id", "source", "score", "meta"]), values.filter(lambda v: v is not None), max_size=3
)
said = texts | turns


def canonical(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    shapes: dict[str, dict[str, st.SearchStrategy[Any]]] = {
        "messages": {"messages": turns},
        "prompt-completion": {"prompt": said, "completion": said},
        "preference": {"prompt": turns, "chosen": turns, "rejected": turns},
        "kto": {"prompt": said, "completion": said, "label": st.booleans()},
        "text": {"text": texts},
        "tabular": {},
    }
    return st.tuples(st.fixed_dictionaries(shapes[kind]), extras).map(lambda p: p[0] | p[1])


@pytest.mark.parametrize("kind", ["messages", "prompt-completion", "preference", "kto", "text", "tabular"])
@given(data=st.data())
def test_what_is_written_in_any_format_is_read_as_the_same_row(kind: str, data: st.DataObject) -> None:
    row = data.draw(canonical(kind).map(_plain_texts))
    for form in formats_for(kind):
        try:
            out = writer(form, kind)(_copy(row))
        except RowRefusedError:
            # A format that cannot hold a row says so; it never writes it otherwise.
            assert form in {"sharegpt", "alpaca", "gemini"}
            continue
        assert reader(form if form != "tabular" else kind)(_copy(out)) == row


def _plain_texts(row: dict[str, Any]) -> dict[str, Any]:
    """Texts that begin like JSON are read as such where a table may hold it; they are tested by themselves."""
    return {k: f"said {v}" if isinstance(v, str) and v[:1] in "[{" else v for k, v in row.items()}


def _copy(value: Any) -> Any:
    if isinstance(value, list):
        return [_copy(v) for v in value]
    return {k: _copy(v) for k, v in value.items()} if isinstance(value, dict) else value


def test_sharegpt_roles_calls_and_system_are_those_of_messages() -> None:
    row = {
        "conversations": [
            {"from": "human", "value": "weather?"},
            {"from": "function_call", "value": '{"name": "weather", "arguments": {"city": "Bonn"}}'},
            {"from": "observation", "value": "rain"},
            {"from": "gpt", "value": "It rains.", "mood": "calm"},
        ],
        "system": "Be brief.",
        "tools": '[{"name": "weather"}]',
        "id": 7,
    }
    made = reader("sharegpt")(row)
    assert [m["role"] for m in made["messages"]] == ["system", "user", "assistant", "tool", "assistant"]
    assert made["messages"][2]["tool_calls"][0]["function"] == {"name": "weather", "arguments": {"city": "Bonn"}}
    assert made["messages"][4]["mood"] == "calm"
    assert made["tools"] == [{"name": "weather"}]
    assert made["id"] == 7


def test_alpaca_keeps_its_input_and_history() -> None:
    row = {
        "instruction": "Translate",
        "input": "Haus",
        "output": "house",
        "system": "s",
        "history": [["a", "b"]],
        "k": 1,
    }
    made = reader("alpaca")(dict(row))
    assert [m["content"] for m in made["messages"]] == ["s", "a", "b", "Translate\n\nHaus", "house"]
    assert writer("alpaca", "messages")(made) == row


def test_both_shapes_of_preference_are_one() -> None:
    prompt = [{"role": "user", "content": "q"}]
    good, bad = [{"role": "assistant", "content": "a"}], [{"role": "assistant", "content": "b"}]
    explicit = reader("preference")({"prompt": prompt, "chosen": good, "rejected": bad})
    implicit = reader("preference")({"chosen": prompt + good, "rejected": prompt + bad})
    told_twice = reader("preference")({"prompt": "q", "chosen": prompt + good, "rejected": prompt + bad})
    assert explicit == implicit == told_twice


@pytest.mark.parametrize(
    ("row", "form"),
    [
        (chat("a"), "messages"), ({"conversations": [{"from": "human", "value": "a"}]}, "sharegpt"),
        ({"instruction": "a", "output": "b"}, "alpaca"), ({"prompt": "a", "completion": "b"}, "prompt-completion"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "preference"),
        ({"prompt": "a", "completion": "b", "label": True}, "kto"), ({"text": "a"}, "text"),
        ({"question": "a", "answer": "b"}, "tabular"), ({"x": 1}, "tabular"),
    ],
)  # fmt: skip
def test_formats_are_recognised_with_evidence(row: dict[str, Any], form: str) -> None:
    found = recognise([{**row, "id": n} for n in range(20)])
    assert found.format == form
    assert found.evidence


def test_questions_and_answers_of_a_table_are_a_suggestion_only() -> None:
    found = recognise([{"question": f"q{n}", "answer": "a"} for n in range(20)])
    assert found.format == "tabular"
    assert found.mapping == {"user": "question", "assistant": "answer"}
    assert mapped_kind(found.mapping) == "messages"
    made = reader("tabular", found.mapping)({"question": "q", "answer": "a", "id": 1})
    assert made == {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "id": 1}


@pytest.mark.parametrize("form", [f.name for f in FORMATS if f.name != "tabular"])
def test_a_row_that_is_not_what_the_format_says_is_refused_with_a_reason(form: str) -> None:
    with pytest.raises(RowRefusedError, match=r"\w+ \w+"):
        reader(form)({"messages": 3, "something": "else"})
