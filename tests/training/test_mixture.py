"""What is told of a mixture is what is trained on: rows, tokens and epochs of each dataset, and what they share."""

from __future__ import annotations

import json
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.datasets.import_job import import_now
from llmops_tui.datasets.tokens import ModelText
from llmops_tui.training.example import IGNORED, length_of
from llmops_tui.training.examples import build
from llmops_tui.training.mixture import SourceShare, mixture_findings, mixture_lines, mixture_of, overlaps_of, passes_of
from llmops_tui.training.preflight import data_facts
from llmops_tui.training.recipe import check
from llmops_tui.training.runs import RunStore
from llmops_tui.workspace.layout import Workspace


def test_the_mixture_is_counted_on_the_examples_themselves(sample: Workspace) -> None:
    store = RunStore(sample)
    long = "and so on " * 6
    data = {
        "first": [{"prompt": f"first {n}:", "completion": f" {n}"} for n in range(40)],
        # A third of them asks what the first asks, one nearly, and one has nothing to learn.
        "second": [{"prompt": f"first {n}:" if n < 10 else f"second {n} {long}:", "completion": " yes"} for n in range(29)]
        + [{"prompt": "nothing", "completion": ""}],
    }  # fmt: skip
    for name, rows in data.items():
        file = store.workspace.root / f"{name}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        import_now(store.datasets, [file], name, "prompt-completion")
    recipe = check(
        {
            "name": "r",
            "base": "support-base-hf",
            "data": [{"dataset": "first", "weight": 2.5}, {"dataset": "second", "weight": 0.5}],
            "batch": {"max_length": 64, "size": 4, "accumulation": 1},
            "epochs": 3,
            "evaluation": {"share": 0.1},
        }
    )
    with ModelText(store.registry.get("support-base-hf")) as text:
        made = build(recipe, store.datasets, text)
        alone = {
            name: [
                tuple(e["input_ids"])
                for e in build(
                    check({"name": "r", "base": "support-base-hf", "data": [name], "batch": {"max_length": 64},
                           "evaluation": {"share": 0}}),
                    store.datasets, text,
                ).train
            ]
            for name in data
        }  # fmt: skip
    only_second = set(alone["second"]) - set(alone["first"])
    trained = Counter(tuple(e["input_ids"]) for e in made.train)
    first, second = made.report.sources
    assert first.uses + second.uses == first.examples + second.examples == len(made.train)
    assert first.tokens + second.tokens == sum(map(length_of, made.train))
    assert second.uses >= sum(count for ids, count in trained.items() if ids in only_second)
    assert made.report.trained == sum(label != IGNORED for e in made.train for label in e["labels"])
    assert first.held_out + second.held_out == len(made.report.drawn.rows if made.report.drawn else [])
    # 2.5 is twice each row and once more half of them.
    assert 2 * first.used < first.uses < 3 * first.used
    assert first.used == first.rows - first.held_out
    assert 0 < second.used < second.rows
    facts = data_facts(recipe, made.report, made, overlaps_of([store.datasets.get(name) for name in data]))
    shares = facts["mixture"]
    assert abs(sum(share["share_of_tokens"] for share in shares) - 1) < 1e-9
    assert shares[0]["share_of_rows"] == first.uses / len(made.train)
    assert shares[0]["epochs"] == 3 * first.uses / first.used
    lines = mixture_lines(facts)
    assert lines[0].startswith("first@1 ")
    assert f"{second.used:,} of them used" in lines[1]
    (overlap,) = facts["overlaps"] or []
    assert (overlap["left"], overlap["right"], overlap["exact"]) == ("first@1", "second@1", 10)
    (finding,) = mixture_findings(facts["overlaps"])
    assert "10 rows of first@1 ask what rows of second@1 ask" in finding.message


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), min_size=1, max_size=30))
def test_shares_add_up(rows: list[tuple[int, int]]) -> None:
    one, two = SourceShare("a@1", 1), SourceShare("b@1", 1)
    for number, (tokens, times) in enumerate(rows):
        examples = [{"input_ids": [1] * tokens, "labels": [1] * tokens}] if tokens else []
        (one if number % 2 else two).take(examples, times)  # type: ignore[arg-type]  # plain examples
    found = mixture_of([one, two], 2.0)
    assert sum(share["rows"] for share in found) == len(rows)
    total = sum(share["share_of_rows"] for share in found)
    assert total == 0 or abs(total - 1) < 1e-9
    for share in found:
        assert share["used"] <= share["rows"] - share["without_target"]
        assert share["epochs"] * max(1, share["rows"] - share["without_target"]) == 2 * share["rows_an_epoch"]


def test_a_run_that_ends_early_sees_fewer_epochs() -> None:
    body = {"name": "r", "base": "b", "data": ["d"], "batch": {"size": 4, "accumulation": 2}, "epochs": 3}
    assert passes_of(check(body), 80) == 3
    assert passes_of(check(body | {"max_steps": 5}), 80) == 0.5


def test_of_rewards_a_step_sees_prompts_and_not_answers() -> None:
    part = {"rewards": ["length"], "generations": 4, "iterations": 2}
    body = {"name": "r", "base": "b", "data": ["d"], "batch": {"size": 4, "accumulation": 2}, "epochs": 3}
    asked = body | {"method": "grpo", "reinforcement": part}
    # Two prompts a step, and two steps on each: 80 prompts are 80 steps.
    assert passes_of(check(asked), 80) == 3
    assert passes_of(check(asked | {"max_steps": 40}), 80) == 0.5


def test_one_dataset_is_no_mixture_and_too_much_is_told() -> None:
    assert overlaps_of([]) == []
    assert mixture_findings([]) == []
    assert [finding.code for finding in mixture_findings(None)] == ["overlap_unknown"]
