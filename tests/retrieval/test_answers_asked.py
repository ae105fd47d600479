"""Who may answer the queries of an index: prompts and chains that take the query, and retrieve from this index alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.chains.store import ChainStore
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.evaluation.metrics.base import Answer, Case
from llmops_tui.evaluation.retrieval.answering import AnswersAsked, answers_suite
from llmops_tui.evaluation.run import EvalState
from llmops_tui.evaluation.runner.failing import require_answers
from llmops_tui.evaluation.runner.rendering import render_each
from llmops_tui.evaluation.runner.retrieved import RetrievedPassages
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import check_suite
from llmops_tui.inference.answer_settings import AnswerSettings
from llmops_tui.inference.retrieval_asked import asks_for_passages
from llmops_tui.prompts.store import PromptStore
from llmops_tui.retrieval.in_prompts import PromptRetrieval
from llmops_tui.retrieval.store import IndexStore
from llmops_tui.workspace.layout import Workspace
from tests.commands import Llmops
from tests.evaluation.conftest import made_run
from tests.retrieval.conftest import Build
from tests.retrieval.test_in_prompts import Renderer
from tests.retrieval.test_measured import written

CHAIN = """
inputs: {question: text, tone: {type: text, default: calm}}
steps:
  found: {retrieve: shop, query: question, k: 1}
  answer: {prompt: given@1, with: {passages: found.text, question: question}}
output: answer
"""
FOUND_ALONE = """
inputs: {question: text}
steps:
  found: {retrieve: shop, query: question, k: 1}
