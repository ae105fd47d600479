"""Each client, unmodified, does with our server what it is used for; the same model's answers for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.clients.running import Program
from tests.clients.scripted import Say, Scripted
from tests.clients.templates import called, thinking
from tests.clients.what import CLIENTS
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

ROME, OSLO = {"city": "Rome"}, {"city": "Oslo"}
WEATHER = {"city": "Rome", "degrees": 21, "rain": True}
WRITTEN = '{"city": "Rome", "degrees": 21, "rain": true}'
ONE = called("qwen", ("weather", '{"city": "Rome"}'))
BOTH = called("qwen", ("weather", '{"city": "Rome"}'), ("weather", '{"city": "Oslo"}'))
RAIN = "It rains in Rome."
# Clients that have forms written by a call name its tool so.
TOOL_OF_FORM = {"langchain-openai": "Weather", "pydantic-ai": "final_result", "instructor": "Weather"}


@pytest.fixture(scope="module")
def programs() -> Iterator[dict[str, Program]]:
    found = {client: Program(program) for client, (program, _) in CLIENTS.items()}
    yield found
    for program in found.values():
        program.close()


Does = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def client(request: pytest.FixtureRequest) -> str:
    """The client that a test is about."""
    return str(request.param)


@pytest.fixture
def does(client: str, programs: dict[str, Program], qwen: Scripted) -> Does:
    """Have a client do a case; what it tells of each answer, in a list."""

    def do(case: str) -> list[dict[str, Any]]:
        told = programs[client].does(case, qwen)
        return told if isinstance(told, list) else [told]

    return do


def each(feature: str) -> pytest.MarkDecorator:
    """All clients that have a feature."""
    found = [client for client, (_, lacks) in CLIENTS.items() if feature not in lacks]
    return pytest.mark.parametrize("client", found, indirect=True)


def all_are(told: list[dict[str, Any]], **expected: Any) -> None:
    """Of each answer, what a client tells of these is as expected."""
    assert told
    for one in told:
        assert one == one | {name: value for name, value in expected.items() if name in one}


def held(served: Scripted) -> list[bool]:
    return [bool(call["grammar"]) for call in served.calls]


@each("plain")
def test_a_plain_answer(does: Does, qwen: Scripted) -> None:
    qwen.say(RAIN, again=True)
    all_are(does("plain"), text=RAIN, reasoning="", calls=[], finish="stop")


@each("stream")
def test_a_stream_comes_in_pieces(does: Does, qwen: Scripted) -> None:
    qwen.say(RAIN, again=True)
    told = does("stream")
    all_are(told, text=RAIN, calls=[], finish="stop", usage=True)
    # inspect-ai puts a stream together by itself.
    assert all(one["pieces"] > 2 for one in told if "pieces" in one)


@each("thinking")
def test_thinking_is_apart_from_the_answer(does: Does, qwen: Scripted) -> None:
    qwen.say(thinking("Rome, hm.", RAIN), again=True)
    told = does("thinking")
    assert all(one["reasoning"] == "Rome, hm." for one in told)
    all_are(told, text=RAIN)


@each("auto")
def test_tools_that_may_be_called(does: Does, qwen: Scripted) -> None:
    qwen.say(
        called("qwen", ("weather", '{"city": "Rome"}'), ("weather", '{"city": "Oslo"}'), said="I look."), again=True
    )
    all_are(does("auto"), text="I look.", calls=[["weather", ROME], ["weather", OSLO]], finish="tool_calls")
    assert "<tools>" in qwen.prompts[0]


@each("required")
def test_tools_that_must_be_called(does: Does, qwen: Scripted) -> None:
    qwen.say(thinking("Hm.") + ONE, again=True)
    all_are(does("required"), text="", calls=[["weather", ROME]], finish="tool_calls")
    assert all(held(qwen))


@each("named")
def test_a_tool_that_is_named(does: Does, qwen: Scripted) -> None:
    qwen.say(called("qwen", ("time", '{"city": "Rome"}')), again=True)
    all_are(does("named"), calls=[["time", ROME]])
    assert all(held(qwen))


@each("single")
def test_one_call_at_a_time(does: Does, qwen: Scripted) -> None:
    qwen.say(ONE, again=True)
    all_are(does("single"), calls=[["weather", ROME]])
    assert all(held(qwen))


@each("second_turn")
def test_the_results_of_calls_are_sent_back(does: Does, qwen: Scripted) -> None:
    qwen.say(BOTH, RAIN, again=True)
    all_are(does("second_turn"), text=RAIN, calls=[])
    assert all("<tool_response>\nIt rains in Rome.\n</tool_response>" in prompt for prompt in qwen.prompts[1::2])
    assert all(ONE.removesuffix("</tool_call>") in prompt for prompt in qwen.prompts[1::2])


@each("structured")
def test_answers_in_a_form(does: Does, qwen: Scripted, client: str) -> None:
    qwen.say(*structured(client), again=True)
    assert all(one == WEATHER for one in does("structured"))
    # Of instructor's ways the last one asks for a block of JSON in words alone.
    assert held(qwen) == [True] * len(qwen.calls) if client != "instructor" else [True, True, True, True, False]


@pytest.mark.parametrize("client", ["instructor"], indirect=True)
def test_objects_come_in_parts(does: Does, qwen: Scripted) -> None:
    qwen.say(called("qwen", ("PartialWeather", WRITTEN)), WRITTEN)
    by_call, by_form = does("structured_stream")
    # A call is sent whole.
    assert by_call == WEATHER | {"pieces": 1}
    assert by_form.pop("pieces") > 2
    assert by_form == WEATHER
    assert all(held(qwen))


@pytest.mark.parametrize(
    "client",
    ["openai", "pydantic-ai", "@ai-sdk/openai-compatible", "@ai-sdk/openai", "@ai-sdk/openai, responses"],
    indirect=True,
)
def test_a_form_beside_tools(does: Does, qwen: Scripted) -> None:
    """Agents ask for both at once: calls first, and at the end an answer in the form."""
    qwen.say(ONE, WRITTEN)
    assert does("structured_after_tools") == [WEATHER]
    assert all(held(qwen))


def structured(client: str) -> list[str]:
    """What a model says to the ways in which a client asks for a form, in their order."""
    by_call = called("qwen", (TOOL_OF_FORM.get(client, ""), WRITTEN))
    ways = {
        "langchain-openai": [WRITTEN, by_call, WRITTEN],
        "pydantic-ai": [by_call, by_call, WRITTEN, WRITTEN],
        "instructor": [by_call, by_call, WRITTEN, WRITTEN, f"```json\n{WRITTEN}\n```"],
    }
    return ways.get(client, [WRITTEN])


@each("cancel")
def test_who_leaves_a_stream_frees_its_place(does: Does, qwen: Scripted) -> None:
    qwen.say(Say(RAIN, still_after=3))
    (first,) = does("cancel")
    assert RAIN.startswith(str(first))
    assert qwen.left.wait(60)
    wait_for(lambda: qwen.active == 0)


@each("error")
def test_what_is_refused_names_the_field(does: Does) -> None:
    (told,) = does("error")
    assert told["status"] == 400
    # What each client lets through to the server.
    reasons = ("top_logprobs: has no meaning without logprobs", "top_p: Input should be less than or equal to 1")
    assert any(reason in told["message"] for reason in reasons)
