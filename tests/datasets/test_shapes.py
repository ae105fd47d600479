"""Shapes in which data comes: documents, lists of turns, JSON in texts, preference and KTO rows of other programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.datasets.formats.base import RowRefusedError
from llmops_tui.datasets.formats.detection import recognise
from llmops_tui.datasets.formats.readers import reader
from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.import_preview import preview
from llmops_tui.datasets.records import load_whole_json
from llmops_tui.datasets.sources.discovery import find_sources, read_batches
from llmops_tui.datasets.sources.json_pieces import elements, members
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.errors import InputRefusedError
from tests.datasets.conftest import Fill, rows_of

TURNS = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda v: st.lists(v) | st.dictionaries(st.text(), v),
)


def read(form: str, row: dict[str, Any]) -> dict[str, Any]:
    return reader(form, {})(row)


@given(st.lists(VALUES), st.dictionaries(st.text(), VALUES))
def test_pieces_of_json_are_its_values(values: list[Any], table: dict[str, Any]) -> None:
    for indent in (None, 2):
        assert [json.loads(piece) for piece in elements(json.dumps(values, indent=indent).encode())] == values
        found = members(json.dumps(table, indent=indent, ensure_ascii=False).encode())
        assert {name: json.loads(piece) for name, piece in found} == table


def imported(store: DatasetStore, path: Path, text: str, form: str = "tabular") -> tuple[list[dict[str, Any]], int]:
    path.write_text(text, encoding="utf-8")
    version = import_now(store, [path], "one", form)
    return rows_of(version), version.rejected


def test_one_record_in_a_document_keeps_all_its_fields(store: DatasetStore, tmp_path: Path) -> None:
    record = {"id": "a", "conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]}
    assert imported(store, tmp_path / "a.json", json.dumps(record)) == ([record], 0)
    assert imported(store, tmp_path / "a.json", json.dumps({"messages": TURNS})) == ([{"messages": TURNS}], 0)


def test_lists_of_a_document_by_split(store: DatasetStore, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"train": [{"a": 1}, {"a": 2}], "test": [{"a": 3}, {"a": 4}], "license": "mit"}))
    rows = rows_of(import_now(store, [path], "one", "tabular"))
    assert rows == [
        {"a": 1, "split": "train"},
        {"a": 2, "split": "train"},
        {"a": 3, "split": "test"},
        {"a": 4, "split": "test"},
    ]
    assert any("not imported: license" in line for line in preview(store, [path]).proposal.evidence)
    path.write_text(json.dumps({"a": [1, 2], "b": ["x", "y"]}))
    assert rows_of(import_now(store, [path], "two", "tabular")) == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]


@pytest.mark.parametrize(
    "bad", ['{"a": 1, "a": 2}', '{"a": NaN}', '{"a": "\\ud800"}', "5", '{"a": ' + "[" * 300 + "]" * 300 + "}"]
)
@pytest.mark.parametrize("frame", ["[%s]", '{"version": 2, "data": [%s]}'])
def test_one_bad_record_of_a_document_is_refused_alone(
    store: DatasetStore, tmp_path: Path, bad: str, frame: str
) -> None:
    text = frame % f'{{"a": 1}}, {bad}, {{"a": 12345678901234567890123}}'
    rows, rejected = imported(store, tmp_path / "a.json", text)
    assert rows == [{"a": 1}, {"a": 12345678901234567890123}]
    assert rejected == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"id": 1, "a": {"k": 1e400}}', "infinity"),
        (r'{"id": 1, "conversations": [{"from": "human", "value": "\ud83d"}]}', "half of a character"),
        ('{"a": [1, 2], "b": [NaN, 2]}', "NaN|JSON"),
        ('{"id": 1, "a": {"k": 1, "k": 2}}', "'k' occurs twice"),
    ],
)
def test_a_document_of_one_record_that_cannot_be_kept_is_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputRefusedError, match=why):
        [batch.rows for source in find_sources(tmp_path / "a.json") for batch in read_batches(source)]
    (tmp_path / "b.json").write_text(r'{"id": 1, "say": "\u0022", "of": {"k": [1]}}')
    (rows,) = [batch.rows for source in find_sources(tmp_path / "b.json") for batch in read_batches(source)]
    assert rows == [{"id": 1, "say": '"', "of": {"k": [1]}}]


def test_lists_of_turns_are_conversations(store: DatasetStore, tmp_path: Path) -> None:
    shared = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]
    for text in (json.dumps([TURNS, TURNS]), f"{json.dumps(TURNS)}\n{json.dumps(TURNS)}\n"):
        for name in ("a.json", "b.jsonl"):
            assert imported(store, tmp_path / name, text, "messages") == ([{"messages": TURNS}] * 2, 0)
    assert imported(store, tmp_path / "c.json", json.dumps([shared]), "sharegpt") == ([{"messages": TURNS}], 0)


@given(st.sampled_from(["prompt-completion", "preference", "kto"]), VALUES | st.just([{"content": "x"}]))
def test_a_text_that_is_json_is_a_text(form: str, value: Any) -> None:
    text = json.dumps(value)
    row = {"prompt": text, "completion": text, "label": True} if form != "preference" else {}
    row = row or {"prompt": "p", "chosen": text, "rejected": text + " "}
    assert read(form, dict(row)) == row


def test_messages_that_a_table_holds_as_json_are_messages(fill: Fill) -> None:
    text = json.dumps(TURNS)
    assert read("prompt-completion", {"prompt": text, "completion": "x"})["prompt"] == TURNS
    calls = '[{"role": "assistant", "content": null, "tool_calls": [{"arguments": {"n": 12345678901234567890123}}]}]'
    (message,) = read("messages", {"messages": calls})["messages"]
    assert message["tool_calls"][0]["arguments"]["n"] == 12345678901234567890123
    with pytest.raises(RowRefusedError, match="key is repeated"):
        read("messages", {"messages": '[{"role": "user", "content": "a", "content": "b"}]'})
    assert recognise([{"messages": TURNS, "label": False}] * 5).format == "kto"
    assert recognise([{"messages": TURNS, "label": 3}] * 5).format == "messages"
    version = fill([{"messages": TURNS, "label": False}], "kto", "kto")
    assert rows_of(version) == [{"prompt": TURNS[:1], "completion": TURNS[1:], "label": False}]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (r'{"a": "\ud83d"}', "half of a character"),
        ('{"a": 1e400}', "beyond the largest"),
        ('{"a": NaN}', "not JSON"),
        (r'{"k": "\u0022", "k": 1}', "a key is repeated"),
    ],
)
def test_json_in_a_column_that_no_row_can_hold_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        load_whole_json(text)
    assert load_whole_json(r'{"k": "\u0022", "n": 123456789012345678901}') == {"k": '"', "n": 123456789012345678901}


def test_a_conversation_with_half_a_character_is_refused_alone(store: DatasetStore, tmp_path: Path) -> None:
    turns = r'[{"role":"user","content":"a%s"},{"role":"assistant","content":"b"}]'
    lines = [json.dumps({"messages": turns % sign}) for sign in ("", r"\ud83d", r"\ud83d\ude00")]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    version = import_now(store, [tmp_path / "a.jsonl"], "a", "messages")
    assert (version.rows, version.rejected) == (2, 1)


def test_preferences_of_other_programs() -> None:
    question = {"role": "user", "content": "q"}
    system = {"role": "system", "content": "s"}
    good, bad = {"role": "assistant", "content": "good"}, {"role": "assistant", "content": "bad"}
    orca = {"system": "s", "question": "q", "chosen": "good", "rejected": "bad"}
    assert recognise([orca] * 3).format == "preference"
    assert read("preference", dict(orca)) == {"prompt": [system, question], "chosen": "good", "rejected": "bad"}
    assert read("preference", {**orca, "system": ""})["prompt"] == "q"
    openai = {
        "input": {"messages": [question], "tools": [], "parallel_tool_calls": True},
        "preferred_output": [good],
        "non_preferred_output": [bad],
    }
    assert recognise([openai] * 3).format == "preference"
    assert read("preference", json.loads(json.dumps(openai))) == {
        "prompt": [question], "chosen": [good], "rejected": [bad], "tools": [], "parallel_tool_calls": True,
    }  # fmt: skip
    ultra = {"chosen_messages": [question, good], "rejected_messages": [question, bad]}
    assert recognise([ultra] * 3).format == "preference"
    assert read("preference", dict(ultra)) == {"prompt": [question], "chosen": [good], "rejected": [bad]}


def test_a_system_text_beside_answers_is_in_their_prompt() -> None:
    system, question = {"role": "system", "content": "s"}, {"role": "user", "content": "q"}
    good, bad = {"role": "assistant", "content": "good"}, {"role": "assistant", "content": "bad"}
    for row in (
        {"conversations": [{"from": "human", "value": "q"}], "chosen": {"from": "gpt", "value": "good"}, "rejected": {"from": "gpt", "value": "bad"}},
        {"messages": [question], "chosen": good, "rejected": bad},
        {"messages": [question, good], "rejected_response": "bad"},
        {"prompt": [question], "chosen": [good], "rejected": [bad]},
        {"prompt": "q", "chosen": [question, good], "rejected": [question, bad]},
        {"chosen": [question, good], "rejected": [question, bad]},
    ):  # fmt: skip
        made = read("preference", json.loads(json.dumps({**row, "system": "s"})))
        assert made == {"prompt": [system, question], "chosen": [good], "rejected": [bad]}
    own = {"prompt": [system, question], "chosen": [good], "rejected": [bad], "system": "t"}
    assert read("preference", json.loads(json.dumps(own))) == own


def test_two_answers_of_an_instruction_are_a_preference() -> None:
    row = {"instruction": "q", "input": "", "output": ["good", "bad"]}
    assert (recognise([row] * 3).format, recognise([row] * 3).others) == ("preference", {})
    question = {"role": "user", "content": "q"}
    assert read("preference", dict(row)) == {"prompt": [question], "chosen": "good", "rejected": "bad"}
    with pytest.raises(RowRefusedError, match="two answers"):
        read("alpaca", dict(row))
    assert recognise([{**row, "output": ["one", "two", "three"]}] * 3).format == "alpaca"


@pytest.mark.parametrize("labels", [("true", "false"), ("True", "FALSE"), ("1", "0"), (1, 0), (True, False)])
def test_a_table_of_texts_says_which_answers_are_good(labels: tuple[Any, Any]) -> None:
    rows = [{"prompt": "q", "completion": "a", "label": label} for label in labels]
    assert recognise(rows).format == "kto"
    assert [read("kto", dict(row))["label"] for row in rows] == [True, False]
    # A digit beside a conversation may be its class.
    talks = [
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "label": labels[0]}
    ]
    assert recognise(talks).format == ("messages" if labels[0] == "1" or type(labels[0]) is int else "kto")


def test_tables_of_other_programs_in_a_document(store: DatasetStore, tmp_path: Path) -> None:
    wanted = [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    for number, document in enumerate((
        {"columns": ["a", "b"], "index": [0, 1], "data": [[1, "x"], [2, "y"]]},
        {"columns": ["a", "b"], "data": [[1, "x"], [2, "y"]]},
        {"a": {"0": 1, "1": 2}, "b": {"0": "x", "1": "y"}},
        {"a": [1, 2], "b": ["x", "y"]},
    )):  # fmt: skip
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(document))
        assert rows_of(import_now(store, [path], f"t{number}", "tabular")) == wanted
    path.write_text(json.dumps({"a": {"0": 1, "2": 2}, "b": {"0": "x", "2": "y"}}))
    assert import_now(store, [path], "other", "tabular").rows == 1


def test_a_conversation_beside_answers_is_their_prompt() -> None:
    question = {"role": "user", "content": "q"}
    good, bad = {"role": "assistant", "content": "good"}, {"role": "assistant", "content": "bad"}
    pair = {"prompt": [question], "chosen": [good], "rejected": [bad]}
    apart = {"messages": [question], "chosen": good, "rejected": bad}
    swift = {"messages": [question, good], "rejected_response": "bad"}
    others = {"messages": [question, good], "rejected_messages": [question, bad]}
    for row in (apart, swift, others):
        assert (recognise([row] * 3).format, recognise([row] * 3).others) == ("preference", {})
        assert read("preference", json.loads(json.dumps(row))) == pair
    # It is what was said already, where the answers tell what was asked themselves.
    whole = {"messages": [question, good], "chosen": [question, good], "rejected": [question, bad]}
    assert read("preference", json.loads(json.dumps(whole))) == {**pair, "messages": [question, good]}
    with pytest.raises(RowRefusedError, match="messages does not end with an answer"):
        read("preference", {"messages": [question], "rejected_response": "bad"})


def test_geminis_contents_there_and_back(fill: Fill) -> None:
    row = {
        "systemInstruction": {"parts": [{"text": "be brief"}]},
        "contents": [
            {"role": "user", "parts": [{"text": "h"}, {"text": "i"}]},
            {"role": "model", "parts": [{"text": "hello"}]},
        ],
        "id": 7,
    }
    assert recognise([row] * 3).format == "gemini"
    made = read("gemini", json.loads(json.dumps(row)))
    assert made == {"messages": [{"role": "system", "content": "be brief"}, *TURNS], "id": 7}
    image = {"contents": [{"role": "user", "parts": [{"inlineData": {"data": "…"}}]}]}
    with pytest.raises(RowRefusedError, match="contents\\[0\\] has a part that is not a text"):
        read("gemini", image)
    assert orjson.dumps(row)  # reading did not change the row that was given
