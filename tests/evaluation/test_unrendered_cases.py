"""A case whose values the template cannot be rendered with: it alone fails, by row, line, variables and reason."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from llmops_tui.chains.rendering import RenderQueue
from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.metrics.base import Answer, Case, Score
from llmops_tui.evaluation.runner.chained import ChainAnswers
from llmops_tui.evaluation.runner.rendering import render_each, without_unfit
from llmops_tui.evaluation.runner.scoring import _asked
from llmops_tui.inference import template_renderer
from llmops_tui.inference.template_renderer import TemplateRenderer

SLOW = "{% for a in range(n) %}{% for b in range(n) %}{% endfor %}{% endfor %}{{ n }}"


@pytest.fixture(scope="module")
def renderer() -> Iterator[TemplateRenderer]:
    made = TemplateRenderer(seconds=0.3)
    yield made
    made.close()


def _prompt(template: str, system: str = "") -> Any:
    return SimpleNamespace(system=system, template=template, settings=None)


def _cases(*values: dict[str, Any]) -> list[Case]:
    return [Case(at, str(at), one, row=at + 10) for at, one in enumerate(values)]


def test_the_others_are_asked_and_the_row_is_told_with_line_variables_and_reason(renderer: TemplateRenderer) -> None:
    cases = _cases({"q": {"n": 1}, "m": 2}, {"q": {"n": "a"}, "m": 2}, {"q": {}, "m": 2}, {"m": 3})
    rendered, unfit = render_each(cases, _prompt("Add\n{{ q.n + m }}", "{{ m }}"), renderer)
    assert [turn["content"] for turn in rendered[0]] == ["2", "Add\n3"]
    assert rendered[1:] == [[], [], []]
    assert [(at, error.code) for at, error in unfit.items()] == [
        (1, "template_failed"), (2, "template_failed"), (3, "variable_missing"),
    ]  # fmt: skip
    assert unfit[1].message.startswith("row 11: the template cannot be rendered: line 2 with m, q: TypeError: ")
    assert unfit[2].message.endswith("line 2 with m, q: UndefinedError: 'dict object' has no attribute 'n'")
    assert unfit[3].message == "row 13: the variable 'q' has no value"


def test_where_no_case_can_be_asked_the_first_says_why(renderer: TemplateRenderer) -> None:
    cases = _cases({"n": "a"}, {"n": "b"})
    with pytest.raises(InputRefusedError, match=r"^none of 2 cases can be asked; row 10: .* line 1 with n: TypeError"):
        render_each(cases, _prompt("{{ n + 1 }}"), renderer)
    with pytest.raises(InputRefusedError, match=r"^none of 2 cases can be asked; row 10: .* line 1: unexpected"):
        render_each(cases, _prompt("{{ n"), renderer)


def test_a_slow_case_fails_alone_and_a_slow_template_is_given_up(
    renderer: TemplateRenderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = _cases({"n": 1}, {"n": 99_999}, {"n": 2})
    rendered, unfit = render_each(cases, _prompt(SLOW), renderer)
    assert [[turn["content"] for turn in one] for one in rendered] == [["1"], [], ["2"]]
    assert "took longer than" in unfit[1].message
    monkeypatch.setattr(template_renderer, "_GIVEN_UP", 2)
    told = renderer.render_each(SLOW, [{"n": 99_999}] * 4 + [{"n": 1}], "prompt")
    assert ["not tried again" in str(one) for one in told] == [False, False, True, True, True]


def test_rows_of_a_map_that_wait_together_fail_alone(renderer: TemplateRenderer) -> None:
    async def both() -> list[Any]:
        queue = RenderQueue(renderer)
        return await asyncio.gather(*(queue.render(SLOW, {"n": n}) for n in (1, 99_999)), return_exceptions=True)

    first, second = asyncio.run(both())
    assert first == "1"
    assert isinstance(second, InputRefusedError)


def test_a_conversation_that_a_chain_cannot_take_is_the_fault_of_its_case() -> None:
    answers: Any = ChainAnswers.__new__(ChainAnswers)
    inputs = {"text": SimpleNamespace(type="text", required=True, name="text")}
    answers.step, answers.version = "", SimpleNamespace(chain=SimpleNamespace(inputs=inputs))
    one: Any = {"role": "user", "content": "Hello"}
    cases = [Case(0, "a", messages=(one,), row=3), Case(1, "b", messages=(one, one), row=4)]
    rendered, unfit = without_unfit(cases, answers.asked_each(cases))
    assert ([len(turns) for turns in rendered], list(unfit)) == ([1, 0], [1])
    assert unfit[1].message.startswith("row 4: the chain takes one turn")


def test_a_judge_whose_question_cannot_be_made_was_not_asked() -> None:
    class Metric:
        model = "strict"

        async def score_by_asking(self, *_: Any) -> Score:
            raise InputRefusedError("template_failed", "the template cannot be rendered: line 1")

    metric: Any = Metric()
    item: Any = SimpleNamespace(case=None, answer=Answer(text="a"))
    score = asyncio.run(_asked(metric, item, None))  # type: ignore[arg-type]
    assert score == Score(None, "strict was not asked: the template cannot be rendered: line 1")
