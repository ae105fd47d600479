"""What a run learns of rows, token by token: each answer whole with its end, or a problem with the row's number."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from llmops_tui.datasets.tokens import ModelText, TokenView
from llmops_tui.models.registry import Model
from llmops_tui.models.safetensors import read_folder
from llmops_tui.sample_files import sample_folder
from llmops_tui.training.example import IGNORED
from llmops_tui.training.examples import Examples, build
from llmops_tui.training.preflight import check_data
from llmops_tui.training.recipe import Recipe
from llmops_tui.training.runs import RunStore
from llmops_tui.workspace.layout import Workspace
from tests.chat_format import styles
from tests.chat_format.conversations import random_turns
from tests.chat_format.world import TOOLS, answered, user
from tests.training.test_methods import dataset, recipe

# ChatML that refuses what some templates do, and writes tools and whether thinking is on.
STRICT = (
    "{% if tools %}<|im_start|>system\n{{ tools | length }} tools<|im_end|>\n{% endif %}"
    "{% for m in messages %}{% if loop.index0 % 2 and m.role == 'user' %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% if enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)


@pytest.fixture(scope="module")
def base() -> Model:
    folder = read_folder(sample_folder() / "models" / "support-base")
    size = sum(file.stat().st_size for file in folder.files)
    return Model("base", "safetensors", folder.path, "0" * 64, size, folder.summary(), 0.0, None)


@pytest.fixture(scope="module")
def text(base: Model) -> Iterator[ModelText]:
    with ModelText(base) as found:
        yield found


@pytest.fixture
def strict(base: Model) -> Iterator[ModelText]:
    with ModelText(base, STRICT) as found:
        yield found


def learned(text: ModelText, view: TokenView) -> list[str]:
    """The learned tokens that stand together, decoded."""
    found: list[list[int]] = []
    last = -2
    for n, token in enumerate(view.tokens):
        if token.state == "trained":
            if last != n - 1:
                found.append([])
            found[-1].append(token.id)
            last = n
    return [text.tokenizer.text_of(ids) for ids in found]


@pytest.mark.parametrize("style", styles.STYLES)
def test_the_learned_tokens_of_a_turn_are_its_answer_and_its_end(text: ModelText, style: str) -> None:
    text.template = styles.STYLES[style]
    chance, decoded = random.Random(style), 0
    for _ in range(6):
        turns = random_turns(chance, text.format)
        row = {"messages": turns, "tools": TOOLS if text.format.calls else None}
        made, view = text.row_text("messages", row), text.view("messages", row)
        answers = [turn for turn in turns if turn["role"] == "assistant"]
        assert len(made.learned) == len(answers)
        for (begin, end), turn in zip(made.learned, answers, strict=True):
            assert str(turn["content"].strip() or "get_weather") in made.text[begin:end]
        if not any("inside a token" in problem for problem in view.problems):
            # Answers that stand together are decoded together.
            assert "".join(learned(text, view)) == "".join(made.text[begin:end] for begin, end in made.learned)
            decoded += 1
    assert decoded


def test_turns_and_rows_that_are_switched_off_are_not_learned(text: ModelText) -> None:
    text.template = STRICT
    turns = [user("a"), answered("One.") | {"train": False}, user("b"), answered("Two.")]
    assert learned(text, text.view("messages", {"messages": turns})) == ["Two.<|im_end|>\n"]
    both = [user("a"), answered("One."), user("b"), answered("Two.")]
    assert learned(text, text.view("messages", {"messages": both, "mask_history": True})) == ["Two.<|im_end|>\n"]
    none = text.view("messages", {"messages": both, "loss_weight": 0})
    assert (none.trained, none.problems) == (0, ("no tokens in the loss: the row switches its answers off",))
    made = text.row_text("messages", {"messages": turns}).everything()
    assert "".join(made.text[a:b] for a, b in made.learned) == made.text.replace("One.<|im_end|>\n", "")


def test_what_a_row_says_beside_its_messages_is_rendered_or_told(text: ModelText) -> None:
    text.template = STRICT
    row: dict[str, Any] = {"messages": [user("a"), answered("One.")], "chat_template_kwargs": {"enable_thinking": True}}
    assert "<think>" in text.row_text("messages", row).text
    assert text.row_text("messages", row).problems == ()
    row["chat_template_kwargs"] = {"enable_thinkin": True}
    assert text.row_text("messages", row).problems == (
        "chat_template_kwargs.enable_thinkin: the chat template has no such variable",
    )
    assert "2 tools" in text.row_text("messages", {"messages": row["messages"], "tools": TOOLS}).text
    text.template = STRICT.replace("{% if tools %}", "{% if tools and false %}")
    told = text.row_text("messages", {"messages": row["messages"], "tools": TOOLS}).problems
    assert told == ("the template does not write the tools",)
    assert text.row_text("prompt-completion", {"prompt": "a", "completion": "b", "system": "Be kind."}).problems == (
        "system is not used: the prompt is a plain text, and no chat template is applied",
    )


def test_marks_in_the_words_of_people_are_told(text: ModelText) -> None:
    text.template = STRICT
    turns = [user("what is <|im_end|>?"), answered("A mark.")]
    view = text.view("messages", {"messages": turns})
    assert view.problems == ("turn 1 spells <|im_end|>, which is read as the mark itself",)
    assert learned(text, view) == ["A mark.<|im_end|>\n"]


def test_an_end_of_the_template_alone_is_an_end(text: ModelText) -> None:
    """The tokenizer's own is another: nothing false is said of stopping, and both end an answer that is generated."""
    text.template = STRICT.replace("<|im_end|>", "<|endoftext|>")
    view = text.view("messages", {"messages": [user("a"), answered("One.")]})
    assert view.problems == ()
    ends = {text.tokenizer.text_of([end]) for end in text.end_ids}
    assert ends == {"<|im_end|>", "<|endoftext|>"}
    text.template = STRICT.replace("{{ m.content }}<|im_end|>", "{{ m.content }}")
    (told,) = text.view("messages", {"messages": [user("a"), answered("One.")]}).problems
    assert "would not learn to stop" in told


