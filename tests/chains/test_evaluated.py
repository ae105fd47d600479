"""A chain as what a suite asks: whole, or one step; and what of it the manifest has."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmops_tui.chains.store import ChainStore
from llmops_tui.chains.tools import ChainTools
from llmops_tui.errors import InputRefusedError, LlmopsError
from llmops_tui.evaluation.metrics.base import Case
from llmops_tui.evaluation.runner.chained import ChainAnswers
from llmops_tui.evaluation.store import EvaluationStore
from llmops_tui.evaluation.suite import check_suite
from llmops_tui.inference.asking.cache import answer_key
from llmops_tui.workspace.catalog import Catalog
from tests.chains.test_definition import WHOLE

BODY: dict[str, Any] = {"cases": [{"ticket": "It crashes.", "expected": "x"}], "metrics": ["exact"]}


class _Asker:
    """Says what a model would, and has no cache."""

    def __init__(self) -> None:
        self.cache = self
        self.seeds: list[int] = []

    def identity(self, name: str) -> dict[str, object]:
        return {"model": name}

    def key(self, identity: dict[str, object], path: str, body: dict[str, object]) -> str:
        return answer_key({"asked": identity, "path": path, "body": body})

    def find(self, keys: list[str]) -> dict[str, object]:
        del keys
        return {}

    async def answer(self, name: str, request: Any, sampled: dict[str, object]) -> tuple[dict[str, object], str]:
        del name, sampled
        self.seeds.append(request.parameters.seed)
        said = '{"kind": "bug"}' if "Which" in request.body["messages"][-1]["content"] else "Sorry."
        choice = {"message": {"content": said}, "finish_reason": "stop"}
        return {"choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}, "run_1"


def _answers(tools: ChainTools, ref: str) -> ChainAnswers:
    found = ChainAnswers(EvaluationStore(tools.catalog.workspace), ref, "small", tools.renderer, 4)
    found._tools.process = tools.process
    return found


def test_a_chain_and_one_step_of_it_answer_cases(catalog: Catalog, tools: ChainTools) -> None:
    ChainStore(catalog).save("desk", WHOLE)
    asker = _Asker()
    whole = _answers(tools, "chain/desk@1")
    case = Case(0, "k", {"ticket": "It crashes.", "other": 1})
    answer = asyncio.run(whole.answer(case, 2, asker))  # type: ignore[arg-type]
    assert (answer.text, answer.finish_reason, answer.prompt_tokens, answer.completion_tokens) == (
        "Sorry.",
        "stop",
        10,
        4,
    )
    # Each repeat has seeds of its own.
    assert asker.seeds == [3, 3]
    told = asyncio.run(whole.answer(Case(0, "k", {}, ({"role": "user", "content": "Hello"},)), 0, asker))  # type: ignore[arg-type]
    assert told.text == "Sorry."
    step = _answers(tools, "chain/desk@1:found")
    assert asyncio.run(step.answer(Case(0, "k", {"kind": '{"kind": "bill"}'}), 0, asker)).text == '{"kind": "bill"}'  # type: ignore[arg-type]
    wrong = asyncio.run(step.answer(Case(0, "k", {"kind": "no JSON"}), 0, asker))  # type: ignore[arg-type]
    assert wrong.error.startswith("not_json: step found")
    assert [ref for ref, _ in whole.prompts()] == ["chain/desk@1", "sort@1", "reply@1"]
    assert whole.parts() == {"model small": "abc"}
    assert step.parts() == {"model small": "abc", "only step": "found"}


def test_a_suite_names_a_chain_as_it_names_a_prompt(catalog: Catalog, tools: ChainTools) -> None:
    del tools
    store = EvaluationStore(catalog.workspace)
    with pytest.raises(LlmopsError, match="no chain 'desk'"):
        store.columns(check_suite({**BODY, "prompt": "chain/desk"}, "s"), ["small"])
    ChainStore(catalog).save("desk", WHOLE)
    for more, word in (({"parameters": {"temperature": 1}}, "parameters"), ({"raw": True}, "raw")):
        with pytest.raises(InputRefusedError, match=word):
            store.columns(check_suite({**BODY, **more, "prompt": "chain/desk"}, "s"), ["small"])


def test_a_step_with_others_inside_is_given_what_they_use(catalog: Catalog, tools: ChainTools) -> None:
    ChainStore(catalog).save("desk", WHOLE)
    step = _answers(tools, "chain/desk@1:answer")
    case = Case(0, "k", {"ticket": "It crashes.", "found": {"kind": "bug"}, "other": 1})
    answer = asyncio.run(step.answer(case, 0, _Asker()))  # type: ignore[arg-type]
    assert (answer.text, answer.error) == ("Sorry.", "")