output: found.text
"""


@pytest.fixture
def queries(store: IndexStore, shop: Path, build: Build, tmp_path: Path) -> Path:
    build(shop, words_alone=True)
    build(shop, name="other", words_alone=True)
    prompts = PromptStore(store.catalog)
    defaults = AnswerSettings.model_validate({"variables": {"question": {"default": "What is a default?"}}})
    prompts.save("faq", template="{{ retrieve(question, 1, 'shop') }} {{ question }}", settings=defaults)
    prompts.save("toned", template="{{ retrieve(question, 1, 'shop') }} {{ question }} {{ tone }}")
    prompts.save("both", template="{{ retrieve(question, 1, 'shop') }} {{ retrieve(question, 1, 'other') }}")
    prompts.save("word", template="Please retrieve the answer: {{ question }}")
    prompts.save("given", template="{{ passages }} {{ question }}")
    chains = ChainStore(store.catalog)
    chains.save("desk", CHAIN)
    chains.save("far", CHAIN.replace("retrieve: shop", "retrieve: other"))
    chains.save("alone", FOUND_ALONE)
    return written(tmp_path, {"query": "my card?", "documents": ["card.txt"]})


@pytest.mark.parametrize(
    ("ref", "variable", "code", "told"),
    [
        ("faq", "qustion", "which_variable", "faq@1 has no variable 'qustion': it has question"),
        ("faq", "retrieve", "which_variable", "faq@1 has no variable 'retrieve': it has question"),
        ("toned", "question", "which_variable", "toned@1 needs tone beside question"),
        ("chain/desk", "questio", "which_variable", "chain/desk has no variable 'questio': it has question, tone"),
        ("chain/desk", "tone", "which_variable", "chain/desk needs question beside tone"),
        ("word", "", "retrieves_nothing", "word@1 asks for no passages"),
        ("both", "", "another_index", "both@1 retrieves from other@1, and shop@1 is measured"),
        ("chain/far", "", "another_index", "chain/far retrieves from other@1, and shop@1 is measured"),
        ("chain/alone", "", "asks_no_model", "chain/alone asks no model"),
    ],
)
def test_who_cannot_answer_is_refused_before_anything_is_asked(
    store: IndexStore, queries: Path, ref: str, variable: str, code: str, told: str
) -> None:
    with pytest.raises(InputRefusedError) as refused:
        answers_suite(EvaluationStore(store.workspace), store.get("shop"), queries, AnswersAsked((ref,), variable))
    assert (refused.value.code, told in refused.value.message) == (code, True), refused.value.message


@pytest.mark.parametrize("ref", ["faq", "chain/desk"])
@pytest.mark.parametrize("variable", ["", "question"])
def test_the_query_is_given_in_the_variable(store: IndexStore, queries: Path, ref: str, variable: str) -> None:
    evaluations = EvaluationStore(store.workspace)
    suite = answers_suite(evaluations, store.get("shop"), queries, AnswersAsked((ref,), variable))
    assert suite.cases == [{"vars": {"question": "my card?"}, "slices": {"answerable": "yes"}}]


def test_a_suite_of_the_users_own_gets_no_version(store: IndexStore, queries: Path) -> None:
    evaluations, asked = EvaluationStore(store.workspace), AnswersAsked(("faq",))
    made = answers_suite(evaluations, store.get("shop"), queries, asked)
    evaluations.save_suite(made)
    assert answers_suite(evaluations, store.get("shop"), queries, asked).sha256 == made.sha256
    own = {"description": "mine", "cases": [{"vars": {"q": "a"}}], "prompt": "given", "metrics": ["length"]}
    evaluations.save_suite(check_suite(own, "shop-answers"))
    with pytest.raises(InputRefusedError, match="'shop-answers' is not made of queries") as refused:
        answers_suite(evaluations, store.get("shop"), queries, asked)
    assert refused.value.code == "name_taken"


def test_what_has_no_model_leaves_no_suite(sample: Workspace, shop: Path, tmp_path: Path) -> None:
    llmops = Llmops(sample)
    llmops.run("index", "build", "shop", "--from", str(shop), "--embedder", "none")
    llmops.run("prompt", "save", "faq", "--text", "{{ retrieve(question, 1) }} {{ question }}")
    path = written(tmp_path, {"query": "my card?", "documents": ["card.txt"]})
    llmops.run("index", "measure", "shop", "--queries", str(path), "--answers", "faq", code=3)
    assert "shop-answers" not in [one.suite.name for one in EvaluationStore(sample).suites()]


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("Please retrieve the answer: {{ question }}", False), ("{{ question }} Then retrieve it.", False), ("", False),
        ("{{ retrieve(question) }}", True), ("{% for p in retrieve (q, 2) %}{{ p.text }}{% endfor %}", True),
        ("{% set get = retrieve %}{{ get(q) }}", True), ("{{ '}}' ~ retrieve(q, 1, '{{') }}", True), ("{{ retrieved }}", False),
        ("Do not retrieve. {{ retrieve(q) }}", True),
    ],
)  # fmt: skip
def test_only_an_expression_asks_for_passages(text: str, asks: bool) -> None:
    assert asks_for_passages(text) == asks


@pytest.mark.parametrize(
    ("second", "told"),
    [
        ({"query": "b", "documents": ["card.txt"], "id": "x"}, "line 2: its id 'x' is that of line 1"),
        ({"query": " A ", "answerable": False}, "line 2: it is the query of line 1, and only one of both can be answered"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("queries")
def test_lines_that_contradict_each_other_are_refused(
    store: IndexStore, tmp_path: Path, second: dict[str, object], told: str
) -> None:
    path = written(tmp_path, {"query": "a", "documents": ["card.txt"], "id": "x"}, second)
    with pytest.raises(InputRefusedError, match=told):
        answers_suite(EvaluationStore(store.workspace), store.get("shop"), path, AnswersAsked(("faq",)))


def test_a_run_without_an_answer_is_shown_as_that() -> None:
    summary: Any = {"answers": 3, "errors": 3}
    run = replace(made_run("r-1"), summary=summary)
    state = EvalState(run, None, "done")
    assert (state.all_errors, state.shown) == (True, "all failed")
    with pytest.raises(LlmopsError, match="r-1 got no answer: 3 of 3 requests failed") as refused:
        require_answers([run])
    assert refused.value.code == "all_failed"
    summary["errors"] = 2
    assert (state.all_errors, state.shown) == (False, "done")
    require_answers([run])


@pytest.mark.parametrize(
    ("template", "given"),
    [
        ("{% for p in retrieve(q, 2, 'shop') %}{{ p.text }}{% endfor %}", 2),
        ("{% for p in retrieve(q, 2, 'shop') %}{% if loop.first %}{{ p.text }}{% endif %}{% endfor %}", 1),
        ("{% for p in retrieve(q, 2, 'shop') %}{{ p.document }}{% endfor %}", 0),
        ("{% for p in retrieve(q, 2, 'shop') %}{{ p.text | upper | indent }}{{ p | tojson }}{% endfor %}", 2),
        ("{{ retrieve(q, 2, 'shop') }}", 2),
    ],
)
@pytest.mark.usefixtures("queries")
def test_passages_that_a_template_does_not_show_were_not_given(store: IndexStore, template: str, given: int) -> None:
    version, _ = PromptStore(store.catalog).save("some", template=template)
    case, passages = Case(0, "0", variables={"q": "orders card"}), RetrievedPassages()
    passages.rendered(render_each, [case], version, Renderer(retrieve=PromptRetrieval(store.catalog)))
    found = passages.beside(case, Answer(text="x"))
    assert (found.searches, len(found.passages)) == (1, given)