def made_of(sample: Workspace, rows: list[dict[str, Any]], text: ModelText, **changes: Any) -> tuple[Recipe, Examples]:
    store = RunStore(sample)
    dataset(store, "messages", rows, "rows")
    wanted = recipe("sft", "rows", batch={"max_length": 128}, **changes)
    return wanted, build(wanted, store.datasets, text)


def test_each_row_that_is_not_learned_whole_is_named(sample: Workspace, strict: ModelText) -> None:
    rows: list[dict[str, Any]] = [
        {"messages": [user("a"), answered("Good.")]},
        {"messages": [user("a"), user("b"), answered("Refused.")]},
        {"messages": [user("a"), answered(""), user("b"), answered("Good.")]},
        {"messages": [user("a"), answered("Long. " * 200)]},
    ]
    wanted, made = made_of(sample, rows, strict)
    report = made.report
    said = {where: problem for problem, (_, wheres) in report.problems.items() for where in wheres}
    # Rows are numbered from 0, as everywhere.
    assert set(said) == {"rows@1 row 1", "rows@1 row 2"}
    assert "roles must alternate" in said["rows@1 row 1"]
    assert said["rows@1 row 2"].startswith("the tokens of turn 2 cannot be located: it is empty")
    assert report.cut_rows == ["rows@1 row 3"]
    (cut,) = [finding for finding in check_data(wanted, made) if finding.code == "cut"]
    assert "rows@1 row 3" in cut.hint
    assert (len(made.train), report.without_target) == (3, 1)


def test_pairs_are_rendered_and_asked_with_what_stands_beside_them(sample: Workspace, strict: ModelText) -> None:
    store = RunStore(sample)
    pair = {"prompt": [user("a")], "chosen": [answered("Good.")], "rejected": [answered("Bad.")], "system": "Be kind."}
    options = {"chat_template_kwargs": {"enable_thinking": True}}
    dataset(store, "preference", [pair] * 3, "pairs")
    # A system's turn before the first question is no question too many.
    strict.template = STRICT.replace("m.role == 'user' %}{{ raise", "m.role == 'nobody' %}{{ raise")
    wanted = recipe("dpo", "pairs", data=[{"dataset": "pairs", **options}])
    first = build(wanted, store.datasets, strict).train[0]
    prompt = strict.tokenizer.text_of(first["prompt_ids"])
    assert prompt.startswith("<|im_start|>system\nBe kind.<|im_end|>")
    assert strict.tokenizer.text_of(first["chosen_ids"]) == "<think>\n\n</think>\n\nGood.<|im_end|>\n"
    asked = strict.question("prompt-completion", pair | {"completion": pair["chosen"]} | options)
    assert asked is not None
    assert (asked[0].startswith(prompt), asked[1]) == (True, "Good.")


@pytest.mark.slow
def test_a_recipe_masks_history_and_sets_variables_by_dataset(sample: Workspace, strict: ModelText) -> None:
    rows = [{"messages": [user("a"), answered("One."), user("b"), answered("Two.")]}]
    thinking = [{"dataset": "rows", "chat_template_kwargs": {"enable_thinking": True}}]
    _, made = made_of(sample, rows, strict, mask_history=True, data=thinking)
    (example,) = made.train
    told = strict.tokenizer.text_of([label for label in example["labels"] if label != IGNORED])
    assert told == "<think>\n\n</think>\n\nTwo.<|im_end|>\n"
    row = {"messages": rows[0]["messages"], "chat_template_kwargs": {"enable_thinking": False}}
    _, made = made_of(sample, [row], strict, data=thinking)
    assert "<think>" not in strict.tokenizer.text_of(made.train[0]["input_ids"])
