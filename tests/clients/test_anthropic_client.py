"""The anthropic package, unmodified, does with our server what it is used for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.running import Program
from tests.clients.scripted import Say, Scripted
from tests.clients.templates import called, thinking
from tests.clients.test_responses_clients import BOTH, ONE, OSLO, RAIN, RESULT, ROME, WEATHER, WRITTEN, all_are
from tests.waiting import wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def anthropic() -> Iterator[Program]:
    program = Program("anthropic_messages")
    yield program
    program.close()


def test_answers_whole_and_in_pieces(anthropic: Program, qwen: Scripted) -> None:
    qwen.say(RAIN, RAIN)
    plain = anthropic.does("plain", qwen)
    all_are(plain, text=RAIN, reasoning="", calls=[], stop=["end_turn", None], usage=True, warned=[])
    streamed = anthropic.does("stream", qwen)
    assert streamed.pop("pieces") > 2
    assert streamed == plain


def test_thinking_has_a_block_of_its_own(anthropic: Program, qwen: Scripted) -> None:
    qwen.say(*[thinking("Rome, hm.", RAIN)] * 3)
    told = anthropic.does("thinking", qwen)
    all_are(told, text=RAIN, reasoning="Rome, hm.", warned=["thinking.budget_tokens"])
    qwen.say(RAIN)
    all_are(anthropic.does("not_thinking", qwen), text=RAIN, warned=[])
    assert qwen.prompts[0].endswith("<think>\n\n</think>\n\n")


def test_tools_that_may_be_called(anthropic: Program, qwen: Scripted) -> None:
    answer = thinking("Hm.") + called("qwen", ("weather", '{"city": "Rome"}'), said="I look.")
    qwen.say(*[answer] * 3)
    told = anthropic.does("auto", qwen)
    all_are(told, text="I look.", reasoning="Hm.", calls=[["weather", ROME]], stop=["tool_use", None])


def test_which_tools_may_or_must_be_called(anthropic: Program, qwen: Scripted) -> None:
    qwen.say(BOTH)
    all_are(anthropic.does("required", qwen), calls=[["weather", ROME], ["weather", OSLO]])
    qwen.say(called("qwen", ("time", '{"city": "Rome"}')))
    all_are(anthropic.does("named", qwen), calls=[["time", ROME]])
    qwen.say(ONE)
    all_are(anthropic.does("single", qwen), calls=[["weather", ROME]])


def test_results_are_sent_back(anthropic: Program, qwen: Scripted) -> None:
    for case in ("second_turn", "runner"):
        qwen.say(thinking("Hm.") + ONE, RAIN)
        all_are(anthropic.does(case, qwen), text=RAIN, stop=["end_turn", None])
        assert f"<think>\nHm.\n</think>\n\n{ONE}" in qwen.prompts[1]
        assert RESULT in qwen.prompts[1]


def test_tokens_are_counted(anthropic: Program, qwen: Scripted) -> None:
    told = anthropic.does("count", qwen)
    assert 0 < told["plain"] < told["system"]
    assert told["plain"] < told["tools"]
    assert qwen.calls == []


def test_answers_in_a_form(anthropic: Program, qwen: Scripted) -> None:
    qwen.say(WRITTEN)
    assert anthropic.does("structured", qwen) == WEATHER
    assert qwen.calls[0]["grammar"]


def test_a_stop_text_is_told(anthropic: Program, qwen: Scripted) -> None:
    qwen.say(RAIN)
    all_are(anthropic.does("stopped", qwen), text="It rains ", stop=["stop_sequence", "in Rome"])


def test_a_client_that_leaves_ends_the_work(anthropic: Program, qwen: Scripted) -> None:
    qwen.say(Say(RAIN, still_after=2))
    assert RAIN.startswith(anthropic.does("cancel", qwen))
    wait_for(qwen.left.is_set)
    wait_for(lambda: qwen.active == 0)


def test_errors_are_the_clients_own(anthropic: Program, qwen: Scripted) -> None:
    tool, model, key = anthropic.does("errors", qwen)
    assert (tool["error"], tool["kind"]) == ("BadRequestError", "invalid_request_error")
    assert "'web_search' of Anthropic's is not offered here" in tool["message"]
    assert (model["error"], model["kind"]) == ("NotFoundError", "not_found_error")
    assert (key["error"], key["kind"]) == ("AuthenticationError", "authentication_error")
