"""Rows that a model writes: each once, whatever happens; what fell is told; each knows its parents."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_tui.datasets.origins import COLUMN, origin_of, written_of
from llmops_tui.datasets.parts import PartWriter
from llmops_tui.datasets.rejects import read_rejects
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.synthesis.attempts import Attempt, AttemptLog
from llmops_tui.synthesis.filters import STAGES, Sieve
from llmops_tui.synthesis.funnel import funnel_lines, funnel_of
from llmops_tui.synthesis.job import rejects_of, run_synthesis, start_arguments
from llmops_tui.synthesis.plan import SynthesisPlan, check_plan
from llmops_tui.synthesis.prepared import prepare
from llmops_tui.synthesis.shape import RowShape
from llmops_tui.synthesis.tasks import Seed, Task, tasks_of
from llmops_tui.synthesis.topics import Topic, leaves_of, parse_topics, topics_text
from llmops_tui.workspace.catalog import Catalog
from llmops_tui.workspace.line_log import LineLog
from tests.representatives import representatives
from tests.synthesis.conftest import Answer, Context, Fill, says

SEEDS = [{"text": f"how do I {verb} my card", "category": verb} for verb in ("block", "order", "lose", "find")]
Install = Callable[[Context, Answer], None]
FORM = {
    "type": "object",
    "properties": {"text": {"type": "string"}},
    "required": ["text"],
    "additionalProperties": False,
}
SHAPE = RowShape("text", FORM, ("text",))


def plan_of(**fields: Any) -> SynthesisPlan:
    return check_plan({"model": "small", "seeds": "seeds", "rows": 8, **fields})


LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"


def rows_of(version: DatasetVersion) -> list[dict[str, Any]]:
    return [row for batch in version.read() for _, row in batch]


# ── filters ──

WORDS = st.sampled_from(
    ["how", "do", "I", "block", "order", "lose", "find", "my", "new", "old", "card", "account", "please", "today"]
)
TEXTS = st.lists(WORDS, min_size=0, max_size=9).map(" ".join)
ANSWERS = st.one_of(
    TEXTS.map(lambda t: {"text": json.dumps({"text": t}), "finish": "stop"}),
    st.sampled_from(
        [
            {"text": "no JSON", "finish": "stop"},
            {"text": '{"text": 5}', "finish": "stop"},
            {"text": '{"other": "field"}', "finish": "stop"},
            {"text": '{"text": "cut', "finish": "length"},
            {"error": "context_full: too long"},
            {"text": json.dumps({"text": "x" * 200}), "finish": "stop"},
        ]
    ),
)


@given(st.lists(ANSWERS, min_size=1, max_size=30), st.lists(TEXTS, max_size=6))
def test_every_answer_is_a_row_or_is_told(answers: list[dict[str, str]], source: list[str]) -> None:
    plan = SynthesisPlan(model="m", topics=(Topic("t"),), filters={"max_chars": 100})  # type: ignore[arg-type]
    tasks = [Task(n, n) for n in range(len(answers))]
    found = Sieve(plan, SHAPE, None, source).sort(tasks, {n: Attempt(n, **a) for n, a in enumerate(answers)})  # type: ignore[arg-type]
    numbers = [one.task.number for one in found.kept] + [one.task for one in found.fallen]
    assert sorted(numbers) == list(range(len(answers)))
    assert {one.stage for one in found.fallen} <= set(STAGES)
    kept = [" ".join(one.text.split()) for one in found.kept]
    assert len(set(kept)) == len(kept)
    assert not set(kept) & {" ".join(text.split()) for text in source}
    funnel = funnel_of(len(found.kept), rejects_of(found))
    assert funnel["asked"] == len(answers) == funnel["kept"] + sum(stage["rows"] for stage in funnel["stages"])


@pytest.mark.parametrize(
    ("text", "stage"),
    [
        ("how do I block my card", "copy"),
        ("How  do I BLOCK my card", "copy"),
        (LONG + " end", "near source"),
        ("no", "length"),
        ("alpha beta gamma delta epsilon zeta eta theta iota kappa lambda", ""),
    ],
)
def test_where_a_text_falls(text: str, stage: str) -> None:
    source = ["how do I block my card", LONG + " last"]
    found = Sieve(SynthesisPlan(model="m", topics=(Topic("t"),)), SHAPE, None, source).sort(
        [Task(0, 0)], {0: says(Task(0, 0), text)}
    )
    assert [one.stage for one in found.fallen] == ([stage] if stage else [])


def test_of_rows_that_are_alike_the_first_stays() -> None:
    long = " ".join(f"word{n}" for n in range(20))
    texts = [long, "something else entirely, about other things", long + " more", long.upper(), long]
    tasks = [Task(n, n) for n in range(5)]
    plan = SynthesisPlan(model="m", topics=(Topic("t"),))
    found = Sieve(plan, SHAPE, None, []).sort(tasks, {n: says(tasks[n], text) for n, text in enumerate(texts)})
    assert [one.task.number for one in found.kept] == [0, 1]
    assert {one.task: one.stage for one in found.fallen} == {2: "near new", 3: "repeat", 4: "repeat"}


# ── the job ──


def test_a_row_keeps_what_made_it(
    fill: Fill, catalog: Catalog, store: DatasetStore, tmp_path: Path, answering: Install
) -> None:
    seeds = fill(SEEDS)
    prepared = prepare(catalog, plan_of(rows=6))
    context = Context(catalog, tmp_path / "job")
    answering(context, lambda task: says(task, "how do I block my card" if task.number == 2 else None))
    made = run_synthesis(context, **start_arguments(prepared, "new"))  # type: ignore[arg-type]
    assert (made["rows"], made["rejected"], made["funnel"]["asked"]) == (5, 1, 6)
    assert (made["calls"], made["prompt_tokens"], made["completion_tokens"]) == (6, 60, 30)
    version = store.get("new")
    for row in rows_of(version):
        origin = origin_of(row)
        assert origin is not None
        first, *shown = origin["parents"]
        parent = rows_of(seeds)[first["row"]]
        assert (row["category"], first["version"], "shown" in first) == (parent["category"], "seeds@1", False)
        assert len(shown) == 3
        assert all(one["shown"] for one in shown)
        assert (origin["model"], origin["prompt"]) == ("small", "synthesise-rows@1")
        assert origin["parameters"]["temperature"] == 0.8
    assert version.recipe.operation == "synthesise"
    assert {ref for ref, _ in version.recipe.inputs} == {"seeds@1", "small", "synthesise-rows@1"}
    fallen = read_rejects(catalog.workspace, version)
    assert [(one.source, one.line) for one in fallen] == [("copy", 2)]
    assert funnel_lines(funnel_of(version.rows, fallen))[-1] == "5 rows of 6 left: 83.3%"
    assert written_of(store, version).told == "5 of 5 rows written by a model"


class KilledError(BaseException):
    """The process ends here."""


def _dies(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, after: int, *, then: bool) -> None:
    """Let a function be the last thing that happens, the so many-th time: before it, or after it was done."""
    original, left = getattr(owner, name), [after]

    def dying(*given: Any, **named: Any) -> Any:
        left[0] -= 1
        if not left[0] and not then:
            raise KilledError
        result = original(*given, **named)
        if not left[0]:
            raise KilledError
        return result

    monkeypatch.setattr(owner, name, dying)


STEPS = [
    *((LineLog, "add", n, then) for n in (1, 3, 8) for then in (False, True)),
    (PartWriter, "add", 1, True),
    (PartWriter, "finish", 1, False),
    (DatasetStore, "keep", 1, False),
    (DatasetStore, "_record", 1, False),
    (DatasetStore, "_record", 1, True),
    (DatasetStore, "keep", 1, True),
]


@pytest.mark.parametrize(("owner", "name", "after", "then"), representatives(STEPS, 2, 9))
def test_killed_at_any_step_each_row_is_there_once(
    owner: Any, name: str, after: int, then: bool, fill: Fill, catalog: Catalog, store: DatasetStore, tmp_path: Path, answering: Install,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    fill(SEEDS)
    arguments = start_arguments(prepare(catalog, plan_of()), "new")
    context = Context(catalog, tmp_path / "job")
    answering(context, says)
    with monkeypatch.context() as dying:
        _dies(dying, owner, name, after, then=then)
        with pytest.raises(KilledError):
            run_synthesis(context, **arguments)  # type: ignore[arg-type]
    with (context.folder / "attempts.jsonl").open("ab") as file:
        file.write(b'["attempt", {"task": 7, "te')
    there = len(AttemptLog(context.folder / "attempts.jsonl").attempts)
    asked = len(context.asked)
    made = run_synthesis(context, **arguments)  # type: ignore[arg-type]
    # What was kept is not asked for again.
    assert len(context.asked) - asked == 8 - there
    assert (made["rows"], made["funnel"]["asked"]) == (8, 8)
    assert len(store.log("new")) == 1
    assert sorted(row["text"] for row in rows_of(store.get("new"))) == sorted(
        json.loads(says(Task(n, n)).text)["text"] for n in range(8)
    )


def test_where_nothing_is_left_the_job_says_why(
    fill: Fill, catalog: Catalog, store: DatasetStore, tmp_path: Path, answering: Install
) -> None:
    fill(SEEDS)
    context = Context(catalog, tmp_path / "job")
    answering(context, lambda task: Attempt(task.number, error="grammar_invalid: no"))
    with pytest.raises(InputRefusedError, match="none of 8 rows is left: 8 answered"):
        run_synthesis(context, **start_arguments(prepare(catalog, plan_of()), "new"))  # type: ignore[arg-type]
    assert "new" not in store.logs()


def test_another_model_of_the_name_is_not_taken_for_the_one(fill: Fill, catalog: Catalog, tmp_path: Path) -> None:
    fill(SEEDS)
    arguments = start_arguments(prepare(catalog, plan_of()), "new") | {"model_sha256": "0" * 64}
    with pytest.raises(LlmopsError, match="another model"):
        run_synthesis(Context(catalog, tmp_path / "job"), **arguments)  # type: ignore[arg-type]


# ── shapes and plans ──


@pytest.mark.parametrize(
    ("form", "row", "write", "example"),
    [
        ("text", {"text": "a", "label": "x"}, ("text",), {"text": "a"}),
        ("prompt-completion", {"prompt": "q", "completion": "a"}, ("prompt", "completion"), {"prompt": "q", "completion": "a"}),
        (
            "messages",
            {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
            ("question", "answer"),
            {"question": "q", "answer": "a"},
        ),
        (
            "preference",
            {"prompt": "q", "chosen": "good", "rejected": "bad"},
            ("prompt", "chosen", "rejected"),
            {"prompt": "q", "chosen": "good", "rejected": "bad"},
        ),
    ],
)  # fmt: skip
def test_each_kind_is_written_in_its_own_shape(
    form: str, row: dict[str, Any], write: tuple[str, ...], example: dict[str, Any], fill: Fill, catalog: Catalog
) -> None:
    version = fill([row, row | {"n": 1}], form=form)
    prepared = prepare(catalog, plan_of())
    assert (prepared.shape.kind, prepared.shape.write) == (version.kind, write)
    task = prepared.tasks[0]
    assert task.base is not None
    assert task.base.answer == example
    made = prepared.shape.row_of(example, task.base.row)
    assert {key: value for key, value in made.items() if key != "n"} == row
    assert any("do not have: n" in told for told in prepared.told)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"seeds": ""}, "there is nothing to write from"),
        ({"way": "paraphrase", "seeds": ""}, "requires seeds"),
        ({"way": "paraphrase", "topics": ["a"]}, "without topics"),
        ({"write": ["nothing"]}, "has no column 'nothing'"),
        ({"schema": {"type": "array"}}, "not one of an object"),
        ({"schema": {"type": "object", "properties": {COLUMN: {"type": "string"}}}}, "what made it"),
        ({"keep": ["text"], "write": ["text"]}, "both written and kept"),
        ({"rowss": 3}, "rowss"),
        ({"keep": ["category"], "topics": ["a"]}, "keep: only a row that is made of a seed row"),
        ({"write": ["text"], "schema": FORM}, "write: the columns are those of the schema"),
    ],
)
def test_what_cannot_be_written_is_refused_by_name(
    fields: dict[str, Any], told: str, fill: Fill, catalog: Catalog
) -> None:
    fill(SEEDS)
    with pytest.raises(InputRefusedError, match=told):
        prepare(catalog, plan_of(**fields))


def test_thumbs_are_no_models(fill: Fill, catalog: Catalog) -> None:
    fill([{"prompt": "q", "completion": "a", "label": True}], form="kto")
    with pytest.raises(InputRefusedError, match="a thumb is what a person thought"):
        prepare(catalog, plan_of())
    assert prepare(catalog, plan_of(way="paraphrase")).rewording is not None


@given(st.integers(1, 60), st.integers(0, 12), st.integers(1, 6))
def test_tasks_spread_evenly_and_are_the_same_again(rows: int, seeds: int, shots: int) -> None:
    plan = SynthesisPlan(model="m", seeds="s", rows=rows, shots=shots)
    found = [Seed(n, {}, {}, {"version": "s@1", "row": n, "hash": str(n)}, str(n % 3)) for n in range(seeds)]
    tasks = tasks_of(plan, found)
    assert [task.number for task in tasks] == list(range(rows))
    assert len({task.seed for task in tasks}) == rows
    assert tasks == tasks_of(plan, found)
    if seeds:
        counts = [sum(task.base == seed for task in tasks) for seed in found]
        assert max(counts) - min(counts) <= 1
        assert all(len(task.shown) == min(shots, seeds) - 1 and task.base not in task.shown for task in tasks)


def test_a_row_about_a_topic_is_made_of_no_seed_row(fill: Fill, catalog: Catalog) -> None:
    fill(SEEDS)
    prepared = prepare(catalog, plan_of(topics=["Cards", "Loans"], shots=2))
    assert (prepared.shape.keep, prepared.shape.left_out) == ((), ("category",))
    for task in prepared.tasks:
        assert (task.base, len(task.shown)) == (None, 2)
        assert all(parent["shown"] for parent in task.parents)
        assert prepared.shape.row_of({"text": "new"}, None) == {"text": "new"}


# ── topics ──


def test_a_tree_is_read_as_it_was_written() -> None:
    tree = (Topic("Cards", topics=(Topic("Lost: what now?", rows=3), Topic("New"))), Topic("123"))
    assert parse_topics(topics_text(tree, "a bank\nof mine")) == tree
    assert leaves_of(tree) == [("Cards > Lost: what now?", 3), ("Cards > New", 1), ("123", 1)]
    tasks = tasks_of(SynthesisPlan(model="m", topics=tree, rows=10), ())
    assert [task.topic for task in tasks].count("Cards > Lost: what now?") == 6


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- a\n- a\n", "is there already"),
        ("- {topic: a, row: 3}\n", "Did you mean rows"),
        ("- {topic: a, rows: 0}\n", "no whole number"),
        ("- {topics: [a]}\n", "a topic has from 1"),
        ("a: b\n", "no list"),
        ("- [a]\n", "neither a text nor a mapping"),
        ("", "no list"),
        ("- : :\n  -", "not valid YAML"),
    ],
)
def test_a_tree_that_is_wrong_is_refused_with_the_place(text: str, told: str) -> None:
    with pytest.raises(InputRefusedError) as caught:
        parse_topics(text)
    assert told in caught.value.told
