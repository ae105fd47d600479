"""The openai package's responses and agents, unmodified, do with our server what they are used for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.running import Program
from tests.clients.scripted import Say, Scripted
from tests.clients.templates import called, thinking
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

ROME, OSLO = {"city": "Rome"}, {"city": "Oslo"}
ONE = called("qwen", ("weather", '{"city": "Rome"}'))
BOTH = called("qwen", ("weather", '{"city": "Rome"}'), ("weather", '{"city": "Oslo"}'))
RAIN = "It rains in Rome."
WEATHER = {"city": "Rome", "degrees": 21, "rain": True}
WRITTEN = '{"city": "Rome", "degrees": 21, "rain": true}'
RESULT = "<tool_response>\nIt rains in Rome.\n</tool_response>"


def _running(name: str) -> Iterator[Program]:
    program = Program(name)
    yield program
    program.close()


@pytest.fixture(scope="module")
def openai() -> Iterator[Program]:
    yield from _running("openai_responses")


@pytest.fixture(scope="module")
def agents() -> Iterator[Program]:
    yield from _running("openai_agents")


def all_are(told: Any, **expected: Any) -> None:
    """Of each answer, what was told of these is as expected."""
    for one in told if isinstance(told, list) else [told]:
        assert one == one | expected


def test_answers_whole_and_in_pieces(openai: Program, qwen: Scripted) -> None:
    qwen.say(RAIN, RAIN)
    plain = openai.does("plain", qwen)
    all_are(plain, text=RAIN, reasoning="", calls=[], status="completed", usage=True, thought=False)
    streamed = openai.does("stream", qwen)
    assert streamed.pop("pieces") > 2
    assert streamed == plain


def test_thinking_is_an_item_of_its_own(openai: Program, qwen: Scripted) -> None:
    qwen.say(*[thinking("Rome, hm.", RAIN)] * 2)
    all_are(openai.does("thinking", qwen), text=RAIN, reasoning="Rome, hm.", thought=True)


def test_tools_that_may_be_called(openai: Program, qwen: Scripted) -> None:
    qwen.say(*[thinking("Hm.") + called("qwen", ("weather", '{"city": "Rome"}'), said="I look.")] * 2)
    all_are(openai.does("auto", qwen), text="I look.", reasoning="Hm.", calls=[["weather", ROME]])
    assert '"name": "time"' in qwen.prompts[0]


def test_tools_that_must_be_called(openai: Program, qwen: Scripted) -> None:
    qwen.say(BOTH, BOTH)
    all_are(openai.does("required", qwen), text="", calls=[["weather", ROME], ["weather", OSLO]])
    assert all(call["grammar"] for call in qwen.calls)


def test_which_tools_may_be_called(openai: Program, qwen: Scripted) -> None:
    qwen.say(called("qwen", ("time", '{"city": "Rome"}')))
    all_are(openai.does("named", qwen), calls=[["time", ROME]])
    qwen.say(ONE)
    all_are(openai.does("single", qwen), calls=[["weather", ROME]])
    qwen.say(ONE)
    all_are(openai.does("allowed", qwen), calls=[["weather", ROME]])
    assert "time" not in qwen.calls[0]["grammar"]


def test_results_are_sent_back_with_all_that_was_said(openai: Program, qwen: Scripted) -> None:
    qwen.say(thinking("Hm.") + ONE, RAIN)
    all_are(openai.does("second_turn", qwen), text=RAIN)
    # What was thought since the last question stays before the template's eyes.
    assert f"<think>\nHm.\n</think>\n\n{ONE}" in qwen.prompts[1]
    assert RESULT in qwen.prompts[1]


def test_results_are_sent_for_what_is_kept(openai: Program, qwen: Scripted) -> None:
    qwen.say(thinking("Hm.") + ONE, RAIN)
    second, lost = openai.does("gone_on", qwen)
    all_are(second, text=RAIN)
    assert f"<think>\nHm.\n</think>\n\n{ONE}" in qwen.prompts[1]
    assert RESULT in qwen.prompts[1]
    assert (lost["status"], lost["param"]) == (404, "previous_response_id")
    assert "deleted" in lost["message"]


def test_answers_in_a_form(openai: Program, qwen: Scripted) -> None:
    qwen.say(WRITTEN, WRITTEN)
    assert openai.does("structured", qwen) == WEATHER
    streamed = openai.does("structured_stream", qwen)
    assert streamed.pop("pieces") > 2
    assert streamed == WEATHER
    assert all(call["grammar"] for call in qwen.calls)


def test_a_client_that_leaves_ends_the_work(openai: Program, qwen: Scripted) -> None:
    qwen.say(Say(RAIN, still_after=2))
    assert RAIN.startswith(openai.does("cancel", qwen))
    wait_for(qwen.left.is_set)
    wait_for(lambda: qwen.active == 0)


def test_tools_of_others_are_refused_by_name(openai: Program, qwen: Scripted) -> None:
    told = openai.does("error", qwen)
    assert (told["error"], told["param"]) == ("BadRequestError", "tools[0].type")
    assert "web_search" in told["message"]


def test_an_agent_calls_its_tool_and_answers(agents: Program, qwen: Scripted) -> None:
    for case in ("agent", "streamed"):
        qwen.say(*[ONE, RAIN] * 2)
        told = agents.does(case, qwen)
        all_are(told, said=RAIN, asked=["Rome"], turns=2)
        assert [one["pieces"] > 2 for one in told] == [case == "streamed"] * 2
        assert all(RESULT in prompt for prompt in qwen.prompts[1::2])
        assert "Answer briefly." in qwen.prompts[0]


def test_an_agent_that_must_call_calls(agents: Program, qwen: Scripted) -> None:
    qwen.say(*[ONE, RAIN] * 2)
    all_are(agents.does("required", qwen), said=RAIN, asked=["Rome"])
    assert [call["grammar"] != "" for call in qwen.calls[::2]] == [True, True]


def test_an_agent_without_tools_answers_and_its_thoughts_are_items(agents: Program, qwen: Scripted) -> None:
    qwen.say(RAIN, RAIN)
    all_are(agents.does("plain", qwen), said=RAIN, turns=1, thought="")
    qwen.say(*[thinking("Rome, hm.", RAIN)] * 2)
    all_are(agents.does("thinking", qwen), said=RAIN, thought="Rome, hm.")


def test_which_tools_an_agent_may_call(agents: Program, qwen: Scripted) -> None:
    qwen.say(*[called("qwen", ("time", '{"city": "Rome"}')), RAIN] * 2)
    all_are(agents.does("named", qwen), said=RAIN, asked=["time in Rome"])
    assert ["weather" in call["grammar"] for call in qwen.calls[::2]] == [False, False]
    qwen.say(*[ONE, RAIN] * 2)
    all_are(agents.does("single", qwen), said=RAIN, asked=["Rome"])
    assert all(call["grammar"] for call in qwen.calls)


def test_an_agent_that_is_stopped_ends_the_work(agents: Program, qwen: Scripted) -> None:
    for kind in ("responses", "chat"):
        qwen.say(Say(RAIN, still_after=2))
        assert RAIN.startswith(agents.does(f"cancel_{kind}", qwen)["said"])
        wait_for(qwen.left.is_set, 60)
        wait_for(lambda: qwen.active == 0, 60)


def test_what_is_refused_reaches_an_agents_user(agents: Program, qwen: Scripted) -> None:
    told = agents.does("error", qwen)
    assert [(one["error"], one["param"]) for one in told] == [("BadRequestError", "top_p")] * 2


def test_an_agents_answer_has_a_type(agents: Program, qwen: Scripted) -> None:
    qwen.say(WRITTEN, WRITTEN)
    all_are(agents.does("structured", qwen), said=WEATHER, turns=1)
    assert all(call["grammar"] for call in qwen.calls)
