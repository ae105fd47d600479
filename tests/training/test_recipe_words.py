"""A recipe in words: every field is in a group, no value is left to be guessed, and the technique has its usual name."""

from __future__ import annotations

from typing import Any

import pytest

from llmops_tui.training.recipe import check, fields
from llmops_tui.training.recipe_words import Setting, settings_of, technique, technique_told


def recipe(**fields_of: Any) -> Any:
    return check({"name": "r", "base": "b", "data": ["d"], **fields_of})


def by_path(**fields_of: Any) -> dict[str, Setting]:
    return {one.path: one for _, group in settings_of(recipe(**fields_of)) for one in group}


def test_each_field_that_counts_is_told_once_and_none_without_words() -> None:
    rewards = {"rewards": [{"type": "exact"}, {"type": "json", "weight": 0.5}]}
    told = [one for _, group in settings_of(recipe(method="grpo", reinforcement=rewards)) for one in group]
    assert sorted(one.path for one in told) == sorted(path for path, _ in fields() if path != "name")
    assert all(one.label and one.value.strip() not in {"", "0", "–", "[]", "{}", "auto"} for one in told), [
        one for one in told if one.value in {"", "0", "auto"}
    ]
    labels = [[one.label for one in group] for _, group in settings_of(recipe())]
    assert all(len(set(group)) == len(group) for group in labels)


def test_what_its_way_of_training_has_not_is_left_out() -> None:
    assert not any(path.startswith(("lora.", "reinforcement.")) or path == "beta" for path in by_path(tuning="full"))
    assert "beta" in by_path(method="dpo")


@pytest.mark.parametrize(
    ("path", "given", "words"),
    [
        ("max_steps", {}, "no limit"),
        ("max_steps", {"max_steps": 1}, "1 step"),
        ("start", {}, "the base as it is"),
        ("tokens", {}, "none"),
        ("mixture_temperature", {}, "size"),
        ("mixture_temperature", {"mixture_temperature": 2}, "size to the power of 1/2"),
        ("data", {"data": [{"dataset": "a", "weight": 2}, {"dataset": "b"}]}, "a × 2, b"),
        ("lora.targets", {}, "all linear modules"),
        ("optimizer.warmup", {}, "3% of the steps"),
        ("optimizer.warmup", {"optimizer": {"warmup": 20}}, "20 steps"),
        ("evaluation.share", {}, "5% of the rows"),
        ("evaluation.share", {"evaluation": {"share": 0}}, "nothing"),
        ("evaluation.patience", {"evaluation": {"patience": 3}}, "after 3 evaluations without a better loss"),
        ("batch.max_length", {}, "2,048 tokens"),
        ("batch.accumulation", {}, "2 batches"),
        ("optimizer.learning_rate", {}, "0.0002"),
    ],
)
def test_a_value_says_what_it_stands_for(path: str, given: dict[str, Any], words: str) -> None:
    assert by_path(**given)[path].value == words


def test_what_differs_from_the_default_stands_by_itself_with_what_every_recipe_is_asked_for() -> None:
    found = by_path(seed=7)
    assert found["seed"].changed
    assert found["seed"].main
    assert (found["epochs"].changed, found["epochs"].main) == (False, True)
    assert (found["kernels"].changed, found["kernels"].main) == (False, False)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, "QLoRA"),
        ({"quantization": {"type": "none"}}, "LoRA"),
        ({"lora": {"dora": True}}, "QDoRA"),
        ({"lora": {"dora": True}, "quantization": {"type": "none"}}, "DoRA"),
        ({"tuning": "full"}, "full"),
    ],
)
def test_the_technique_has_its_usual_name(given: dict[str, Any], name: str) -> None:
    assert technique(recipe(**given)) == name
    assert technique_told(recipe(**given)).startswith(name.capitalize() if name == "full" else f"{name}: an adapter")
