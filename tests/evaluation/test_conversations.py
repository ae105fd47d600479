"""Cases of several turns: scripted and played users, mock tools, the right calls by BFCL's rules, the state at the end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from llmops_tui.errors import InputRefusedError
from llmops_tui.evaluation.cases import build_cases
from llmops_tui.evaluation.metrics.base import Answer, Case, Score
from llmops_tui.evaluation.metrics.custom import fingerprint
from llmops_tui.evaluation.metrics.registry import entry_of, make_metric
from llmops_tui.evaluation.runner.conversing import converse
from llmops_tui.evaluation.runner.results import Result, read_line
from llmops_tui.evaluation.scripted.call_matching import problem_of_call, problem_of_calls
from llmops_tui.evaluation.scripted.mock_tools import World, differences
from llmops_tui.evaluation.scripted.script import Script, as_schema, read_script
from llmops_tui.evaluation.suite import check_suite
from tests.commands import Llmops
from tests.engine.engines import write_with_template
from tests.engine.test_endpoint import TOOL_TEMPLATE

BOOKING: dict[str, Any] = {
    "name": "book",
    "parameters": {
        "type": "object", "required": ["room"],
        "properties": {
            "room": {"type": "string"}, "nights": {"type": "integer"}, "price": {"type": "number"},
            "guests": {"type": "array", "items": {"type": "string"}}, "options": {"type": "dict"}, "late": {"type": "boolean"},
        },
    },
    "results": [
        {"when": {"room": "blue"}, "result": {"error": "taken"}},
        {"result": {"booked": "{{ room }}", "before": "{{ state.count }}"},
         "set": {"rooms.{{ room }}.nights": "{{ nights }}", "last": "room {{ room }}"}},
    ],
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "alternatives", "right"), [
    ({"room": "Sea View"}, {"room": ["sea-view", "ocean"]}, True),
    ({"room": "it's"}, {"room": ['it"s']}, True),
    ({"room": "hill"}, {"room": ["sea"]}, False),
    ({}, {"room": ["sea"]}, False),
    ({"room": "sea", "nights": 2}, {"room": ["sea"], "nights": [2, 3]}, True),
    ({"room": "sea", "nights": "2"}, {"room": ["sea"], "nights": [2]}, False),
    ({"room": "sea", "nights": True}, {"room": ["sea"], "nights": [1]}, False),
    ({"room": "sea", "nights": 2.0}, {"room": ["sea"], "nights": [2]}, False),
    ({"room": "sea", "price": 5}, {"room": ["sea"], "price": [5.0]}, True),
    ({"room": "sea"}, {"room": ["sea"], "nights": [2, ""]}, True),
    ({"room": "sea"}, {"room": ["sea"], "nights": [2]}, False),
    ({"room": "sea", "nights": 2}, {"room": ["sea"]}, False),
    ({"room": "sea", "colour": "red"}, {"room": ["sea"], "colour": ["red"]}, False),
    ({"room": "sea", "guests": ["Ann B.", "cy"]}, {"room": ["sea"], "guests": [["ann b", "CY"]]}, True),
    ({"room": "sea", "guests": ["cy", "ann"]}, {"room": ["sea"], "guests": [["ann", "cy"]]}, False),
    ({"room": "sea", "options": {"bed": "Twin"}}, {"room": ["sea"], "options": [{"bed": ["twin", "double"], "floor": [1, ""]}]}, True),
    ({"room": "sea", "options": {"bed": "twin", "x": 1}}, {"room": ["sea"], "options": [{"bed": ["twin"]}]}, False),
    ({"room": "sea", "late": True}, {"room": ["sea"], "late": [True]}, True),
    ({"room": "sea", "nights": "default_nights"}, {"room": ["sea"], "nights": ["default_nights"]}, True),
])  # fmt: skip
def test_a_call_is_right_by_the_rules_of_bfcl(arguments: Any, alternatives: Any, right: bool) -> None:
    assert (not problem_of_call("book", arguments, "book", alternatives, BOOKING["parameters"])) is right


def test_calls_are_counted_matched_in_any_order_and_named_where_they_are_wrong() -> None:
    known = {"book": BOOKING["parameters"]}
    expected: Any = [{"book": {"room": ["sea"]}}, {"book": {"room": ["hill"]}}]
    sea, hill = ("book", {"room": "sea"}), ("book", {"room": "hill"})
    assert problem_of_calls([hill, sea], expected, known) == ""
    assert problem_of_calls([hill, sea], expected, known, ordered=True).startswith("call 1: book: room is 'hill'")
    assert problem_of_calls([sea, hill], expected, known, ordered=True) == ""
    assert problem_of_calls([sea], expected, known) == "1 calls, expected 2"
    assert problem_of_calls([sea, hill, sea], expected, known) == "3 calls, expected 2"
    assert problem_of_calls([sea, ("look", {}), hill], expected, known, ordered=True, further=True) == ""
    assert problem_of_calls([], [], known) == ""
    assert problem_of_calls([("book", None), hill], expected, known) == "call 1: book: the arguments are no object"


def test_tools_return_what_fits_and_change_the_state() -> None:
    world = World(Script.model_validate({"tools": [BOOKING], "state": {"count": 3}}))
    assert world.call("book", '{"room": "blue"}') == ({"error": "taken"}, {"room": "blue"})
    assert world.call("book", '{"room": "sea", "nights": 2}')[0] == {"booked": "sea", "before": 3}
    assert world.state == {"count": 3, "rooms": {"sea": {"nights": 2}}, "last": "room sea"}
    for name, arguments, what in (
        ("fly", "{}", "no tool"),
        ("book", "{", "not JSON"),
        ("book", "[1]", "not an object"),
    ):
        assert what in world.call(name, arguments)[0]["error"]
    assert differences(world.state, {"rooms": {"sea": {"nights": 2}}}) == []
    found = differences(world.state, {"rooms": {"sea": {"nights": 3}, "hill": {}}, "count": True})
    assert found == ["rooms.sea.nights is 2, not 3", "rooms.hill is missing", "count is 3, not True"]


def reply(text: str = "", *calls: tuple[str, str]) -> Any:
    made = [{"id": f"c{i}", "function": {"name": n, "arguments": a}} for i, (n, a) in enumerate(calls)]
    return {"choices": [{"message": {"content": text, "tool_calls": made}}]}


class Model:
    """Says what it is told, one reply a request."""

    def __init__(self, *replies: Any) -> None:
        self.replies, self.asked = list(replies), []  # type: ignore[var-annotated]

    async def ask(self, talk: Sequence[Any], extra: Any) -> tuple[Any, Answer]:
        self.asked.append(([dict(m) for m in talk], extra))
        said = self.replies.pop(0)
        text = said["choices"][0]["message"]["content"]
        return said, Answer(text, "stop", prompt_tokens=10, completion_tokens=2, total_ms=5.0, thinking=f"hm {text}")


async def play_nobody(model: str, seen: Sequence[Any]) -> str:
    raise AssertionError


async def test_a_scripted_user_goes_on_and_calls_are_answered() -> None:
    script = Script.model_validate({"tools": [BOOKING], "user": ["And the sea room?"], "state": {"count": 0}})
    model = Model(
        reply("", ("book", '{"room": "blue"}')), reply("It is taken."),
        reply("", ("book", '{"room": "sea", "nights": 1}')), reply("Booked."),
    )  # fmt: skip
    answer = await converse([{"role": "user", "content": "The blue room."}], script, 20, model.ask, play_nobody)
    assert (answer.text, answer.finish_reason) == ("Booked.", "stop")
    assert [m["role"] for m in answer.asked] == ["user", "assistant", "tool", "assistant", "user", "assistant", "tool"]
    assert answer.asked[2]["tool_call_id"] == "c0"  # type: ignore[typeddict-item]
    assert [(c["name"], c["arguments"]["room"], c["turn"]) for c in answer.calls] == [
        ("book", "blue", 0), ("book", "sea", 1),
    ]  # fmt: skip
    assert answer.state["rooms"] == {"sea": {"nights": 1}}
    assert (answer.prompt_tokens, answer.completion_tokens, answer.total_ms) == (40, 8, 20.0)
    assert "hm It is taken." in answer.thinking
    offered = model.asked[0][1][0]["function"]
    assert offered["parameters"]["properties"]["options"] == {"type": "object"}


async def test_a_model_plays_the_user_from_the_other_side_until_it_is_done() -> None:
    script = Script.model_validate({"user": {"model": "m", "goal": "a refund", "stop": "[END]"}})
    sides: list[Any] = []

    async def play(model: str, seen: Sequence[Any]) -> str:
        sides.append((model, [m["role"] for m in seen]))
        return "It broke." if len(sides) == 1 else "Thanks. [END]"

    model = Model(reply("Why?"), reply("Here is your money."))
    answer = await converse([{"role": "user", "content": "I want money."}], script, 20, model.ask, play)
    assert answer.text == "Here is your money."
    assert sides == [
        ("m", ["system", "assistant", "user"]), ("m", ["system", "assistant", "user", "assistant", "user"]),
    ]  # fmt: skip
    # A model that never stops calling is stopped.
    loop = Model(*[reply("", ("book", "{}"))] * 3)
    ended = await converse([], Script.model_validate({"tools": [BOOKING]}), 3, loop.ask, play)
    assert (ended.finish_reason, len(ended.calls)) == ("steps", 3)


def test_a_suite_has_tools_and_scripts_and_older_suites_are_what_they_were() -> None:
    case = {"vars": {"q": "?"}, "script": {"user": ["and?"], "calls": [{"book": {"room": ["sea"]}}]}}
    body = {
        "cases": [case, {"vars": {"q": "!"}, "script": {"tools": []}}],
        "metrics": ["tool-calls"],
        "tools": [BOOKING],
    }
    first, second = build_cases(check_suite(body, "s"), None).cases  # type: ignore[arg-type]
    assert first.script["tools"][0]["name"] == "book"
    assert second.script["tools"] == []
    plain = check_suite({"cases": [{"q": "?"}]}, "s")
    assert "tools" not in json.dumps(build_cases(plain, None).cases[0].script)  # type: ignore[arg-type]
    assert plain.sha256 != plain.model_copy(update={"steps": 3}).sha256
    for wrong in ({"user": "hi"}, {"calls": [{"a": {}, "b": {}}]}, {"calls": [{"a": {"x": 1}}]}, {"nothing": 1}, []):
        with pytest.raises(InputRefusedError):
            build_cases(check_suite({"cases": [{"vars": {}, "script": wrong}], "tools": [BOOKING]}, "s"), None)  # type: ignore[arg-type]
    with pytest.raises(InputRefusedError, match="not with chain, raw"):
        check_suite({"cases": [], "tools": [BOOKING], "raw": True}, "s")
    with pytest.raises(InputRefusedError, match="none of user, tools"):
        check_suite({"cases": [], "script": {"users": "x"}}, "s")
    assert as_schema({"type": "dict", "properties": {"a": {"type": "any"}, "b": {"type": "tuple"}}}) == {
        "type": "object", "properties": {"a": {}, "b": {"type": "array"}},
    }  # fmt: skip


def test_metrics_of_conversations() -> None:
    script = {"tools": [BOOKING], "calls": [{"book": {"room": ["sea"]}}], "end_state": {"last": "room sea"}}
    case = Case(0, "k", script=script)
    good = Answer("ok", calls=({"name": "book", "arguments": {"room": "sea"}},), state={"last": "room sea", "n": 1})
    calls, state = make_metric("tool-calls"), make_metric("end-state")
    assert calls.score(case, good) == Score(1.0)
    assert state.score(case, good) == Score(1.0)
    assert calls.score(case, Answer("ok")).reason == "0 calls, expected 1"
    assert state.score(case, Answer("ok")).reason == "last is missing"
    assert calls.score(Case(0, "k"), good).value is None
    # What was kept is read back as it was.
    line = Result(case, 0, good, {}).to_line()
    assert (read_line(line).case.script, read_line(line).answer) == (script, good)
    assert b'"state"' not in Result(Case(0, "k"), 0, Answer("x"), {}).to_line()


def test_thinking_is_scored_apart() -> None:
    metric = make_metric({"type": "thinking", "metric": "contains"})
    assert metric.called == "thinking-contains"
    case = Case(0, "k", expected="carry")
    assert metric.score(case, Answer("12", thinking="carry the one")).value == 1
    assert metric.score(case, Answer("carry", thinking="none")).value == 0
    assert metric.score(case, Answer("carry")).value is None
    assert fingerprint(make_metric(entry_of(metric))) == fingerprint(metric)
    for inner in ("judge", "verdict", "bleu", "nothing", {"type": "thinking", "metric": "exact"}):
        with pytest.raises(InputRefusedError):
            make_metric({"type": "thinking", "metric": inner})


def test_a_script_says_where_it_is_wrong() -> None:
    with pytest.raises(InputRefusedError, match=r"row 4: tools\.0\.results: "):
        read_script({"tools": [{"name": "a", "results": 1}]}, "row 4")
    with pytest.raises(InputRefusedError, match="two tools are called a"):
        read_script({"tools": [{"name": "a"}, {"name": "a"}]}, "row 4")


@pytest.mark.slow
def test_a_suite_of_conversations_runs_on_a_model_and_is_kept(llmops: Llmops, tmp_path: Path) -> None:
    script = {"user": ["And the hill room?"], "calls": [], "end_state": {"count": 0}, "state": {"count": 0}}
    body = {
        "cases": [{"vars": {"message": f"Please refund the desk lamp {i}."}, "script": script} for i in range(3)],
        "prompt": "triage", "parameters": {"temperature": 0, "max_tokens": 24}, "tools": [BOOKING], "steps": 4,
        "metrics": ["tool-calls", "end-state", "exact"],
    }  # fmt: skip
    # The sample's own template knows no tools.
    with_tools = write_with_template(tmp_path / "tools.gguf", TOOL_TEMPLATE)
    llmops.run("model", "add", str(with_tools), "--name", "caller")
    path = tmp_path / "talk.yaml"
    path.write_text(json.dumps(body))
    first = llmops.run("eval", "run", str(path), "--model", "caller")
    assert first["metrics"]["end-state"]["mean"] == 1
    assert first["metrics"]["tool-calls"]["n"] == 3
    again = llmops.run("eval", "run", "talk", "--model", "caller")
    assert again["cached"] == 3
    shown = llmops.run("eval", "show", "talk-1", "--case", "0")
    assert "And the hill room?" in json.dumps(shown)
