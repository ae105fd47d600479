"""Rows as LLaMA-Factory, axolotl and TRL have them: each is known, and nothing in it is lost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.datasets.formats.detection import recognise
from llmops_tui.datasets.formats.readers import kind_of, reader
from llmops_tui.datasets.formats.writers import formats_for, writer
from llmops_tui.datasets.store import DatasetStore
from tests.datasets.conftest import Fill
from tests.datasets.test_nothing_lost import check_files

CALL = '{"name": "look", "arguments": {"n": 12345678901234567890}}'
TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
OTHER = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "b"}]
# By the program that has it: what kind it is, and a row.
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "LLaMA-Factory alpaca": ("messages", {"instruction": "q", "input": "i", "output": "a", "system": "s", "history": [["x", "y"]], "id": 1}),
    "LLaMA-Factory sharegpt": ("messages", {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "system": "s"}),
    "LLaMA-Factory tools": ("messages", {"conversations": [{"from": "human", "value": "q"}, {"from": "function_call", "value": CALL}, {"from": "observation", "value": "[1]"}, {"from": "gpt", "value": "a"}], "tools": '[{"name": "look"}]'}),
    "LLaMA-Factory images": ("messages", {"messages": [{"role": "user", "content": "<image>q"}, {"role": "assistant", "content": "a"}], "images": ["a.png"], "videos": ["b.mp4"]}),
    "LLaMA-Factory preference": ("preference", {"conversations": [{"from": "human", "value": "q"}], "chosen": {"from": "gpt", "value": "a"}, "rejected": {"from": "gpt", "value": "b"}}),
    "LLaMA-Factory messages preference": ("preference", {"messages": TURNS[:1], "chosen": TURNS[1], "rejected": OTHER[1]}),
    "ms-swift preference": ("preference", {"messages": TURNS, "rejected_response": "b"}),
    "LLaMA-Factory alpaca preference": ("preference", {"instruction": "q", "input": "i", "chosen": "a", "rejected": "b"}),
    "LLaMA-Factory KTO": ("kto", {"messages": TURNS, "label": True}),
    "LLaMA-Factory alpaca KTO": ("kto", {"instruction": "q", "input": "", "output": "a", "kto_tag": False}),
    "axolotl completion": ("text", {"text": "once upon a time"}),
    "axolotl chat": ("messages", {"messages": [{"role": "user", "content": "q", "training": False}, {"role": "assistant", "content": "a", "weight": 1}]}),
    "axolotl preference": ("preference", {"system": "s", "question": "q", "chosen": "a", "rejected": "b"}),
    "axolotl messages": ("preference", {"chosen_messages": TURNS, "rejected_messages": OTHER, "source": "x"}),
    "TRL language modelling": ("messages", {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": {"name": "look", "arguments": {"n": 1}}}]}, {"role": "tool", "name": "look", "content": "{}"}], "tools": [{"type": "function", "function": {"name": "look"}}]}),
    "TRL thinking": ("messages", {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "thinking": "t"}], "chat_template_kwargs": {"enable_thinking": True}}),
    "TRL images": ("messages", {"messages": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "q"}]}, {"role": "assistant", "content": "a"}], "images": ["a.png"]}),
    "TRL prompt and completion": ("prompt-completion", {"prompt": TURNS[:1], "completion": TURNS[1:]}),
    "TRL texts": ("prompt-completion", {"prompt": "q", "completion": '{"name": "Ann"}'}),
    "TRL preference": ("preference", {"prompt": "q", "chosen": "[]", "rejected": "b", "score_chosen": 1.5}),
    "TRL preference without prompt": ("preference", {"chosen": TURNS, "rejected": OTHER}),
    "TRL KTO": ("kto", {"prompt": "q", "completion": "a", "label": True}),
    "OpenAI preference": ("preference", {"input": {"messages": TURNS[:1], "tools": []}, "preferred_output": TURNS[1:], "non_preferred_output": OTHER[1:]}),
    "Gemini": ("messages", {"systemInstruction": {"parts": [{"text": "s"}]}, "contents": [{"role": "user", "parts": [{"text": "q"}]}, {"role": "model", "parts": [{"text": "a"}]}]}),
    "Gemini calls": ("messages", {"contents": [{"role": "user", "parts": [{"text": "q"}]}, {"role": "model", "parts": [{"text": "so"}, {"functionCall": {"name": "look", "args": {"n": 7}}}]}, {"role": "user", "parts": [{"functionResponse": {"name": "look", "response": {"rain": True}}}]}, {"role": "model", "parts": [{"text": "a"}]}], "tools": [{"functionDeclarations": [{"name": "look"}]}]}),
}  # fmt: skip


def leaves(value: Any) -> Iterator[str]:
    """All that a row says, without its names; what a text holds as JSON of a call or of tools too."""
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, str) and value in {CALL, '[{"name": "look"}]', '{"rain":true}'}:
        yield from leaves(json.loads(value))
    elif value is not None and value != "":
        # A question and what it is about are one text then.
        yield from (repr(part) for part in (value.split("\n\n") if isinstance(value, str) else [value]))


# Names of roles, which differ, and what says only which of them speaks.
ROLES = Counter(
    {
        repr(name): 99
        for name in (
            "human",
            "gpt",
            "observation",
            "function_call",
            "user",
            "assistant",
            "model",
            "tool",
            "system",
            "function",
        )
    }
)


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_of_a_row_is_lost(shape: str) -> None:
    kind, row = SHAPES[shape]
    proposal = recognise([deepcopy(row) for _ in range(4)])
    assert (kind_of(proposal.format), proposal.share) == (kind, 1.0)
    made = reader(proposal.format)(deepcopy(row))
    lost = Counter(leaves(row)) - Counter(leaves(made)) - ROLES
    # The prompt that both answers begin with is there once.
    shared = Counter(leaves(TURNS[:1])) if kind == "preference" else Counter()
    assert not lost - shared
    for form in formats_for(kind):
        try:
            again = reader(form)(writer(form, kind)(deepcopy(made)))
        except ValueError:
            assert form in {"alpaca", "sharegpt", "gemini"}
        else:
            assert form == "tabular" or again == made


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted({kind for kind, _ in SHAPES.values()} - {"text"}))
def test_rows_of_every_program_come_back_from_every_file(
    store: DatasetStore, fill: Fill, tmp_path: Path, kind: str
) -> None:
    rows = [row for k, row in SHAPES.values() if k == kind]
    made = [reader(recognise([deepcopy(row)] * 3).format)(deepcopy(row)) for row in rows]
    check_files(store, fill(made, "shapes", kind), tmp_path)
