"""What rows say of their own training: followed, or named."""

from __future__ import annotations

from typing import Any

import pytest

from llmops_tui.datasets.training_fields import UNSEEN, conversation_of, spelled_marks

USER, ANSWER = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
TWO = [USER, ANSWER, USER, ANSWER]


def read(messages: list[dict[str, Any]], **row: Any) -> tuple[list[int], str]:
    """The turns that are learned from, by their place in the row, and what is told."""
    found = conversation_of("messages", {"messages": messages, **row})
    return sorted(turn - found.added for turn in found.learned), "; ".join(found.problems)


@pytest.mark.parametrize("field", ["weight", "loss_weight", "train", "training", "loss"])
@pytest.mark.parametrize("off", [0, 0.0, False, "false", "0"])
def test_a_turn_that_is_switched_off_is_not_learned(field: str, off: Any) -> None:
    assert read([USER, ANSWER | {field: off}, USER, ANSWER | {field: 1}]) == ([3], "")


@pytest.mark.parametrize("value", [0.5, 2, "often", [0]])
def test_a_weight_between_is_named_with_its_turn(value: Any) -> None:
    learned, told = read([USER, ANSWER | {"weight": value}])
    assert learned == [1]
    assert told == f"turn 2: weight is {str(value)!r}, neither 0 nor 1, and is not followed"


def test_turns_of_others_are_never_learned_and_that_is_told() -> None:
    assert read([USER | {"train": True}, ANSWER]) == (
        [1],
        "turn 1: train is not followed: only turns of the assistant are learned",
    )
    assert read([USER | {"train": False}, ANSWER]) == ([1], "")
    assert "train_detail" in read([USER, ANSWER | {"train_detail": [{"begin_offset": 0}]}])[1]


def test_a_row_masks_its_history_or_all_of_it() -> None:
    assert read(TWO) == ([1, 3], "")
    assert read(TWO, mask_history=True) == ([3], "")
    assert read(TWO, mask_history=False) == ([1, 3], "")
    assert read(TWO, train=False) == ([], "")
    assert read(TWO, loss_weight=0) == ([], "")
    assert read(TWO, weight=0) == ([], "")
    assert read(TWO, loss_weight=0.3) == (
        [1, 3],
        "loss_weight of the row is '0.3', neither 0 nor 1, and is not followed",
    )
    assert "mask_history" in read(TWO, mask_history="often")[1]
    # The last answer counts, whether or not it is learned.
    assert read([USER, ANSWER, USER, ANSWER | {"weight": 0}], mask_history=True) == ([], "")


def test_a_system_beside_the_messages_is_their_first_turn() -> None:
    found = conversation_of("messages", {"messages": TWO, "system": "Be kind."})
    assert found.messages[0] == {"role": "system", "content": "Be kind."}
    assert (sorted(found.learned), found.number(0), found.number(2)) == ([2, 4], "the column system", "turn 2")
    own = [{"role": "system", "content": "Be short."}, *TWO]
    found = conversation_of("messages", {"messages": own, "system": "Be kind."})
    assert found.messages == own
    assert found.problems == ("the column system is left out: the conversation has a system turn of its own",)
    assert conversation_of("messages", {"messages": own, "system": "Be short."}).problems == ()
    assert "not a text" in read(TWO, system=["Be kind."])[1]


def test_tools_and_variables_of_a_row_are_taken_or_named() -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    found = conversation_of(
        "messages", {"messages": TWO, "tools": tools, "chat_template_kwargs": {"enable_thinking": False}}
    )
    assert (found.tools, found.variables, found.problems) == (tools, {"enable_thinking": False}, ())
    assert read(TWO, tools="f")[1] == "tools is a text, not a list of objects, and is left out"
    assert read(TWO, functions=[{"name": "f"}])[1] == "functions is not read: give the functions as tools"
    assert "function_call" in read([USER, ANSWER | {"function_call": {"name": "f"}}])[1]
    assert "not an object" in read(TWO, chat_template_kwargs="x")[1]
    refused = conversation_of("messages", {"messages": TWO, "chat_template_kwargs": {"messages": [], "x": 1}})
    assert (refused.variables, refused.problems) == (
        {"x": 1},
        ("chat_template_kwargs.messages is left out: it is set from the row",),
    )


def test_what_a_turn_says_of_rendering_is_named_with_its_turn() -> None:
    told = read([USER | {"enable_thinking": False}, ANSWER | {"chat_template_kwargs": {"a": 1}}])[1]
    assert told == (
        "turn 1: enable_thinking is not followed: it holds for a whole row, beside its messages; "
        "turn 2: chat_template_kwargs is not followed: it holds for a whole row, beside its messages"
    )
    assert read([USER | {"mask_history": True}, ANSWER], mask_history=True) == ([1], "")


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ({"type": "image_url", "image_url": {"url": "a.png"}}, "image"), ({"type": "image"}, "image"),
        ({"type": "input_audio", "input_audio": {}}, "audio"), ({"type": "video"}, "video"), ({"type": "input_file"}, "file"),
    ],
)  # fmt: skip
def test_what_is_no_text_is_named(part: dict[str, Any], kind: str) -> None:
    text = {"type": "text", "text": "a"}
    assert read([{"role": "user", "content": [part, text, part]}, ANSWER])[1] == f"its {kind} {UNSEEN}"
    assert read(TWO, images=["a.png"])[1] == f"its image {UNSEEN}"
    # A schema of a tool is none, nor are parts of a text and of thinking, nor an empty column.
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    thought = {"type": "thinking", "thinking": "hm"}
    assert read([{"role": "user", "content": [text, thought]}, ANSWER], images=[], tools=tools)[1] == ""


def test_of_a_prompt_with_turns_only_the_completion_is_learned() -> None:
    found = conversation_of(
        "prompt-completion", {"prompt": [USER, ANSWER, USER], "completion": [ANSWER], "system": "S"}
    )
    assert (sorted(found.answers), sorted(found.learned)) == ([4], [4])


def test_marks_that_texts_spell_are_found_with_their_turn() -> None:
    turns = [USER, ANSWER | {"content": "see <|end|>"}, USER | {"content": [{"type": "text", "text": "<|begin|>"}]}]
    assert spelled_marks(turns, frozenset({"<|end|>", "<|begin|>"})) == [(1, "<|end|>"), (2, "<|begin|>")]
